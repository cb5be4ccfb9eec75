import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { IN_MEMORY, MAX_HISTORY_ROWS, SqliteStore, STORE_FORMAT, type StoredObject } from "./sqlite.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-store-"));
});
afterEach(() => {
  chmodSync(directory, 0o700);
  rmSync(directory, { recursive: true });
});

const stored: StoredObject = {
  origin: "api",
  manifest: {
    apiVersion: "networking.istio.io/v1",
    kind: "ServiceEntry",
    metadata: { name: "a", namespace: "default", labels: {}, annotations: {} },
    spec: { hosts: ["a.example.com"] },
  },
  createdMs: 5,
  generation: 1,
  source: { file: "api", line: 1, column: 1 },
};

function open(path: string): SqliteStore {
  const opened = SqliteStore.open(path);
  if (!opened.ok) throw new Error(opened.error);
  return opened.value;
}

function refusal(path: string): string {
  const opened = SqliteStore.open(path);
  if (opened.ok) throw new Error("opened");
  return opened.error;
}

test("what was committed is there after closing; the files are their owner's alone", () => {
  const path = join(directory, "state", "config.db");
  const first = open(path);
  first.commit([{ kind: "created", object: stored }], "anna", 7);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(`${path}-wal`).mode & 0o077).toBe(0);
  first.close();
  const second = open(path);
  expect(second.load()).toEqual([stored]);
  expect(second.history()).toEqual([
    {
      id: 1,
      atMs: 7,
      who: "anna",
      change: "created",
      origin: "api",
      ref: { kind: "ServiceEntry", namespace: "default", name: "a" },
      generation: 1,
      manifest: stored.manifest,
    },
  ]);
  second.close();
});

test("a commit is all or nothing", () => {
  const store = open(IN_MEMORY);
  const broken = {
    ...stored,
    manifest: { ...stored.manifest, metadata: { ...stored.manifest.metadata, name: null as unknown as string } },
  };
  expect(() =>
    store.commit(
      [
        { kind: "created", object: stored },
        { kind: "created", object: broken },
      ],
      "x",
      1,
    ),
  ).toThrow(/NOT NULL/);
  expect(store.load()).toEqual([]);
  expect(store.history()).toEqual([]);
});

test("MAX_HISTORY_ROWS: the oldest go first", () => {
  const store = open(IN_MEMORY);
  const changes = Array.from({ length: MAX_HISTORY_ROWS + 5 }, (_, index) => ({
    kind: index === 0 ? ("created" as const) : ("updated" as const),
    object: { ...stored, generation: index + 1 },
  }));
  store.commit(changes, "x", 1);
  const rows = store.history(undefined, MAX_HISTORY_ROWS * 2);
  expect(rows).toHaveLength(MAX_HISTORY_ROWS);
  expect(rows.at(-1)?.generation).toBe(6);
});

test("a file that is no database, or a damaged one", () => {
  const path = join(directory, "config.db");
  writeFileSync(path, "this is some text and no database at all\n".repeat(100));
  expect(refusal(path)).toBe(
    `${path} is not a database or is damaged; restore a copy, or move it away to start with an empty store`,
  );
});

test("a newer format", () => {
  const path = join(directory, "config.db");
  const newer = new DatabaseSync(path);
  newer.exec(`PRAGMA user_version = ${STORE_FORMAT + 1}`);
  newer.close();
  expect(refusal(path)).toBe(
    `${path} was written by a newer version (format 2; this one reads up to 1); start that version, or name another file`,
  );
});

test("another program's database", () => {
  const path = join(directory, "config.db");
  const other = new DatabaseSync(path);
  other.exec("CREATE TABLE songs (title TEXT)");
  other.close();
  expect(refusal(path)).toBe(`${path} is a database of another program; name another file`);
});

test("a path through a file, a directory in its place, a directory that is not there to make", () => {
  writeFileSync(join(directory, "file"), "");
  mkdirSync(join(directory, "config.db"));
  expect(refusal(join(directory, "file", "config.db"))).toMatch(
    /cannot be created \((?:ENOTDIR|EEXIST)\); a part of the path is not a directory/,
  );
  expect(refusal(join(directory, "config.db"))).toMatch(/cannot be created \(EISDIR\)/);
  expect(refusal("/proc/tidegate/config.db")).toMatch(
    /^\/proc\/tidegate\/config\.db cannot be written \(ENOENT\); make its directory writable/,
  );
});
