import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuotaLimit, QuotaPolicy } from "../ir/index.ts";
import { CalendarWindows, TimeZone } from "./calendar-window.ts";
import {
  answerAsk,
  bankKeyLimit,
  type LeasedCompiledLimit,
  leaseCounterIdleMs,
  MAX_OPEN_GRANTS,
  newLeaseCounter,
} from "./lease-bank.ts";
import type { EndedLease, LeaseAnswer } from "./lease-messages.ts";
import { compileLeasedLimit } from "./limit.ts";
import { compileQuota } from "./plan.ts";

const START_MS = 1_790_000_000_000;

function leased(change: Partial<QuotaLimit> = {}): LeasedCompiledLimit {
  const limit: QuotaLimit = { name: "l", amount: 100, perMs: 60_000, window: "rolling", ...change };
  const calendar = limit.window === "calendar" ? new CalendarWindows("minute", new TimeZone("UTC")) : undefined;
  return compileLeasedLimit(
    { rule: "ns/q#l", unit: "requests", limit, accuracy: undefined },
    calendar,
    true,
  ) as LeasedCompiledLimit;
}

class Bank {
  ms = START_MS;
  readonly limit: LeasedCompiledLimit;
  readonly counter;
  #asks = 0;

  constructor(limit: LeasedCompiledLimit) {
    this.limit = limit;
    this.counter = newLeaseCounter(limit.kind);
  }

  ask(
    need: number,
    wanted = need,
    change: { id?: string; holder?: string; debt?: number; ended?: readonly EndedLease[] } = {},
  ): LeaseAnswer {
    const { id = `ask ${++this.#asks}`, holder = "h", debt = 0, ended = [] } = change;
    return answerAsk(this.limit, this.counter, holder, { id, key: "k", need, wanted, debt, ended }, this.ms);
  }
}

describe("a bank", () => {
  it("gives smaller and smaller leases as what is left falls, down to the last unit", () => {
    const bank = new Bank(leased());
    const granted = Array.from({ length: 12 }, () => bank.ask(0, 100).granted);
    expect(granted).toEqual([50, 25, 13, 6, 3, 2, 1, 0, 0, 0, 0, 0]);
  });

  it("divides what is left among the holders that have leases", () => {
    const bank = new Bank(leased());
    expect(bank.ask(0, 100, { holder: "a" }).granted).toBe(50);
    expect(bank.ask(0, 100, { holder: "b" }).granted).toBe(13);
    expect(bank.ask(0, 100, { holder: "c" }).granted).toBe(7);
  });

  it("gives what is needed if there is as much, whatever a share would be, and nothing of it if not", () => {
    const bank = new Bank(leased());
    expect(bank.ask(90).granted).toBe(90);
    expect(bank.ask(11).granted).toBe(0);
    expect(bank.ask(10).granted).toBe(10);
  });

  it("gives one ask one grant, however often it is asked, and says what is left of its life", () => {
    const bank = new Bank(leased());
    const first = bank.ask(40, 40, { id: "once" });
    expect(first).toMatchObject({ granted: 40, forMs: 3750 });
    bank.ms += 1000;
    expect(bank.ask(40, 40, { id: "once" })).toMatchObject({ granted: 40, forMs: 2750 });
    expect(bank.ask(61).granted).toBe(0);
    expect(bank.ask(60).granted).toBe(60);
  });

  it("takes unused units back once, and never more than were granted", () => {
    const bank = new Bank(leased());
    bank.ask(100, 100, { id: "all" });
    expect(bank.ask(1).granted).toBe(0);
    const ended = [{ id: "all", unused: 1000 }];
    expect(bank.ask(100, 100, { ended }).granted).toBe(100);
    expect(bank.ask(1, 1, { ended }).granted).toBe(0);
  });

  it("counts what a crashed holder had from its end for a window, and not a lease longer", () => {
    const bank = new Bank(leased());
    expect(bank.ask(100).granted).toBe(100);
    bank.ms += 3750 + 60_000;
    expect(bank.ask(1).granted).toBe(0);
    bank.ms += 1001;
    expect(bank.ask(100).granted).toBe(100);
  });

  it("counts what was used at once for little more than a window", () => {
    const bank = new Bank(leased());
    bank.ask(100, 100, { id: "all" });
    bank.ms += 10;
    bank.ask(0, 0, { ended: [{ id: "all", unused: 0 }] });
    bank.ms += 60_000 + 1001;
    expect(bank.ask(100).granted).toBe(100);
  });

  it("charges a debt once for one ask, room or not", () => {
    const bank = new Bank(leased());
    expect(bank.ask(1, 1, { id: "owes", debt: 120 }).granted).toBe(0);
    bank.ask(1, 1, { id: "owes", debt: 120 });
    bank.ms += 61_001;
    expect(bank.ask(100).granted).toBe(100);
  });

  it("never lets a grant of a calendar window outlive it, and starts anew with the next", () => {
    const bank = new Bank(leased({ window: "calendar" }));
    bank.ms = START_MS - (START_MS % 60_000) + 59_000;
    expect(bank.ask(60)).toMatchObject({ granted: 60, forMs: 1000 });
    expect(bank.ask(60)).toMatchObject({ granted: 0, retryMs: 1000 });
    bank.ms += 1000;
    expect(bank.ask(100)).toMatchObject({ granted: 100, forMs: 3750 });
  });

  it("stands still when its clock runs back", () => {
    const bank = new Bank(leased({ window: "calendar" }));
    bank.ms = START_MS - (START_MS % 60_000) + 60_000;
    expect(bank.ask(70).granted).toBe(70);
    bank.ms -= 5000;
    expect(bank.ask(31).granted).toBe(0);
  });

  it("has a bound on leases of one key", () => {
    const bank = new Bank(leased({ amount: 1_000_000 }));
    for (let i = 0; i < MAX_OPEN_GRANTS; i++) expect(bank.ask(1).granted).toBe(1);
    expect(bank.ask(1)).toMatchObject({ granted: 0, problem: expect.stringContaining("too many leases") });
    bank.ms += 2 * 3750;
    expect(bank.ask(1).granted).toBe(1);
  });

  it.each(["rolling", "smooth", "calendar"] as const)("says honestly when to come back: %s", (window) => {
    const asks = fc.array(
      fc.record({
        gapMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20_000 })),
        need: fc.integer({ min: 1, max: 40 }),
        unused: fc.option(fc.integer({ min: 0, max: 40 })),
      }),
      { minLength: 5, maxLength: 40 },
    );
    fc.assert(
      fc.property(asks, (list) => {
        const bank = new Bank(leased({ window }));
        list.forEach(({ gapMs, need, unused }, i) => {
          bank.ms += gapMs;
          const ended = unused === null ? [] : [{ id: `n${i - 1}`, unused }];
          const answer = bank.ask(need, need, { id: `n${i}`, ended });
          if (answer.granted > 0) return;
          expect(answer.retryMs).toBeGreaterThan(0);
          bank.ms += answer.retryMs;
          expect(bank.ask(need).granted).toBe(need);
        });
      }),
      { numRuns: 200 },
    );
  });

  it.each(["rolling", "smooth", "calendar"] as const)("is as good as new when it says so: %s", (window) => {
    const bank = new Bank(leased({ window }));
    bank.ask(20, 20, { id: "ended" });
    bank.ask(30, 30, { ended: [{ id: "ended", unused: 3 }] });
    bank.ms = leaseCounterIdleMs(bank.limit, bank.counter);
    expect(bank.ask(bank.limit.capacity).granted).toBe(bank.limit.capacity);
  });
});

describe("the limit of a key that another gateway names", () => {
  const policy = (change: Partial<QuotaPolicy>): QuotaPolicy => ({
    id: "shop/q",
    origin: { kind: "Quota", namespace: "shop", name: "q" },
    matches: [],
    key: [
      { kind: "header", name: "a" },
      { kind: "header", name: "b" },
    ],
    limits: [{ name: "l", amount: 10, perMs: 60_000, window: "rolling" }],
    cost: { kind: "fixed", amount: 1 },
    unit: "requests",
    overrides: [{ key: ["big", null], limits: [{ name: "l", amount: 99, perMs: 60_000, window: "rolling" }] }],
    whenKeyMissing: "share",
    scope: "global",
    onStoreFailure: { kind: "deny" },
    mode: "enforce",
    headers: "none",
    response: { status: 429 },
    ...change,
  });
  const compiled = (change: Partial<QuotaPolicy> = {}) => {
    const quota = compileQuota(policy(change), { trustedProxies: 0, zones: new Map() });
    if (!quota.ok) throw new Error(JSON.stringify(quota.error));
    return quota.value;
  };

  it("is the one that the key has here, overrides included", () => {
    const quota = compiled();
    const view = { method: "GET", scheme: "http", authority: "a", path: "/", query: "", servicePort: 80 };
    const peer = { address: "192.0.2.1", port: 1 };
    for (const [a, b, amount] of [
      ["big", "1:2", 99],
      ["small", "big", 10],
    ] as const) {
      const key = quota.key({ ...view, fields: ["a", a, "b", b] }, peer);
      if (key === undefined) throw new Error("no key");
      expect(bankKeyLimit(quota, "l", key)?.amount).toBe(amount);
    }
    expect(bankKeyLimit(quota, "l", "")?.amount).toBe(10);
    expect(bankKeyLimit(quota, "l", "9:x")?.amount).toBe(10);
  });

  it("is none if the quota is local, or not there", () => {
    expect(bankKeyLimit(compiled({ scope: "local" }), "l", "")).toBeUndefined();
    expect(bankKeyLimit(compiled(), "other", "")).toBeUndefined();
    expect(bankKeyLimit(undefined, "l", "")).toBeUndefined();
  });

  it("is refused when it is compiled, if leases cannot keep it", () => {
    const quota = compileQuota(policy({ unit: "concurrent" }), { trustedProxies: 0, zones: new Map() });
    expect(quota).toMatchObject({ ok: false, error: [{ path: "limits[0].unit" }, { path: "overrides[0].limits[0].unit" }] });
  });
});
