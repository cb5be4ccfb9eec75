/**
 * Who somebody is, and what proves it: the join token by which a gateway and its control plane first know each other, the passport that an edge
 * gateway gives a request on its way into a cluster, and the certificate of a client.
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
export { type AltName, hasAltName, MAX_ALT_NAMES, parseAltNames } from "./san.ts";
export { MAX_SPIFFE_ID_CHARS, MAX_TRUST_DOMAIN_CHARS, parseSpiffeId, principalOf, type SpiffeId } from "./spiffe.ts";
export {
  forwardedClientCert,
  isWellFormedXfcc,
  MAX_XFCC_CHARS,
  type PeerCertificate,
  XFCC_FIELD,
  xfccElement,
} from "./xfcc.ts";
