import { describe, expect, it } from "vitest";
import type { QuotaPolicy } from "../ir/index.ts";
import type { RequestView } from "../match/request.ts";
import type { QuotaAnswer, QuotaBank, QuotaCharge } from "../ports.ts";
import type { Charge } from "../quota/decide.ts";
import { MapBank } from "../quota/map-bank.ts";
import { type CompiledQuota, type CompileQuotaOptions, compileQuota, type QuotaOutcome } from "../quota/plan.ts";
import { NOTHING_CHARGED, type QuotaAdmission, QuotaFilter, type QuotaVerdict } from "./quota.ts";
import type { QuotaRefusal } from "./quota-refusal.ts";

const POLICY: QuotaPolicy = {
  id: "shop/per-user",
  origin: { kind: "Quota", namespace: "shop", name: "per-user" },
  matches: [],
  key: [{ kind: "header", name: "x-user" }],
  limits: [
    { name: "burst", amount: 2, perMs: 1000, window: "smooth" },
    { name: "hour", amount: 3, perMs: 3_600_000, window: "rolling" },
  ],
  cost: { kind: "fixed", amount: 1 },
  unit: "requests",
  overrides: [],
  whenKeyMissing: "share",
  scope: "local",
  onStoreFailure: { kind: "deny" },
  mode: "enforce",
  headers: "none",
  response: { status: 429 },
};
const PEER = { address: "192.0.2.1", port: 1 };
const ONE = [{ name: "one", amount: 1, perMs: 1000, window: "rolling" as const }];

class World {
  us = 5_000_000_000;
  readonly outcomes: QuotaOutcome[] = [];
  readonly bank: QuotaBank;
  readonly filter: QuotaFilter;

  constructor(maxCounters = 100, wrap: (bank: MapBank) => QuotaBank = (bank) => bank, maxLocal = 100) {
    this.bank = wrap(new MapBank({ maxCounters, unixMs: () => 0 }));
    const fallback = new MapBank({ maxCounters: maxLocal, unixMs: () => 0 });
    this.filter = new QuotaFilter({ bank: this.bank, fallback, nowUs: () => this.us });
  }

  quota(over: Partial<QuotaPolicy> = {}, options: Partial<CompileQuotaOptions> = {}): CompiledQuota {
    const meter = { count: (outcome: QuotaOutcome) => void this.outcomes.push(outcome) };
    const result = compileQuota({ ...POLICY, ...over }, { trustedProxies: 0, zones: new Map(), meter, ...options });
    if (!result.ok) throw new Error(JSON.stringify(result.error));
    return result.value;
  }

  ask(quotas: readonly CompiledQuota[], user?: string, bodyBytes?: number, more: readonly string[] = []): QuotaVerdict {
    const verdict = this.filter.charge(quotas, request(user, more), PEER, bodyBytes);
    if (verdict instanceof Promise) throw new Error("asked a bank that waits");
    return verdict;
  }
}

function request(user?: string, more: readonly string[] = []): RequestView {
  const fields = [...(user === undefined ? [] : ["x-user", user]), ...more];
  return { method: "GET", scheme: "http", authority: "a", path: "/", query: "", fields, servicePort: 80 };
}

function refusal(verdict: QuotaVerdict): QuotaRefusal {
  expect(verdict.kind).toBe("refused");
  return verdict as QuotaRefusal;
}

function fieldsOf(verdict: QuotaVerdict): { [name: string]: string } {
  const entries: [string, string][] = [];
  for (let i = 0; i < verdict.fields.length; i += 2) entries.push([verdict.fields[i] as string, verdict.fields[i + 1] as string]);
  return Object.fromEntries(entries);
}

describe("quota filter", () => {
  it("costs nothing without quotas, and allocates nothing to say that nothing is to be said", () => {
    const world = new World();
    expect(world.ask([])).toBe(NOTHING_CHARGED);
    expect(world.ask([world.quota()], "a")).toBe(NOTHING_CHARGED);
    expect(world.ask([world.quota({}, { applies: () => false })], "a")).toBe(NOTHING_CHARGED);
  });

  it("admits up to the tightest limit, then names quota, limit and when to come back, honestly", () => {
    const world = new World();
    const quotas = [world.quota()];
    for (let i = 0; i < 2; i++) expect(world.ask(quotas, "a").kind).toBe("admitted");
    const first = refusal(world.ask(quotas, "a"));
    expect(first).toMatchObject({ code: "quota_exceeded", status: 429, rule: "shop/per-user#burst" });
    expect(fieldsOf(first)).toEqual({ "retry-after": "1", "content-type": "application/problem+json" });
    world.us += 1_000_000;
    expect(world.ask(quotas, "a").kind).toBe("admitted");
    const second = refusal(world.ask(quotas, "a"));
    expect(second).toMatchObject({ rule: "shop/per-user#hour" });
    expect(JSON.parse(second.body)).toEqual({
      type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
      title: "Quota exceeded",
      status: 429,
      detail: second.reason,
      quota: "shop/per-user",
      limit: "hour",
      retryAfterSeconds: Number(fieldsOf(second)["retry-after"]),
      "violated-policies": ["shop/per-user#hour"],
    });
    expect(world.ask(quotas, "b").kind).toBe("admitted");
    world.us += Number(fieldsOf(second)["retry-after"]) * 1_000_000;
    expect(world.ask(quotas, "a").kind).toBe("admitted");
    expect(world.outcomes).toEqual(["admitted", "admitted", "refused", "admitted", "refused", "admitted", "admitted"]);
  });

  it("charges none of several quotas unless all admit", () => {
    const world = new World();
    const wide = world.quota({ id: "shop/wide", limits: [{ name: "l", amount: 2, perMs: 1000, window: "rolling" }] });
    const tight = world.quota({ id: "shop/tight", limits: ONE });
    expect(world.ask([wide, tight], "a").kind).toBe("admitted");
    for (let i = 0; i < 5; i++) expect(refusal(world.ask([wide, tight], "a")).rule).toBe("shop/tight#one");
    expect(world.ask([wide], "a").kind).toBe("admitted");
  });

  it("answers with the quota's own status and body", () => {
    const world = new World();
    const quotas = [world.quota({ limits: ONE, response: { status: 503, body: "slow down" } })];
    world.ask(quotas, "a");
    const refused = refusal(world.ask(quotas, "a"));
    expect(refused).toMatchObject({ status: 503, body: "slow down" });
    expect(fieldsOf(refused)).toMatchObject({ "content-type": "text/plain; charset=utf-8", "retry-after": "2" });
  });

  it("refuses for ever what costs more than the limit, and promises nothing", () => {
    const world = new World();
    const refused = refusal(
      world.ask([world.quota({ cost: { kind: "header", name: "x-cost", max: 50, default: 1 } })], "a", 0, ["x-cost", "4"]),
    );
    expect(refused.reason).toBe("a cost of 4 is more than shop/per-user#burst ever admits (2)");
    expect(fieldsOf(refused)["retry-after"]).toBeUndefined();
  });

  it("charges nothing at cost 0", () => {
    const world = new World();
    const quotas = [world.quota({ limits: ONE, cost: { kind: "fixed", amount: 0 } })];
    for (let i = 0; i < 5; i++) expect(world.ask(quotas, "a")).toBe(NOTHING_CHARGED);
  });
});

describe("requests without a key", () => {
  it("share one counter", () => {
    const world = new World();
    const quotas = [world.quota({ limits: ONE })];
    expect(world.ask(quotas).kind).toBe("admitted");
    expect(world.ask(quotas, " \t").kind).toBe("refused");
    expect(world.ask(quotas, "a").kind).toBe("admitted");
  });

  it("are left alone", () => {
    const world = new World();
    const quotas = [world.quota({ limits: ONE, whenKeyMissing: "skip" })];
    for (let i = 0; i < 3; i++) expect(world.ask(quotas)).toBe(NOTHING_CHARGED);
  });

  it("are denied, and told what is missing", () => {
    const world = new World();
    const refused = refusal(world.ask([world.quota({ whenKeyMissing: "deny" })]));
    expect(refused).toMatchObject({
      code: "denied",
      status: 403,
      reason: "shop/per-user admits no request without the header x-user",
    });
    expect(world.ask([world.quota({ whenKeyMissing: "deny", mode: "shadow" })])).toMatchObject({
      kind: "admitted",
      shadow: "shop/per-user",
    });
    expect(world.outcomes).toEqual(["key_missing_denied", "shadow_refused"]);
  });
});

describe("response fields", () => {
  it("follow the IETF draft", () => {
    const world = new World();
    const fields = fieldsOf(world.ask([world.quota({ headers: "draft", key: [] })]));
    expect(fields).toEqual({
      "ratelimit-policy": '"shop/per-user#burst";q=2;w=1, "shop/per-user#hour";q=3;w=3600',
      ratelimit: expect.stringMatching(/^"shop\/per-user#burst";r=1;t=1, "shop\/per-user#hour";r=2;t=36\d\d$/),
    });
    const keyed = fieldsOf(world.ask([world.quota({ headers: "draft" })], "a"));
    expect(keyed["ratelimit"]).toMatch(/;r=1;t=1;pk=:[A-Za-z0-9+/]{22}==:, /);
  });

  it("are the older ones of the tightest limit", () => {
    const world = new World();
    const quotas = [world.quota({ headers: "legacy" }), world.quota({ id: "shop/two", headers: "legacy", limits: ONE })];
    expect(fieldsOf(world.ask(quotas, "a"))).toEqual({
      "x-ratelimit-limit": "1",
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": "2",
    });
  });

  it("of a refusal name the limit that refuses, and never come back before Retry-After", () => {
    const world = new World();
    const quotas = [world.quota({ headers: "both", limits: ONE, key: [] })];
    world.ask(quotas);
    world.us += 300_000;
    expect(fieldsOf(world.ask(quotas))).toEqual({
      "retry-after": "1",
      "ratelimit-policy": '"shop/per-user#one";q=1;w=1',
      ratelimit: '"shop/per-user#one";r=0;t=1',
      "x-ratelimit-limit": "1",
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": "1",
      "content-type": "application/problem+json",
    });
  });
});

describe("shadow mode", () => {
  it("counts, says what it would have done, and never refuses", () => {
    const world = new World();
    const quotas = [world.quota({ mode: "shadow", limits: ONE, headers: "both" })];
    expect(world.ask(quotas, "a")).toBe(NOTHING_CHARGED);
    for (let i = 0; i < 3; i++)
      expect(world.ask(quotas, "a")).toMatchObject({ kind: "admitted", shadow: "shop/per-user#one", fields: [] });
    expect(world.outcomes).toEqual(["admitted", "shadow_refused", "shadow_refused", "shadow_refused"]);
  });

  it("is not charged for what others refuse", () => {
    const world = new World();
    const enforced = world.quota({ id: "shop/enforced", limits: ONE });
    const shadow = world.quota({ mode: "shadow", limits: [{ name: "s", amount: 2, perMs: 1000, window: "rolling" }] });
    world.ask([enforced, shadow], "a");
    for (let i = 0; i < 5; i++) expect(world.ask([enforced, shadow], "a").kind).toBe("refused");
    expect(world.ask([shadow], "a")).toBe(NOTHING_CHARGED);
    expect(world.ask([shadow], "a")).toMatchObject({ shadow: "shop/per-user#s" });
  });
});

describe("what is settled", () => {
  it("concurrent: a slot comes back when the request is over, once", () => {
    const world = new World();
    const quotas = [world.quota({ unit: "concurrent", limits: ONE })];
    const first = world.ask(quotas, "a") as QuotaAdmission;
    const refused = refusal(world.ask(quotas, "a"));
    expect(fieldsOf(refused)["retry-after"]).toBe("1");
    first.held?.settle(10, 10);
    expect(world.ask(quotas, "a").kind).toBe("admitted");
    expect(world.ask(quotas, "a").kind).toBe("refused");
  });

  it("bytes: the declared body is charged at once, the truth at the end", () => {
    const world = new World();
    const quotas = [
      world.quota({ unit: "bytes", limits: [{ name: "b", amount: 1000, perMs: 1000, window: "rolling" }], headers: "legacy" }),
    ];
    expect(refusal(world.ask(quotas, "a", 1001)).reason).toContain("more than");
    const verdict = world.ask(quotas, "a", 400) as QuotaAdmission;
    expect(fieldsOf(verdict)["x-ratelimit-remaining"]).toBe("600");
    world.us += 20_000;
    verdict.held?.settle(400, 500);
    expect(fieldsOf(world.ask(quotas, "a", 0))["x-ratelimit-remaining"]).toBe("99");
    const aborted = world.ask(quotas, "a", 99) as QuotaAdmission;
    expect(world.ask(quotas, "a").kind).toBe("refused");
    aborted.held?.settle(9, 0);
    expect(world.ask(quotas, "a", 90).kind).toBe("admitted");
  });
});

describe("a bank without room", () => {
  const full = (onStoreFailure: QuotaPolicy["onStoreFailure"], over: Partial<QuotaPolicy> = {}, maxLocal = 100) => {
    const world = new World(1, undefined, maxLocal);
    const quotas = [
      world.quota({ limits: [{ name: "l", amount: 8, perMs: 60_000, window: "rolling" }], onStoreFailure, ...over }),
    ];
    world.ask(quotas, "first");
    world.outcomes.length = 0;
    return { world, quotas };
  };

  it("denies", () => {
    const { world, quotas } = full({ kind: "deny" });
    const refused = refusal(world.ask(quotas, "b"));
    expect(refused).toMatchObject({ code: "quota_unavailable", status: 503, rule: "shop/per-user" });
    expect(Number(fieldsOf(refused)["retry-after"])).toBeGreaterThan(0);
    expect(world.outcomes).toEqual(["store_denied"]);
    expect(world.ask(quotas, "first").kind).toBe("admitted");
  });

  it("allows, and says so", () => {
    const { world, quotas } = full({ kind: "allow" });
    for (let i = 0; i < 20; i++) expect(world.ask(quotas, "b").kind).toBe("admitted");
    expect(new Set(world.outcomes)).toEqual(new Set(["store_allowed"]));
  });

  it("counts a share of the limit locally, and refuses when that is used up or full, too", () => {
    const { world, quotas } = full({ kind: "local", percent: 25 }, {}, 1);
    expect([1, 2, 3].map(() => world.ask(quotas, "b").kind)).toEqual(["admitted", "admitted", "refused"]);
    expect(world.outcomes).toEqual(["store_local", "store_local", "refused"]);
    expect(refusal(world.ask(quotas, "c")).code).toBe("quota_unavailable");
  });

  it("gives the local share back when another quota refuses, and at the end", () => {
    const { world, quotas } = full({ kind: "local", percent: 25 }, { unit: "concurrent" });
    const held = world.ask(quotas, "first") as QuotaAdmission;
    const tight = world.quota({
      id: "shop/per-user",
      key: [],
      unit: "concurrent",
      limits: [{ ...ONE[0]!, name: "l", amount: 0 }],
    });
    for (let i = 0; i < 5; i++) expect(world.ask([...quotas, tight], "b").kind).toBe("refused");
    const verdicts = [1, 2, 3].map(() => world.ask(quotas, "b"));
    expect(verdicts.map(({ kind }) => kind)).toEqual(["admitted", "admitted", "refused"]);
    (verdicts[0] as QuotaAdmission).held?.settle(0, 0);
    expect(world.ask(quotas, "b").kind).toBe("admitted");
    held.held?.settle(0, 0);
  });

  it("never refuses in shadow mode", () => {
    const { world, quotas } = full({ kind: "deny" }, { mode: "shadow" });
    expect(world.ask(quotas, "b").kind).toBe("admitted");
    expect(world.outcomes).toEqual(["store_allowed"]);
  });
});

describe("quotas of scope global", () => {
  /** Remembers what it was asked, and says what it is told to. */
  class Leased implements QuotaBank {
    readonly asked: string[][] = [];
    readonly settled: number[] = [];
    refuses: { readonly at: number; readonly storeFailed: boolean } | undefined;

    take(charges: readonly QuotaCharge[]): QuotaAnswer {
      this.asked.push((charges as Charge[]).map(({ limit }) => limit.rule));
      const { at, storeFailed } = this.refuses ?? { at: -1, storeFailed: false };
      const left = charges.map(() => 7);
      return { admitted: at === -1, remaining: left, resetMs: left, retryAfterMs: 2000, refusedBy: at, storeFailed };
    }

    settle(charges: readonly QuotaCharge[]): void {
      this.settled.push(...charges.map(({ cost }) => cost));
    }
  }

  const setUp = (over: Partial<QuotaPolicy> = {}, hasBank = true) => {
    const world = new World();
    const leased = new Leased();
    const ports = {
      bank: world.bank,
      leased: hasBank ? leased : undefined,
      fallback: new MapBank({ maxCounters: 9, unixMs: () => 0 }),
    };
    const filter = new QuotaFilter({ ...ports, nowUs: () => world.us });
    const limits = [{ name: "one", amount: 4, perMs: 60_000, window: "rolling" as const }];
    const local = world.quota({ id: "shop/local", limits: ONE });
    const global = world.quota({ id: "shop/global", scope: "global", limits, ...over });
    const ask = (...quotas: readonly CompiledQuota[]) => filter.charge(quotas, request("a"), PEER, 100) as QuotaVerdict;
    return { world, leased, local, global, ask };
  };

  it("are charged by the bank of leases, local ones with them; local ones alone are not", () => {
    const { leased, local, global, ask } = setUp();
    expect(ask(local)).toBe(NOTHING_CHARGED);
    expect(leased.asked).toEqual([]);
    expect(ask(local, global)).toBe(NOTHING_CHARGED);
    expect(leased.asked).toEqual([["shop/local#one", "shop/global#one"]]);
  });

  it("are asked again without the one that cannot be counted, and that one is counted by its share", () => {
    const { world, leased, local, global, ask } = setUp({ onStoreFailure: { kind: "local", percent: 50 } });
    leased.refuses = { at: 1, storeFailed: true };
    for (let i = 0; i < 2; i++) {
      expect(ask(local, global).kind).toBe(i === 0 ? "admitted" : "refused");
      world.us += 500_000;
    }
    // The local quota is the local bank's again: it admits one in a second, and the share is given back when it refuses.
    world.us += 2_000_000;
    expect(ask(local, global).kind).toBe("admitted");
    world.us += 2_000_000;
    expect(refusal(ask(local, global)).rule).toBe("shop/global#one");
  });

  it.each([
    ["deny", { kind: "deny" } as const, ["refused", "refused", "refused"]],
    ["allow", { kind: "allow" } as const, ["admitted", "admitted", "admitted"]],
    ["local", { kind: "local", percent: 50 } as const, ["admitted", "admitted", "refused"]],
  ])("without a bank are what onStoreFailure says: %s", (_name, onStoreFailure, kinds) => {
    const { global, ask } = setUp({ onStoreFailure }, false);
    expect([1, 2, 3].map(() => ask(global).kind)).toEqual(kinds);
    if (onStoreFailure.kind === "deny") expect(refusal(ask(global)).code).toBe("quota_unavailable");
  });

  it("in shadow mode are counted by themselves and never refuse, bank or no bank", () => {
    const { leased, local, global, ask } = setUp({ mode: "shadow" });
    leased.refuses = { at: 0, storeFailed: false };
    expect(ask(local, global)).toMatchObject({ kind: "admitted", shadow: "shop/global#one" });
    expect(leased.asked).toEqual([["shop/global#one"]]);
    const without = setUp({ mode: "shadow" }, false);
    expect(without.ask(without.global).kind).toBe("admitted");
    expect(without.world.outcomes).toEqual(["store_allowed"]);
  });

  it("are settled where they were charged", () => {
    const { leased, global, ask } = setUp({ unit: "bytes" });
    const verdict = ask(global) as QuotaAdmission;
    verdict.held?.settle(30, 20);
    expect(leased.settled).toEqual([50]);
  });
});

describe("a bank that answers later", () => {
  it("decides alike, request by request", async () => {
    const world = new World(100, (bank) => ({
      take: async (charges, nowUs) => ({ ...bank.take(charges, nowUs), remaining: [], resetMs: [] }),
      settle: (charges, nowUs) => bank.settle(charges, nowUs),
    }));
    const quotas = [
      world.quota({ limits: ONE }),
      world.quota({ id: "shop/shadow", mode: "shadow", limits: [{ ...ONE[0]!, amount: 0 }] }),
    ];
    const ask = (user: string) => world.filter.charge(quotas, request(user), PEER, 0);
    const verdicts = await Promise.all([ask("a"), ask("b"), ask("a"), ask("c")]);
    expect(verdicts.map(({ kind }) => kind)).toEqual(["admitted", "admitted", "refused", "admitted"]);
    expect(verdicts[0]).toMatchObject({ shadow: "shop/shadow#one" });
  });
});
