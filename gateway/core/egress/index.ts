/**
 * Egress: who may reach which host, and which of its addresses.
 *
 * Invariant: nothing leaves that no rule allows for that caller, that host, that port and that protocol; and what is dialled is an address that
 * was checked. Never repairs a spelling, never resolves a name twice for one decision, never lets an allow override a deny, never keeps or
 * shows a password. Says of every decision which rule made it and why.
 */
export { type Cidr, formatAddress, type IpAddress, parseAddress, parseCidr } from "./address.ts";
export { type AddressClass, type Classified, classifyAddress } from "./address-class.ts";
export { type AddressOpening, compileEgress, type EgressTables } from "./compile.ts";
export {
  type CheckedAddress,
  callerAt,
  decide as decideEgress,
  decideAddresses,
  type EgressAllow,
  type EgressCaller,
  type EgressDecision,
  type EgressDenial,
  type EgressRequest,
} from "./decide.ts";
export { EndpointTable } from "./endpoints.ts";
export { EgressExchange, type ProxyRequest } from "./exchange.ts";
export { type Host, type HostPort, type NameProblem, parseConnectAuthority, parseHost, parseHostPort } from "./name.ts";
export { pathOf, pathProblem } from "./path.ts";
export {
  type CredentialAttempt,
  type CredentialChecker,
  type CredentialVerdict,
  DEFAULT_EGRESS_LIMITS,
  type DecisionLog,
  type EgressDecisionRecord,
  type EgressLimits,
  type EgressPorts,
  type EgressSnapshot,
  type HelloReader,
  type HelloReading,
  type Resolution,
  type Resolver,
  type TunnelGate,
} from "./ports.ts";
