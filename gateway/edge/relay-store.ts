/**
 * The relay's memory in a Durable Object's SQLite. Calls are synchronous, and what a call wrote is durable before anything that the object sends
 * afterwards leaves it (the output gate), so an answer is never ahead of the storage.
 */
import type { RelayStorage, StoredOffer, StoredSnapshot } from "./relay.ts";

/** Bytes in one row: a row may have 2 MB in all, and the longest name of a chunk is far below the difference. */
export const MAX_ROW_BYTES = 1_900_000;

/** The part of `DurableObjectStorage` that is used. */
export type RelaySql = Pick<DurableObjectStorage, "sql" | "transactionSync">;

/** Whose snapshots are kept: what another pool or another trust root vouched for is of no use. */
export interface RelayIdentity {
  readonly audience: string;
  readonly pin: string;
}

const TABLES = [
  "create table if not exists identity (only integer primary key check (only = 1), audience text not null, pin text not null)",
  "create table if not exists roots (version integer primary key, document blob not null)",
  "create table if not exists snapshots (role text primary key, manifest blob not null, about text not null)",
  "create table if not exists offers (only integer primary key check (only = 1), manifest blob not null, not_before_s integer)",
  "create table if not exists chunks (hash text not null, part integer not null, content blob not null, primary key (hash, part)) without rowid",
];

type About = Omit<StoredSnapshot, "manifest">;
type Role = "current" | "previous";

export class SqlRelayStore implements RelayStorage {
  readonly #storage: RelaySql;
  /** Hashes of the chunks that are whole in the table. */
  readonly #hashes: Set<string>;
  readonly #snapshots = new Map<Role, StoredSnapshot | undefined>();

  /** Empties what was kept for another identity. */
  constructor(storage: RelaySql, identity: RelayIdentity) {
    this.#storage = storage;
    for (const table of TABLES) this.#sql.exec(table);
    const known = this.#sql.exec<{ audience: string; pin: string }>("select audience, pin from identity").toArray()[0];
    if (known?.audience !== identity.audience || known.pin !== identity.pin) this.#startOver(identity);
    this.#hashes = new Set(
      this.#sql
        .exec<{ hash: string }>("select distinct hash from chunks")
        .toArray()
        .map(({ hash }) => hash),
    );
  }

  roots(): readonly Uint8Array[] {
    const rows = this.#sql.exec<{ document: ArrayBuffer }>("select document from roots order by version").toArray();
    return rows.map(({ document }) => new Uint8Array(document));
  }

  addRoot(document: Uint8Array): void {
    this.#sql.exec("insert into roots (document) values (?)", document);
  }

  current(): StoredSnapshot | undefined {
    return this.#snapshot("current");
  }

  previous(): StoredSnapshot | undefined {
    return this.#snapshot("previous");
  }

  offer(): StoredOffer | undefined {
    const row = this.#sql
      .exec<{ manifest: ArrayBuffer; not_before_s: number | null }>("select manifest, not_before_s from offers")
      .toArray()[0];
    return row && { manifest: new Uint8Array(row.manifest), notBeforeS: row.not_before_s ?? undefined };
  }

  setOffer(offer: StoredOffer | undefined): void {
    if (offer === undefined) this.#sql.exec("delete from offers");
    else this.#sql.exec("insert or replace into offers values (1, ?, ?)", offer.manifest, offer.notBeforeS ?? null);
  }

  hasChunk(hash: string): boolean {
    return this.#hashes.has(hash);
  }

  chunk(hash: string): Uint8Array | undefined {
    const parts = this.#sql
      .exec<{ content: ArrayBuffer }>("select content from chunks where hash = ? order by part", hash)
      .toArray();
    if (parts.length < 2) return parts[0] && new Uint8Array(parts[0].content);
    const whole = new Uint8Array(parts.reduce((sum, { content }) => sum + content.byteLength, 0));
    let at = 0;
    for (const { content } of parts) {
      whole.set(new Uint8Array(content), at);
      at += content.byteLength;
    }
    return whole;
  }

  putChunk(hash: string, content: Uint8Array): void {
    this.#storage.transactionSync(() => {
      for (let part = 0; part * MAX_ROW_BYTES < content.byteLength; part++) {
        const bytes = content.slice(part * MAX_ROW_BYTES, (part + 1) * MAX_ROW_BYTES);
        this.#sql.exec("insert or replace into chunks values (?, ?, ?)", hash, part, bytes);
      }
    });
    this.#hashes.add(hash);
  }

  accept(next: StoredSnapshot): void {
    const current = this.current();
    const again = current?.accepted.payloadHash === next.accepted.payloadHash;
    this.#storage.transactionSync(() => {
      if (current !== undefined && !again) this.#write("previous", current);
      this.#write("current", next);
      this.setOffer(undefined);
    });
    this.#snapshots.clear();
  }

  markEnforced(): void {
    const current = this.current();
    if (current === undefined) return;
    this.#write("current", { ...current, enforced: true });
    this.#snapshots.clear();
  }

  keepChunks(hashes: ReadonlySet<string>): void {
    for (const hash of this.#hashes) {
      if (hashes.has(hash)) continue;
      this.#sql.exec("delete from chunks where hash = ?", hash);
      this.#hashes.delete(hash);
    }
  }

  get #sql(): SqlStorage {
    return this.#storage.sql;
  }

  #startOver({ audience, pin }: RelayIdentity): void {
    this.#storage.transactionSync(() => {
      for (const table of ["roots", "snapshots", "offers", "chunks"]) this.#sql.exec(`delete from ${table}`);
      this.#sql.exec("insert or replace into identity values (1, ?, ?)", audience, pin);
    });
  }

  #snapshot(role: Role): StoredSnapshot | undefined {
    if (!this.#snapshots.has(role)) this.#snapshots.set(role, this.#read(role));
    return this.#snapshots.get(role);
  }

  #read(role: Role): StoredSnapshot | undefined {
    const row = this.#sql
      .exec<{ manifest: ArrayBuffer; about: string }>("select manifest, about from snapshots where role = ?", role)
      .toArray()[0];
    // Written by this class only.
    return row && { ...(JSON.parse(row.about) as About), manifest: new Uint8Array(row.manifest) };
  }

  #write(role: Role, { manifest, ...about }: StoredSnapshot): void {
    this.#sql.exec("insert or replace into snapshots values (?, ?, ?)", role, manifest, JSON.stringify(about satisfies About));
  }
}
