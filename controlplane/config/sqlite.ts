/** Objects and their history on disk, in one SQLite file that only its owner can read. */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fail, ok, type Result } from "../../gateway/core/result.ts";
import type { ObjectRef, SourceLocation } from "./resource.ts";
import type { Manifest } from "./validate.ts";

/** Format of the file; raised when tables change. */
export const STORE_FORMAT = 1;
/** History rows that are kept; the oldest go first. */
export const MAX_HISTORY_ROWS = 10_000;
/** For SQLite's own tests and short-lived stores. */
export const IN_MEMORY = ":memory:";

/** An accepted object of a source. */
export interface StoredObject {
  /** `directory`, `api`. */
  readonly origin: string;
  readonly manifest: Manifest;
  readonly createdMs: number;
  readonly generation: number;
  readonly source: SourceLocation;
}

/** `moved`: the same text in another file; it is no news, so it is not in the history. */
export type ChangeKind = "created" | "updated" | "deleted" | "moved";

/** One change of one object. */
export interface Change {
  readonly kind: ChangeKind;
  readonly object: StoredObject;
}

export interface HistoryEntry {
  readonly id: number;
  readonly atMs: number;
  readonly who: string;
  readonly change: ChangeKind;
  readonly origin: string;
  readonly ref: ObjectRef;
  readonly generation: number;
  /** As it was after the change; for `deleted`, before it. */
  readonly manifest: Manifest;
}

const TABLES = `
  CREATE TABLE objects (
    origin TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    manifest TEXT NOT NULL, created_ms INTEGER NOT NULL, generation INTEGER NOT NULL,
    file TEXT NOT NULL, line INTEGER NOT NULL, col INTEGER NOT NULL,
    PRIMARY KEY (origin, kind, namespace, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE history (
    id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, change TEXT NOT NULL,
    origin TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    generation INTEGER NOT NULL, manifest TEXT NOT NULL
  ) STRICT;
  CREATE INDEX history_by_object ON history (kind, namespace, name, id);
  PRAGMA user_version = ${STORE_FORMAT};
`;

type Row = Readonly<Record<string, unknown>>;

export class SqliteStore {
  private readonly database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.database = database;
  }

  /** Opens or creates a store. The error is a sentence with the file and the remedy. */
  static open(path: string): Result<SqliteStore, string> {
    let database: DatabaseSync | undefined;
    try {
      if (path !== IN_MEMORY) makePrivate(path);
      database = new DatabaseSync(path, { timeout: 2000 });
      const problem = prepare(database);
      if (problem === undefined) return ok(new SqliteStore(database));
      database.close();
      return fail(`${path} ${problem}`);
    } catch (cause) {
      database?.close();
      return fail(explainOpen(path, cause));
    }
  }

  /** Every accepted object, in the order in which they were created. */
  load(): readonly StoredObject[] {
    const rows = this.database.prepare("SELECT * FROM objects ORDER BY created_ms, kind, namespace, name").all();
    return rows.map((row: Row) => ({
      origin: String(row["origin"]),
      manifest: JSON.parse(String(row["manifest"])) as Manifest,
      createdMs: Number(row["created_ms"]),
      generation: Number(row["generation"]),
      source: { file: String(row["file"]), line: Number(row["line"]), column: Number(row["col"]) },
    }));
  }

  /** Writes changes and their history, all or none. Throws when the disk refuses. */
  commit(changes: readonly Change[], who: string, atMs: number): void {
    if (changes.length === 0) return;
    this.database.exec("BEGIN IMMEDIATE");
    try {
      for (const change of changes) this.write(change, who, atMs);
      this.database.prepare("DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?").run(MAX_HISTORY_ROWS);
      this.database.exec("COMMIT");
    } catch (cause) {
      this.database.exec("ROLLBACK");
      throw cause;
    }
  }

  private write({ kind: change, object }: Change, who: string, atMs: number): void {
    const { origin, manifest, createdMs, generation, source } = object;
    const { kind, metadata } = manifest;
    const text = JSON.stringify(manifest);
    const key = [origin, kind, metadata.namespace, metadata.name];
    if (change === "deleted") {
      this.database.prepare("DELETE FROM objects WHERE origin = ? AND kind = ? AND namespace = ? AND name = ?").run(...key);
    } else {
      this.database
        .prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .run(...key, text, createdMs, generation, source.file, source.line, source.column);
    }
    if (change === "moved") return;
    this.database
      .prepare(
        "INSERT INTO history (at_ms, who, change, origin, kind, namespace, name, generation, manifest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      )
      .run(atMs, who, change, ...key, generation, text);
  }

  /** Newest first; of one object, or of all. */
  history(ref?: ObjectRef, limit = 100): readonly HistoryEntry[] {
    const where = ref ? "WHERE kind = ? AND namespace = ? AND name = ?" : "";
    const values = ref ? [ref.kind, ref.namespace, ref.name] : [];
    const rows = this.database.prepare(`SELECT * FROM history ${where} ORDER BY id DESC LIMIT ?`).all(...values, limit);
    return rows.map((row: Row) => ({
      id: Number(row["id"]),
      atMs: Number(row["at_ms"]),
      who: String(row["who"]),
      change: String(row["change"]) as ChangeKind,
      origin: String(row["origin"]),
      ref: { kind: String(row["kind"]), namespace: String(row["namespace"]), name: String(row["name"]) },
      generation: Number(row["generation"]),
      manifest: JSON.parse(String(row["manifest"])) as Manifest,
    }));
  }

  close(): void {
    this.database.close();
  }
}

/** Creates the file before SQLite does, so that there is no moment in which others can read it; WAL files take its mode. */
function makePrivate(path: string): void {
  makeDirectory(dirname(path));
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
}

/** Missing directories one by one: `mkdir` with `recursive` never returns where the system answers ENOENT to making one, as /proc does. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}

/** What is wrong with the file, or undefined when it is ready. */
function prepare(database: DatabaseSync): string | undefined {
  const format = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (format > STORE_FORMAT) {
    return `was written by a newer version (format ${format}; this one reads up to ${STORE_FORMAT}); start that version, or name another file`;
  }
  const check = database.prepare("PRAGMA quick_check(1)").get()?.["quick_check"];
  if (check !== "ok") return "is damaged; restore a copy, or move it away to start with an empty store";
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
  if (format === 0) {
    const tables = Number(database.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"]);
    if (tables > 0) return "is a database of another program; name another file";
    database.exec(`BEGIN; ${TABLES} COMMIT;`);
  }
  return undefined;
}

function explainOpen(path: string, cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const message = cause instanceof Error ? cause.message : String(cause);
  if (/not a database|malformed/.test(message)) {
    return `${path} is not a database or is damaged; restore a copy, or move it away to start with an empty store`;
  }
  if (["EACCES", "EPERM", "EROFS", "ENOENT"].includes(code) || /readonly|unable to open/.test(message)) {
    return `${path} cannot be written (${code || message}); make its directory writable for this user, or name another one`;
  }
  if (code === "ENOTDIR" || code === "EEXIST" || code === "EISDIR") {
    return `${path} cannot be created (${code}); a part of the path is not a directory, or the file is one`;
  }
  if (/locked|busy/.test(message)) return `${path} is in use by another process; stop that one, or name another file`;
  return `${path} cannot be opened: ${message}`;
}
