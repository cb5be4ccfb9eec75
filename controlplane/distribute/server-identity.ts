/**
 * The control plane's own TLS identity: a small authority made at the first start, and a server certificate that it renews.
 * Join tokens pin the authority, so gateways need no public CA and nobody else's certificate will do.
 */
import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { CONTROL_PLANE_NAME } from "../../gateway/core/identity/index.ts";

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
const SERVER_DAYS = 90;

export interface ServerIdentity {
  /** PEM of the authority, as join tokens carry it. */
  readonly ca: string;
  readonly certificate: string;
  readonly privateKey: string;
}

/**
 * Loads the identity from `directory`, making what is missing; the server certificate is made anew when two thirds of its life are over or a name is not covered.
 * @param extraNames DNS names and IP addresses besides the one that gateways ask for.
 * @throws Error naming the file when one cannot be read or written.
 */
export async function loadServerIdentity(
  directory: string,
  extraNames: readonly string[],
  nowMs: number,
): Promise<ServerIdentity> {
  const names = [CONTROL_PLANE_NAME, ...extraNames];
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const files = {
    caKey: join(directory, "ca.key"),
    ca: join(directory, "ca.crt"),
    key: join(directory, "server.key"),
    certificate: join(directory, "server.crt"),
  };
  if (!existsSync(files.ca) || !existsSync(files.caKey)) {
    const authority = await makeAuthority(nowMs);
    save(files.caKey, authority.key);
    save(files.ca, authority.certificate);
  }
  const ca = readFileSync(files.ca, "utf8");
  if (
    !existsSync(files.certificate) ||
    !existsSync(files.key) ||
    !stillGood(readFileSync(files.certificate, "utf8"), ca, names, nowMs)
  ) {
    const server = await makeServer(ca, readFileSync(files.caKey, "utf8"), names, nowMs);
    save(files.key, server.key);
    save(files.certificate, server.certificate);
  }
  return { ca, certificate: readFileSync(files.certificate, "utf8"), privateKey: readFileSync(files.key, "utf8") };
}

function save(file: string, text: string): void {
  const part = `${file}.part`;
  writeFileSync(part, text, { mode: 0o600 });
  chmodSync(part, 0o600);
  renameSync(part, file);
}

function stillGood(certificate: string, ca: string, names: readonly string[], nowMs: number): boolean {
  const parsed = new x509.X509Certificate(certificate);
  if (parsed.issuer !== new x509.X509Certificate(ca).subject) return false;
  const { notBefore, notAfter } = parsed;
  if (nowMs > notBefore.getTime() + ((notAfter.getTime() - notBefore.getTime()) * 2) / 3) return false;
  const covered = new Set(parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items.map((name) => name.value));
  return names.every((name) => covered.has(name));
}

async function makeAuthority(nowMs: number): Promise<{ key: string; certificate: string }> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=tidegate control plane ${serialNumber().slice(0, 8)}`,
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + AUTHORITY_DAYS * DAY_MS),
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { key: await exportKey(keys.privateKey), certificate: certificate.toString("pem") };
}

async function makeServer(
  ca: string,
  caKey: string,
  names: readonly string[],
  nowMs: number,
): Promise<{ key: string; certificate: string }> {
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: "CN=tidegate control plane",
    issuer: new x509.X509Certificate(ca).subject,
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + SERVER_DAYS * DAY_MS),
    signingAlgorithm: KEY_ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await importKey(caKey),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((name) => ({ type: isIP(name) ? "ip" : "dns", value: name }))),
    ],
  });
  return { key: await exportKey(keys.privateKey), certificate: certificate.toString("pem") };
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return await crypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(pem), KEY_ALGORITHM, false, ["sign"]);
}

/** Positive and random: 127 bits. */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = (bytes[0] ?? 0) & 0x7f;
  return Buffer.from(bytes).toString("hex");
}
