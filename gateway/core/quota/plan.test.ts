import { describe, expect, it } from "vitest";
import type { QuotaPolicy } from "../ir/index.ts";
import type { RequestView } from "../match/request.ts";
import { MAX_AMOUNT } from "./limit.ts";
import { type CompiledQuota, compileQuota, MAX_WINDOW_MS } from "./plan.ts";

const POLICY: QuotaPolicy = {
  id: "shop/per-user",
  origin: { kind: "Quota", namespace: "shop", name: "per-user" },
  matches: [],
  key: [
    { kind: "header", name: "x-user" },
    { kind: "query", name: "plan" },
  ],
  limits: [{ name: "burst", amount: 10, perMs: 1000, window: "rolling" }],
  cost: { kind: "fixed", amount: 1 },
  unit: "requests",
  overrides: [],
  whenKeyMissing: "share",
  scope: "local",
  onStoreFailure: { kind: "local", percent: 25 },
  mode: "enforce",
  headers: "both",
  response: { status: 429 },
};
const OPTIONS = { trustedProxies: 0, zones: new Map() };
const PEER = { address: "192.0.2.1", port: 1 };

function compiled(over: Partial<QuotaPolicy>, threads = 1): CompiledQuota {
  const result = compileQuota({ ...POLICY, ...over }, { ...OPTIONS, threads });
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

function request(user: string | undefined, plan: string | undefined, more: readonly string[] = []): RequestView {
  const fields = [...(user === undefined ? [] : ["x-user", user]), ...more];
  const query = plan === undefined ? "" : `plan=${plan}`;
  return { method: "GET", scheme: "http", authority: "a", path: "/", query, fields, servicePort: 80 };
}

describe("keys of several parts", () => {
  it("never read alike for different parts", () => {
    const quota = compiled({});
    const keys = [
      ["ab", "c"],
      ["a", "bc"],
      ["1:a", "b"],
      ["a1:", "b"],
      ["a", "1:b"],
    ].map(([user, plan]) => quota.key(request(user, plan), PEER));
    expect(new Set(keys).size).toBe(5);
  });

  it("are missing when one part is", () => {
    expect(compiled({}).key(request("a", undefined), PEER)).toBeUndefined();
    expect(compiled({ key: [] }).key(request(undefined, undefined), PEER)).toBe("");
  });
});

describe("overrides", () => {
  const limits = (amount: number) => [{ name: "burst", amount, perMs: 1000, window: "rolling" as const }];
  const quota = compiled({
    overrides: [
      { key: ["jason", "gold"], limits: limits(200) },
      { key: ["jason", null], limits: limits(100) },
      { key: [null, "gold"], limits: limits(50) },
      { key: ["eve", "gold"], limits: limits(1) },
    ],
  });

  it.each([
    ["jason", "gold", 200],
    [" jason\t", "gold", 200],
    ["jason", "tin", 100],
    ["anna", "gold", 50],
    ["eve", "gold", 50],
    ["anna", "tin", 10],
  ])("%s with plan %s has %i: the first that fits", (user, plan, amount) => {
    expect(quota.limits(quota.key(request(user, plan), PEER)).limits[0]?.amount).toBe(amount);
  });

  it("do not fit a request without a key", () => {
    expect(quota.limits(undefined).limits[0]?.amount).toBe(10);
  });

  it("fit long values, which are hashed", () => {
    const long = "j".repeat(5000);
    const quota = compiled({ key: [{ kind: "header", name: "x-user" }], overrides: [{ key: [long], limits: limits(7) }] });
    expect(quota.limits(quota.key(request(long, undefined), PEER)).limits[0]?.amount).toBe(7);
    expect(quota.limits(quota.key(request(`${long}j`, undefined), PEER)).limits[0]?.amount).toBe(10);
  });
});

describe("cost", () => {
  const quota = compiled({ cost: { kind: "header", name: "x-cost", max: 50, default: 2 } });
  it.each([
    [[], 2],
    [["x-cost", "7"], 7],
    [["x-cost", "0"], 0],
    [["x-cost", "51"], 50],
    [["x-cost", "-1"], 50],
    [["x-cost", "1.5"], 50],
    [["x-cost", "1e1"], 50],
    [["x-cost", "99999999999999999999999"], 50],
    [["x-cost", "1", "x-cost", "2"], 50],
    [["x-cost", " "], 2],
  ] as const)("%j costs %i", (fields, cost) => {
    expect(quota.cost(fields)).toBe(cost);
  });
});

describe("what cannot be enforced", () => {
  it("is refused whole, every problem at once", () => {
    const result = compileQuota(
      {
        ...POLICY,
        key: [{ kind: "pathVariable", name: "id", template: "/a/{b}" }],
        overrides: [{ key: ["a", "b"], limits: [] }],
        limits: [
          { name: "a", amount: MAX_AMOUNT + 1, perMs: 1000, window: "rolling" },
          { name: "a", amount: 1.5, perMs: MAX_WINDOW_MS + 1, window: "smooth", burst: -1 },
          { name: "c", amount: 1, perMs: 1000, window: "calendar" },
          { name: "d", amount: 1, perMs: 1000, window: "calendar", calendarUnit: "day", timeZone: "Mars/Olympus" },
        ],
        onStoreFailure: { kind: "deny" },
      },
      OPTIONS,
    );
    expect(result.ok ? [] : result.error.map(({ path }) => path)).toEqual([
      "key[0]",
      "limits[0].amount",
      "limits[1].amount",
      "limits[1].perMs",
      "limits[1].burst",
      "limits[2].calendarUnit",
      "limits[3].timeZone",
      "limits",
      "overrides[0].key",
    ]);
  });
});

describe("compiled limits", () => {
  it("divide the local share among threads, never rounding it up", () => {
    expect(
      compiled({ limits: [{ name: "l", amount: 100, perMs: 1000, window: "smooth", burst: 41 }] }, 4).limits("x").local[0],
    ).toMatchObject({
      amount: 6,
      capacity: 2,
    });
    expect(compiled({ onStoreFailure: { kind: "deny" } }).limits("x").local).toEqual([]);
  });

  it("name policies as structured fields", () => {
    const limits = [
      { name: 'we"ird\\é', amount: 5, perMs: 60_000, window: "rolling" as const },
      { name: "fast", amount: 5, perMs: 500, window: "rolling" as const },
    ];
    expect(compiled({ limits, unit: "bytes" }).limits("x").policies).toBe(
      '"shop/per-user#we\\"ird\\\\?";q=5;qu="content-bytes";w=60, "shop/per-user#fast";q=5;qu="content-bytes"',
    );
    expect(compiled({ limits: limits.slice(1), unit: "concurrent" }).limits("x").policies).toBe(
      '"shop/per-user#fast";q=5;qu="concurrent-requests"',
    );
  });
});
