import { describe, expect, it } from "vitest";
import { leaseProblem, leaseTerms, MAX_LEASE_MS, MIN_GLOBAL_WINDOW_MS, MIN_LEASE_MS } from "./lease-terms.ts";
import type { QuotaAccuracy, QuotaLimit } from "./policy.ts";

const STRICT: QuotaAccuracy = { kind: "strict" };
const FIVE: QuotaAccuracy = { kind: "bounded", percent: 5 };
const BEST: QuotaAccuracy = { kind: "bestEffort" };
const limit = (change: Partial<QuotaLimit>): QuotaLimit => ({
  name: "l",
  amount: 100,
  perMs: 60_000,
  window: "rolling",
  ...change,
});

describe("terms", () => {
  it.each([
    ["rolling, strict", limit({}), undefined, { leaseMs: 3750, excess: 0, capacity: 100 }],
    ["rolling, 5 %", limit({}), FIVE, { leaseMs: 3750, excess: 5, capacity: 100 }],
    ["rolling, 20 %", limit({}), { kind: "bounded", percent: 20 } as const, { leaseMs: 12_000, excess: 20, capacity: 100 }],
    ["rolling, best effort", limit({}), BEST, { leaseMs: 15_000, excess: 100, capacity: 100 }],
    ["a second", limit({ perMs: 1000 }), STRICT, { leaseMs: MIN_LEASE_MS, excess: 0, capacity: 100 }],
    ["a day", limit({ perMs: 86_400_000 }), STRICT, { leaseMs: MAX_LEASE_MS, excess: 0, capacity: 100 }],
    ["calendar, whatever is asked", limit({ window: "calendar" }), BEST, { leaseMs: 3750, excess: 0, capacity: 100 }],
    ["smooth: an eighth of the bucket", limit({ window: "smooth" }), STRICT, { leaseMs: 7500, excess: 0, capacity: 87 }],
    [
      "smooth, 20 %: nothing",
      limit({ window: "smooth" }),
      { kind: "bounded", percent: 20 } as const,
      { leaseMs: 12_000, excess: 20, capacity: 100 },
    ],
    [
      "smooth, nothing at all",
      limit({ window: "smooth", amount: 0, burst: 5 }),
      STRICT,
      { leaseMs: MIN_LEASE_MS, excess: 0, capacity: 0 },
    ],
  ])("%s", (_name, of, accuracy, terms) => {
    expect(leaseTerms(of, accuracy)).toEqual(terms);
  });
});

describe("what leases cannot keep", () => {
  it("is what is in flight, and windows that are over before a lease is", () => {
    expect(leaseProblem(limit({}), "concurrent", STRICT)?.field).toBe("unit");
    expect(leaseProblem(limit({ perMs: MIN_GLOBAL_WINDOW_MS - 1 }), "requests", BEST)?.field).toBe("per");
    expect(leaseProblem(limit({ perMs: MIN_GLOBAL_WINDOW_MS }), "requests", STRICT)).toBeUndefined();
  });

  it("is a burst that refills during a lease; the burst that the message names is the least that is taken", () => {
    for (const accuracy of [STRICT, FIVE, BEST]) {
      for (const amount of [3, 50, 1000, 77_777]) {
        const smooth = (burst: number) => limit({ window: "smooth", amount, perMs: 1000, burst });
        const refused = leaseProblem(smooth(1), "requests", accuracy);
        if (refused === undefined) continue;
        const least = Number(/burst: (\d+) or more/.exec(refused.problem)?.[1]);
        expect(leaseProblem(smooth(least), "requests", accuracy)).toBeUndefined();
        expect(leaseProblem(smooth(least - 1), "requests", accuracy)?.field).toBe("burst");
      }
    }
    expect(leaseProblem(limit({ window: "smooth", amount: 1000, perMs: 1000, burst: 1 }), "requests", BEST)).toBeUndefined();
  });
});
