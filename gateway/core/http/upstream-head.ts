/** The fields that go to the origin: end-to-end ones as they came, and what a gateway has to add. */

import { PASSPORT_FIELD } from "../identity/passport-claims.ts";
import { forwardedClientCert, type PeerCertificate, XFCC_FIELD } from "../identity/xfcc.ts";
import type { ForwardClientCert } from "../ir/settings.ts";
import type { Random } from "../ports.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import { type FieldList, type HttpVersion, listsTrailers, type ReadonlyFieldList } from "./message.ts";
import { newRequestId } from "./request-id.ts";
import { viaValue } from "./via.ts";

export interface ForwardedRequest {
  readonly fields: ReadonlyFieldList;
  readonly authority: string;
  readonly scheme: string;
  readonly version: HttpVersion;
  /** Options that Connection names, lower case. */
  readonly connectionOptions: readonly string[] | undefined;
}

/**
 * With no trusted proxy in front, X-Forwarded-Proto and -Host say what this gateway saw, whatever the client wrote there; with one or
 * more, what the outermost of them wrote stands. X-Forwarded-For grows by the peer either way: its reader counts from the right.
 * X-Forwarded-Client-Cert is about the peer itself, however many proxies are trusted.
 *
 * @param certificate the peer's, if it has shown one that passes
 */
export function upstreamFields(
  request: ForwardedRequest,
  peerAddress: string,
  trustedProxies: number,
  random: Random,
  certificate?: PeerCertificate,
  forwardClientCert?: ForwardClientCert,
): FieldList {
  const from = request.fields;
  const options = request.connectionOptions;
  const to: FieldList = [];
  let forwardedFor = "";
  let proto: string | undefined;
  let host: string | undefined;
  let requestId: string | undefined;
  let takesTrailers = false;
  let clientCert: string | undefined;
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    if (isHopByHop(name)) {
      // RFC 9110 10.1.4: what is asked of this hop is asked of the next one as far as this one can pass the answer on.
      if (name === "te" && listsTrailers(from[i + 1] as string)) takesTrailers = true;
      continue;
    }
    if (options?.includes(name)) continue;
    const value = from[i + 1] as string;
    if (name.charCodeAt(0) === LETTER_X) {
      if (name === "x-forwarded-for") {
        const chain = withoutEmptyEnd(value);
        if (chain !== "") forwardedFor = forwardedFor === "" ? chain : `${forwardedFor}, ${chain}`;
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
      if (name === XFCC_FIELD) {
        clientCert = clientCert === undefined ? value : `${clientCert},${value}`;
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
  if (certificate !== undefined || clientCert !== undefined) {
    const told = forwardedClientCert(clientCert, certificate, forwardClientCert);
    if (told !== undefined) to.push(XFCC_FIELD, told);
  }
  if (requestId === undefined) to.push("x-request-id", newRequestId(random));
  if (takesTrailers) to.push("te", "trailers");
  // A line of its own behind those that are there: the same list (RFC 9110 5.3), and nothing is joined.
  to.push("via", viaValue(request.version));
  return to;
}

/** RFC 9110 5.6.1.1: no empty elements before what is appended. */
function withoutEmptyEnd(list: string): string {
  return list.endsWith(",") || list.endsWith(" ") ? list.replace(/[ \t,]+$/, "") : list;
}

const LETTER_X = 0x78;
