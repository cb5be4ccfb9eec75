import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkKey, decodeChunks, type Snapshot } from "../../gateway/core/ir/index.ts";
import { egressConfig, makeRoute, makeSnapshot } from "../../test/support/snapshots.ts";
import { canonicalJson } from "./canonical.ts";
import { type Chunk, chunkSnapshot, ENDPOINT_SHARD_TARGET_BYTES, SHARD_TARGET_BYTES } from "./chunk.ts";

const snapshot = makeSnapshot(1_000, { egress: egressConfig() });
const hashes = (chunks: readonly Chunk[]) => new Map(chunks.map(({ ref }) => [`${ref.kind}/${ref.name}`, ref.hash]));
function changed(after: Snapshot, before = snapshot): readonly string[] {
  const old = hashes(chunkSnapshot(before));
  const now = hashes(chunkSnapshot(after));
  return [...new Set([...old.keys(), ...now.keys()])].filter((name) => old.get(name) !== now.get(name));
}
const replaceAt = <T>(items: readonly T[], index: number, change: (item: T) => T): readonly T[] =>
  items.map((item, i) => (i === index ? change(item) : item));
const shuffled = <T>(items: readonly T[]): readonly T[] => items.toReversed();
const backwards = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(backwards)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .map(([name, item]) => [name, backwards(item)])
            .reverse(),
        )
      : value;

describe("determinism", () => {
  test("the same content gives the same bytes, whatever the order of fields and resources", () => {
    const [table] = snapshot.routeTables;
    const other: Snapshot = {
      ...(backwards(snapshot) as Snapshot),
      clusters: shuffled(snapshot.clusters),
      endpoints: shuffled(snapshot.endpoints),
      routeTables: [{ ...table!, virtualHosts: shuffled(table!.virtualHosts) }],
    };
    expect(chunkSnapshot(other)).toEqual(chunkSnapshot(snapshot));
  });

  test("canonical JSON means the same as JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(backwards(value))).toBe(canonicalJson(value));
      }),
      { seed: 3, numRuns: 300 },
    );
    expect(canonicalJson({ b: undefined, a: [1, { d: null, c: "é" }] })).toBe('{"a":[1,{"c":"é","d":null}]}');
  });
});

describe("locality", () => {
  test("one endpoint moves one chunk, a small one", () => {
    const endpoints = replaceAt(snapshot.endpoints, 77, (item) => ({ ...item, endpoints: item.endpoints.slice(1) }));
    const moved = changed({ ...snapshot, endpoints });
    expect(moved).toHaveLength(1);
    const chunk = chunkSnapshot({ ...snapshot, endpoints }).find(({ ref }) => `${ref.kind}/${ref.name}` === moved[0])!;
    expect(chunk.ref.kind).toBe("endpoints");
    expect(chunk.ref.bytes).toBeLessThan(2 * ENDPOINT_SHARD_TARGET_BYTES);
  });

  test("one route moves one chunk", () => {
    const routeTables = replaceAt(snapshot.routeTables, 0, (table) => ({
      ...table,
      virtualHosts: replaceAt(table.virtualHosts, 5, (host) => ({
        ...host,
        routes: replaceAt(host.routes, 3, () => makeRoute(999_999)),
      })),
    }));
    expect(changed({ ...snapshot, routeTables })).toHaveLength(1);
  });

  test("settings, egress and a cluster move theirs", () => {
    expect(changed({ ...snapshot, settings: { ...snapshot.settings, explainHeaders: true } })).toEqual(["settings/all"]);
    expect(changed({ ...snapshot, egress: egressConfig([]) })).toEqual(["egress/all"]);
    expect(changed({ ...snapshot, egress: undefined })).toEqual(["egress/all"]);
    const clusters = replaceAt(snapshot.clusters, 9, (cluster) => ({ ...cluster, port: 81 }));
    expect(changed({ ...snapshot, clusters })).toHaveLength(1);
  });

  test("a resource more or less leaves all but one or a split shard as they are", () => {
    const all = chunkSnapshot(snapshot).length;
    for (const endpoints of [
      snapshot.endpoints.slice(1),
      [...snapshot.endpoints, { cluster: "outbound|80||new", endpoints: [] }],
    ]) {
      expect(changed({ ...snapshot, endpoints }).length).toBeLessThan(Math.min(5, all));
    }
  });
});

describe("size", () => {
  test("shards stay under their target unless they hold a single resource", () => {
    for (const { ref, bytes } of chunkSnapshot(makeSnapshot(3_000))) {
      const target = ref.kind === "endpoints" ? ENDPOINT_SHARD_TARGET_BYTES : SHARD_TARGET_BYTES;
      const decoded = decodeChunks([{ ref, bytes }]);
      if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
      const resources = decoded.value.get(chunkKey(ref))!.resources as readonly { virtualHosts?: unknown[] }[];
      const single = resources.length === 1 && (resources[0]!.virtualHosts?.length ?? 1) <= 1;
      // The brackets, commas and the table's head come on top.
      if (!single) expect(canonicalJson(resources).length).toBeLessThan(target + 4_096);
      expect(ref.bytes).toBeLessThan(target + 4_096);
    }
  });

  test("what routes have in common is written once in a chunk", () => {
    const chunks = chunkSnapshot(makeSnapshot(3_000)).filter(({ ref }) => ref.kind === "routes");
    const texts = chunks.map(({ bytes }) => new TextDecoder().decode(bytes));
    for (const text of texts) expect(text.split('"connect-failure"')).toHaveLength(2);
    const written = canonicalJson(makeSnapshot(3_000).routeTables).length;
    expect(chunks.reduce((sum, { ref }) => sum + ref.bytes, 0)).toBeLessThan(written * 0.45);
  });

  test("a small snapshot has one chunk of each kind", () => {
    expect(chunkSnapshot(makeSnapshot(5)).map(({ ref }) => `${ref.kind}/${ref.name}`)).toEqual([
      "clusters/all",
      "endpoints/all",
      "listeners/all",
      "routes/http.80/all",
      "settings/all",
    ]);
  });

  test("two resources of one name end in one shard instead of splitting for ever", () => {
    const twice = Array.from({ length: 400 }, () => snapshot.clusters[0]!);
    expect(chunkSnapshot({ ...snapshot, clusters: twice }).filter(({ ref }) => ref.kind === "clusters")).toHaveLength(1);
  });
});
