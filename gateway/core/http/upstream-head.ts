/** The fields that go to the origin: end-to-end ones as they came, and what a gateway has to add. */

import { PASSPORT_FIELD } from "../identity/passport-claims.ts";
import type { Random } from "../ports.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import type { FieldList, ReadonlyFieldList } from "./message.ts";
import { newRequestId } from "./request-id.ts";

/** Name in Via (RFC 9110 7.6.3) and in Server of responses made here. */
export const PSEUDONYM = "tidegate";
const VIA: readonly [string, string] = [`1.0 ${PSEUDONYM}`, `1.1 ${PSEUDONYM}`];

export interface ForwardedRequest {
  readonly fields: ReadonlyFieldList;
  readonly authority: string;
  readonly scheme: string;
  readonly minor: 0 | 1;
  /** Options that Connection names, lower case. */
  readonly connectionOptions: readonly string[] | undefined;
}

/**
 * With no trusted proxy in front, X-Forwarded-Proto and -Host say what this gateway saw, whatever the client wrote there; with one or
 * more, what the outermost of them wrote stands. X-Forwarded-For grows by the peer either way: its reader counts from the right.
 */
export function upstreamFields(
  request: ForwardedRequest,
  peerAddress: string,
  trustedProxies: number,
  random: Random,
): FieldList {
  const from = request.fields;
  const options = request.connectionOptions;
  const to: FieldList = [];
  let forwardedFor = "";
  let proto: string | undefined;
  let host: string | undefined;
  let requestId: string | undefined;
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    if (isHopByHop(name) || options?.includes(name)) continue;
    const value = from[i + 1] as string;
    if (name.charCodeAt(0) === LETTER_X) {
      if (name === "x-forwarded-for") {
        forwardedFor = forwardedFor === "" ? value : `${forwardedFor}, ${value}`;
        continue;
      }
      if (name === "x-forwarded-proto") {
        proto ??= value;
        continue;
      }
      if (name === "x-forwarded-host") {
        host ??= value;
        continue;
      }
      // Only a gateway issues one: what a client brings is nobody's word.
      if (name === PASSPORT_FIELD) continue;
      if (name === "x-request-id") requestId = value;
    }
    to.push(name, value);
  }
  const trusted = trustedProxies > 0;
  to.push("x-forwarded-for", forwardedFor === "" ? peerAddress : `${forwardedFor}, ${peerAddress}`);
  to.push("x-forwarded-proto", trusted && proto !== undefined ? proto : request.scheme);
  to.push("x-forwarded-host", trusted && host !== undefined ? host : request.authority);
  if (requestId === undefined) to.push("x-request-id", newRequestId(random));
  // A line of its own behind those that are there: the same list (RFC 9110 5.3), and nothing is joined.
  to.push("via", VIA[request.minor]);
  return to;
}

const LETTER_X = 0x78;
