import type { Clock } from "../ports.ts";
import { isHopByHop } from "./hop-by-hop.ts";
import type { FieldList, ResponseHead } from "./message.ts";

/**
 * The origin's fields as they go on to the client: end-to-end ones, untouched. Server stays the origin's, and so does Via, which a gateway need not add
 * to a response (RFC 9110 7.6.3); a final response without a Date gets the time at which it came (RFC 9110 6.6.1).
 */
export function downstreamFields(
  head: ResponseHead,
  connectionOptions: readonly string[] | undefined,
  clock: Pick<Clock, "unixMs">,
): FieldList {
  const from = head.fields;
  const to: FieldList = [];
  let hasDate = head.status < 200;
  for (let i = 0; i < from.length; i += 2) {
    const name = from[i] as string;
    if (isHopByHop(name)) {
      // RFC 9110 15.5.22: a 426 is nothing without the protocols that it asks for, which are the client's to choose from.
      if (name === "upgrade" && head.status === UPGRADE_REQUIRED && PROTOCOLS.test(from[i + 1] as string))
        to.push(name, from[i + 1] as string);
      continue;
    }
    if (connectionOptions?.includes(name)) continue;
    if (name === "date") hasDate = true;
    to.push(name, from[i + 1] as string);
  }
  if (!hasDate) to.push("date", httpDate(clock.unixMs()));
  return to;
}

const UPGRADE_REQUIRED = 426;
/** RFC 9110 7.8: protocols, each a token and perhaps a version. */
const PROTOCOLS =
  /^[\w!#$%&'*+.^`|~-]+(?:\/[\w!#$%&'*+.^`|~-]+)?(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+(?:\/[\w!#$%&'*+.^`|~-]+)?)*$/;

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
