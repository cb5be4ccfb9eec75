import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CalendarWindows, Charge, CompiledLimit, MAX_LANES, MapBank, TimeZone } from "../core/index.ts";
import { createQuotaMemory, DEFAULT_QUOTA_MEMORY_BYTES, MAX_LOCK_WAIT_MS, monotonicUs, SharedBank } from "./quota.ts";
import { createTableMemory, QuotaTable, STRIPES } from "./quota-table.ts";
import { acquire, holder, release, seize } from "./shared-lock.ts";

const START_US = 7_000_000_000;
const DAY = new CalendarWindows("hour", new TimeZone("UTC"));

function limitOf(
  name: string,
  window: "rolling" | "smooth" | "calendar",
  amount: number,
  unit: "requests" | "concurrent" = "requests",
) {
  const calendar = window === "calendar" ? DAY : undefined;
  return new CompiledLimit(`ns/q#${name}`, unit, { name, amount, perMs: 1000, window }, calendar);
}

const LIMITS = [
  limitOf("a", "rolling", 4),
  limitOf("b", "smooth", 5),
  limitOf("c", "calendar", 9),
  limitOf("d", "rolling", 3, "concurrent"),
  limitOf("e", "rolling", 7),
];

describe("SharedBank", () => {
  it("answers as MapBank does, whatever it is asked", () => {
    const step = fc.record({
      gapUs: fc.constantFrom(0, 1, 16_667, 300_000, 1_016_667, 3_600_000_000),
      limits: fc.subarray([0, 1, 2, 3, 4], { minLength: 1 }),
      key: fc.constantFrom("", "a", "b", "a long key that nobody would type"),
      cost: fc.nat(3),
      settle: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        let us = START_US;
        const unixMs = () => 1_700_000_000_000 + us / 1000;
        const map = new MapBank({ maxCounters: 1000, unixMs });
        const memory = createQuotaMemory(256 * 1024);
        // A new snapshot or thread attaches to the same memory.
        const banks = [0, 1].map((lane) => new SharedBank(memory, { lane, unixMs }));
        for (const [i, { gapUs, limits, key, cost, settle }] of steps.entries()) {
          us += gapUs;
          const charges = limits.map((l) => new Charge(LIMITS[l]!, key, cost, us));
          // What is in flight belongs to a lane; the rest to all.
          const bank = banks[limits.includes(3) ? 0 : i % 2]!;
          const [one, two] = [map.take(charges, us), bank.take(charges, us)];
          expect(two.admitted).toBe(one.admitted);
          expect(two.refusedBy).toBe(one.refusedBy);
          expect(two.retryAfterMs).toBe(one.retryAfterMs);
          expect(two.remaining.slice(0, limits.length)).toEqual(one.remaining.slice(0, limits.length));
          expect(two.resetMs.slice(0, limits.length)).toEqual(one.resetMs.slice(0, limits.length));
          if (!settle || !one.admitted) continue;
          map.settle(charges, us);
          bank.settle(charges, us);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("drops no counter that counts: full is full, said and counted, until some are idle", () => {
    const memory = createQuotaMemory(1_000_000);
    const bank = new SharedBank(memory, { lane: 0, unixMs: () => 0 });
    const limit = limitOf("x", "rolling", 1);
    const ask = (key: string, us: number) => bank.take([new Charge(limit, key, 1, us)], us);
    const admitted: string[] = [];
    let failed = 0;
    for (let i = 0; i < 3000; i++) {
      const answer = ask(`key ${i}`, START_US);
      if (answer.admitted) admitted.push(`key ${i}`);
      else {
        expect(answer).toMatchObject({ storeFailed: true, refusedBy: 0 });
        expect(answer.retryAfterMs).toBeLessThanOrEqual(1017);
        failed++;
      }
    }
    expect(admitted.length + failed).toBe(3000);
    expect(admitted.length).toBeGreaterThan(1000);
    expect(bank.usage()).toMatchObject({ counters: admitted.length, full: failed });
    for (const key of admitted) expect(ask(key, START_US + 900_000)).toMatchObject({ admitted: false, storeFailed: false });
    for (let i = 0; i < 100; i++) expect(ask(`new ${i}`, START_US + 1_200_000)).toMatchObject({ admitted: true });
    expect(bank.usage().counters).toBeLessThanOrEqual(admitted.length);
  });

  it("keeps a steady stream of new keys going in a table far smaller than all of them", () => {
    const bank = new SharedBank(createQuotaMemory(2_000_000), { lane: 0, unixMs: () => 0 });
    const limit = limitOf("x", "smooth", 1000);
    for (let i = 0; i < 20_000; i++) {
      expect(bank.take([new Charge(limit, `key ${i}`, 1, 0)], START_US + i)).toMatchObject({ admitted: true });
    }
  });

  it("waits for no dead thread longer than MAX_LOCK_WAIT_MS, and its heir makes good what it left", () => {
    const memory = createQuotaMemory(100_000);
    const bank = new SharedBank(memory, { lane: 1, unixMs: () => 0 });
    const slots = limitOf("s", "rolling", 2, "concurrent");
    const dead = new SharedBank(memory, { lane: 0, unixMs: () => 0 });
    const charges = [new Charge(slots, "k", 2, START_US)];
    expect(dead.take(charges, START_US).admitted).toBe(true);
    const table = new QuotaTable(memory.wide);
    // The second bank of this memory, in lane 0: see `lanes`.
    const number = new Int32Array(memory.lanes)[1] as number;
    for (let stripe = 0; stripe < STRIPES; stripe++)
      expect(acquire(table.words, QuotaTable.lockAt(stripe), number, 0)).toBe(true);
    const started = performance.now();
    expect(bank.take(charges, START_US)).toMatchObject({ admitted: false, storeFailed: true });
    expect(performance.now() - started).toBeGreaterThanOrEqual(MAX_LOCK_WAIT_MS - 1);
    // As long as nobody has taken the lane over, its locks are those of the living.
    bank.laneGone(0);
    expect(holder(table.words, QuotaTable.lockAt(0))).toBe(number);
    const heir = new SharedBank(memory, { lane: 0, unixMs: () => 0 });
    expect(bank.take(charges, START_US)).toMatchObject({ admitted: true, storeFailed: false });
    bank.settle(charges, START_US);
    expect(heir.take(charges, START_US)).toMatchObject({ admitted: true });
    bank.laneGone(0);
    expect(bank.take(charges, START_US)).toMatchObject({ admitted: false, storeFailed: false });
  });

  it("gives back later what it could not give back now", () => {
    const memory = createQuotaMemory(100_000);
    const bank = new SharedBank(memory, { lane: 1, unixMs: () => 0 });
    const slots = limitOf("s", "rolling", 2, "concurrent");
    const charges = [new Charge(slots, "k", 2, START_US)];
    bank.take(charges, START_US);
    const table = new QuotaTable(memory.wide);
    for (let stripe = 0; stripe < STRIPES; stripe++) acquire(table.words, QuotaTable.lockAt(stripe), 5, 0);
    bank.settle(charges, START_US);
    for (let stripe = 0; stripe < STRIPES; stripe++) release(table.words, QuotaTable.lockAt(stripe));
    expect(bank.take(charges, START_US)).toMatchObject({ admitted: true });
  });

  it("knows its lanes and its size", () => {
    const memory = createQuotaMemory(DEFAULT_QUOTA_MEMORY_BYTES);
    expect(memory.wide.buffer.byteLength + memory.narrow.buffer.byteLength).toBeLessThanOrEqual(
      DEFAULT_QUOTA_MEMORY_BYTES + 16_384,
    );
    const { capacity } = new SharedBank(memory, { lane: MAX_LANES - 1, unixMs: () => 0 }).usage();
    expect(capacity).toBeGreaterThan(100_000);
    expect(() => new SharedBank(memory, { lane: MAX_LANES, unixMs: () => 0 })).toThrow(RangeError);
  });
});

describe("QuotaTable.repair", () => {
  it("finds every counter again, and frees what was half made", () => {
    const at = { us: START_US, unixMs: 0, lane: 0 };
    const table = new QuotaTable(createTableMemory(400_000, 64));
    const prints = Array.from({ length: 8 }, (_, i) => Int32Array.of(3, i * 1000, i, i));
    const slots = prints.map((print) => table.claim(3, print, "rolling", at));
    expect(new Set(slots).size).toBe(8);
    for (const [i, slot] of slots.entries()) {
      // Total that the writer did not get to, and a newest sub-bucket of now.
      table.numbers[slot * 64] = Math.floor(START_US / 16_667);
      table.numbers[slot * 64 + 2] = 16_667;
      table.numbers[slot * 64 + 3] = i + 1;
    }
    table.words.fill(0, QuotaTable.lockAt(3) + 2, QuotaTable.lockAt(3) + 3);
    table.repair(3);
    expect(prints.map((print) => table.claim(3, print, "rolling", at))).toEqual(slots);
    expect(slots.map((slot) => table.numbers[slot * 64 + 1])).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(table.usage().live).toBe(8);
  });
});

describe("shared lock", () => {
  it("says who holds it and lets nobody else in", () => {
    const words = new Int32Array(new SharedArrayBuffer(4));
    expect(holder(words, 0)).toBe(0);
    expect(acquire(words, 0, 4, 0)).toBe(true);
    expect(holder(words, 0)).toBe(4);
    expect(acquire(words, 0, 5, 2)).toBe(false);
    expect(holder(words, 0)).toBe(4);
    release(words, 0);
    expect(acquire(words, 0, 5, 0)).toBe(true);
    expect(seize(words, 0, 4, 6)).toBe(false);
    expect(seize(words, 0, 5, 6)).toBe(true);
    expect(holder(words, 0)).toBe(6);
  });
});

describe("monotonicUs", () => {
  it("never runs back and counts whole microseconds", () => {
    const now = monotonicUs();
    let last = now();
    for (let i = 0; i < 10_000; i++) {
      const next = now();
      expect(next >= last && Number.isSafeInteger(next)).toBe(true);
      last = next;
    }
  });
});
