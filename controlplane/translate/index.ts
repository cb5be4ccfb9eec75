/**
 * Translation: configuration and registry → IR, for one pool: gateways on Node, or a site at the edge.
 *
 * Invariant: a pure function. The same input, whatever order its objects come in, gives the same bytes, and all precedence is settled in
 * them: a data plane takes the first match. It must never read a clock, a file or a secret, and never throw on objects that config accepted:
 * what cannot be translated is left out, and the object's problems say so.
 */
export { bankSite, planSites, type SitePool, siteDemands } from "./sites.ts";
export { translate } from "./translate.ts";
export type { Pool, SiteKey } from "./types.ts";
