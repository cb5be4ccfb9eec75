/**
 * Egress: who may reach which host, and which of its addresses.
 *
 * Invariant: nothing leaves that no rule allows for that caller, that host, that port and that protocol; and what is dialled is an address that
 * was checked. Never repairs a spelling, never resolves a name twice for one decision, never lets an allow override a deny, never keeps or
 * shows a password. Says of every decision which rule made it and why.
 */
export { parseAddress } from "./address.ts";
export { compileEgress, type EgressTables, NO_EGRESS } from "./compile.ts";
export { decisionLine } from "./decision-line.ts";
export { EndpointTable } from "./endpoints.ts";
export { EgressExchange } from "./exchange.ts";
export { MAX_SECRET_LENGTH } from "./inject.ts";
export { parseHost } from "./name.ts";
export { pathProblem } from "./path.ts";
export {
  type CredentialAttempt,
  type CredentialChecker,
  type CredentialVerdict,
  DEFAULT_EGRESS_LIMITS,
  type DecisionLog,
  type EgressDecisionRecord,
  type EgressPorts,
  type EgressSnapshot,
  type HelloReader,
  type Learned,
  type Resolution,
  type Resolver,
  type Secrets,
  type TunnelGate,
} from "./ports.ts";
export type { ProxyRequest } from "./target.ts";
