/** A passport's text as claims: sizes first, then the form, strictly. Nothing in here is vouched for yet. */

import ipaddr from "ipaddr.js";
import { base64url } from "jose";
import { ok, type Result } from "../result.ts";
import { type PassportRefusal, refusePassport } from "./passport-refusal.ts";

/** Request field that carries it. A client's own copy is dropped. */
export const PASSPORT_FIELD = "x-tidegate-passport";
export const PASSPORT_TYP = "tidegate-passport+jwt";
/** One algorithm only (RFC 8037): no MAC can be made with a public key, and nothing is unsigned. */
export const PASSPORT_ALG = "EdDSA";

/** Longest token that is read, characters. It shares the request's head with everything else, which Workers limit to 128 KB and Node to 32 KiB by default. */
export const MAX_PASSPORT_CHARS = 24 * 1024;
/** Longest name in it (site, cluster, destination, id of a quota), characters. */
export const MAX_PASSPORT_NAME_CHARS = 512;
/** Longest `jti`, characters. */
export const MAX_PASSPORT_ID_CHARS = 64;
/** Quotas that one request may have been charged to. */
export const MAX_PASSPORT_QUOTAS = 64;
/** Verified claims that it carries, at the top level. */
export const MAX_PASSPORT_CLAIMS = 64;

/** As signed, under the names that keep the token short. */
export interface PassportClaims {
  readonly iss: string;
  readonly aud: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  readonly m: string;
  readonly a: string;
  readonly h?: string;
  readonly p: string;
  readonly d: string;
  readonly ip: string;
  readonly q: readonly string[];
  readonly t?: string;
  readonly c?: Readonly<Record<string, unknown>>;
}

export interface ReadPassport {
  readonly kid: string;
  readonly claims: PassportClaims;
}

export function readPassport(token: string): Result<ReadPassport, PassportRefusal> {
  if (token.length > MAX_PASSPORT_CHARS) {
    return refusePassport("passport_too_long", `it has ${token.length} characters, at most ${MAX_PASSPORT_CHARS} are read`);
  }
  const [head, payload, signature, ...rest] = token.split(".");
  const header = head === undefined ? undefined : readJson(head);
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0)
    return malformed("it is no JWS in compact form");
  if (header["typ"] !== PASSPORT_TYP) return refusePassport("passport_wrong_typ", `its typ is not ${PASSPORT_TYP}`);
  if (header["alg"] !== PASSPORT_ALG) return refusePassport("passport_wrong_alg", `it is not signed with ${PASSPORT_ALG}`);
  const { kid } = header;
  // RFC 7515 4.1.11: an extension that is critical would have to be known, and none is.
  if (typeof kid !== "string" || !hasOnly(header, HEADER)) return malformed("its header has other members than alg, kid and typ");
  if (decode(signature)?.length !== SIGNATURE_BYTES)
    return malformed(`its signature is not ${SIGNATURE_BYTES} bytes of base64url`);
  const claims = readJson(payload);
  if (claims === undefined) return malformed("its claims are no object");
  const wrong = wrongClaim(claims);
  if (wrong !== undefined) return malformed(wrong);
  return ok({ kid, claims: claims as unknown as PassportClaims });
}

/** Of Ed25519 (RFC 8032 5.1.6). */
const SIGNATURE_BYTES = 64;
const HEADER: readonly string[] = ["alg", "kid", "typ"];

type Check = (value: unknown) => boolean;

const text =
  (max: number, min = 1): Check =>
  (value) =>
    typeof value === "string" && value.length >= min && value.length <= max && VISIBLE.test(value);
const VISIBLE = /^[\x20-\x7e]*$/;
const name = text(MAX_PASSPORT_NAME_CHARS);
/** May be empty (RFC 9112 3.2). As long as a token can be: the token's own limit holds. */
const authority = text(MAX_PASSPORT_CHARS, 0);
/** Bytes beyond ASCII are characters up to U+00FF here, as in every head. */
const target: Check = (value) => typeof value === "string" && /^[\x21-\x7e\x80-\xff]+$/.test(value);
const seconds: Check = (value) => typeof value === "number" && Number.isSafeInteger(value) && value > 0;
/** Canonical, because it becomes a key of quotas. */
const clientAddress: Check = (value) => {
  if (typeof value !== "string" || !ipaddr.isValid(value)) return false;
  const parsed = ipaddr.parse(value);
  return (parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString()) === value;
};
/** RFC 9110 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

const CLAIMS: Readonly<Record<string, { readonly check: Check; readonly optional?: true }>> = {
  iss: { check: name },
  aud: { check: name },
  iat: { check: seconds },
  exp: { check: seconds },
  jti: { check: text(MAX_PASSPORT_ID_CHARS) },
  m: { check: (value) => typeof value === "string" && TOKEN.test(value) },
  a: { check: authority },
  h: { check: authority, optional: true },
  p: { check: target },
  d: { check: name },
  ip: { check: clientAddress },
  q: { check: (value) => Array.isArray(value) && value.length <= MAX_PASSPORT_QUOTAS && value.every(name) },
  t: { check: (value) => typeof value === "string" && TRACEPARENT.test(value), optional: true },
  c: { check: (value) => isRecord(value) && Object.keys(value).length <= MAX_PASSPORT_CLAIMS, optional: true },
};

function wrongClaim(claims: Readonly<Record<string, unknown>>): string | undefined {
  for (const [claim, { check, optional }] of Object.entries(CLAIMS)) {
    const value = claims[claim];
    if (value === undefined ? optional !== true : !check(value)) return `its claim ${claim} is missing or not what it must be`;
  }
  return hasOnly(claims, Object.keys(CLAIMS)) ? undefined : "it has claims that nobody knows here";
}

function malformed(what: string): { readonly ok: false; readonly error: PassportRefusal } {
  return refusePassport("passport_malformed", what);
}

function readJson(part: string): Readonly<Record<string, unknown>> | undefined {
  const bytes = decode(part);
  if (bytes === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** RFC 4648 5 without padding, and canonical: one text for one byte string. */
function decode(part: string): Uint8Array | undefined {
  try {
    const bytes = base64url.decode(part);
    return base64url.encode(bytes) === part ? bytes : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hasOnly(record: Readonly<Record<string, unknown>>, names: readonly string[]): boolean {
  return Object.keys(record).every((key) => names.includes(key));
}
