/**
 * The IR: the contract between control plane (translates configuration into it) and data plane (compiles it into tables).
 * Plain JSON-able data, every default filled in, every name resolved, all precedence settled. It names secrets and never holds them.
 */
export * from "./accept.ts";
export type * from "./cluster.ts";
export type * from "./common.ts";
export * from "./decode.ts";
export * from "./decode-file.ts";
export type * from "./listener.ts";
export * from "./manifest.ts";
export type * from "./policy.ts";
export type * from "./route.ts";
export * from "./settings.ts";
export {
  type EgressRole,
  followRoots,
  nextRoot,
  openRoot,
  ROOT_LIMITS,
  ROOT_TYP,
  type Role,
  type RootDocument,
  type RootKey,
  type RootRoles,
  requireUnexpired,
  type TrustRoot,
} from "./trust.ts";
export type { SignatureAlgorithm } from "./trust-jws.ts";
export type { Refusal, RefusalCode } from "./trust-refusal.ts";
export {
  type AcceptedState,
  chunkRefs,
  DEFAULT_SNAPSHOT_LIMITS,
  peekManifest,
  type SnapshotLimits,
  type VerifiedManifest,
  type VerifyContext,
  type VersionFloor,
  verifyChunk,
  verifyManifest,
} from "./verify.ts";
export * from "./verify-age.ts";
export { classifyChange, classifyEgress } from "./verify-egress.ts";
