/**
 * The passport: what an edge gateway has established about a request, for the gateway of the cluster that it hands the request on to.
 *
 * A compact JWS (RFC 7515) by the site's Ed25519 key, made for one request and good for MAX_PASSPORT_TTL_S at most: bound to method,
 * authority, target and cluster, and taken once. It says where the request goes, so whoever takes it routes nothing anew; it therefore is either
 * good in every respect or refused, and a refused one never falls back to ordinary routing.
 */
import { CompactSign, compactVerify, importJWK, type JWK } from "jose";
import type { PassportIssuer, PassportSettings } from "../ir/index.ts";
import { fail, ok, type Result } from "../result.ts";
import { PASSPORT_ALG, PASSPORT_TYP, type PassportClaims, type ReadPassport, readPassport } from "./passport-claims.ts";
import { type PassportRefusal, type PassportRefusalCode, refusePassport } from "./passport-refusal.ts";

/** Longest life, seconds: `exp` minus `iat`. */
export const MAX_PASSPORT_TTL_S = 30;
/** The issuer's clock may be ahead by so much. A clock that is behind uses up the passport's life. */
export const MAX_PASSPORT_SKEW_S = 5;

export interface Passport {
  /** Name of the EdgeSite that issued it. */
  readonly site: string;
  /** Name of the cluster it is for. */
  readonly audience: string;
  /** Unix seconds, whole. */
  readonly issuedAt: number;
  readonly expires: number;
  /** No two passports of a site have the same. */
  readonly id: string;
  readonly method: string;
  /** What the service is to see. */
  readonly authority: string;
  /** What the request names on its way, where that differs: a runtime whose `fetch` takes the Host from the URL cannot send another. */
  readonly wireAuthority?: string;
  readonly target: string;
  /** IR cluster over there that the request goes to. */
  readonly destination: string;
  /** The client's, in canonical text form. */
  readonly clientAddress: string;
  /** Ids of quotas that were charged already. */
  readonly charged: readonly string[];
  readonly traceparent?: string;
  /** Claims of a credential that the edge has verified. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** A site's private key, ready to sign with. */
export interface PassportKey {
  readonly kid: string;
  readonly key: CryptoKey;
}

/** A private key as its text says it; no runtime has seen it yet. */
export interface PassportJwk {
  readonly kid: string;
  readonly jwk: JWK;
}

/** @param text private Ed25519 JWK as JSON, with `kid`. Problems never repeat it. */
export async function importPassportKey(text: string): Promise<Result<PassportKey>> {
  const read = readPassportKey(text);
  if (!read.ok) return read;
  const { kid, jwk } = read.value;
  try {
    const key = await importJWK(jwk, PASSPORT_ALG);
    return key instanceof Uint8Array ? unfitKey("is no private key") : ok({ kid, key });
  } catch {
    return unfitKey("holds no usable key");
  }
}

/** The form alone, for whoever cannot wait: whether there is a key in it shows when it is imported. */
export function readPassportKey(text: string): Result<PassportJwk> {
  let jwk: unknown;
  try {
    jwk = JSON.parse(text);
  } catch {
    return unfitKey("is no JSON");
  }
  if (typeof jwk !== "object" || jwk === null) return unfitKey("is no JWK");
  const { kty, crv, x, d, kid } = jwk as Readonly<Record<string, unknown>>;
  if (kty !== "OKP" || crv !== "Ed25519" || typeof x !== "string" || typeof d !== "string") return unfitKey("is of another kind");
  if (typeof kid !== "string" || kid === "") return unfitKey("has no kid");
  return ok({ kid, jwk: { kty, crv, x, d } });
}

function unfitKey(what: string): Result<never> {
  return fail([{ path: "passport key", problem: `${what}; it has to be a private Ed25519 JWK (RFC 8037) with a kid, as JSON` }]);
}

export async function signPassport(passport: Passport, { kid, key }: PassportKey): Promise<string> {
  const claims: PassportClaims = {
    iss: passport.site,
    aud: passport.audience,
    iat: passport.issuedAt,
    exp: passport.expires,
    jti: passport.id,
    m: passport.method,
    a: passport.authority,
    p: passport.target,
    d: passport.destination,
    ip: passport.clientAddress,
    q: passport.charged,
    ...(passport.wireAuthority === undefined ? {} : { h: passport.wireAuthority }),
    ...(passport.traceparent === undefined ? {} : { t: passport.traceparent }),
    ...(passport.claims === undefined ? {} : { c: passport.claims }),
  };
  return new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg: PASSPORT_ALG, typ: PASSPORT_TYP, kid })
    .sign(key);
}

/** Whether a signature is good is the runtime's to find out, the way that is fast there. */
export interface PassportSignatures {
  /** `token` has three parts in canonical base64url and names PASSPORT_ALG. @throws when it cannot be told */
  isSigned(token: string, issuer: PassportIssuer): boolean | Promise<boolean>;
}

/** Passports that were taken, until they have expired anyway. Whoever shares a port shares this memory. */
export interface PassportMemory {
  /** Remembers; of all who ask for one passport, one is told "fresh". */
  remember(site: string, id: string, expires: number, nowUnixMs: number): "fresh" | "seen" | "full";
}

export interface PassportPorts {
  readonly signatures: PassportSignatures;
  readonly memory: PassportMemory;
  readonly meter?: PassportMeter;
}

/** Counts what became of requests with a passport. */
export interface PassportMeter {
  count(outcome: "taken" | PassportRefusalCode): void;
}

/** The request that a passport has to be for. */
export interface PassportRequest {
  readonly method: string;
  readonly authority: string;
  readonly target: string;
}

export type PassportVerdict = Result<Passport, PassportRefusal>;

/** The reference, on WebCrypto. */
export const WEB_CRYPTO_SIGNATURES: PassportSignatures = {
  async isSigned(token, { kid, x }) {
    const jwk: JWK = { kty: "OKP", crv: "Ed25519", kid, x };
    // Keys that cannot be imported make no good signatures either.
    return compactVerify(token, await importJWK(jwk, PASSPORT_ALG), { algorithms: [PASSPORT_ALG] }).then(
      () => true,
      () => false,
    );
  },
};

/**
 * Takes a passport, or says why not. Form first, then the signature, then what it says; remembered is only what is good otherwise, so that nobody
 * without a site's key can fill the memory.
 *
 * @returns at once with signatures that are told at once
 */
export function verifyPassport(
  token: string,
  request: PassportRequest,
  settings: PassportSettings,
  ports: PassportPorts,
  nowUnixMs: number,
): PassportVerdict | Promise<PassportVerdict> {
  const read = readPassport(token);
  if (!read.ok) return read;
  const issuer = settings.issuers.find(({ kid }) => kid === read.value.kid);
  if (issuer === undefined) return refusePassport("passport_unknown_issuer", "no key under that kid may issue passports here");
  const judge = (isSigned: boolean): PassportVerdict =>
    isSigned
      ? judgePassport(read.value, issuer, request, settings, ports.memory, nowUnixMs)
      : refusePassport("passport_bad_signature", "the signature does not fit");
  const isSigned = ports.signatures.isSigned(token, issuer);
  return isSigned instanceof Promise ? isSigned.then(judge) : judge(isSigned);
}

function judgePassport(
  { claims }: ReadPassport,
  issuer: PassportIssuer,
  request: PassportRequest,
  settings: PassportSettings,
  memory: PassportMemory,
  nowUnixMs: number,
): PassportVerdict {
  if (claims.iss !== issuer.site) return refusePassport("passport_unknown_issuer", "that key belongs to another site");
  const signed = { site: claims.iss, id: claims.jti };
  const refusal = judgeTime(claims, settings.audience, nowUnixMs / 1000, signed) ?? judgeRequest(claims, request, signed);
  if (refusal !== undefined) return refusal;
  const seen = memory.remember(claims.iss, claims.jti, claims.exp, nowUnixMs);
  if (seen === "seen") return refusePassport("passport_replayed", "it has been used before", signed);
  if (seen === "full") {
    return refusePassport("passport_memory_full", "too many passports are in use to know whether this one is new", signed);
  }
  return ok(passportOf(claims));
}

type Refused = ReturnType<typeof refusePassport>;
type Signed = NonNullable<PassportRefusal["signed"]>;

function judgeTime({ aud, iat, exp }: PassportClaims, audience: string, nowS: number, signed: Signed): Refused | undefined {
  if (aud !== audience) return refusePassport("passport_foreign_audience", "it is for another cluster", signed);
  if (exp - iat > MAX_PASSPORT_TTL_S) {
    return refusePassport("passport_too_long_lived", `it lives ${exp - iat} s, at most ${MAX_PASSPORT_TTL_S} are taken`, signed);
  }
  if (iat > nowS + MAX_PASSPORT_SKEW_S) {
    return refusePassport(
      "passport_not_yet_valid",
      "it was issued in the future; compare the clocks of site and cluster",
      signed,
    );
  }
  if (exp <= nowS) return refusePassport("passport_expired", "it has expired; compare the clocks of site and cluster", signed);
  return undefined;
}

function judgeRequest({ m, a, h, p }: PassportClaims, request: PassportRequest, signed: Signed): Refused | undefined {
  if (m !== request.method) return refusePassport("passport_other_method", "it was issued for another method", signed);
  if ((h ?? a) !== request.authority)
    return refusePassport("passport_other_authority", "it was issued for another authority", signed);
  if (p !== request.target) return refusePassport("passport_other_target", "it was issued for another target", signed);
  return undefined;
}

function passportOf(claims: PassportClaims): Passport {
  return {
    site: claims.iss,
    audience: claims.aud,
    issuedAt: claims.iat,
    expires: claims.exp,
    id: claims.jti,
    method: claims.m,
    authority: claims.a,
    target: claims.p,
    destination: claims.d,
    clientAddress: claims.ip,
    charged: claims.q,
    ...(claims.h === undefined ? {} : { wireAuthority: claims.h }),
    ...(claims.t === undefined ? {} : { traceparent: claims.t }),
    ...(claims.c === undefined ? {} : { claims: claims.c }),
  };
}
