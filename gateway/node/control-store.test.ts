import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ControlStore, type Enrolled, MAX_STATE_FILE_BYTES, type StoredSnapshot } from "./control-store.ts";

let directory: string;
let store: ControlStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-store-"));
  store = new ControlStore(directory);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const bytes = (text: string) => Buffer.from(text);
const hash = (text: string) => createHash("sha256").update(text).digest("base64url");
const chunksOf = (...texts: string[]) => new Map(texts.map((text) => [hash(text), bytes(text)]));
const snapshot = (...texts: string[]): StoredSnapshot => ({
  manifest: bytes(`{"of":${JSON.stringify(texts)}}`),
  chunks: chunksOf(...texts),
  accepted: { version: texts.length },
});
const enrolled: Enrolled = {
  gatewayId: "gw-1",
  pool: "ingress",
  credential: "secret",
  rootHash: "pin",
  ca: "pem",
  floor: { epoch: 1, version: 2 },
};
const path = (...names: string[]) => join(directory, ...names);
const chunkNames = () => readdirSync(path("chunks")).sort();

describe("what was written is read back", () => {
  test("nothing at first", async () => {
    expect([await store.enrolled(), await store.trustRoots(), await store.snapshot()]).toEqual([undefined, [], undefined]);
  });

  test("enrolment, trust roots and snapshot, by another process too", async () => {
    await store.saveEnrolled(enrolled);
    await store.saveTrustRoots([bytes("one"), bytes("two")]);
    await store.saveSnapshot(snapshot("a", "b"));
    const later = new ControlStore(directory);
    expect(await later.enrolled()).toEqual(enrolled);
    expect((await later.trustRoots()).map(String)).toEqual(["one", "two"]);
    expect(await later.snapshot()).toEqual(snapshot("a", "b"));
  });

  test("for the gateway's user alone", async () => {
    await store.saveEnrolled(enrolled);
    await store.saveTrustRoots([bytes("one")]);
    await store.saveSnapshot(snapshot("a"));
    for (const name of ["gateway.json", "root-1.jws", "current.json", join("chunks", hash("a"))])
      expect(statSync(path(name)).mode & 0o777).toBe(0o600);
    expect(statSync(path("chunks")).mode & 0o777).toBe(0o700);
  });

  test("chunks that nothing names any more go, those that stay are not written again", async () => {
    await store.saveSnapshot(snapshot("a", "b"));
    const before = statSync(path("chunks", hash("b"))).ino;
    await store.saveSnapshot(snapshot("b", "c"));
    await store.settled();
    expect(chunkNames()).toEqual([hash("b"), hash("c")].sort());
    expect(statSync(path("chunks", hash("b"))).ino).toBe(before);
    await store.saveSnapshot(snapshot("a", "b"));
    expect(String((await chunksRead()).get(hash("a")))).toBe("a");
  });

  test("reset forgets everything of its own", async () => {
    await store.saveEnrolled(enrolled);
    await store.saveTrustRoots([bytes("one"), bytes("two")]);
    await store.saveSnapshot(snapshot("a"));
    writeFileSync(path("secrets"), "somebody else's");
    await store.reset();
    expect(readdirSync(directory)).toEqual(["chunks", "secrets"]);
    await store.saveSnapshot(snapshot("a"));
    expect(chunkNames()).toEqual([hash("a")]);
  });
});

describe("what a crash or somebody left", () => {
  test("half written files are never read, and cleared before the first write", async () => {
    await store.saveSnapshot(snapshot("a"));
    writeFileSync(path("current.json.part"), "{");
    writeFileSync(path("chunks", `${hash("b")}.part`), "b");
    const later = new ControlStore(directory);
    expect(await later.snapshot()).toEqual(snapshot("a"));
    expect(existsSync(path("current.json.part"))).toBe(true);
    await later.saveEnrolled(enrolled);
    expect(existsSync(path("current.json.part"))).toBe(false);
    expect(chunkNames()).toEqual([hash("a")]);
  });

  test("new chunks without the manifest that names them: the old snapshot stands", async () => {
    await store.saveSnapshot(snapshot("a"));
    writeFileSync(path("chunks", hash("b")), "b");
    expect(String(read(await new ControlStore(directory).snapshot()).manifest)).toBe('{"of":["a"]}');
  });

  test.each([
    ["gateway.json", "{"],
    ["gateway.json", "null"],
    ["gateway.json", JSON.stringify({ ...enrolled, credential: "" })],
    ["gateway.json", JSON.stringify({ ...enrolled, floor: { epoch: "1", version: 1 } })],
    ["gateway.json", JSON.stringify({ ...enrolled, ca: undefined })],
  ])("%s with %s is damaged, not absent", async (name, content) => {
    writeFileSync(path(name), content);
    expect(await store.enrolled()).toEqual({ damaged: path(name) });
  });

  test.each(["", "[]", '{"manifest":1}'])("current.json with %j is damaged, not absent", async (content) => {
    writeFileSync(path("current.json"), content);
    expect(await store.snapshot()).toEqual({ damaged: path("current.json") });
  });

  test("files above MAX_STATE_FILE_BYTES are not read", async () => {
    await store.saveSnapshot(snapshot("a"));
    await store.saveEnrolled(enrolled);
    truncateSync(path("chunks", hash("a")), MAX_STATE_FILE_BYTES + 1);
    truncateSync(path("gateway.json"), MAX_STATE_FILE_BYTES + 1);
    expect((await chunksRead()).size).toBe(0);
    expect(await store.enrolled()).toEqual({ damaged: path("gateway.json") });
  });

  test("a chunk that was changed is handed over as it is, and written anew with the next snapshot", async () => {
    await store.saveSnapshot(snapshot("a"));
    writeFileSync(path("chunks", hash("a")), "A");
    const later = new ControlStore(directory);
    expect(String(read(await later.snapshot()).chunks.get(hash("a")))).toBe("A");
    await later.saveSnapshot(snapshot("a"));
    expect(String((await chunksRead()).get(hash("a")))).toBe("a");
  });

  test("a trust root that was changed is written anew; a gap ends the list", async () => {
    await store.saveTrustRoots([bytes("one"), bytes("two")]);
    writeFileSync(path("root-1.jws"), "changed");
    await store.saveTrustRoots([bytes("one"), bytes("two")]);
    expect((await store.trustRoots()).map(String)).toEqual(["one", "two"]);
    rmSync(path("root-1.jws"));
    expect(await store.trustRoots()).toEqual([]);
  });

  test("a directory that cannot be used is named, with the remedy", () => {
    expect(() => new ControlStore("/dev/null/x")).toThrow(
      /^state directory \/dev\/null\/x: .*; give a directory that this user can write to with --state$/,
    );
  });
});

function read(stored: Awaited<ReturnType<ControlStore["snapshot"]>>): StoredSnapshot {
  if (stored === undefined || "damaged" in stored) throw new Error(JSON.stringify(stored));
  return stored;
}

async function chunksRead(): Promise<StoredSnapshot["chunks"]> {
  return read(await new ControlStore(directory).snapshot()).chunks;
}
