/** What server and client TLS settings have in common: ciphers, pins, and names of secrets. */
import { z } from "zod";
import { isDnsLabel } from "../scalars.ts";

/** Cipher suites of TLS 1.2 that may be asked for, by their OpenSSL names. What is broken (RC4, 3DES, NULL, export, anonymous) is not among them. */
export const CIPHER_SUITES: readonly string[] = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES128-SHA",
  "ECDHE-ECDSA-AES256-SHA",
  "ECDHE-RSA-AES128-SHA",
  "ECDHE-RSA-AES256-SHA",
  "AES128-GCM-SHA256",
  "AES256-GCM-SHA384",
  "AES128-SHA",
  "AES256-SHA",
];

/** Pins: SHA-256 of a public key, base64. */
export const spkiPin = z.string().regex(/^[A-Za-z0-9+/]{43}=$/, {
  error: "is not a SHA-256 in base64 (44 characters); make one of the certificate's public key",
});

/** Pins: SHA-256 of a certificate, hex, with or without colons; parsed to lower case without. */
export const hashPin = z.string().transform((text, ctx): string => {
  const hex = text.replaceAll(":", "").toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  ctx.addIssue("is not a SHA-256 in hex (64 digits, colons allowed); openssl x509 -fingerprint -sha256 prints one");
  return z.NEVER;
});

export interface SecretName {
  /** Undefined: the object's own. */
  readonly namespace: string | undefined;
  readonly name: string;
}

/** `name`, `namespace/name`, or either behind `kubernetes://`; undefined: it is something else. */
export function parseSecretName(text: string): SecretName | undefined {
  const bare = text.replace(/^kubernetes(?:-gateway)?:\/\//, "");
  const slash = bare.indexOf("/");
  const namespace = slash === -1 ? undefined : bare.slice(0, slash);
  const name = bare.slice(slash + 1);
  if (!isSecretName(name) || (namespace !== undefined && !isDnsLabel(namespace))) return undefined;
  return { namespace, name };
}

function isSecretName(name: string): boolean {
  return name.length <= 253 && name.split(".").every(isDnsLabel);
}
