/**
 * What TLS is made of, out of files: our certificates with their keys, the authorities and revocation lists that others' certificates are held
 * against. Everything is checked before it is used, because the library accepts an empty or half a bundle without a word.
 */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext, DEFAULT_CIPHERS, type SecureContextOptions } from "node:tls";
import type { CertificateFiles, PemFile, TerminatedTls } from "../core/ir/index.ts";
import { fail, ok, type Result } from "../core/result.ts";
import { type Pem, type PemFiles, pemBlocks } from "./pem-files.ts";

/** Smallest RSA key that a client of today's settings accepts (OpenSSL security level 2). */
const MIN_RSA_BITS = 2048;

const FIRST_SUITE = "TLS_AES_128_GCM_SHA256";
const isOfTls13 = (suite: string): boolean => suite.startsWith("TLS_");
const LIBRARY_SUITES = DEFAULT_CIPHERS.split(":");
const TLS13_SUITES = [FIRST_SUITE, ...LIBRARY_SUITES.filter((suite) => isOfTls13(suite) && suite !== FIRST_SUITE)];
const TLS12_SUITES = LIBRARY_SUITES.filter((suite) => !isOfTls13(suite));

/**
 * What a server takes, best first. Of TLS 1.3 that is the suite first that every client has (RFC 8446 9.1): the library's first has SHA-384, which
 * processors have no instructions for, and its own order for TLS 1.2 begins with 128 bits, too.
 *
 * @param configured OpenSSL names, of TLS 1.2 as a rule; none: the library's
 */
export function serverSuites(configured: readonly string[]): readonly string[] {
  if (configured.some(isOfTls13)) return configured;
  return [...TLS13_SUITES, ...(configured.length === 0 ? TLS12_SUITES : configured)];
}

/** A certificate that is shown to others, by its file. */
export interface ShownCertificate {
  readonly file: PemFile;
  /** Unix ms. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
  /** Of both contents. */
  readonly hash: string;
  readonly shown: ShownCertificate;
}

/** What certificates of others are held against. */
export interface Authorities {
  readonly ca: readonly string[];
  readonly crl: readonly string[];
  readonly hash: string;
}

export interface ServerMaterial {
  readonly options: SecureContextOptions;
  /** Changes with anything that clients could notice. */
  readonly hash: string;
  /**
   * Changes with anything that a session may not outlive: a client that was let in by these rules is let in again without its certificate
   * being looked at, so a session is good for one server with one set of rules, authorities and revocation lists.
   */
  readonly session: string;
  readonly shown: readonly ShownCertificate[];
}

/** @returns why not, with the file that is to blame */
export function readServer(tls: TerminatedTls, files: PemFiles, server: string): Result<ServerMaterial, string> {
  const pairs: KeyPair[] = [];
  for (const one of [tls, ...(tls.otherCertificates ?? [])]) {
    const pair = readKeyPair(one, files);
    if (!pair.ok) return pair;
    pairs.push(pair.value);
  }
  const ciphers = tls.cipherSuites.join(":");
  if (ciphers !== "" && !areCiphers(ciphers)) return fail(`cipher suites ${ciphers}: this gateway's OpenSSL knows none of them`);
  const authorities = tls.mode === "simple" ? ok(NO_AUTHORITIES) : readAuthorities(tls.client, files);
  if (!authorities.ok) return authorities;
  const { ca, crl, hash } = authorities.value;
  const session = digest(server, JSON.stringify(tls), hash);
  return ok({
    options: {
      cert: pairs.map(({ cert }) => cert),
      key: pairs.map(({ key }) => key),
      minVersion: tls.minVersion,
      maxVersion: tls.maxVersion,
      ciphers: serverSuites(tls.cipherSuites).join(":"),
      ...(ca.length === 0 ? {} : { ca: [...ca] }),
      ...(crl.length === 0 ? {} : { crl: [...crl] }),
    },
    hash: digest(session, ...pairs.map((pair) => pair.hash)),
    session,
    shown: pairs.map(({ shown }) => shown),
  });
}

/** Others refuse certificates out of their time; whether to go on all the same is theirs to decide. */
export function validityProblems(shown: readonly ShownCertificate[], unixMs: number): readonly string[] {
  return shown.flatMap(({ file, notBeforeMs, notAfterMs }) => {
    if (unixMs > notAfterMs) return [`certificate ${file} has expired on ${new Date(notAfterMs).toISOString()}`];
    if (unixMs < notBeforeMs) return [`certificate ${file} is not valid before ${new Date(notBeforeMs).toISOString()}`];
    return [];
  });
}

/** A chain with the key of its leaf. */
export function readKeyPair({ certificateFile, privateKeyFile }: CertificateFiles, files: PemFiles): Result<KeyPair, string> {
  const certificate = files.read(certificateFile);
  if (!certificate.ok) return fail(`certificate ${certificate.error}`);
  const key = files.read(privateKeyFile);
  if (!key.ok) return fail(`private key ${key.error}`);
  const [where, keyWhere] = [files.pathOf(certificateFile), files.pathOf(privateKeyFile)];
  const leaf = parsed(() => new X509Certificate(certificate.value.text));
  if (leaf === undefined) return fail(`certificate ${where} is not a PEM certificate`);
  const own = parsed(() => createPrivateKey(key.value.text));
  if (own === undefined) return fail(`private key ${keyWhere} is not an unencrypted PEM private key`);
  if (!leaf.checkPrivateKey(own))
    return fail(`private key ${keyWhere} does not belong to the first certificate in ${where}; the leaf must come first`);
  if (isWeak(own)) return fail(`private key ${keyWhere} is an RSA key of less than ${MIN_RSA_BITS} bits, which clients refuse`);
  const shown = { file: certificateFile, notBeforeMs: leaf.validFromDate.getTime(), notAfterMs: leaf.validToDate.getTime() };
  return ok({
    cert: certificate.value.text,
    key: key.value.text,
    hash: digest(certificate.value.hash, key.value.hash),
    shown,
  });
}

/** Nothing is checked where no file is named. */
export function readAuthorities(
  { caFile, crlFile }: { readonly caFile?: PemFile; readonly crlFile?: PemFile },
  files: PemFiles,
): Result<Authorities, string> {
  const bundle = caFile === undefined ? ok(undefined) : files.read(caFile);
  if (!bundle.ok) return fail(`authorities ${bundle.error}`);
  const ca = readBundle(bundle.value, caFile && files.pathOf(caFile), BUNDLES.authorities);
  if (!ca.ok) return ca;
  const lists = crlFile === undefined ? ok(undefined) : files.readIfThere(crlFile);
  if (!lists.ok) return fail(`revocation lists ${lists.error}`);
  const crl = readBundle(lists.value, crlFile && files.pathOf(crlFile), BUNDLES.revocations);
  if (!crl.ok) return crl;
  return ok({ ca: ca.value.blocks, crl: crl.value.blocks, hash: digest(ca.value.hash, crl.value.hash) });
}

const EMPTY = { blocks: [] as readonly string[], hash: "" };
const NO_AUTHORITIES: Authorities = { ca: [], crl: [], hash: "" };

const BUNDLES = {
  authorities: {
    what: "authorities",
    label: "CERTIFICATE",
    one: "certificate",
    parse: (block: string) => new X509Certificate(block),
  },
  revocations: {
    what: "revocation lists",
    label: "X509 CRL",
    one: "revocation list",
    parse: (block: string) => createSecureContext({ crl: block }),
  },
} as const;

/** Each block by itself: the library stops at the first list, and at the first certificate that it cannot read. */
function readBundle(
  pem: Pem | undefined,
  path: string | undefined,
  { what, label, one, parse }: (typeof BUNDLES)[keyof typeof BUNDLES],
): Result<typeof EMPTY, string> {
  if (pem === undefined) return ok(EMPTY);
  const blocks = pemBlocks(pem.text, label);
  if (blocks.length === 0) return fail(`${what} ${path} holds no PEM ${one}`);
  const bad = blocks.findIndex((block) => parsed(() => parse(block)) === undefined);
  if (bad !== -1) return fail(`${what} ${path}: ${one} ${bad + 1} of ${blocks.length} cannot be read`);
  return ok({ blocks, hash: pem.hash });
}

function isWeak({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): boolean {
  return asymmetricKeyType === "rsa" && (asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS;
}

/** Lists that were tried: there are few, and each server has one. */
const knownCiphers = new Map<string, boolean>();

function areCiphers(ciphers: string): boolean {
  let known = knownCiphers.get(ciphers);
  if (known === undefined) {
    known = parsed(() => createSecureContext({ ciphers })) !== undefined;
    knownCiphers.set(ciphers, known);
  }
  return known;
}

/** The library's own words may quote the file. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

function digest(...parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest("base64url");
}
