import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importJWK, type JWK, SignJWT } from "jose";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeSiteSecrets, readProxyTokens, readSiteSecrets, SITE_SECRETS } from "./site-secrets.ts";

const REF = { namespace: "edge", name: "edge-eu" };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tidegate-secrets-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KEEP = { rotate: false, proxyUsers: [] };
const file = (key: string): string => join(folder, "edge", "edge-eu", key);

test("makes every secret once: a second time keeps them, rotation replaces all", async () => {
  const made = await makeSiteSecrets(folder, REF, KEEP);
  expect(made.map(({ file: path, outcome }) => [path, outcome])).toEqual(
    Object.keys(SITE_SECRETS).map((key) => [file(key), "made"]),
  );
  const first = readSiteSecrets(folder, REF, "europe");
  const kept = await makeSiteSecrets(folder, REF, KEEP);
  expect(kept.map(({ outcome }) => outcome)).toEqual(["kept", "kept", "kept", "kept"]);
  expect(kept.map(({ kid }) => kid)).toEqual(made.map(({ kid }) => kid));
  expect(readSiteSecrets(folder, REF, "europe")).toEqual(first);
  const replaced = await makeSiteSecrets(folder, REF, { ...KEEP, rotate: true });
  expect(replaced.map(({ outcome }) => outcome)).toEqual(["replaced", "replaced", "replaced", "replaced"]);
  const second = readSiteSecrets(folder, REF, "europe");
  if (!first.ok || !second.ok) throw new Error("unreadable");
  for (const name of Object.values(SITE_SECRETS)) expect(second.value[name]).not.toBe(first.value[name]);
});

test("nobody else can read them, and no answer repeats one", async () => {
  const made = await makeSiteSecrets(folder, REF, KEEP);
  expect(statSync(join(folder, "edge", "edge-eu")).mode & 0o077).toBe(0);
  const secrets = readSiteSecrets(folder, REF, "europe");
  if (!secrets.ok) throw new Error("unreadable");
  for (const { file: path } of made) expect(statSync(path).mode & 0o777).toBe(0o600);
  for (const value of Object.values(secrets.value)) expect(JSON.stringify(made)).not.toContain(value);
});

test("the passport key is an Ed25519 JWK that signs, under the id that was told", async () => {
  const made = await makeSiteSecrets(folder, REF, KEEP);
  const jwk = JSON.parse(readFileSync(file("passport-key"), "utf8")) as JWK;
  expect(jwk).toMatchObject({ kty: "OKP", crv: "Ed25519", kid: made.find(({ kid }) => kid !== undefined)?.kid });
  const jws = await new SignJWT({}).setProtectedHeader({ alg: "EdDSA" }).sign(await importJWK(jwk, "EdDSA"));
  expect(jws.split(".")).toHaveLength(3);
});

test("every unusable file is named with its remedy and without its content", async () => {
  const none = readSiteSecrets(folder, REF, "europe");
  const missing = Object.keys(SITE_SECRETS).map((key) => `there is no ${file(key)}; make it with: npx tidegate edge keys europe`);
  expect(none.ok ? [] : none.error.map(({ problem }) => problem)).toEqual(missing);
  await makeSiteSecrets(folder, REF, KEEP);
  chmodSync(file("relay-token"), 0o644);
  writeFileSync(file("bank-token"), "short");
  writeFileSync(file("passport-key"), '{"kty":"OKP","crv":"Ed25519","x":"public-only"}');
  const some = readSiteSecrets(folder, REF, "europe");
  const told = some.ok ? [] : some.error.map(({ problem }) => problem);
  expect(told).toEqual([
    expect.stringMatching(/relay-token may be read by others.*chmod 600/),
    expect.stringMatching(/bank-token is no token.*--rotate$/),
    expect.stringMatching(/passport-key is no private Ed25519 JWK.*--rotate$/),
  ]);
  expect(told.join()).not.toMatch(/short|public-only/);
});

test("tokens of callers over HTTPS stay and rotate with the others, under the names that the Worker looks for", async () => {
  await makeSiteSecrets(folder, REF, { rotate: false, proxyUsers: ["payments", "ci.build"] });
  const first = readProxyTokens(folder, REF, "europe");
  expect(first.ok ? Object.keys(first.value).sort() : []).toEqual(["PROXY_TOKEN_CI_BUILD", "PROXY_TOKEN_PAYMENTS"]);
  const rotated = await makeSiteSecrets(folder, REF, { ...KEEP, rotate: true });
  expect(rotated.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 6 }, () => "replaced"));
  expect(readProxyTokens(folder, REF, "europe")).not.toEqual(first);
  writeFileSync(file("proxy-token-payments"), "short");
  const second = readProxyTokens(folder, REF, "europe");
  expect(second.ok ? [] : second.error).toEqual([
    { path: "europe", problem: expect.stringMatching(/proxy-token-payments is no token/) },
  ]);
});
