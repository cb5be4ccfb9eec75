import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuotaLimit } from "../ir/index.ts";
import { Charge } from "./decide.ts";
import { CompiledLimit } from "./limit.ts";
import { MapBank } from "./map-bank.ts";

const START_US = 123_456_789;

interface Taken {
  readonly us: number;
  readonly cost: number;
}

/** What was admitted, remembered one by one: the truth that counters are held against. */
class Log {
  readonly taken: Taken[] = [];

  /** The most that any span [t, t + spanUs) saw: one that begins with an admission, for the worst ones do. */
  worst(spanUs: number): number {
    let [worst, sum, first] = [0, 0, 0];
    for (const { us, cost } of this.taken) {
      sum += cost;
      for (; (this.taken[first] as Taken).us <= us - spanUs; first++) sum -= (this.taken[first] as Taken).cost;
      worst = Math.max(worst, sum);
    }
    return worst;
  }
}

function limitOf(spec: Partial<QuotaLimit>): CompiledLimit {
  return new CompiledLimit("ns/q#l", "requests", { name: "l", amount: 10, perMs: 1000, window: "rolling", ...spec }, undefined);
}

function bankOf(): MapBank {
  return new MapBank({ maxCounters: 100, unixMs: () => 0 });
}

/** Steps that hit edges: nothing, a microsecond about a sub-bucket or a window, a burst at its end, a long idle. */
function gaps(windowUs: number): fc.Arbitrary<number> {
  const width = Math.ceil(windowUs / 60);
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant(0) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: width * 2 }) },
    fc.constantFrom(
      1,
      width - 1,
      width,
      width + 1,
      windowUs - 1,
      windowUs,
      windowUs + 1,
      windowUs + width,
      60 * width,
      61 * width,
    ),
    fc.integer({ min: 0, max: windowUs }),
    fc.integer({ min: 0, max: windowUs * 100 }),
  );
}

const scenarios = fc
  .record({ amount: fc.integer({ min: 1, max: 30 }), perMs: fc.constantFrom(1, 7, 1000, 60_000, 86_400_000) })
  .chain(({ amount, perMs }) =>
    fc.record({
      amount: fc.constant(amount),
      perMs: fc.constant(perMs),
      steps: fc.array(fc.tuple(gaps(perMs * 1000), fc.integer({ min: 1, max: Math.max(1, Math.ceil(amount / 3)) })), {
        maxLength: 200,
      }),
    }),
  );

describe("rolling", () => {
  it("never admits more than the limit in any span of the window", () => {
    fc.assert(
      fc.property(scenarios, ({ amount, perMs, steps }) => {
        const limit = limitOf({ amount, perMs });
        const [bank, log] = [bankOf(), new Log()];
        let us = START_US;
        for (const [gap, cost] of steps) {
          us += gap;
          if (bank.take([new Charge(limit, "k", cost, us)], us).admitted) log.taken.push({ us, cost });
        }
        expect(log.worst(perMs * 1000)).toBeLessThanOrEqual(amount);
      }),
      { numRuns: 300 },
    );
  });

  it("gives everything back at most a sixtieth of the window late", () => {
    const limit = limitOf({ amount: 5, perMs: 1000 });
    const bank = bankOf();
    for (let i = 0; i < 5; i++) expect(bank.take([new Charge(limit, "k", 1, START_US)], START_US).admitted).toBe(true);
    const late = START_US + 1_000_000 + Math.ceil(1_000_000 / 60);
    expect(bank.take([new Charge(limit, "k", 5, late)], late).admitted).toBe(true);
  });

  it("stays in the newest sub-bucket when the clock runs back", () => {
    const limit = limitOf({ amount: 2, perMs: 1000 });
    const bank = bankOf();
    expect(bank.take([new Charge(limit, "k", 2, START_US)], START_US).admitted).toBe(true);
    for (const us of [START_US - 1, START_US - 5_000_000, START_US + 999_999]) {
      expect(bank.take([new Charge(limit, "k", 1, us)], us).admitted).toBe(false);
    }
  });
});

describe("smooth", () => {
  it("never admits more than burst + rate * span in any span", () => {
    fc.assert(
      fc.property(
        scenarios,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 5 }),
        ({ amount, perMs, steps }, burst, part) => {
          const limit = limitOf({ amount, perMs, burst, window: "smooth" });
          const [bank, log] = [bankOf(), new Log()];
          let us = START_US;
          for (const [gap, cost] of steps) {
            us += gap;
            if (bank.take([new Charge(limit, "k", cost, us)], us).admitted) log.taken.push({ us, cost });
          }
          for (const spanUs of [1, Math.ceil((perMs * 1000) / part), perMs * 1000, perMs * 3000]) {
            expect(log.worst(spanUs)).toBeLessThanOrEqual(burst + (amount * spanUs) / (perMs * 1000));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("loses and gains nothing to rounding: a rate that divides no microsecond", () => {
    const bank = bankOf();
    let admitted = 0;
    const patient = limitOf({ amount: 47_619, perMs: 1000, burst: 2, window: "smooth" });
    for (let us = START_US; us < START_US + 10_000_000; us += 7) {
      if (bank.take([new Charge(patient, "patient", 1, us)], us).admitted) admitted++;
    }
    expect(admitted).toBeGreaterThanOrEqual(476_189);
    expect(admitted).toBeLessThanOrEqual(476_192);
  });

  it("counts huge amounts exactly", () => {
    const limit = limitOf({ amount: 2 ** 48 - 1, perMs: 86_400_000, window: "smooth" });
    const bank = bankOf();
    expect(bank.take([new Charge(limit, "k", 2 ** 48 - 1, START_US)], START_US).admitted).toBe(true);
    expect(bank.take([new Charge(limit, "k", 1, START_US)], START_US).admitted).toBe(false);
  });
});

describe("retry-after", () => {
  const kinds = fc.constantFrom("rolling", "smooth") as fc.Arbitrary<"rolling" | "smooth">;

  it("is honest: just after it a retry is admitted, and not before", () => {
    fc.assert(
      fc.property(scenarios, kinds, ({ amount, perMs, steps }, window) => {
        const limit = limitOf({ amount, perMs, window });
        const bank = bankOf();
        let us = START_US;
        for (const [gap, cost] of steps) {
          us += gap;
          const first = bank.take([new Charge(limit, "k", cost, us)], us);
          if (first.admitted) continue;
          // Waits are whole microseconds; of a day told in milliseconds the last digits are rounding.
          const waitUs = Math.round(first.retryAfterMs * 1000);
          expect(waitUs).toBeGreaterThan(0);
          expect(bank.take([new Charge(limit, "k", cost, us)], us + waitUs - 1).admitted).toBe(false);
          us += waitUs;
          expect(bank.take([new Charge(limit, "k", cost, us)], us).admitted).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("of several limits is the longest, and names that one", () => {
    const burst = new CompiledLimit(
      "ns/q#burst",
      "requests",
      { name: "burst", amount: 1, perMs: 1000, window: "rolling" },
      undefined,
    );
    const hour = new CompiledLimit(
      "ns/q#hour",
      "requests",
      { name: "hour", amount: 1, perMs: 3_600_000, window: "smooth" },
      undefined,
    );
    const bank = bankOf();
    const ask = (us: number) => bank.take([new Charge(burst, "k", 1, us), new Charge(hour, "k", 1, us)], us);
    expect(ask(START_US).admitted).toBe(true);
    const answer = ask(START_US + 1);
    expect(answer).toMatchObject({ admitted: false, refusedBy: 1 });
    const again = START_US + 1 + answer.retryAfterMs * 1000;
    expect(ask(again).admitted).toBe(true);
  });

  it("is never for a cost that no window can hold", () => {
    const bank = bankOf();
    for (const window of ["rolling", "smooth"] as const) {
      const answer = bank.take([new Charge(limitOf({ amount: 3, window }), window, 4, START_US)], START_US);
      expect(answer).toMatchObject({ admitted: false, retryAfterMs: Number.POSITIVE_INFINITY });
      expect(bank.take([new Charge(limitOf({ amount: 3, window }), window, 3, START_US)], START_US).admitted).toBe(true);
    }
  });
});

describe("a client that keeps asking", () => {
  it.each(["rolling", "smooth"] as const)("gets its whole quota (%s)", (window) => {
    const limit = limitOf({ amount: 100, perMs: 1000, window, burst: 1 });
    const bank = bankOf();
    let admitted = 0;
    for (let us = START_US; us < START_US + 61_000_000; us += 1000) {
      if (bank.take([new Charge(limit, "k", 1, us)], us).admitted) admitted++;
    }
    // Strict rolling windows give back a sixtieth late: 60/61 of the quota at the least.
    expect(admitted).toBeGreaterThanOrEqual(6000);
  });
});

describe("all or nothing", () => {
  it("charges no limit unless all pass", () => {
    const wide = new CompiledLimit(
      "ns/q#wide",
      "requests",
      { name: "wide", amount: 100, perMs: 60_000, window: "rolling" },
      undefined,
    );
    const tight = new CompiledLimit(
      "ns/q#tight",
      "requests",
      { name: "tight", amount: 2, perMs: 60_000, window: "smooth" },
      undefined,
    );
    const bank = bankOf();
    const ask = () => bank.take([new Charge(wide, "k", 1, START_US), new Charge(tight, "k", 1, START_US)], START_US);
    expect(ask().remaining).toEqual([99, 1]);
    expect(ask().remaining).toEqual([98, 0]);
    for (let i = 0; i < 50; i++) expect(ask()).toMatchObject({ admitted: false, refusedBy: 1, remaining: [98, 0] });
  });

  it("is free at cost 0, even when used up", () => {
    const limit = limitOf({ amount: 1 });
    const bank = bankOf();
    expect(bank.take([new Charge(limit, "k", 1, START_US)], START_US).admitted).toBe(true);
    expect(bank.take([new Charge(limit, "k", 0, START_US)], START_US)).toMatchObject({ admitted: true, remaining: [0] });
  });
});
