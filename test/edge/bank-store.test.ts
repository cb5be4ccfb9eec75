/** A bank's counters in SQLite, held against the same counters in memory: what is stored is all that there is to know. */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  answerAsk,
  compileLeasedLimit,
  isLeased,
  type LeaseAsk,
  type LeasedCompiledLimit,
  leaseCounterIdleMs,
  newLeaseCounter,
} from "../../gateway/core/index.ts";
import { type BankSql, BankStore, MAX_BANK_KEYS } from "../../gateway/edge/bank-store.ts";

const NOW_MS = 1_790_000_000_000;

function sqlStorage(database: DatabaseSync): BankSql {
  return {
    exec(query, ...values) {
      if (query.includes(";")) {
        database.exec(query);
        return { toArray: () => [], rowsWritten: 0 };
      }
      const bound = values.map((value): SQLInputValue => (value instanceof ArrayBuffer ? new Uint8Array(value) : value));
      const before = changes(database);
      const rows = database.prepare(query).all(...bound);
      const plain = rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, bufferOf(value)])));
      return { toArray: () => plain, rowsWritten: changes(database) - before };
    },
  };
}

function changes(database: DatabaseSync): number {
  return Number(database.prepare("select total_changes() as n").get()?.["n"]);
}

/** Blobs are ArrayBuffers in workerd. */
function bufferOf(value: unknown): unknown {
  return value instanceof Uint8Array ? value.slice().buffer : value;
}

function leased(window: "rolling" | "smooth"): LeasedCompiledLimit {
  const limit = { name: "l", amount: 40, perMs: 60_000, window };
  const compiled = compileLeasedLimit({ rule: "ns/q#l", unit: "requests", limit, accuracy: undefined }, undefined, true);
  if (!isLeased(compiled)) throw new Error("not leased");
  return compiled;
}

function ask(store: BankStore, limit: LeasedCompiledLimit, one: LeaseAsk, ms: number) {
  const counter = store.load(one.key, limit.kind);
  if (counter === undefined) return "full";
  const before = new Set(counter.grants);
  const answer = answerAsk(limit, counter, "h", one, ms);
  store.save(one.key, counter, before, leaseCounterIdleMs(limit, counter));
  return answer;
}

const asks = fc.array(
  fc.record({
    gapMs: fc.integer({ min: 0, max: 8000 }),
    need: fc.integer({ min: 0, max: 10 }),
    wanted: fc.integer({ min: 0, max: 20 }),
    debt: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 5 })),
    again: fc.boolean(),
    ends: fc.option(fc.nat(30), { nil: undefined }),
  }),
  { maxLength: 60 },
);

describe("a bank's store", () => {
  it.each(["rolling", "smooth"] as const)("loses nothing and makes nothing up: %s", (window) => {
    fc.assert(
      fc.property(asks, (list) => {
        const limit = leased(window);
        const database = new DatabaseSync(":memory:");
        const memory = newLeaseCounter(limit.kind);
        let ms = NOW_MS;
        list.forEach(({ gapMs, need, wanted, debt, again, ends }, i) => {
          ms += gapMs;
          const id = `h.${again ? Math.max(0, i - 1) : i}`;
          const ended = ends === undefined ? [] : [{ id: `h.${ends}`, unused: 2 }];
          const one = { id, key: "k", need, wanted, debt, ended };
          // A store of its own for every ask: the object was put to sleep in between.
          const stored = ask(new BankStore(sqlStorage(database)), limit, one, ms);
          expect(stored).toEqual(answerAsk(limit, memory, "h", one, ms));
        });
        database.close();
      }),
      { numRuns: 60 },
    );
  });

  it("has a bound on keys, and drops none that still counts for another", () => {
    expect(MAX_BANK_KEYS).toBeGreaterThan(100_000);
    const limit = leased("rolling");
    const store = new BankStore(sqlStorage(new DatabaseSync(":memory:")), 2);
    const one = (key: string) => ({ id: `${key}.1`, key, need: 1, wanted: 1, debt: 0, ended: [] });
    for (const key of ["a", "b"]) expect(ask(store, limit, one(key), NOW_MS)).toMatchObject({ granted: 1 });
    expect(ask(store, limit, one("c"), NOW_MS)).toBe("full");
    store.sweep(NOW_MS + 30_000);
    expect(store.keys).toBe(2);
    store.sweep(NOW_MS + 3_600_000);
    expect(store.keys).toBe(0);
    expect(ask(store, limit, one("c"), NOW_MS + 3_600_000)).toMatchObject({ granted: 1 });
  });
});
