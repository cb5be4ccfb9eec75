import { isHopByHop } from "./hop-by-hop.ts";
import type { FieldList, ReadonlyFieldList } from "./message.ts";

/**
 * The origin's fields as they go on to the client: end-to-end ones, untouched. No Via is added (RFC 9110 7.6.3 leaves that to a gateway) and
 * Server stays the origin's.
 */
export function downstreamFields(from: ReadonlyFieldList, connectionOptions: readonly string[] | undefined): FieldList {
  const to: FieldList = [];
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    if (isHopByHop(name) || connectionOptions?.includes(name)) continue;
    to.push(name, from[i + 1] as string);
  }
  return to;
}

/** Date (RFC 9110 6.6.1). The text is kept for its second. */
export function httpDate(unixMs: number): string {
  const second = Math.floor(unixMs / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

let dateSecond = Number.NaN;
let dateText = "";
