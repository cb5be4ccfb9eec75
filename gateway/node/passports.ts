/** Passports on Node: signatures by OpenSSL, at once and with keys that are kept, because WebCrypto would cost every request a turn of the event loop. */
import { createPublicKey, type KeyObject, verify } from "node:crypto";
import type { PassportSignatures } from "../core/identity/index.ts";
import type { PassportIssuer } from "../core/ir/index.ts";

/** Keys that are kept. Sites have one or two each; more than this and keeping starts over. */
const MAX_KEPT_KEYS = 256;

export class NodePassportSignatures implements PassportSignatures {
  readonly #keys = new Map<string, KeyObject | undefined>();

  isSigned(token: string, issuer: PassportIssuer): boolean {
    const key = this.#keyOf(issuer);
    if (key === undefined) return false;
    const dot = token.lastIndexOf(".");
    return verify(null, Buffer.from(token.slice(0, dot), "latin1"), key, Buffer.from(token.slice(dot + 1), "base64url"));
  }

  /** Undefined: 32 bytes that are no key, which signs nothing. */
  #keyOf({ x }: PassportIssuer): KeyObject | undefined {
    if (this.#keys.has(x)) return this.#keys.get(x);
    if (this.#keys.size >= MAX_KEPT_KEYS) this.#keys.clear();
    const key = readKey(x);
    this.#keys.set(x, key);
    return key;
  }
}

function readKey(x: string): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  } catch {
    return undefined;
  }
}
