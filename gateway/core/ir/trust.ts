/**
 * The trust root: which keys may sign what, and how many of them it takes. It is signed by its own root keys, which stay
 * offline; the first one is pinned by its hash, and each later one is signed by the thresholds of itself and of its
 * predecessor, so a reader follows rotations without being told anew.
 */
import { calculateJwkThumbprint, importJWK } from "jose";
import { ok, type Result } from "../result.ts";
import { array, integer, oneOf, runCheck, text, unique } from "./decode/check.ts";
import { object, refined, type Shape, variants } from "./decode/object.ts";
import type { Section } from "./manifest.ts";
import { type Envelope, parseJson, readEnvelope, sha256, type VerificationKey, verifyEnvelope } from "./trust-jws.ts";
import { type Refusal, refuse } from "./trust-refusal.ts";

export const ROOT_TYP = "application/tidegate-root+jws";
/** A root is small; more bytes, keys or signatures than this are refused unread. */
export const ROOT_LIMITS = { maxBytes: 65_536, maxSignatures: 32, maxKeys: 64, maxChain: 1_024 } as const;

export interface RootDocument {
  /** Rises by exactly one with every change. */
  readonly version: number;
  /** Mesh (trust domain) that the keys speak for; never changes. */
  readonly iss: string;
  /** The epoch of every manifest under this root. A root that raises it puts versions back to the start, which undoes a fast-forward. */
  readonly epoch: number;
  /** Unix seconds from which on no new manifest is accepted under it. */
  readonly expires: number;
  readonly keys: readonly RootKey[];
  readonly roles: RootRoles;
}

/** Public keys as JWK (RFC 7517, RFC 8037). `kid` is the key's SHA-256 thumbprint (RFC 7638), so one key has one id. */
export type RootKey =
  | { readonly alg: "EdDSA"; readonly kid: string; readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string }
  | {
      readonly alg: "ES256";
      readonly kid: string;
      readonly kty: "EC";
      readonly crv: "P-256";
      readonly x: string;
      readonly y: string;
    };

export interface Role {
  readonly kids: readonly string[];
  /** Signatures by different keys of the role that it takes. */
  readonly threshold: number;
}

/** One role for the root itself and one for each section. A root key has no other role. */
type RootRoles = { readonly root: Role; readonly egress: EgressRole } & {
  readonly [name in Exclude<Section, "egress">]: Role;
};

interface EgressRole extends Role {
  /** Signatures that a change takes which may let more out; at least `threshold`. */
  readonly wideningThreshold: number;
}

/** A root that was verified, with its keys imported. */
export interface TrustRoot {
  readonly document: RootDocument;
  /** SHA-256 (base64url) of the document's payload: what pins it. */
  readonly hash: string;
  readonly keys: ReadonlyMap<string, VerificationKey>;
}

/** Reads the root that a pin (its payload hash) vouches for: the first one, or one from the reader's own disk. Expiry is not looked at. */
export async function openRoot(bytes: Uint8Array, pin: string): Promise<Result<TrustRoot, Refusal>> {
  const claim = await readClaim(bytes);
  if (!claim.ok) return claim;
  const { root, envelope } = claim.value;
  if (root.hash !== pin) return refuse("root_pin", "the trust root is not the one that was pinned");
  return approve(root, envelope, [root]);
}

/** Reads the successor of `current`: version exactly one more, signed by the root thresholds of both. Expiry is not looked at. */
export async function nextRoot(current: TrustRoot, bytes: Uint8Array): Promise<Result<TrustRoot, Refusal>> {
  const claim = await readClaim(bytes);
  if (!claim.ok) return claim;
  const next = claim.value.root;
  const { version, iss, epoch } = next.document;
  const held = current.document;
  if (version !== held.version + 1) {
    return refuse("root_version", `trust root ${version} cannot follow ${held.version}, only ${held.version + 1} can`);
  }
  if (iss !== held.iss) return refuse("root_issuer", "a trust root cannot change its issuer");
  if (epoch < held.epoch) return refuse("root_epoch", `the epoch must not fall from ${held.epoch} to ${epoch}`);
  return approve(next, claim.value.envelope, [current, next]);
}

/**
 * From a pin to the newest root: the first document is the pinned one, each further one follows its predecessor. Only the last
 * has to be unexpired at `nowS` (Unix seconds), because a reader may have slept through several.
 */
export async function followRoots(
  pin: string,
  documents: readonly Uint8Array[],
  nowS: number,
): Promise<Result<TrustRoot, Refusal>> {
  const [first, ...rest] = documents;
  if (first === undefined) return refuse("root_pin", "there is no trust root");
  if (documents.length > ROOT_LIMITS.maxChain)
    return refuse("too_large", `more than ${ROOT_LIMITS.maxChain} trust roots in one chain`);
  let root = await openRoot(first, pin);
  for (const bytes of rest) {
    if (!root.ok) return root;
    root = await nextRoot(root.value, bytes);
  }
  return root.ok ? requireUnexpired(root.value, nowS) : root;
}

/** Refuses a root from its expiry on. */
export function requireUnexpired(root: TrustRoot, nowS: number): Result<TrustRoot, Refusal> {
  if (nowS < root.document.expires) return ok(root);
  return refuse("root_expired", `trust root ${root.document.version} has expired: sign a new one (tidegate keys rotate)`);
}

/** How many of `signers` a role counts. */
export function countSigners(role: Role, signers: readonly string[]): number {
  return signers.filter((kid) => role.kids.includes(kid)).length;
}

/** `root`, if its signatures are good and reach the root threshold of every judge. */
async function approve(root: TrustRoot, envelope: Envelope, judges: readonly TrustRoot[]): Promise<Result<TrustRoot, Refusal>> {
  const opened = await verifyEnvelope(envelope, new Map(judges.flatMap((judge) => [...judge.keys])));
  if (!opened.ok) return opened;
  const { signers } = opened.value;
  for (const kid of signers) {
    if (!judges.some((judge) => judge.document.roles.root.kids.includes(kid))) {
      return refuse("signer_outside_role", `key ${kid} may not sign trust roots`);
    }
  }
  for (const judge of judges) {
    const role = judge.document.roles.root;
    const count = countSigners(role, signers);
    if (count < role.threshold) {
      return refuse(
        "below_threshold",
        `trust root ${judge.document.version} asks for ${role.threshold} root signature(s), ${count} are there`,
      );
    }
  }
  return ok(root);
}

/** What the document says of itself, before any signature was looked at: its own keys are needed to verify it. */
async function readClaim(bytes: Uint8Array): Promise<Result<{ root: TrustRoot; envelope: Envelope }, Refusal>> {
  const envelope = readEnvelope(bytes, ROOT_TYP, ROOT_LIMITS);
  if (!envelope.ok) return envelope;
  const { payload } = envelope.value;
  const decoded = runCheck(rootDocument, parseJson(payload));
  if (!decoded.ok) return refuse("invalid_root", "the trust root is not what a trust root must be", decoded.error);
  const keys = new Map<string, VerificationKey>();
  for (const jwk of decoded.value.keys) {
    const imported = await importKey(jwk);
    if (imported === undefined)
      return refuse("invalid_root", `key ${jwk.kid} is no ${jwk.alg} key, or its id is not its thumbprint`);
    keys.set(jwk.kid, imported);
  }
  return ok({ root: { document: decoded.value, hash: await sha256(payload), keys }, envelope: envelope.value });
}

async function importKey(jwk: RootKey): Promise<VerificationKey | undefined> {
  try {
    if ((await calculateJwkThumbprint(jwk)) !== jwk.kid) return undefined;
    const key = await importJWK(jwk, jwk.alg);
    return key instanceof Uint8Array ? undefined : { kid: jwk.kid, alg: jwk.alg, key };
  } catch {
    return undefined;
  }
}

const thumbprint = text({ max: 43, min: 43, pattern: /^[A-Za-z0-9_-]+$/, is: "a SHA-256 thumbprint" });
const coordinate = thumbprint;
const COUNT = integer(1, ROOT_LIMITS.maxKeys);
const roleShape: Shape<Role> = { kids: array(thumbprint, ROOT_LIMITS.maxKeys, 1), threshold: COUNT };
const role = object<Role>(roleShape);

const rootKey = variants<RootKey, "alg">("alg", {
  EdDSA: { kid: thumbprint, kty: oneOf("OKP"), crv: oneOf("Ed25519"), x: coordinate },
  ES256: { kid: thumbprint, kty: oneOf("EC"), crv: oneOf("P-256"), x: coordinate, y: coordinate },
});

const rootFields = object<RootDocument>({
  version: integer(1, Number.MAX_SAFE_INTEGER - 1),
  iss: text({ max: 255 }),
  epoch: integer(1, Number.MAX_SAFE_INTEGER - 1),
  expires: integer(0, Number.MAX_SAFE_INTEGER),
  keys: array(rootKey, ROOT_LIMITS.maxKeys, 1),
  roles: object<RootRoles>({
    root: role,
    routes: role,
    quota: role,
    egress: object<EgressRole>({ ...roleShape, wideningThreshold: COUNT }),
  }),
});

const rootDocument = refined(rootFields, ({ keys, roles }, issues) => {
  unique(keys, (key) => key.kid, "keys", issues);
  for (const [name, { kids, threshold }] of Object.entries<Role>(roles)) {
    unique(kids, (kid) => kid, `roles.${name}.kids`, issues);
    if (threshold > kids.length) issues.add(`roles.${name}.threshold`, `must be at most ${kids.length}, the number of its keys`);
    for (let i = 0; i < kids.length; i++) {
      if (!keys.some((key) => key.kid === kids[i])) issues.add(`roles.${name}.kids[${i}]`, "names no key of this document");
      if (name !== "root" && roles.root.kids.some((kid) => kid === kids[i])) {
        issues.add(`roles.${name}.kids[${i}]`, "a root key must have no other role");
      }
    }
  }
  const { egress } = roles;
  if (egress.wideningThreshold < egress.threshold || egress.wideningThreshold > egress.kids.length) {
    issues.add(
      "roles.egress.wideningThreshold",
      `must be from ${egress.threshold}, the threshold, to ${egress.kids.length}, the number of keys`,
    );
  }
});
