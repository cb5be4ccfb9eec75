/** What of a message goes on to the next hop (RFC 9110 7.6.1): fields meant for this hop stay here. */
import { isHopByHop, isOwnField } from "../http/hop-by-hop.ts";
import { type FieldList, type HttpVersion, listsTrailers, type ReadonlyFieldList, type ResponseHead } from "../http/message.ts";
import { downstreamFields } from "../http/response-fields.ts";
import { viaValue } from "../http/via.ts";
import type { Clock } from "../ports.ts";

/**
 * Request fields for the origin, with Via as a proxy has to add it (RFC 9110 7.6.3). `Host` is written from the authority that was judged.
 *
 * @param received what the request came in by
 */
export function requestFields(
  fields: ReadonlyFieldList,
  connectionOptions: readonly string[] | undefined,
  received: HttpVersion,
): FieldList {
  const kept: FieldList = [];
  let takesTrailers = false;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? "";
    const value = fields[i + 1] ?? "";
    if (name === "te") takesTrailers ||= listsTrailers(value);
    // The go-ahead for `Expect` is given here (RFC 9110 10.1.1).
    if (isHopByHop(name) || connectionOptions?.includes(name) || name === "expect" || isOwnField(name)) continue;
    kept.push(name, value);
  }
  if (takesTrailers) kept.push("te", "trailers");
  kept.push("via", viaValue(received));
  return kept;
}

/** Response fields for the client, with Via as a proxy has to add it (RFC 9110 7.6.3); what only this gateway may say of itself is left out. */
export function responseFields(
  head: ResponseHead,
  connectionOptions: readonly string[] | undefined,
  clock: Pick<Clock, "unixMs">,
): FieldList {
  const fields = downstreamFields(head, connectionOptions, clock);
  fields.push("via", viaValue(head.version ?? "1.1"));
  return fields.filter((_, i) => !isOwnField(fields[i - (i % 2)] ?? ""));
}
