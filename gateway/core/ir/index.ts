/**
 * The IR: the contract between control plane (translates configuration into it) and data plane (compiles it into tables).
 * Plain JSON-able data, every default filled in, every name resolved, all precedence settled. It names secrets and never holds them.
 */
export * from "./accept.ts";
export type * from "./cluster.ts";
export type * from "./common.ts";
export type * from "./connection.ts";
export * from "./decode.ts";
export * from "./decode-file.ts";
export { isInjectable } from "./injection.ts";
export { type LeaseTerms, leaseProblem, leaseTerms } from "./lease-terms.ts";
export type * from "./listener.ts";
export * from "./manifest.ts";
export type * from "./policy.ts";
export * from "./relay.ts";
export type * from "./route.ts";
export * from "./settings.ts";
export { secretBinding, upstreamBinding, userBinding } from "./site-bindings.ts";
export * from "./tls.ts";
export {
  followRoots,
  nextRoot,
  openRoot,
  ROOT_TYP,
  type RootDocument,
  type RootKey,
  type TrustRoot,
} from "./trust.ts";
export type { SignatureAlgorithm } from "./trust-jws.ts";
export type { Refusal } from "./trust-refusal.ts";
export {
  type AcceptedState,
  chunkRefs,
  DEFAULT_SNAPSHOT_LIMITS,
  EDGE_SNAPSHOT_LIMITS,
  peekManifest,
  type SnapshotLimits,
  type VerifiedManifest,
  type VersionFloor,
  verifyChunk,
  verifyManifest,
} from "./verify.ts";
export * from "./verify-age.ts";
export { classifyChange } from "./verify-egress.ts";
