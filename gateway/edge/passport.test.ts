import { beforeAll, describe, expect, it } from "vitest";
import { type TestSite, testSite } from "../../test/support/passports.ts";
import { MAX_PASSPORT_CHARS, MAX_PASSPORT_TTL_S, verifyPassport, WEB_CRYPTO_SIGNATURES } from "../core/identity/index.ts";
import { NO_BODY, type RequestHead, type UpstreamTarget } from "../core/index.ts";
import { type PassportOffice, passportFor, passportKey } from "./passport.ts";

const NOW_MS = 1_800_000_000_999;
const VIA = { kind: "passport", cluster: "main", destination: "outbound|80||a.test" } as const;
const TARGET: UpstreamTarget = {
  endpoint: { key: "c|in.test|443", address: "in.test", port: 443, weight: 1, active: 0, runtime: undefined },
  pool: { connectTimeoutMs: 1, idleTimeoutMs: 1, maxConnections: 1, maxPendingRequests: 1, maxRequestsPerConnection: 0 },
  tls: undefined,
  via: VIA,
};
const HEAD: RequestHead = {
  method: "GET",
  scheme: "https",
  authority: "shop.test",
  target: "/a?b",
  fields: ["x-a", "1"],
  body: NO_BODY,
};
const ESTABLISHED = { clientAddress: "2001:db8::1", charged: ["ns/q"], traceparent: undefined };

let site: TestSite;
let office: PassportOffice;
let ids = 0;
beforeAll(async () => {
  site = await testSite();
  office = { site: "europe", key: site.key, unixMs: () => NOW_MS, newId: () => `id-${++ids}` };
});

const token = (head: RequestHead) => head.fields[head.fields.lastIndexOf("x-tidegate-passport") + 1] ?? "";

describe("a passport for an attempt", () => {
  it("says where the request goes, for whom, what was charged, and how the request will be named on its way", async () => {
    const stamped = await passportFor(
      { target: TARGET, head: HEAD },
      { ...ESTABLISHED, traceparent: "garbage" },
      office,
      "in.test",
    );
    if (!stamped.ok) throw new Error(stamped.error.reason);
    const settings = { audience: "main", issuers: [site.issuer] };
    const ports = { signatures: WEB_CRYPTO_SIGNATURES, memory: { remember: () => "fresh" as const } };
    const request = { method: "GET", authority: "in.test", target: "/a?b" };
    expect(await verifyPassport(token(stamped.value), request, settings, ports, NOW_MS)).toEqual({
      ok: true,
      value: {
        site: "europe",
        audience: "main",
        issuedAt: 1_800_000_000,
        expires: 1_800_000_000 + MAX_PASSPORT_TTL_S,
        id: `id-${ids}`,
        method: "GET",
        authority: "shop.test",
        wireAuthority: "in.test",
        target: "/a?b",
        destination: VIA.destination,
        clientAddress: "2001:db8::1",
        charged: ["ns/q"],
      },
    });
  });

  it("takes the place of any other, and every attempt has its own; the step's head stays as it is", async () => {
    const head = { ...HEAD, fields: ["x-tidegate-passport", "mine", "x-a", "x-tidegate-passport"] };
    const made = await Promise.all([1, 2].map(() => passportFor({ target: TARGET, head }, ESTABLISHED, office)));
    const fields = made.map((one) => (one.ok ? one.value.fields : []));
    expect(fields.map((list) => list.slice(0, 3))).toEqual([
      ["x-a", "x-tidegate-passport", "x-tidegate-passport"],
      ["x-a", "x-tidegate-passport", "x-tidegate-passport"],
    ]);
    expect(fields[0]?.[3]).not.toBe(fields[1]?.[3]);
    expect(head.fields[1]).toBe("mine");
  });

  it.each([
    ["an endpoint that is no cluster's gateway", { ...TARGET, via: undefined }, ESTABLISHED, HEAD, "internal"],
    ["nothing established", TARGET, undefined, HEAD, "internal"],
    ["a target that is too long", TARGET, ESTABLISHED, { ...HEAD, target: `/${"a".repeat(MAX_PASSPORT_CHARS)}` }, "uri_too_long"],
  ] as const)("is not made for %s", async (_, target, established, head, code) => {
    const { via, ...rest } = target;
    const made = await passportFor(
      { target: via === undefined ? rest : { ...rest, via }, head: { ...head, fields: [...head.fields] } },
      established,
      office,
    );
    expect(made).toMatchObject({ ok: false, error: { code, neverSent: true } });
  });
});

describe("the site's key", () => {
  it("is read once for as long as the binding stays", async () => {
    const [one, again] = [await passportKey(site.jwk), await passportKey(site.jwk)];
    expect(one.ok && again.ok && one.value === again.value).toBe(true);
    const other = await testSite("asia");
    expect(await passportKey(other.jwk)).toMatchObject({ ok: true, value: { kid: "asia-1" } });
  });

  it.each([
    [undefined, "bind PASSPORT_KEY"],
    ["{}", "of another kind"],
  ])("%s is none", async (text, problem) => {
    const key = await passportKey(text);
    expect(key.ok ? "taken" : key.error.reason).toContain(problem);
  });
});
