/**
 * The keys that sign snapshots, in one directory:
 *
 *   roots/<version>.json   every trust root so far, public
 *   offline/<kid>.json     root keys (private JWK, 0600): may be moved elsewhere between rotations
 *   online/<kid>.json      role keys (private JWK, 0600): needed by the control plane to publish
 *
 * Private keys are read from files that only their owner can read, and are never shown.
 */
import { lstat, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from "jose";
import type { Refusal, RootDocument, RootKey, SignatureAlgorithm, TrustRoot } from "../../gateway/core/ir/index.ts";
import { nextRoot, openRoot, ROOT_TYP } from "../../gateway/core/ir/index.ts";
import { fail, type Issue, ok, type Result } from "../../gateway/core/result.ts";
import { canonicalJson } from "./canonical.ts";
import { isMissing, prepareDirectory, syncDirectory, writeDurably } from "./files.ts";
import { type Signer, signDocument } from "./sign.ts";

export interface KeyPlan {
  /** Mesh (trust domain). */
  readonly iss: string;
  readonly alg: SignatureAlgorithm;
  readonly rootKeys: number;
  readonly rootThreshold: number;
  /** Online keys; each has the roles routes, egress and quota, unless `separateRoles`. */
  readonly onlineKeys: number;
  readonly threshold: number;
  /** Signatures that a change takes which may let more out. */
  readonly wideningThreshold: number;
  /** `onlineKeys` keys for each role instead of all roles for each key. */
  readonly separateRoles: boolean;
  /** Until the root has to be signed anew. */
  readonly validityS: number;
}

export const DEFAULT_KEY_PLAN: Omit<KeyPlan, "iss"> = {
  alg: "EdDSA",
  rootKeys: 1,
  rootThreshold: 1,
  onlineKeys: 1,
  threshold: 1,
  wideningThreshold: 1,
  separateRoles: false,
  validityS: 365 * 86_400,
};

export interface RotateOptions {
  /** Which keys are replaced; `none` renews the root's expiry, or raises the epoch, with the keys there are. */
  readonly replace: "online" | "root" | "all" | "none";
  readonly nowS: number;
  readonly validityS: number;
  /** Starts versions anew: readers that were led to too high a version come back. */
  readonly raiseEpoch: boolean;
}

/** Everything that publishing needs. */
export interface KeyRing {
  readonly root: TrustRoot;
  /** SHA-256 of the first root's payload: what a join token pins. */
  readonly pin: string;
  /** All roots, oldest first, as signed, and the same verified. */
  readonly roots: readonly Uint8Array[];
  readonly chain: readonly TrustRoot[];
  /** Online keys that the current root knows and that are here. */
  readonly signers: readonly Signer[];
}

interface HeldKey {
  readonly public: RootKey;
  readonly private: JWK;
}

/** Makes keys and the first root. Refuses a directory that has a root already. */
export async function initKeys(directory: string, plan: KeyPlan, nowS: number): Promise<Result<KeyRing>> {
  if ((await rootVersions(directory)).length > 0) {
    return problem(directory, "has a trust root already: rotate it (tidegate keys rotate) or choose another directory");
  }
  const issues = planProblems(plan);
  if (issues.length > 0) return fail(issues);
  await prepareAll(directory);
  const rootKeys = await makeKeys(plan.alg, plan.rootKeys);
  const sets = await Promise.all((plan.separateRoles ? [0, 1, 2] : [0]).map(() => makeKeys(plan.alg, plan.onlineKeys)));
  const online = sets.flat();
  const role = (index: number) => ({ kids: kidsOf(sets[plan.separateRoles ? index : 0] ?? []), threshold: plan.threshold });
  const document: RootDocument = {
    version: 1,
    iss: plan.iss,
    epoch: 1,
    expires: nowS + plan.validityS,
    keys: [...rootKeys, ...online].map((key) => key.public),
    roles: {
      root: { kids: kidsOf(rootKeys), threshold: plan.rootThreshold },
      routes: role(0),
      egress: { ...role(1), wideningThreshold: plan.wideningThreshold },
      quota: role(2),
    },
  };
  await Promise.all([
    ...rootKeys.map((key) => writeKey(directory, "offline", key)),
    ...online.map((key) => writeKey(directory, "online", key)),
  ]);
  const payload = new TextEncoder().encode(canonicalJson(document));
  const signed = await signDocument(payload, ROOT_TYP, await Promise.all(rootKeys.map(toSigner)));
  await writeDurably(rootPath(directory, 1), signed, 0o644);
  return loadKeys(directory);
}

/** Signs root N+1 with the root keys of N and N+1, replaces what was asked for, and removes private keys that sign nothing any more. */
export async function rotateKeys(directory: string, options: RotateOptions): Promise<Result<KeyRing>> {
  const ring = await loadKeys(directory);
  if (!ring.ok) return ring;
  const held = ring.value.root.document;
  const offline = await readKeys(directory, "offline", held.roles.root.kids);
  if (!offline.ok) return offline;
  if (offline.value.length < held.roles.root.threshold) {
    return problem(
      join(directory, "offline"),
      `needs ${held.roles.root.threshold} of the root keys to sign a new root, has ${offline.value.length}`,
    );
  }
  await prepareAll(directory);
  const fresh = new Map<string, HeldKey>();
  for (const { kid, alg } of held.keys) {
    const isRoot = held.roles.root.kids.includes(kid);
    if (options.replace === "all" || options.replace === (isRoot ? "root" : "online")) {
      const [made] = await makeKeys(alg, 1);
      if (made === undefined) continue;
      fresh.set(kid, made);
      await writeKey(directory, isRoot ? "offline" : "online", made);
    }
  }
  const document = successor(held, fresh, options);
  const signers = [...offline.value, ...held.roles.root.kids.flatMap((kid) => fresh.get(kid) ?? [])];
  const payload = new TextEncoder().encode(canonicalJson(document));
  const signed = await signDocument(payload, ROOT_TYP, await Promise.all(signers.map(toSigner)));
  const checked = await nextRoot(ring.value.root, signed);
  if (!checked.ok) return refused(rootPath(directory, document.version), checked.error);
  await writeDurably(rootPath(directory, document.version), signed, 0o644);
  await dropKeys(directory, [...fresh.keys()]);
  return loadKeys(directory);
}

function successor(held: RootDocument, fresh: ReadonlyMap<string, HeldKey>, options: RotateOptions): RootDocument {
  const swap = (kids: readonly string[]) => kids.map((kid) => fresh.get(kid)?.public.kid ?? kid);
  const { root, routes, egress, quota } = held.roles;
  return {
    ...held,
    version: held.version + 1,
    epoch: held.epoch + (options.raiseEpoch ? 1 : 0),
    expires: options.nowS + options.validityS,
    keys: held.keys.map((key) => fresh.get(key.kid)?.public ?? key),
    roles: {
      root: { ...root, kids: swap(root.kids) },
      routes: { ...routes, kids: swap(routes.kids) },
      egress: { ...egress, kids: swap(egress.kids) },
      quota: { ...quota, kids: swap(quota.kids) },
    },
  };
}

/** Reads the chain of roots and the online keys. Offline keys are not looked at. */
export async function loadKeys(directory: string): Promise<Result<KeyRing>> {
  const versions = await rootVersions(directory);
  const [first] = versions;
  if (first === undefined) return problem(directory, "has no trust root: make one (tidegate keys init)");
  const roots = await Promise.all(versions.map((version) => readFile(rootPath(directory, version))));
  const chain = await openChain(directory, versions, roots);
  if (!chain.ok) return chain;
  const root = chain.value.at(-1);
  if (root === undefined) return problem(directory, "has no trust root");
  const { routes, egress, quota } = root.document.roles;
  const keys = await readKeys(directory, "online", [...routes.kids, ...egress.kids, ...quota.kids]);
  if (!keys.ok) return keys;
  const pin = chain.value[0]?.hash ?? root.hash;
  return ok({ root, pin, roots, chain: chain.value, signers: await Promise.all(keys.value.map(toSigner)) });
}

/** The operator's own directory is where trust begins: its first root is taken at its word, everything after it is verified. */
async function openChain(
  directory: string,
  versions: readonly number[],
  roots: readonly Uint8Array[],
): Promise<Result<readonly TrustRoot[]>> {
  const chain: TrustRoot[] = [];
  for (const [i, bytes] of roots.entries()) {
    const held = chain.at(-1);
    const opened = held === undefined ? await openRoot(bytes, await payloadHash(bytes)) : await nextRoot(held, bytes);
    if (!opened.ok) return refused(rootPath(directory, versions[i] ?? 0), opened.error);
    chain.push(opened.value);
  }
  return ok(chain);
}

async function payloadHash(bytes: Uint8Array): Promise<string> {
  try {
    const { payload } = JSON.parse(new TextDecoder().decode(bytes)) as { payload: string };
    const digest = await crypto.subtle.digest("SHA-256", Buffer.from(payload, "base64url"));
    return Buffer.from(digest).toString("base64url");
  } catch {
    return "unreadable";
  }
}

function planProblems(plan: KeyPlan): readonly Issue[] {
  const issues: Issue[] = [];
  const bound = (path: string, value: number, most: number) => {
    if (!Number.isInteger(value) || value < 1 || value > most)
      issues.push({ path, problem: `must be an integer from 1 to ${most}` });
  };
  bound("rootKeys", plan.rootKeys, 16);
  bound("onlineKeys", plan.onlineKeys, 16);
  bound("rootThreshold", plan.rootThreshold, plan.rootKeys);
  bound("threshold", plan.threshold, plan.onlineKeys);
  bound("wideningThreshold", plan.wideningThreshold, plan.onlineKeys);
  if (plan.wideningThreshold < plan.threshold) issues.push({ path: "wideningThreshold", problem: "must be at least threshold" });
  if (plan.iss === "") issues.push({ path: "iss", problem: "must name the mesh (its trust domain)" });
  if (!(plan.validityS >= 3_600)) issues.push({ path: "validityS", problem: "must be at least 3600 (one hour)" });
  return issues;
}

async function makeKeys(alg: SignatureAlgorithm, count: number): Promise<HeldKey[]> {
  return Promise.all(Array.from({ length: count }, () => makeKey(alg)));
}

async function makeKey(alg: SignatureAlgorithm): Promise<HeldKey> {
  const pair = await generateKeyPair(alg, { extractable: true, ...(alg === "EdDSA" ? { crv: "Ed25519" } : {}) });
  const jwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  const shown = publicPart({ ...jwk, kid, alg });
  if (shown === undefined) throw new TypeError(`the runtime made no ${alg} key`);
  return { public: shown, private: { ...jwk, kid, alg } };
}

function publicPart({ kid, alg, kty, crv, x, y }: JWK): RootKey | undefined {
  if (kid === undefined || x === undefined) return undefined;
  if (alg === "EdDSA" && kty === "OKP" && crv === "Ed25519") return { alg: "EdDSA", kid, kty: "OKP", crv: "Ed25519", x };
  if (alg === "ES256" && kty === "EC" && crv === "P-256" && y !== undefined) {
    return { alg: "ES256", kid, kty: "EC", crv: "P-256", x, y };
  }
  return undefined;
}

async function toSigner(key: HeldKey): Promise<Signer> {
  const { alg, kid } = key.public;
  const imported = await importJWK(key.private, alg);
  if (imported instanceof Uint8Array) throw new TypeError("a signing key is never a shared secret");
  return { alg, kid, key: imported };
}

type Place = "offline" | "online";

async function writeKey(directory: string, place: Place, key: HeldKey): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(key.private)}\n`);
  await writeDurably(keyPath(directory, place, key.public.kid), bytes, 0o600);
}

/** Those of the keys that are here; one that is readable by others, or is not what it says, is a problem. */
async function readKeys(directory: string, place: Place, kids: readonly string[]): Promise<Result<readonly HeldKey[]>> {
  const keys: HeldKey[] = [];
  const issues: Issue[] = [];
  for (const kid of new Set(kids)) {
    const path = keyPath(directory, place, kid);
    try {
      const { mode } = await lstat(path);
      if ((mode & 0o170_000) !== 0o100_000) issues.push({ path, problem: "must be a regular file" });
      else if ((mode & 0o077) !== 0) {
        issues.push({
          path,
          problem: `private key is open to others (mode ${(mode & 0o777).toString(8)}): chmod 600, and rotate it if others could read it`,
        });
      } else keys.push(await readKey(path, kid));
    } catch (error) {
      if (!isMissing(error)) issues.push({ path, problem: error instanceof KeyFileError ? error.message : "cannot be read" });
    }
  }
  return issues.length > 0 ? fail(issues) : ok(keys);
}

/** Says what is wrong without a word of the file's content. */
class KeyFileError extends Error {}

async function readKey(path: string, kid: string): Promise<HeldKey> {
  let jwk: JWK;
  try {
    jwk = JSON.parse(await readFile(path, "utf8")) as JWK;
  } catch {
    throw new KeyFileError("is no private key in JWK form: restore it from a backup, or rotate");
  }
  const shown = publicPart(jwk);
  if (shown === undefined || typeof jwk.d !== "string" || shown.kid !== kid || (await calculateJwkThumbprint(shown)) !== kid) {
    throw new KeyFileError("is not the private key that its name says: restore it from a backup, or rotate");
  }
  return { public: shown, private: jwk };
}

async function dropKeys(directory: string, kids: readonly string[]): Promise<void> {
  for (const kid of kids) {
    await rm(keyPath(directory, "online", kid), { force: true });
    await rm(keyPath(directory, "offline", kid), { force: true });
  }
  await syncDirectory(join(directory, "online"));
  await syncDirectory(join(directory, "offline"));
}

async function prepareAll(directory: string): Promise<void> {
  await Promise.all(["roots", "offline", "online"].map((name) => prepareDirectory(join(directory, name))));
}

async function rootVersions(directory: string): Promise<readonly number[]> {
  try {
    const names = await readdir(join(directory, "roots"));
    const versions = names.flatMap((name) => (/^[1-9][0-9]{0,14}\.json$/.test(name) ? [Number.parseInt(name, 10)] : []));
    return versions.sort((a, b) => a - b);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function kidsOf(keys: readonly HeldKey[]): readonly string[] {
  return keys.map((key) => key.public.kid);
}
function keyPath(directory: string, place: Place, kid: string): string {
  return join(directory, place, `${kid}.json`);
}
function rootPath(directory: string, version: number): string {
  return join(directory, "roots", `${version}.json`);
}
function problem(path: string, what: string): { readonly ok: false; readonly error: readonly Issue[] } {
  return fail([{ path, problem: what }]);
}
function refused(path: string, refusal: Refusal): { readonly ok: false; readonly error: readonly Issue[] } {
  return fail([{ path, problem: refusal.detail }, ...refusal.issues]);
}
