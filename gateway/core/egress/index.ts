/**
 * Egress: who may reach which host, and which of its addresses.
 *
 * Invariant: nothing leaves that no rule allows for that caller, that host, that port and that protocol; and what is dialled is an address that
 * was checked. Never repairs a spelling, never resolves a name twice for one decision, never lets an allow override a deny, never keeps or
 * shows a password. Says of every decision which rule made it and why.
 */
export * from "./address.ts";
export * from "./address-class.ts";
export * from "./compile.ts";
export * from "./decide.ts";
export { EndpointTable } from "./endpoints.ts";
export { EgressExchange, type ProxyRequest } from "./exchange.ts";
export * from "./name.ts";
export { pathOf, pathProblem } from "./path.ts";
export * from "./ports.ts";
