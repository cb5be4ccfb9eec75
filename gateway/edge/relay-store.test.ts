import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { describe, expect, test } from "vitest";
import type { StoredSnapshot } from "./relay.ts";
import { MAX_ROW_BYTES, type RelaySql, SqlRelayStore } from "./relay-store.ts";

/** A Durable Object's SQLite as far as it is used: rows come with ArrayBuffers, a transaction that throws leaves nothing. */
class Sqlite {
  readonly database = new DatabaseSync(":memory:");

  get storage(): RelaySql {
    const exec = (query: string, ...values: unknown[]) => {
      const rows = this.database.prepare(query).all(...(values as SQLInputValue[]));
      const held = (value: unknown) => (value instanceof Uint8Array ? Uint8Array.from(value).buffer : value);
      return {
        toArray: () => rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, held(value)]))),
      };
    };
    return {
      sql: { exec },
      transactionSync: (run: () => void) => {
        this.database.exec("begin");
        try {
          run();
          this.database.exec("commit");
        } catch (error) {
          this.database.exec("rollback");
          throw error;
        }
      },
    } as unknown as RelaySql;
  }

  count(table: string): number {
    return Number(this.database.prepare(`select count(*) as n from ${table}`).get()?.["n"]);
  }
}

const IDENTITY = { audience: "edge", pin: "p" };
const bytes = (...content: number[]) => new Uint8Array(content);

function snapshot(version: number, chunks: readonly string[] = []): StoredSnapshot {
  const accepted = { epoch: 1, version, payloadHash: `hash-${version}`, rootVersion: 1, rootHash: "r" };
  return { manifest: bytes(version), chunks, accepted, sinceMs: version * 1000, enforced: false };
}

describe("what the relay remembers", () => {
  test("is there after a restart: roots, snapshots, offer, chunks", () => {
    const sqlite = new Sqlite();
    const before = new SqlRelayStore(sqlite.storage, IDENTITY);
    before.addRoot(bytes(1));
    before.addRoot(bytes(2));
    before.accept(snapshot(1, ["a"]));
    before.accept(snapshot(2, ["a", "b"]));
    before.setOffer({ manifest: bytes(3), notBeforeS: 7 });
    before.putChunk("a", bytes(4, 5));
    const after = new SqlRelayStore(sqlite.storage, IDENTITY);
    expect(after.roots()).toEqual([bytes(1), bytes(2)]);
    expect(after.current()).toEqual(snapshot(2, ["a", "b"]));
    expect(after.previous()).toEqual(snapshot(1, ["a"]));
    expect(after.offer()).toEqual({ manifest: bytes(3), notBeforeS: 7 });
    expect([after.hasChunk("a"), after.hasChunk("b"), after.chunk("a"), after.chunk("b")]).toEqual([
      true,
      false,
      bytes(4, 5),
      undefined,
    ]);
  });

  test("accepting ends the offer; the same one again leaves the one before it in place", () => {
    const store = new SqlRelayStore(new Sqlite().storage, IDENTITY);
    store.accept(snapshot(1));
    store.setOffer({ manifest: bytes(3), notBeforeS: undefined });
    expect(store.offer()).toEqual({ manifest: bytes(3), notBeforeS: undefined });
    store.accept(snapshot(2));
    store.accept(snapshot(2));
    expect([store.current()?.accepted.version, store.previous()?.accepted.version, store.offer()]).toEqual([2, 1, undefined]);
  });

  test("that it is in force at the isolates", () => {
    const sqlite = new Sqlite();
    const store = new SqlRelayStore(sqlite.storage, IDENTITY);
    store.markEnforced();
    expect(store.current()).toBeUndefined();
    store.accept(snapshot(1));
    store.markEnforced();
    expect(store.current()?.enforced).toBe(true);
    store.accept(snapshot(2));
    expect(new SqlRelayStore(sqlite.storage, IDENTITY).current()?.enforced).toBe(false);
  });

  test("a chunk above MAX_ROW_BYTES takes several rows and comes back whole", () => {
    const sqlite = new Sqlite();
    const store = new SqlRelayStore(sqlite.storage, IDENTITY);
    const large = Uint8Array.from({ length: 2 * MAX_ROW_BYTES + 1 }, (_, i) => i % 251);
    // A view into a frame, as it arrives.
    const frame = new Uint8Array(large.length + 43);
    frame.set(large, 43);
    store.putChunk("large", frame.subarray(43));
    store.putChunk("exact", large.subarray(0, MAX_ROW_BYTES));
    expect(sqlite.count("chunks")).toBe(4);
    expect(Buffer.compare(store.chunk("large") ?? bytes(), large)).toBe(0);
    expect(store.chunk("exact")?.byteLength).toBe(MAX_ROW_BYTES);
  });

  test("chunks that nothing names go, with all their rows", () => {
    const sqlite = new Sqlite();
    const store = new SqlRelayStore(sqlite.storage, IDENTITY);
    store.putChunk("a", bytes(1));
    store.putChunk("large", new Uint8Array(MAX_ROW_BYTES + 1));
    store.keepChunks(new Set(["a", "never there"]));
    expect([store.hasChunk("a"), store.hasChunk("large"), sqlite.count("chunks")]).toEqual([true, false, 1]);
  });

  test.each([
    { ...IDENTITY, audience: "other" },
    { ...IDENTITY, pin: "other" },
  ])("for another identity is forgotten: %o", (identity) => {
    const sqlite = new Sqlite();
    const before = new SqlRelayStore(sqlite.storage, IDENTITY);
    before.addRoot(bytes(1));
    before.accept(snapshot(1));
    before.putChunk("a", bytes(1));
    const after = new SqlRelayStore(sqlite.storage, identity);
    expect([after.roots(), after.current(), after.hasChunk("a"), after.offer()]).toEqual([[], undefined, false, undefined]);
    after.addRoot(bytes(9));
    expect(new SqlRelayStore(sqlite.storage, identity).roots()).toEqual([bytes(9)]);
  });
});
