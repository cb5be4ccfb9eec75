/** Passports: reading is total, a form that is read is the only spelling of what it says, and nothing is taken whose signature is not the site's. */
import { generateKeyPairSync, sign } from "node:crypto";
import { verifyPassport } from "../../../gateway/core/identity/index.ts";
import { readPassport } from "../../../gateway/core/identity/passport-claims.ts";
import { NodePassportSignatures } from "../../../gateway/node/passports.ts";
import type { Dice } from "../dice.ts";
import { FuzzFailure, type FuzzTarget, latin1 } from "../target.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const NOW_S = 1_800_000_000;
const SETTINGS = {
  audience: "main",
  issuers: [{ site: "europe", kid: "k", x: publicKey.export({ format: "jwk" }).x ?? "" }],
};
const REQUEST = { method: "GET", authority: "a.test", target: "/" };
const PORTS = { signatures: new NodePassportSignatures(), memory: { remember: () => "fresh" as const } };

let inputs = 0;
let read = 0;
let taken = 0;

const part = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

function token(header: unknown, claims: unknown): string {
  const signed = `${part(header)}.${part(claims)}`;
  return `${signed}.${sign(null, Buffer.from(signed), privateKey).toString("base64url")}`;
}

const HEADER = { alg: "EdDSA", typ: "tidegate-passport+jwt", kid: "k" };
const CLAIMS = {
  iss: "europe",
  aud: "main",
  iat: NOW_S,
  exp: NOW_S + 30,
  jti: "id",
  m: "GET",
  a: "a.test",
  p: "/",
  d: "c",
  ip: "192.0.2.1",
  q: [] as string[],
};

/** Claims and header with something else in one place or two. */
function changed(dice: Dice): string {
  const values: readonly unknown[] = [
    "",
    "none",
    "HS256",
    null,
    0,
    -1,
    Number.POSITIVE_INFINITY,
    NOW_S,
    [],
    ["a"],
    {},
    true,
    "\u0000",
    "x".repeat(dice.int(700)),
  ];
  const header: Record<string, unknown> = { ...HEADER };
  const claims: Record<string, unknown> = { ...CLAIMS };
  for (let left = dice.int(3); left > 0; left--) {
    const into = dice.chance(0.3) ? header : claims;
    into[dice.pick([...Object.keys(into), "crit", "nbf", "__proto__", "t", "c", "h"])] = dice.pick(values);
  }
  return token(header, claims);
}

export const target: FuzzTarget = {
  name: "passport",
  seeds: [latin1(token(HEADER, CLAIMS)), latin1(token(HEADER, { ...CLAIMS, h: "b.test", c: { sub: "a" } })), latin1("a.b.c")],
  tokens: [".", "..", "=", "-", "_", "A", part(HEADER), part({ ...HEADER, alg: "none" }), "\u00e9"],
  generate: (dice) => latin1(changed(dice)),
  check(input) {
    inputs++;
    const text = Buffer.from(input).toString("latin1");
    const form = readPassport(text);
    if (form.ok) {
      read++;
      const [head = "", claims = ""] = text.split(".");
      for (const one of [head, claims])
        if (Buffer.from(one, "base64url").toString("base64url") !== one) throw new FuzzFailure("one spelling", text);
    }
    const verdict = verifyPassport(text, REQUEST, SETTINGS, PORTS, NOW_S * 1000);
    if (verdict instanceof Promise || !verdict.ok) return;
    taken++;
    const { site, audience, expires, issuedAt } = verdict.value;
    if (site !== "europe" || audience !== "main" || expires - issuedAt > 30)
      throw new FuzzFailure("takes only what it may", text);
    const at = text.lastIndexOf(".");
    const again = sign(null, Buffer.from(text.slice(0, at)), privateKey).toString("base64url");
    // Ed25519 is deterministic: the site itself would have written just this.
    if (again !== text.slice(at + 1)) throw new FuzzFailure("the site's signature", text);
  },
  summary: () => `${read} of ${inputs} read, ${taken} taken`,
};
