/** Settling, clocks that step, and limits that change while they count. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuotaLimit } from "../ir/index.ts";
import { CalendarWindows, TimeZone } from "./calendar-window.ts";
import { Charge } from "./decide.ts";
import { CompiledLimit, type QuotaUnit } from "./limit.ts";
import { MapBank } from "./map-bank.ts";

const START_US = 1_000_000_000;
const zone = new TimeZone("Europe/Zurich");

function limitOf(spec: Partial<QuotaLimit>, unit: QuotaUnit = "requests"): CompiledLimit {
  const calendar = spec.window === "calendar" ? new CalendarWindows(spec.calendarUnit ?? "day", zone) : undefined;
  return new CompiledLimit("ns/q#l", unit, { name: "l", amount: 10, perMs: 1000, window: "rolling", ...spec }, calendar);
}

class World {
  unixMs = Date.parse("2026-10-24T12:00:00Z");
  us = START_US;
  readonly bank = new MapBank({ maxCounters: 100, unixMs: () => this.unixMs });

  take(limit: CompiledLimit, cost = 1): { admitted: boolean; left: number; retryAfterMs: number } {
    const answer = this.bank.take([new Charge(limit, "k", cost, this.us)], this.us);
    return { admitted: answer.admitted, left: answer.remaining[0] ?? 0, retryAfterMs: answer.retryAfterMs };
  }

  settle(limit: CompiledLimit, cost: number, takenUs = this.us): void {
    this.bank.settle([new Charge(limit, "k", cost, takenUs)], this.us);
  }

  pass(ms: number): this {
    this.us += ms * 1000;
    this.unixMs += ms;
    return this;
  }
}

describe("calendar", () => {
  it("is exact over a day of 25 hours, and honest about when it ends", () => {
    const world = new World();
    const limit = limitOf({ window: "calendar", amount: 3 });
    world.unixMs = Date.parse("2026-10-24T22:00:00Z");
    for (let i = 0; i < 3; i++) expect(world.take(limit).admitted).toBe(true);
    expect(world.take(limit)).toMatchObject({ admitted: false, retryAfterMs: 25 * 3_600_000 });
    expect(world.pass(25 * 3_600_000 - 1).take(limit).admitted).toBe(false);
    expect(world.pass(1).take(limit).admitted).toBe(true);
  });

  it("hands no window out twice when the clock steps back over its start", () => {
    const world = new World();
    const limit = limitOf({ window: "calendar", amount: 2 });
    world.unixMs = Date.parse("2026-11-23T23:00:00.500Z");
    expect(world.take(limit, 2).admitted).toBe(true);
    world.unixMs -= 1000;
    expect(world.take(limit).admitted).toBe(false);
    world.unixMs += 1000;
    expect(world.take(limit).admitted).toBe(false);
  });

  it("starts anew when the clock was far ahead and is put right", () => {
    const world = new World();
    const limit = limitOf({ window: "calendar", amount: 1 });
    world.unixMs = Date.parse("2099-01-01T00:00:00Z");
    expect(world.take(limit).admitted).toBe(true);
    world.unixMs = Date.parse("2026-11-23T00:00:00Z");
    expect(world.take(limit).admitted).toBe(true);
    expect(world.take(limit).admitted).toBe(false);
  });

  it("carries the count into another calendar while the old window runs", () => {
    const world = new World();
    expect(world.take(limitOf({ window: "calendar", amount: 10, calendarUnit: "day" }), 7).left).toBe(3);
    expect(world.take(limitOf({ window: "calendar", amount: 10, calendarUnit: "hour" }), 1).left).toBe(2);
    world.pass(3_600_000);
    expect(world.take(limitOf({ window: "calendar", amount: 10, calendarUnit: "hour" }), 1).left).toBe(9);
  });

  it("gives nothing back to a window that did not take it", () => {
    const world = new World();
    const limit = limitOf({ window: "calendar", amount: 10, calendarUnit: "hour" });
    world.take(limit, 8);
    const takenUs = world.us;
    world.pass(3_600_000);
    world.take(limit, 5);
    world.settle(limit, 8, takenUs);
    expect(world.take(limit, 0).left).toBe(5);
  });
});

describe("limits that change", () => {
  it("rolling keeps its count over another amount", () => {
    const world = new World();
    expect(world.take(limitOf({ amount: 10 }), 8).admitted).toBe(true);
    expect(world.take(limitOf({ amount: 5 })).admitted).toBe(false);
    expect(world.take(limitOf({ amount: 9 }))).toMatchObject({ admitted: true, left: 0 });
  });

  it("rolling keeps every count until it leaves the new window", () => {
    const windows = fc.array(fc.tuple(fc.constantFrom(100, 1000, 1700, 60_000), fc.integer({ min: 0, max: 900 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(windows, (steps) => {
        const world = new World();
        const log: { us: number }[] = [];
        for (const [perMs, gapMs] of steps) {
          world.pass(gapMs);
          if (world.take(limitOf({ amount: 3, perMs })).admitted) log.push({ us: world.us });
          // What every window since has held on to still counts: the shortest one seen after it decides.
          const shortest = Math.min(...steps.map(([ms]) => ms)) * 1000;
          expect(log.filter(({ us }) => us > world.us - shortest).length).toBeLessThanOrEqual(3);
        }
      }),
    );
  });

  it("rolling grows and shrinks its window without forgetting early", () => {
    const world = new World();
    world.take(limitOf({ amount: 10, perMs: 1000 }), 6);
    world.pass(500);
    expect(world.take(limitOf({ amount: 10, perMs: 10_000 }), 0).left).toBe(4);
    world.pass(9_000);
    expect(world.take(limitOf({ amount: 10, perMs: 10_000 }), 0).left).toBe(4);
    expect(world.take(limitOf({ amount: 10, perMs: 1000 }), 0).left).toBe(10);
  });

  it("smooth keeps the used units over another rate or burst", () => {
    const world = new World();
    expect(world.take(limitOf({ amount: 10, window: "smooth" }), 6).left).toBe(4);
    expect(world.take(limitOf({ amount: 20, window: "smooth" }), 0).left).toBe(14);
    expect(world.take(limitOf({ amount: 20, burst: 5, window: "smooth" })).admitted).toBe(false);
    expect(world.take(limitOf({ amount: 10, perMs: 60_000, window: "smooth" }), 4)).toMatchObject({ admitted: true, left: 0 });
  });
});

describe("settling", () => {
  it("never lets concurrent go below nothing, however often it is settled", () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 60 }), (steps) => {
        const world = new World();
        const limit = limitOf({ amount: 4 }, "concurrent");
        let inFlight = 0;
        for (const arrives of steps) {
          if (arrives) {
            expect(world.take(limit).admitted).toBe(inFlight < 4);
            inFlight = Math.min(4, inFlight + 1);
          } else {
            world.settle(limit, 1);
            inFlight = Math.max(0, inFlight - 1);
          }
          expect(world.take(limit, 0).left).toBe(4 - inFlight);
        }
      }),
    );
  });

  it("charges more than is left when more was used", () => {
    const world = new World();
    for (const window of ["rolling", "smooth", "calendar"] as const) {
      const limit = limitOf({ amount: 100, window }, "bytes");
      expect(world.take(limit, 1).admitted).toBe(true);
      world.settle(limit, 1 - 250);
      expect(world.take(limit)).toMatchObject({ admitted: false, left: 0 });
    }
  });

  it("rolling gives back within the window and stays strict", () => {
    const steps = fc.array(
      fc.record({
        gapUs: fc.constantFrom(0, 1, 16_667, 100_000, 999_999, 1_000_000),
        cost: fc.integer({ min: 1, max: 10 }),
        refund: fc.nat(10),
        laterUs: fc.constantFrom(0, 17_000, 500_000, 1_100_000),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (list) => {
        const world = new World();
        const limit = limitOf({ amount: 10 });
        const kept: { us: number; cost: number; at: number }[] = [];
        const pending: { dueUs: number; refund: number; entry: { us: number; cost: number } }[] = [];
        for (const { gapUs, cost, refund, laterUs } of list) {
          world.us += gapUs;
          for (const one of pending.splice(0)) {
            if (one.dueUs > world.us) pending.push(one);
            else {
              world.settle(limit, one.refund, one.entry.us);
              one.entry.cost -= one.refund;
            }
          }
          if (world.take(limit, cost).admitted) {
            const entry = { us: world.us, cost, at: world.us };
            kept.push(entry);
            pending.push({ dueUs: world.us + laterUs, refund: Math.min(refund, cost), entry });
          }
          const counted = kept.filter((one) => one.us > world.us - 1_000_000).reduce((sum, one) => sum + one.cost, 0);
          expect(counted).toBeLessThanOrEqual(10);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("smooth gives back what was taken, up to its burst", () => {
    const world = new World();
    const limit = limitOf({ amount: 7, window: "smooth" });
    world.take(limit, 5);
    world.settle(limit, 3);
    expect(world.take(limit, 0).left).toBe(5);
    world.settle(limit, 100);
    expect(world.take(limit, 0).left).toBe(7);
  });
});

describe("a full bank", () => {
  it("drops no counter that counts, says so, and takes new keys when old ones are idle", () => {
    const world = new World();
    const bank = new MapBank({ maxCounters: 3, unixMs: () => 0 });
    const limit = limitOf({ amount: 2 });
    const ask = (key: string, us: number) => bank.take([new Charge(limit, key, 1, us)], us);
    for (const key of ["a", "b", "c", "a", "b", "c"]) expect(ask(key, world.us).admitted).toBe(true);
    for (let i = 0; i < 50; i++) expect(ask(`other ${i}`, world.us + i)).toMatchObject({ admitted: false, storeFailed: true });
    for (const key of ["a", "b", "c"]) expect(ask(key, world.us + 100)).toMatchObject({ admitted: false, storeFailed: false });
    expect(ask("d", world.us + 1_100_000)).toMatchObject({ admitted: true, storeFailed: false });
    expect(bank.size).toBeLessThanOrEqual(3);
  });

  it("looks for room under every limit, wherever it has got to", () => {
    const bank = new MapBank({ maxCounters: 60, unixMs: () => 0 });
    const limits = Array.from({ length: 7 }, (_, i) => {
      const spec: QuotaLimit = { name: `l${i}`, amount: 1, perMs: 1000, window: "rolling" };
      return new CompiledLimit(`ns/q#l${i}`, "requests", spec, undefined);
    });
    const ask = (i: number, us: number) =>
      bank.take([new Charge(limits[i % 7] as CompiledLimit, `k${i}`, 1, us)], us).storeFailed;
    let us = START_US;
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 60; i++) expect(ask(i, us + i), `round ${round}, counter ${i}`).toBe(false);
      expect(ask(60, us + 100)).toBe(true);
      us += 5_000_000;
      // All are idle: one more finds room, by a look at all of them.
      expect(ask(61, us)).toBe(false);
      us += 5_000_000;
    }
    expect(bank.size).toBeLessThanOrEqual(60);
  });

  it("does not sweep away a counter of the request that it makes room for", () => {
    const bank = new MapBank({ maxCounters: 2, unixMs: () => 0 });
    const one = limitOf({ amount: 1 });
    const two = new CompiledLimit("ns/q#two", "requests", { name: "two", amount: 1, perMs: 1000, window: "smooth" }, undefined);
    const ask = (us: number) => bank.take([new Charge(one, "k", 1, us), new Charge(two, "k", 1, us)], us);
    expect(ask(START_US).admitted).toBe(true);
    expect(ask(START_US)).toMatchObject({ admitted: false, storeFailed: false });
    expect(ask(START_US + 1_050_000).admitted).toBe(true);
    expect(ask(START_US + 1_050_000)).toMatchObject({ admitted: false, storeFailed: false });
  });
});
