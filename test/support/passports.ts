/** Passports for tests: a site's key, honest passports by it, and the parts to forge others from. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { importPassportKey, type Passport, type PassportKey, signPassport } from "../../gateway/core/identity/index.ts";
import type { PassportIssuer } from "../../gateway/core/ir/index.ts";

export interface TestSite {
  readonly issuer: PassportIssuer;
  readonly privateKey: KeyObject;
  readonly key: PassportKey;
  /** As the site's secret holds it. */
  readonly jwk: string;
}

export async function testSite(site = "europe", kid = `${site}-1`): Promise<TestSite> {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x = "" } = publicKey.export({ format: "jwk" });
  const jwk = JSON.stringify({ ...privateKey.export({ format: "jwk" }), kid });
  const key = await importPassportKey(jwk);
  if (!key.ok) throw new Error(JSON.stringify(key.error));
  return { issuer: { site, kid, x }, privateKey, key: key.value, jwk };
}

let count = 0;

/** Good for a GET of `/` at `shop.test` from now on. */
export function testPassport(change: Partial<Passport> = {}, nowMs = Date.now()): Passport {
  const issuedAt = Math.floor(nowMs / 1000);
  return {
    site: "europe",
    audience: "main",
    issuedAt,
    expires: issuedAt + 30,
    id: `passport-${++count}`,
    method: "GET",
    authority: "shop.test",
    target: "/",
    destination: "outbound|80||origin.test",
    clientAddress: "198.51.100.7",
    charged: [],
    ...change,
  };
}

/** The token and its claims, for those who want to change them. */
export async function honest(site: TestSite, change: Partial<Passport> = {}, nowMs?: number) {
  const token = await signPassport(testPassport({ site: site.issuer.site, ...change }, nowMs), site.key);
  const [head = "", payload = "", signature = ""] = token.split(".");
  return { token, head, payload, signature, header: parse(head), claims: parse(payload) };
}

export type Json = Record<string, unknown>;

/** Signed as told: by the site's key over whatever header and claims. */
export function forge(site: TestSite, header: Json, claims: unknown): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${sign(null, Buffer.from(signed), site.privateKey).toString("base64url")}`;
}

export function encode(value: unknown): string {
  return Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
}

function parse(part: string): Json {
  return JSON.parse(Buffer.from(part, "base64url").toString("utf8")) as Json;
}
