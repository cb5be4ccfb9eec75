/**
 * RFC 7515 General JSON serialization, read strictly, and every one of its signatures verified. A library's general verification
 * stops at the first good signature; thresholds need all of them, each from another key.
 */
import { base64url, flattenedVerify, type importJWK } from "jose";
import { ok, type Result } from "../result.ts";
import { quoted } from "./decode/issues.ts";
import { type Refusal, refuse } from "./trust-refusal.ts";

/** The only algorithms there are: no MAC can be made with a public key, and nothing is unsigned. */
const SIGNATURE_ALGORITHMS = ["EdDSA", "ES256"] as const;
export type SignatureAlgorithm = (typeof SIGNATURE_ALGORITHMS)[number];

/** A public key ready to verify with. */
export interface VerificationKey {
  readonly kid: string;
  readonly alg: SignatureAlgorithm;
  readonly key: Exclude<Awaited<ReturnType<typeof importJWK>>, Uint8Array>;
}

export interface SignedDocument {
  /** The payload's exact bytes. */
  readonly payload: Uint8Array;
  /** SHA-256 of `payload`, base64url. */
  readonly payloadHash: string;
  /** Key ids whose signatures are good; all distinct. */
  readonly signers: readonly string[];
}

export interface EnvelopeLimits {
  readonly maxBytes: number;
  readonly maxSignatures: number;
}

interface SignatureEntry {
  readonly protected: string;
  readonly signature: string;
  readonly alg: string;
  readonly kid: string;
}

/** Reads `bytes` and verifies all their signatures. */
export async function openEnvelope(
  bytes: Uint8Array,
  typ: string,
  keys: ReadonlyMap<string, VerificationKey>,
  limits: EnvelopeLimits,
): Promise<Result<SignedDocument, Refusal>> {
  const envelope = readEnvelope(bytes, typ, limits);
  return envelope.ok ? verifyEnvelope(envelope.value, keys) : envelope;
}

/** Verifies every signature. One bad, unknown or repeated signature refuses the document: nobody honest adds one. */
export async function verifyEnvelope(
  envelope: Envelope,
  keys: ReadonlyMap<string, VerificationKey>,
): Promise<Result<SignedDocument, Refusal>> {
  const { payloadText, payload, signatures } = envelope;
  for (const entry of signatures) {
    const key = keys.get(entry.kid);
    if (key === undefined) return refuse("unknown_kid", `the trust root has no key ${quoted(entry.kid)}`);
    if (key.alg !== entry.alg) {
      return refuse("alg_key_mismatch", `key ${quoted(entry.kid)} signs with ${key.alg}, not with ${entry.alg}`);
    }
    if (!(await isSignedBy(payloadText, entry, key))) {
      return refuse("bad_signature", `the signature by key ${quoted(entry.kid)} does not fit the document`);
    }
  }
  return ok({ payload, payloadHash: await sha256(payload), signers: signatures.map((entry) => entry.kid) });
}

async function isSignedBy(payload: string, entry: SignatureEntry, key: VerificationKey): Promise<boolean> {
  try {
    const jws = { payload, protected: entry.protected, signature: entry.signature };
    await flattenedVerify(jws, key.key, { algorithms: [key.alg] });
    return true;
  } catch {
    return false;
  }
}

/** Read, and nothing of it verified yet. */
export interface Envelope {
  readonly payloadText: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly SignatureEntry[];
}

/** Sizes first, then the form; no signature is looked at. */
export function readEnvelope(bytes: Uint8Array, typ: string, limits: EnvelopeLimits): Result<Envelope, Refusal> {
  if (bytes.byteLength > limits.maxBytes) {
    return refuse("too_large", `the signed document has ${bytes.byteLength} bytes, at most ${limits.maxBytes} are read`);
  }
  const outer = parseJson(bytes);
  if (!isRecord(outer) || typeof outer["payload"] !== "string") return malformed("it is no JWS in General JSON form");
  const list = outer["signatures"];
  if (list === undefined || (Array.isArray(list) && list.length === 0))
    return refuse("unsigned", "the document has no signature");
  if (!Array.isArray(list)) return malformed("`signatures` is no array");
  if (!hasOnly(outer, ["payload", "signatures"])) return malformed("it has members besides `payload` and `signatures`");
  if (list.length > limits.maxSignatures) {
    return refuse("too_many_signatures", `it has ${list.length} signatures, at most ${limits.maxSignatures} are read`);
  }
  const payload = decodeBase64url(outer["payload"]);
  if (payload === undefined) return malformed("`payload` is no base64url");
  const signatures: SignatureEntry[] = [];
  for (const item of list) {
    const entry = readSignature(item, typ);
    if (!entry.ok) return entry;
    if (signatures.some((other) => other.kid === entry.value.kid)) {
      return refuse("duplicate_kid", `key ${quoted(entry.value.kid)} appears in more than one signature`);
    }
    signatures.push(entry.value);
  }
  return ok({ payloadText: outer["payload"], payload, signatures });
}

/** RFC 7515 4.1; everything that decides is integrity protected, so there is no unprotected header. */
function readSignature(item: unknown, typ: string): Result<SignatureEntry, Refusal> {
  if (!isRecord(item)) return malformed("a signature is no object");
  const { protected: head, signature } = item;
  if (typeof head !== "string" || typeof signature !== "string" || !hasOnly(item, ["protected", "signature"])) {
    return malformed("a signature has other members than `protected` and `signature`");
  }
  if (signature === "") return refuse("unsigned", "a signature is empty");
  const headBytes = decodeBase64url(head);
  const header = headBytes === undefined ? undefined : parseJson(headBytes);
  if (!isRecord(header) || decodeBase64url(signature) === undefined)
    return malformed("a signature is not base64url of what it must be");
  const { alg, kid, typ: actualTyp } = header;
  if (typeof alg !== "string" || !(SIGNATURE_ALGORITHMS as readonly string[]).includes(alg)) {
    return refuse("alg_refused", `algorithm ${quoted(String(alg))} is not accepted, only ${SIGNATURE_ALGORITHMS.join(" and ")}`);
  }
  if (header["crit"] !== undefined) return refuse("unknown_crit", "a header extension is critical, and none is known here");
  if (actualTyp !== typ) return refuse("wrong_typ", `typ must be ${typ}`);
  if (typeof kid !== "string" || !hasOnly(header, ["alg", "kid", "typ"]))
    return malformed("a header has other members than alg, kid and typ");
  return ok({ protected: head, signature, alg, kid });
}

function malformed(what: string): { readonly ok: false; readonly error: Refusal } {
  return refuse("malformed", `the signed document cannot be read: ${what}`);
}

function hasOnly(record: Record<string, unknown>, names: readonly string[]): boolean {
  return Object.keys(record).every((name) => names.includes(name));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** UTF-8 JSON, or undefined. A byte order mark is no JSON (RFC 8259 8.1). */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** RFC 4648 5 without padding, and canonical: one text for one byte string, so a changed bit is always seen. */
function decodeBase64url(text: string): Uint8Array | undefined {
  try {
    const bytes = base64url.decode(text);
    return base64url.encode(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** SHA-256, base64url. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  // No shared memory comes here; the two runtimes' types differ in whether they ask.
  return base64url.encode(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)));
}
