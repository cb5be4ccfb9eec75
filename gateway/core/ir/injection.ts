/** Which fields may carry a credential that a rule adds. */
import { isHopByHop, isOwnField } from "../http/hop-by-hop.ts";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Written by the gateway for every request. */
const WRITTEN: ReadonlySet<string> = new Set(["via", "expect", "trailer"]);

/** False for fields that say how a message travels: a credential there would change which request it is. `header` is in lower case. */
export function isInjectable(header: string): boolean {
  return TOKEN.test(header) && !isHopByHop(header) && !isOwnField(header) && !WRITTEN.has(header);
}
