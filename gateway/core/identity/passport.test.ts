/** Forged passports, one table for the reference on WebCrypto and for Node's own verification. */
import { createHmac } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { encode, forge, honest, type Json, type TestSite, testPassport, testSite } from "../../../test/support/passports.ts";
import { NodePassportSignatures } from "../../node/passports.ts";
import type { PassportSettings } from "../ir/index.ts";
import {
  importPassportKey,
  MAX_PASSPORT_SKEW_S,
  MAX_PASSPORT_TTL_S,
  type PassportPorts,
  type PassportSignatures,
  signPassport,
  verifyPassport,
  WEB_CRYPTO_SIGNATURES,
} from "./passport.ts";
import {
  MAX_PASSPORT_CHARS,
  MAX_PASSPORT_CLAIMS,
  MAX_PASSPORT_ID_CHARS,
  MAX_PASSPORT_NAME_CHARS,
  MAX_PASSPORT_QUOTAS,
} from "./passport-claims.ts";

const NOW_MS = 1_800_000_000_000;
const NOW_S = NOW_MS / 1000;
const REQUEST = { method: "GET", authority: "shop.test", target: "/" };

let europe: TestSite;
let asia: TestSite;
let settings: PassportSettings;

beforeAll(async () => {
  europe = await testSite("europe");
  asia = await testSite("asia");
  settings = { audience: "main", issuers: [europe.issuer, asia.issuer] };
});

const ports = (signatures: PassportSignatures, remembered: "fresh" | "seen" | "full" = "fresh"): PassportPorts => ({
  signatures,
  memory: { remember: () => remembered },
});

type Made = Awaited<ReturnType<typeof honest>>;
/** What is wrong with it, how it comes about, and what it is called. */
type Forged = readonly [string, (made: Made) => string, string];

const header = (change: Json) => (made: Made) => forge(europe, { ...made.header, ...change }, made.claims);
const claims = (change: Json) => (made: Made) => forge(europe, made.header, { ...made.claims, ...change });
const without = (claim: string) => (made: Made) => {
  const { [claim]: _gone, ...rest } = made.claims;
  return forge(europe, made.header, rest);
};

const FORGED: readonly Forged[] = [
  ["empty", () => "", "passport_malformed"],
  ["two parts", ({ head, payload }) => `${head}.${payload}`, "passport_malformed"],
  ["four parts", ({ token }) => `${token}.AAAA`, "passport_malformed"],
  ["too long", ({ head, payload }) => `${head}.${payload}.`.padEnd(MAX_PASSPORT_CHARS + 1, "A"), "passport_too_long"],
  ["not base64url", ({ head, payload, signature }) => `${head}.${payload}+.${signature}`, "passport_malformed"],
  ["padded", ({ token }) => `${token}==`, "passport_malformed"],
  ["another spelling of the signature", ({ token }) => respelled(token), "passport_malformed"],
  ["no signature", ({ head, payload }) => `${head}.${payload}.`, "passport_malformed"],
  ["claims that are a list", ({ header: h }) => forge(europe, h, []), "passport_malformed"],
  ["claims that are no JSON", ({ header: h }) => forge(europe, h, "{"), "passport_malformed"],
  [
    "claims with a byte order mark",
    ({ header: h, claims: c }) => forge(europe, h, `\ufeff${JSON.stringify(c)}`),
    "passport_malformed",
  ],
  ["no typ", header({ typ: undefined }), "passport_wrong_typ"],
  ["typ of another kind of token", header({ typ: "JWT" }), "passport_wrong_typ"],
  [
    "alg none, no signature",
    ({ header: h, claims: c }) => `${encode({ ...h, alg: "none" })}.${encode(c)}.`,
    "passport_wrong_alg",
  ],
  ["alg none, a signature", header({ alg: "none" }), "passport_wrong_alg"],
  ["HS256 with the public key", ({ header: h, claims: c }) => hmac({ ...h, alg: "HS256" }, c), "passport_wrong_alg"],
  ["ES256", header({ alg: "ES256" }), "passport_wrong_alg"],
  ["alg in another case", header({ alg: "eddsa" }), "passport_wrong_alg"],
  ["no kid", header({ kid: undefined }), "passport_malformed"],
  ["kid that is a number", header({ kid: 1 }), "passport_malformed"],
  ["a critical extension", header({ crit: ["b64"], b64: false }), "passport_malformed"],
  ["a key of its own", ({ header: h, claims: c }) => forge(asia, { ...h, jwk: { kty: "OKP" } }, c), "passport_malformed"],
  ["a kid that nobody knows", header({ kid: "nobody" }), "passport_unknown_issuer"],
  ["another site's kid, its own key", header({ kid: "asia-1" }), "passport_bad_signature"],
  ["another site's key, its own kid", ({ header: h, claims: c }) => forge(asia, h, c), "passport_bad_signature"],
  ["another site's name", ({ header: h, claims: c }) => forge(asia, { ...h, kid: "asia-1" }, c), "passport_unknown_issuer"],
  [
    "claims changed",
    ({ head, claims: c, signature }) => `${head}.${encode({ ...c, d: "other" })}.${signature}`,
    "passport_bad_signature",
  ],
  [
    "header changed",
    ({ header: h, payload, signature }) => `${encode({ kid: h["kid"], ...h })}.${payload}.${signature}`,
    "passport_bad_signature",
  ],
  ["another cluster", claims({ aud: "other" }), "passport_foreign_audience"],
  ["a list of clusters", claims({ aud: ["main"] }), "passport_malformed"],
  ["just expired", claims({ iat: NOW_S - 30, exp: NOW_S }), "passport_expired"],
  ["long expired", claims({ iat: NOW_S - 90, exp: NOW_S - 60 }), "passport_expired"],
  ["from the future", claims({ iat: NOW_S + MAX_PASSPORT_SKEW_S + 1, exp: NOW_S + 30 }), "passport_not_yet_valid"],
  ["lives too long", claims({ exp: NOW_S + MAX_PASSPORT_TTL_S + 1 }), "passport_too_long_lived"],
  ["lives for ever", claims({ exp: Number.MAX_SAFE_INTEGER }), "passport_too_long_lived"],
  ["exp that is text", claims({ exp: `${NOW_S + 10}` }), "passport_malformed"],
  ["exp that is not whole", claims({ exp: NOW_S + 0.5 }), "passport_malformed"],
  [
    "exp beyond numbers",
    ({ header: h, claims: c }) => forge(europe, h, JSON.stringify(c).replace(/"exp":\d+/, '"exp":1e999')),
    "passport_malformed",
  ],
  ["another method", claims({ m: "POST" }), "passport_other_method"],
  ["a method that is none", claims({ m: "GET /" }), "passport_malformed"],
  ["another authority", claims({ a: "admin.test" }), "passport_other_authority"],
  ["another authority on the way", claims({ h: "in.test" }), "passport_other_authority"],
  ["another path", claims({ p: "/admin" }), "passport_other_target"],
  ["another query", claims({ p: "/?a" }), "passport_other_target"],
  ["a target with a line break", claims({ p: "/\r\nx: y" }), "passport_malformed"],
  ["an address that is none", claims({ ip: "localhost" }), "passport_malformed"],
  ["an address in another spelling", claims({ ip: "2001:DB8::1" }), "passport_malformed"],
  ["quotas that are text", claims({ q: "shop/a" }), "passport_malformed"],
  ["too many quotas", claims({ q: Array.from({ length: MAX_PASSPORT_QUOTAS + 1 }, (_, i) => `ns/q${i}`) }), "passport_malformed"],
  ["too long an id", claims({ jti: "j".repeat(MAX_PASSPORT_ID_CHARS + 1) }), "passport_malformed"],
  ["an empty id", claims({ jti: "" }), "passport_malformed"],
  ["too long a destination", claims({ d: "d".repeat(MAX_PASSPORT_NAME_CHARS + 1) }), "passport_malformed"],
  ["a traceparent that is none", claims({ t: "00-1-2-3" }), "passport_malformed"],
  [
    "too many verified claims",
    claims({ c: Object.fromEntries(Array.from({ length: MAX_PASSPORT_CLAIMS + 1 }, (_, i) => [`c${i}`, i])) }),
    "passport_malformed",
  ],
  ["a claim that nobody knows", claims({ admin: true }), "passport_malformed"],
  ...["iss", "aud", "iat", "exp", "jti", "m", "a", "p", "d", "ip", "q"].map(
    (claim): Forged => [`no ${claim}`, without(claim), "passport_malformed"],
  ),
];

describe.each([
  ["WebCrypto", WEB_CRYPTO_SIGNATURES],
  ["Node", new NodePassportSignatures()],
] as const)("%s", (_, signatures) => {
  it.each(FORGED)("refuses: %s", async (_what, make, code) => {
    const token = make(await honest(europe, {}, NOW_MS));
    const verdict = await verifyPassport(token, REQUEST, settings, ports(signatures), NOW_MS);
    expect(verdict.ok ? "taken" : verdict.error.code).toBe(code);
    if (verdict.ok) return;
    expect(verdict.error.message).toMatch(/ .* /);
    // Nobody is named on the word of a token that is not his.
    const vouched = /expired|valid|lived|other|audience/.test(code);
    expect(verdict.error.signed?.site).toBe(vouched ? "europe" : undefined);
  });

  it("takes what the site has signed, whole", async () => {
    const passport = testPassport(
      {
        wireAuthority: "in.test",
        target: "/a?b=\u00e9",
        charged: ["shop/a", "shop/b"],
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        claims: { sub: "jason", groups: ["a"] },
        clientAddress: "2001:db8::1",
      },
      NOW_MS,
    );
    const token = await signPassport(passport, europe.key);
    const request = { method: "GET", authority: "in.test", target: passport.target };
    expect(await verifyPassport(token, request, settings, ports(signatures), NOW_MS)).toEqual({ ok: true, value: passport });
  });

  it("takes the last moment and the allowed skew", async () => {
    const last = await honest(europe, { issuedAt: NOW_S - 29, expires: NOW_S + 1 });
    expect(await verifyPassport(last.token, REQUEST, settings, ports(signatures), NOW_MS)).toMatchObject({ ok: true });
    const ahead = await honest(europe, {
      issuedAt: NOW_S + MAX_PASSPORT_SKEW_S,
      expires: NOW_S + MAX_PASSPORT_SKEW_S + MAX_PASSPORT_TTL_S,
    });
    expect(await verifyPassport(ahead.token, REQUEST, settings, ports(signatures), NOW_MS)).toMatchObject({ ok: true });
  });

  it.each([
    ["seen", "passport_replayed"],
    ["full", "passport_memory_full"],
  ] as const)("refuses when the memory says %s", async (remembered, code) => {
    const { token } = await honest(europe, {}, NOW_MS);
    const verdict = await verifyPassport(token, REQUEST, settings, ports(signatures, remembered), NOW_MS);
    expect(verdict).toMatchObject({ ok: false, error: { code, signed: { site: "europe" } } });
  });

  it("remembers nothing of what it refuses", async () => {
    const asked: string[] = [];
    const remember = (_site: string, id: string) => {
      asked.push(id);
      return "fresh" as const;
    };
    for (const [, make] of FORGED) {
      const token = make(await honest(europe, {}, NOW_MS));
      await verifyPassport(token, REQUEST, settings, { signatures, memory: { remember } }, NOW_MS);
    }
    expect(asked).toEqual([]);
  });

  it("refuses a public key that is none", async () => {
    const { token } = await honest(europe, {}, NOW_MS);
    const broken = { audience: "main", issuers: [{ ...europe.issuer, x: "A".repeat(42) }] };
    const verdict = await Promise.resolve(verifyPassport(token, REQUEST, broken, ports(signatures), NOW_MS)).catch(
      () => "thrown",
    );
    expect(verdict === "thrown" || verdict).not.toMatchObject({ ok: true });
  });
});

describe("a site's key", () => {
  it.each([
    ["no JSON", "{", "is no JSON"],
    ["a list", "null", "is no JWK"],
    ["a public key", () => JSON.stringify({ kty: "OKP", crv: "Ed25519", x: europe.issuer.x, kid: "k" }), "of another kind"],
    ["another curve", () => JSON.stringify({ ...JSON.parse(europe.jwk), crv: "X25519" }), "of another kind"],
    ["no kid", () => JSON.stringify({ ...JSON.parse(europe.jwk), kid: undefined }), "has no kid"],
    ["damaged", () => JSON.stringify({ ...JSON.parse(europe.jwk), d: "AAAA" }), "no usable key"],
  ])("is refused without being told: %s", async (_, text, problem) => {
    const given = typeof text === "string" ? text : text();
    const key = await importPassportKey(given);
    expect(key.ok ? "taken" : key.error[0]?.problem).toContain(problem);
    expect(JSON.stringify(key)).not.toContain(JSON.parse(europe.jwk).d);
  });
});

/** The unused low bits of the last character changed: the same bytes by a lenient reader. */
function respelled(token: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(token.at(-1) ?? "");
  return `${token.slice(0, -1)}${alphabet[last ^ 1]}`;
}

function hmac(header: Json, payload: Json): string {
  const signed = `${encode(header)}.${encode(payload)}`;
  const secret = Buffer.from(europe.issuer.x, "base64url");
  // Cut and padded to the length of an Ed25519 signature, so that nothing but the algorithm is wrong with it.
  const mac = createHmac("sha512", secret).update(signed).digest();
  return `${signed}.${mac.toString("base64url")}`;
}
