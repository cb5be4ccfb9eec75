import { expect, test } from "vitest";
import { fail, ok, type Result } from "../gateway/core/result.ts";
import type { SitePool } from "./publishing.ts";
import { Secret, type SecretProblem, type SecretRef } from "./secrets.ts";
import { siteTargets } from "./site-targets.ts";

const asked: SecretRef[] = [];
const secrets = (answer: Result<Secret, SecretProblem>) => ({
  read: (ref: SecretRef) => {
    asked.push(ref);
    return answer;
  },
});
const site = (spec: object): SitePool =>
  ({
    name: "edge-eu",
    site: { metadata: { namespace: "shop", name: "europe" }, spec: { url: "https://eu.example", ...spec } },
  }) as SitePool;

test("a site's address, pool, and the token of the secret that it names", () => {
  const named = site({ credentials: { fromSecret: { name: "edge-secret" } } });
  expect(siteTargets([named], secrets(ok(new Secret("t0ken"))))).toEqual([
    { name: "europe", audience: "edge-eu", url: "https://eu.example", token: ok("t0ken") },
  ]);
  expect(asked.at(-1)).toEqual({ namespace: "shop", name: "edge-secret", key: "relay-token" });
});

test("without a token it is a target that says why", () => {
  const missing = secrets(fail({ kind: "missing", message: "there is no f" }));
  expect(siteTargets([site({})], missing)[0]?.token).toEqual(fail("there is no f; run: tidegate edge keys europe"));
  expect(asked.at(-1)).toEqual({ namespace: "shop", name: "europe", key: "relay-token" });
  const open = secrets(fail({ kind: "unusable", message: "f may be read by others" }));
  expect(siteTargets([site({})], open)[0]?.token).toEqual(fail("f may be read by others"));
});
