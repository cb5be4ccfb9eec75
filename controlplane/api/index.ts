/**
 * The operator's API: one HTTP surface for the command line, the UI and scripts. It asks the control plane through `Operations` and never
 * touches stores, keys or gateways itself; everything but health checks needs the bearer token.
 */
export type * from "./contract.ts";
export type { Answer, EndpointFilter, ObjectFilter, Operations } from "./operations.ts";
export { type ApiOptions, createApi, MAX_API_BODY_BYTES, MAX_APPLY_DOCUMENTS, MAX_WAIT_MS } from "./server.ts";
