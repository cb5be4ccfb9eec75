/**
 * The secrets of one site, as files of the control plane's secrets folder: what its parts show each other, and the key that signs its passports.
 * Values leave this file only towards the runtime that needs them; no message repeats one.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";
import { userBinding } from "../../gateway/core/ir/index.ts";
import { fail, type Issue, ok, type Result } from "../../gateway/core/result.ts";
import { secretDirectory } from "../secrets.ts";

/** File name in the secret's folder, and the name under which a Worker finds it. */
export const SITE_SECRETS = {
  "relay-token": "RELAY_TOKEN",
  "bank-token": "BANK_TOKEN",
  "tunnel-token": "TUNNEL_TOKEN",
  "passport-key": "PASSPORT_KEY",
} as const;

type SecretKey = keyof typeof SITE_SECRETS;
type SecretVariable = (typeof SITE_SECRETS)[SecretKey];
const KEYS = Object.keys(SITE_SECRETS) as readonly SecretKey[];

/** A Secret's place: `<secrets folder>/<namespace>/<name>/`. */
export interface SecretRef {
  readonly namespace: string;
  readonly name: string;
}

/** By the name that the Worker knows. Not for logs. */
export type SiteSecrets = Readonly<Record<SecretVariable, string>>;

export interface SecretFile {
  readonly file: string;
  readonly outcome: "made" | "kept" | "replaced";
  /** Of the passport key: what the Node gateways are told. */
  readonly kid?: string;
}

/** What a gateway on Node is told to draw leases at the site (`--bank-token-file`). */
export function bankTokenFile(secrets: string, ref: SecretRef): string {
  return join(secretFolder(secrets, ref), "bank-token");
}

export function secretFolder(secrets: string, { namespace, name }: SecretRef): string {
  return join(secrets, namespace, name);
}

export interface MakeOptions {
  /** Replaces what is there. */
  readonly rotate: boolean;
  /** Users of the egress over HTTPS who get a token, besides those who have one. */
  readonly proxyUsers: readonly string[];
}

/** Makes what is missing. What is there stays, unless `rotate`. */
export async function makeSiteSecrets(
  secrets: string,
  ref: SecretRef,
  { rotate, proxyUsers }: MakeOptions,
): Promise<readonly SecretFile[]> {
  const folder = secretFolder(secrets, ref);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const files: SecretFile[] = [];
  const users = proxyUsers.map((user) => `${PROXY_TOKEN}${user}`);
  for (const key of new Set([...KEYS, ...proxyTokenFiles(folder), ...users])) {
    const file = join(folder, key);
    const there = existsSync(file);
    if (there && !rotate) {
      files.push({ file, outcome: "kept", ...kidIn(key, readFileSync(file, "utf8")) });
      continue;
    }
    const value = key === "passport-key" ? await passportKey() : randomBytes(32).toString("base64url");
    replaceFile(file, `${value}\n`);
    files.push({ file, outcome: there ? "replaced" : "made", ...kidIn(key, value) });
  }
  return files;
}

/** All of them, or each one that is missing, open to others or not of its form, with the remedy. */
export function readSiteSecrets(secrets: string, ref: SecretRef, site: string): Result<SiteSecrets> {
  const read = readAll(secrets, ref, site, new Map(KEYS.map((key) => [key, SITE_SECRETS[key]])));
  // Whoever reads all of them without an issue has all of them.
  return read.ok ? ok(read.value as SiteSecrets) : read;
}

/** Tokens by which the egress Worker knows callers over HTTPS, by the Worker's name for each. */
export function readProxyTokens(secrets: string, ref: SecretRef, site: string): Result<Readonly<Record<string, string>>> {
  const files = proxyTokenFiles(secretFolder(secrets, ref));
  return readAll(secrets, ref, site, new Map(files.map((key) => [key, userBinding(key.slice(PROXY_TOKEN.length))])));
}

/** Begins the file names of proxy users' tokens. */
const PROXY_TOKEN = "proxy-token-";

function proxyTokenFiles(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder).filter((file) => file.startsWith(PROXY_TOKEN) && !file.endsWith(NEW)) : [];
}

/** @param names of files, with the name that the Worker knows */
function readAll(
  secrets: string,
  ref: SecretRef,
  site: string,
  names: ReadonlyMap<string, string>,
): Result<Readonly<Record<string, string>>> {
  const reader = secretDirectory(secrets);
  const issues: Issue[] = [];
  const values: Record<string, string> = {};
  const remedy = `npx tidegate edge keys ${site}`;
  for (const [key, name] of names) {
    const secret = reader.read({ ...ref, key });
    if (!secret.ok) {
      const { kind, message } = secret.error;
      issues.push({ path: site, problem: kind === "missing" ? `${message}; make it with: ${remedy}` : message });
      continue;
    }
    const value = secret.value.reveal().trim();
    const problem = wrongForm(key, value);
    if (problem === undefined) values[name] = value;
    else {
      const file = join(secretFolder(secrets, ref), key);
      issues.push({ path: site, problem: `${file} is ${problem}; make it anew with: ${remedy} --rotate` });
    }
  }
  return issues.length > 0 ? fail(issues) : ok(values);
}

function wrongForm(key: string, value: string): string | undefined {
  if (key === "passport-key") return kidIn(key, value).kid === undefined ? "no private Ed25519 JWK with a kid" : undefined;
  return TOKEN.test(value) ? undefined : "no token of at least 16 visible ASCII characters";
}

/** What the Workers take, so that nobody can guess it. */
const TOKEN = /^[\x21-\x7e]{16,}$/;

async function passportKey(): Promise<string> {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true, crv: "Ed25519" });
  const jwk = await exportJWK(privateKey);
  return JSON.stringify({ ...jwk, kid: await calculateJwkThumbprint(jwk) });
}

function kidIn(key: string, value: string): { readonly kid?: string } {
  if (key !== "passport-key") return {};
  try {
    const { kty, crv, kid, d, x } = JSON.parse(value) as Record<string, unknown>;
    const whole = kty === "OKP" && crv === "Ed25519" && typeof d === "string" && typeof x === "string";
    return whole && typeof kid === "string" ? { kid } : {};
  } catch {
    return {};
  }
}

const NEW = ".new";

/** Whoever reads the file meets the old value or the new one, never half of either. */
function replaceFile(file: string, text: string): void {
  const fresh = `${file}${NEW}`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, text, { mode: 0o600, flag: "wx" });
  chmodSync(fresh, 0o600);
  renameSync(fresh, file);
}
