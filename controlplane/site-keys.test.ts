import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { fail, ok } from "../gateway/core/result.ts";
import { validateText } from "./config/index.ts";
import { Secret, type SecretReader } from "./secrets.ts";
import { MAX_KID_LENGTH, readSiteKeys } from "./site-keys.ts";

const SITE = `apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: europe, namespace: shop }
spec:
  url: https://edge-eu.example.com
  gateways: [ { name: public } ]
  clusters: [ { name: main, ingress: "https://in.example.com" } ]
  credentials: { fromSecret: { name: edge-eu } }
`;
const resources = (text: string) =>
  validateText(text, "site.yaml", { nowMs: 0 }).objects.flatMap(({ resource }) => resource ?? []);

const holding = (text: string): SecretReader => ({
  read: ({ namespace, name, key }) =>
    `${namespace}/${name}/${key}` === "shop/edge-eu/passport-key"
      ? ok(new Secret(text))
      : fail({ kind: "missing", message: `there is no ${namespace}/${name}/${key}` }),
});

const pair = generateKeyPairSync("ed25519");
const jwk = { ...pair.privateKey.export({ format: "jwk" }), kid: "europe-1" };
const { x } = pair.publicKey.export({ format: "jwk" });

test("the public key comes out of the private one", () => {
  expect(readSiteKeys(resources(SITE), holding(JSON.stringify(jwk)))).toEqual({
    keys: new Map([["EdgeSite/shop/europe", { kid: "europe-1", x }]]),
    problems: [],
  });
});

test("a missing key is told on the site, with the command that makes one", () => {
  const { keys, problems } = readSiteKeys(resources(SITE.replace("edge-eu } }", "other } }")), holding(""));
  expect(keys.size).toBe(0);
  expect(problems).toMatchObject([
    {
      severity: "warning",
      ref: { kind: "EdgeSite", namespace: "shop", name: "europe" },
      path: "spec.credentials",
      message:
        "there is no shop/other/passport-key; run: tidegate edge keys europe; until then no cluster takes the site's passports",
    },
  ]);
});

test("what the reader says is passed on", () => {
  const reader: SecretReader = { read: () => fail({ kind: "unusable", message: "k may be read by others; run: chmod 600 k" }) };
  const [problem] = readSiteKeys(resources(SITE), reader).problems;
  expect(problem?.message).toBe("k may be read by others; run: chmod 600 k; until then no cluster takes the site's passports");
});

test.each([
  ["no JSON", "hunter2"],
  ["null", "null"],
  ["no kid", JSON.stringify({ ...jwk, kid: undefined })],
  ["an empty kid", JSON.stringify({ ...jwk, kid: "" })],
  ["MAX_KID_LENGTH", JSON.stringify({ ...jwk, kid: "k".repeat(MAX_KID_LENGTH + 1) })],
  ["a public key", JSON.stringify({ ...jwk, d: undefined })],
  [
    "another curve",
    JSON.stringify({ ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }), kid: "a" }),
  ],
  ["another public key", JSON.stringify({ ...jwk, x: generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x })],
  ["no public key (RFC 8037 2)", JSON.stringify({ ...jwk, x: undefined })],
  ["half a key", JSON.stringify({ ...jwk, d: "AAAA" })],
])("%s is no passport key, and nothing of it is repeated", (_what, text) => {
  const { keys, problems } = readSiteKeys(resources(SITE), holding(text));
  expect(keys.size).toBe(0);
  expect(problems.map(({ message }) => message)).toEqual([
    "passport-key is not a private Ed25519 key as JWK with a kid; run: tidegate edge keys europe; until then no cluster takes the site's passports",
  ]);
});

test("a site that reaches no cluster signs none", () => {
  const alone = resources(SITE.replace(/ {2}clusters.*\n/, ""));
  expect(readSiteKeys(alone, holding(""))).toEqual({ keys: new Map(), problems: [] });
});
