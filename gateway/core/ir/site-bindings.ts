/**
 * Names of the bindings by which a site's Workers hold what must be in no snapshot. Upper case, with `_` for what cannot stand in a name: two
 * secrets, or two users, can have one binding, and translation lets a site have only one of them.
 */
import type { EgressInjection } from "./policy.ts";

/** The binding of a credential that rules add to requests: `SECRET_<NAMESPACE>_<NAME>_<KEY>`. */
export function secretBinding({ namespace, name, key }: EgressInjection["secret"]): string {
  return `SECRET_${spelled([namespace, name, key].join("_"))}`;
}

/** The binding of the token by which a proxy user is known: `PROXY_TOKEN_<USER>`. */
export function userBinding(user: string): string {
  return `PROXY_TOKEN_${spelled(user)}`;
}

/** The binding by which a Worker reaches an endpoint where its `fetch` cannot: `UPSTREAM_<HOST>_<PORT>`. */
export function upstreamBinding(address: string, port: number): string {
  return `UPSTREAM_${spelled(address)}_${port}`;
}

function spelled(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9_]/g, "_");
}
