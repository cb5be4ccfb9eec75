/** What can be said about a credential that a rule adds before any request: which fields may carry it, and where an edge site keeps it. */
import { isHopByHop, isOwnField } from "../http/hop-by-hop.ts";
import type { EgressInjection } from "./policy.ts";

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** Written by the gateway for every request. */
const WRITTEN: ReadonlySet<string> = new Set(["via", "expect", "trailer"]);

/** False for fields that say how a message travels: a credential there would change which request it is. `header` is in lower case. */
export function isInjectable(header: string): boolean {
  return TOKEN.test(header) && !isHopByHop(header) && !isOwnField(header) && !WRITTEN.has(header);
}

/**
 * Name of a Worker's binding that holds a secret: `SECRET_<NAMESPACE>_<NAME>_<KEY>`, upper case, with `_` for what cannot stand in a name. Two
 * secrets can have one name; translation lets a site have only one of them.
 */
export function secretBinding({ namespace, name, key }: EgressInjection["secret"]): string {
  return `SECRET_${[namespace, name, key]
    .join("_")
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, "_")}`;
}
