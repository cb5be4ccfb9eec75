/**
 * Who somebody is, and what proves it: the join token by which a gateway and its control plane first know each other, and the passport that an edge
 * gateway gives a request on its way into a cluster.
 */
export { CONTROL_PLANE_NAME, formatJoinToken, type JoinToken, MAX_JOIN_TOKEN_CHARS, parseJoinToken } from "./join-token.ts";
export {
  importPassportKey,
  MAX_PASSPORT_SKEW_S,
  MAX_PASSPORT_TTL_S,
  type Passport,
  type PassportJwk,
  type PassportKey,
  type PassportMemory,
  type PassportMeter,
  type PassportPorts,
  type PassportRequest,
  type PassportSignatures,
  type PassportVerdict,
  readPassportKey,
  signPassport,
  verifyPassport,
  WEB_CRYPTO_SIGNATURES,
} from "./passport.ts";
export { MAX_PASSPORT_CHARS, MAX_PASSPORT_QUOTAS, PASSPORT_FIELD } from "./passport-claims.ts";
export type { PassportRefusal, PassportRefusalCode } from "./passport-refusal.ts";
