/**
 * The counters of one bank in SQLite: a row per key, and a row per grant that is not settled. Every ask reads and writes its own key's rows only, so a
 * bank that was restarted, moved or put to sleep goes on where it was. What is written here is durable before an answer leaves the object.
 */
import { type Grant, type LeaseCounter, type LimitKind, newLeaseCounter, STATE_SIZE } from "../core/index.ts";

/** Most keys that one bank keeps. One that still counts is never dropped for another. */
export const MAX_BANK_KEYS = 1_000_000;
/** Rows that one clean-up deletes at most, so that nobody waits long behind it. */
const SWEEP_ROWS = 5_000;

/** What is used of an object's `storage.sql`. */
export interface BankSql {
  exec(
    query: string,
    ...values: (string | number | ArrayBuffer)[]
  ): { toArray(): Readonly<Record<string, unknown>>[]; readonly rowsWritten: number };
}

export class BankStore {
  readonly #sql: BankSql;
  readonly #maxKeys: number;
  #keys: number;

  constructor(sql: BankSql, maxKeys = MAX_BANK_KEYS) {
    this.#sql = sql;
    this.#maxKeys = maxKeys;
    sql.exec(
      `create table if not exists counter (key text primary key, state blob not null, reach blob not null, idle_ms integer not null) without rowid;
       create index if not exists counter_idle on counter (idle_ms);
       create table if not exists lease (key text not null, id text not null, holder text not null, amount integer not null,
         made_ms integer not null, until_ms integer not null, primary key (key, id)) without rowid;`,
    );
    this.#keys = Number(sql.exec("select count(*) as n from counter").toArray()[0]?.["n"]);
  }

  get keys(): number {
    return this.#keys;
  }

  /** A key's counter, as good as new if there is none; undefined: there is no room for another key. */
  load(key: string, kind: LimitKind): LeaseCounter | undefined {
    const row = this.#sql.exec("select state, reach from counter where key = ?", key).toArray()[0];
    if (row === undefined) return this.#keys < this.#maxKeys ? newLeaseCounter(kind) : undefined;
    const grants = this.#sql
      .exec("select id, holder, amount, made_ms, until_ms from lease where key = ?", key)
      .toArray()
      .map((lease) => ({
        id: String(lease["id"]),
        holder: String(lease["holder"]),
        amount: Number(lease["amount"]),
        madeMs: Number(lease["made_ms"]),
        untilMs: Number(lease["until_ms"]),
      }));
    return {
      state: numbers(row["state"], STATE_SIZE[kind]),
      reach: numbers(row["reach"], kind === "rolling" ? STATE_SIZE.rolling : 0),
      grants,
    };
  }

  /** @param before the grants that the counter was loaded with: those that are still the same ones are not written again */
  save(key: string, counter: LeaseCounter, before: ReadonlySet<Grant>, idleMs: number): void {
    const { state, reach, grants } = counter;
    const { rowsWritten } = this.#sql.exec(
      "insert into counter (key, state, reach, idle_ms) values (?1, ?2, ?3, ?4) on conflict (key) do nothing",
      key,
      bytesOf(state),
      bytesOf(reach),
      idleMs,
    );
    if (rowsWritten > 0) this.#keys++;
    else
      this.#sql.exec(
        "update counter set state = ?2, reach = ?3, idle_ms = ?4 where key = ?1",
        key,
        bytesOf(state),
        bytesOf(reach),
        idleMs,
      );
    const now = new Set(grants);
    for (const grant of before) if (!now.has(grant)) this.#sql.exec("delete from lease where key = ? and id = ?", key, grant.id);
    for (const grant of grants) {
      if (before.has(grant)) continue;
      const { id, holder, amount, madeMs, untilMs } = grant;
      this.#sql.exec("insert into lease values (?, ?, ?, ?, ?, ?)", key, id, holder, amount, madeMs, untilMs);
    }
  }

  /** Deletes counters that are as good as new. @returns whether there may be more */
  sweep(nowMs: number): boolean {
    const idle = this.#sql.exec("select key from counter where idle_ms <= ? limit ?", nowMs, SWEEP_ROWS).toArray();
    for (const row of idle) {
      const key = String(row["key"]);
      this.#sql.exec("delete from lease where key = ?", key);
      this.#sql.exec("delete from counter where key = ?", key);
    }
    this.#keys -= idle.length;
    return idle.length === SWEEP_ROWS;
  }
}

/** A copy: SQLite takes an ArrayBuffer of its own. */
function bytesOf(values: Float64Array): ArrayBuffer {
  return values.slice().buffer as ArrayBuffer;
}

function numbers(blob: unknown, size: number): Float64Array {
  const found = blob instanceof ArrayBuffer && blob.byteLength === size * Float64Array.BYTES_PER_ELEMENT;
  return found ? new Float64Array(blob) : new Float64Array(size);
}
