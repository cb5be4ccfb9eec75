import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../../../controlplane/snapshot/index.ts";
import { makeSnapshot } from "../../../../test/support/snapshots.ts";
import { decodeChunks } from "../decode.ts";
import type { ForwardAction, RouteTable } from "../route.ts";
import { array, integer, number, recurring, text } from "./check.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { Issues } from "./issues.ts";
import { MAX_ALIKE_PARTS, MAX_KNOWN_PARTS } from "./known-parts.ts";

const word = text({ max: 3 });
const words = recurring(array(word, 10), 0);
const groups = recurring(array(words, 10), 0, 1);
const all = array(groups, 10_000);

type Groups = readonly (readonly (readonly string[])[])[];
/** What stands for the part at a place of `shared`. */
const part = (place: number) => -1 - place;
const flat = (value: unknown): readonly unknown[] => (Array.isArray(value) ? [value.length, ...value.flatMap(flat)] : [value]);

/** Reads each document, `[items, ...shared]`, as one more chunk of the snapshot; what is wrong with it instead of what is not good. */
function readAll(documents: readonly (readonly unknown[])[], reader = new ChunkReader()) {
  return documents.map(([items, ...shared]) => {
    const issues = new Issues();
    const value = reader.chunk(flat(items), shared.map(flat), all, issues);
    const size = issues.size;
    return issues.count === 0 ? { value: value as Groups, size } : { problems: issues.list.map((issue) => issue.problem) };
  });
}
const valuesOf = (documents: readonly (readonly unknown[])[]): readonly Groups[] =>
  readAll(documents).map(({ value, problems }) => {
    if (value === undefined) throw new Error(problems.join());
    return value;
  });

describe("the same values in two chunks", () => {
  test("are one value", () => {
    const [a, b] = valuesOf([[[[["x", "y"], ["z"]]]], [[[["z"]], [["x", "y"], ["z"]]]]]);
    expect(b).toEqual([[["z"]], [["x", "y"], ["z"]]]);
    expect(b![1]).toBe(a![0]);
    expect(b![0]![0]).toBe(a![0]![1]);
  });

  test("are one value wherever they are written", () => {
    const [a, b, c] = valuesOf([[[[["x"], ["x"]]]], [[[part(0), part(0)]], ["x"]], [[part(1)], ["x"], [part(0), part(0)]]]);
    expect(a).toEqual([[["x"], ["x"]]]);
    expect([b![0]![0], c![0]![0]]).toEqual([a![0]![0], a![0]![0]]);
    expect(b![0]![0]).toBe(a![0]![0]);
    // Written otherwise, it is another run of values: equal, and not told to be.
    expect(b![0]).toEqual(a![0]);
    expect(c![0]).toBe(b![0]);
  });

  test("are one value if there are none", () => {
    const [a, b] = valuesOf([[[[], [[]]]], [[[[]], []]]]);
    expect([b![1], b![0]]).toEqual([a![0], a![1]]);
    expect(b![1]).toBe(a![0]);
  });

  test("count as long as they are", () => {
    const [a, b] = readAll([[[[["x", "y"]]]], [[[["x", "y"]]]]]);
    expect(b!.size).toBe(a!.size);
  });

  test("are read anew for the next snapshot", () => {
    const reader = new ChunkReader();
    const [a] = readAll([[[[["x"]]]]], reader);
    reader.forget();
    const [b] = readAll([[[[["x"]]]]], reader);
    expect(b!.value).toEqual(a!.value);
    expect(b!.value![0]).not.toBe(a!.value![0]);
  });
});

describe("what only looks the same is not taken for it", () => {
  test("a reference to another part", () => {
    const [, b] = valuesOf([
      [[[part(0), ["y"]]], ["x"]],
      [[[part(0), ["y"]]], ["z"]],
    ]);
    expect(b).toEqual([[["z"], ["y"]]]);
  });

  test("a longer one, a shorter one, another end", () => {
    const [, b] = valuesOf([[[[["x", "y"]]]], [[[["x"]], [["x", "y", "z"]], [["x", "z"]], [["x", "y"], ["x"]]]]]);
    expect(b).toEqual([[["x"]], [["x", "y", "z"]], [["x", "z"]], [["x", "y"], ["x"]]]);
  });

  test("a part that may not be referred to yet", () => {
    const legal = [[part(1)], ["x"], [part(0)]];
    // The same run of values; the part that it refers to was read, and comes after it.
    const [, b] = readAll([legal, [[[part(1)], part(0)], [part(1)], ["x"]]]);
    expect(b!.problems).toEqual(["refers to shared part 1, and only the first 0 can be meant here"]);
  });

  test("one with a problem, which is told of each time", () => {
    const [a, b] = readAll([[[[["long", "x"]]]], [[[["long", "x"]]]]]);
    expect(a!.problems).toEqual(["is 4 long, at most 3 is allowed"]);
    expect(b!.problems).toEqual(a!.problems);
  });

  test("one that breaks off", () => {
    const reader = new ChunkReader();
    readAll([[[[["x", "y"]]]]], reader);
    const issues = new Issues();
    reader.chunk([1, 1, 2, "x"], [], all, issues);
    expect(issues.list).toEqual([{ path: "[0][0]", problem: "says that 2 values follow, and there are 1" }]);
  });
});

test("a number that could stand for a part is no number that a check takes", () => {
  expect(() => integer(-1, 1)).toThrow(/references to shared parts/);
  expect(() => number(-0.5, 1)).toThrow(/references to shared parts/);
});

describe("no more is remembered than", () => {
  test(`${MAX_ALIKE_PARTS} parts of one key`, () => {
    const alike = Array.from({ length: MAX_ALIKE_PARTS + 1 }, (_, i) => [["x", String(i)]]);
    const [a, b] = valuesOf([[alike], [alike]]);
    expect(b).toEqual(a);
    expect(b!.map((group, i) => group[0] === a![i]![0])).toEqual([...new Array<boolean>(MAX_ALIKE_PARTS).fill(true), false]);
  });

  test(`${MAX_KNOWN_PARTS} parts of a snapshot`, () => {
    // Each group is one part, and so is the list in it.
    const many = Array.from({ length: MAX_KNOWN_PARTS / 2 + 1 }, (_, i) => [[i.toString(36)]]);
    const [a, b] = valuesOf([[many], [many]]);
    expect(b).toEqual(a);
    expect(b!.filter((group, i) => group === a![i])).toHaveLength(MAX_KNOWN_PARTS / 2);
  });
});

test("any chunks say the same as each of them alone", () => {
  const list = fc.array(fc.constantFrom("x", "y", "z"), { maxLength: 3 });
  const group = fc.array(fc.oneof(list, fc.constantFrom(part(0), part(1))), { maxLength: 3 });
  const document = fc
    .tuple(fc.array(fc.oneof(group, fc.constant(part(2))), { maxLength: 5 }), list, list, group)
    .map((parts) => parts as readonly unknown[]);
  fc.assert(
    fc.property(fc.array(document, { maxLength: 6 }), (documents) => {
      expect(readAll(documents)).toEqual(documents.flatMap((one) => readAll([one])));
    }),
    { numRuns: 500 },
  );
});

test("routes of a whole snapshot share their actions, and are what each chunk alone says", () => {
  const chunks = chunkSnapshot(makeSnapshot(1_000));
  const together = decodeChunks(chunks);
  if (!together.ok) throw new Error(JSON.stringify(together.error));
  const actions = new Map<string, Set<unknown>>();
  for (const chunk of chunks) {
    const alone = decodeChunks([chunk]);
    expect(alone.ok && [...alone.value]).toEqual([...together.value].filter(([key]) => key.endsWith(chunk.ref.hash)));
    if (chunk.ref.kind !== "routes") continue;
    const [table] = together.value.get(`routes:${chunk.ref.hash}`)!.resources as readonly RouteTable[];
    for (const { action } of table!.virtualHosts.flatMap((host) => host.routes)) {
      const { cluster } = (action as ForwardAction).destinations[0]!;
      actions.set(cluster, (actions.get(cluster) ?? new Set()).add(action));
    }
  }
  expect(actions.size).toBe(200);
  expect(Math.max(...[...actions.values()].map((one) => one.size))).toBeLessThanOrEqual(2);
});
