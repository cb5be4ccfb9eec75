import { describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import { json, makeRoute, makeSnapshot } from "../../../test/support/snapshots.ts";
import type { Issue } from "../result.ts";
import { oneOf, runCheck, text } from "./decode/check.ts";
import { object, variants } from "./decode/object.ts";
import { DECODE_LIMITS, decodeChunks, decodeSnapshot, MAX_ISSUES } from "./decode.ts";
import type { ChunkKind } from "./manifest.ts";

/** Lists laid out as a chunk has them: a count, and what is in them. */
const flat = (value: unknown): readonly unknown[] => (Array.isArray(value) ? [value.length, ...value.flatMap(flat)] : [value]);
/** What stands for the part at a place of `shared`. */
const part = (place: number) => -1 - place;
interface Lists {
  readonly items: unknown;
  readonly shared: readonly unknown[];
}
const laidOut = ({ items, shared }: Lists) => ({ items: flat(items), shared: shared.map(flat) });

const chunk = (kind: ChunkKind, content: unknown, name = "all") => ({
  ref: { kind, name, hash: `${kind}-${name}`, bytes: 2 },
  bytes: json(content),
});
const problemsOf = (kind: ChunkKind, content: unknown): readonly Issue[] => {
  const decoded = decodeChunks([chunk(kind, content)]);
  return decoded.ok ? [] : decoded.error;
};
const resourcesOf = (kind: ChunkKind, content: unknown): readonly unknown[] => {
  const decoded = decodeChunks([chunk(kind, content)]);
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
  return [...decoded.value.values()][0]!.resources;
};

const endpoint = ["10.0.0.1", 80, 1];
const PLAIN = { address: "10.0.0.1", port: 80, weight: 1 };

describe("rows", () => {
  test("a row and an object with names are the same", () => {
    const rows = resourcesOf("endpoints", laidOut({ items: [["c", [endpoint, [...endpoint, "zone-1"]]]], shared: [] }));
    const named = [{ cluster: "c", endpoints: [PLAIN, { ...PLAIN, locality: "zone-1" }] }];
    expect(rows).toEqual(named);
    expect(resourcesOf("endpoints", { items: [named], shared: [] })).toEqual(named);
    expect(resourcesOf("endpoints", { items: [1, ...named], shared: [] })).toEqual(named);
  });

  const CASES: readonly [string, unknown, string, RegExp][] = [
    ["too long", ["c", [], 1], "[0]", /3 fields, at most 2/],
    ["too short", ["c"], "[0].endpoints", /missing/],
    ["null for what is required", [null, []], "[0].cluster", /missing/],
    ["a wrong value", ["c", [["10.0.0.1", 0, 1]]], "[0].endpoints[0].port", /from 1 to 65535/],
    ["a text", "c", "[0]", /must be an object, is string/],
  ];
  test.each(CASES)("%s is refused", (_name, item, path, problem) => {
    const [first] = problemsOf("endpoints", laidOut({ items: [item], shared: [] }));
    expect(first?.path).toBe(`endpoints/all${path}`);
    expect(first?.problem).toMatch(problem);
  });

  test("a union's row is told apart by its first value", () => {
    const tls = (row: unknown) => {
      const server = ["https", ["a.example"], "t", row];
      return problemsOf("listeners", laidOut({ items: [["l", "0.0.0.0", 443, 443, "https", [server], []]], shared: [] }));
    };
    expect(tls(["platform"])).toEqual([]);
    expect(tls(["platform", "x"]).map(({ problem }) => problem)).toEqual(["has 2 fields, at most 1 are known"]);
    for (const row of [["toString"], [], [0]]) {
      expect(tls(row).map(({ path }) => path)).toEqual(["listeners/all[0].servers[0].tls.mode"]);
    }
  });

  test("documents that are no chunks have none", () => {
    const thing = object<{ readonly name: string }>({ name: text({ max: 5 }) });
    const union = variants<{ readonly is: "a" }, "is">("is", { a: {} });
    expect(runCheck(thing, ["x"])).toMatchObject({ ok: false, error: [{ problem: "must be an object, is an array" }] });
    expect(runCheck(union, ["a"])).toMatchObject({ ok: false, error: [{ problem: "must be an object, is an array" }] });
  });

  test("an object that is not made of its own fields is a bug that shows at once", () => {
    const kind = oneOf("a");
    const make = (name: unknown, kind: unknown) => ({ name: kind, kind: name });
    expect(() => object<{ readonly name: string; readonly kind: "a" }>({ name: text({ max: 5 }), kind }, make)).toThrow(
      TypeError,
    );
  });
});

describe("shared parts", () => {
  test("are one value at all their places", () => {
    const items = [
      ["a", part(1)],
      ["b", part(1)],
      ["c", [part(0)]],
    ];
    const shared = [endpoint, [part(0), part(0)]];
    const [a, b, c] = resourcesOf("endpoints", laidOut({ items, shared })) as { endpoints: unknown[] }[];
    expect(a!.endpoints).toEqual([PLAIN, PLAIN]);
    expect(b!.endpoints).toBe(a!.endpoints);
    expect(a!.endpoints[0]).toBe(a!.endpoints[1]);
    expect(c!.endpoints[0]).toBe(a!.endpoints[0]);
  });

  test("what was shared comes back as it was, shared again", () => {
    const snapshot = makeSnapshot(50);
    const decoded = decodeSnapshot(chunkSnapshot(snapshot));
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
    expect(decoded.value.endpoints).toHaveLength(snapshot.endpoints.length);
    const routes = decoded.value.routeTables[0]!.virtualHosts.flatMap((host) => host.routes);
    expect(routes.find(({ id }) => id === "shop/shop/route-7")).toEqual(makeRoute(7));
    const retries = new Set(routes.map(({ action }) => (action.kind === "forward" ? action.retry : undefined)));
    expect(retries.size).toBe(1);
  });

  const CASES: readonly [string, ChunkKind, Lists, string, RegExp][] = [
    [
      "out of range",
      "endpoints",
      { items: [["c", part(1)]], shared: [] },
      "[0].endpoints",
      /shared part 1, and only the first 0/,
    ],
    ["a fraction", "endpoints", { items: [["c", -1.5]], shared: [[]] }, "[0].endpoints", /shared part 0.5/],
    [
      "to itself",
      "endpoints",
      { items: [["c", part(0)]], shared: [[part(0)]] },
      "[0].endpoints[0]",
      /shared part 0, and only the/,
    ],
    [
      "forward",
      "endpoints",
      { items: [["c", part(0)]], shared: [[part(1)], endpoint] },
      "[0].endpoints[0]",
      /shared part 1, and/,
    ],
    [
      "to a reference",
      "endpoints",
      { items: [["c", part(1)]], shared: [[], part(0)] },
      "[0].endpoints",
      /begins with a reference/,
    ],
    [
      "of another type",
      "routes",
      { items: [["t", part(0), part(0)]], shared: [[]] },
      "[0].quotas",
      /shared part 0, which is of another type/,
    ],
    [
      "where a text is due",
      "endpoints",
      { items: [[part(0), []]], shared: [["c"]] },
      "[0].cluster",
      /must be a string, is number/,
    ],
    ["nowhere", "endpoints", { items: [], shared: [[]] }, ".shared[0]", /nothing refers to/],
    ["with a problem", "endpoints", { items: [["c", [part(0)]]], shared: [["a", 0, 1]] }, "[0].endpoints[0].port", /from 1 to/],
  ];
  test.each(CASES)("%s: refused", (_name, kind, content, path, problem) => {
    const problems = problemsOf(kind, laidOut(content));
    expect(problems.map((issue) => issue.path)).toContain(`${kind}/all${path}`);
    expect(problems.find((issue) => issue.path === `${kind}/all${path}`)?.problem).toMatch(problem);
  });

  test("a chunk has two lists and nothing else", () => {
    const parts: readonly unknown[] = [
      [],
      { items: [] },
      { items: [], shared: {} },
      { items: [], shared: [], more: [] },
      null,
      5,
    ];
    for (const content of parts) {
      expect(problemsOf("endpoints", content)).toEqual([
        { path: "endpoints/all", problem: "must be an object of two arrays, `items` and `shared`" },
      ]);
    }
    expect(problemsOf("endpoints", { items: [0], shared: [] })).toEqual([]);
  });
});

describe("counts", () => {
  const ENDS = "ends before its last value";
  const CASES: readonly [string, readonly unknown[], string, string][] = [
    ["nothing at all", [], "", ENDS],
    ["a reference to everything", [-1], "", "begins with a reference, where a count is due"],
    ["more than there is", [2, 1, "c"], "[0].endpoints", "required field is missing"],
    ["far more than there is", [1_000_000], "", "says that 1000000 values follow, and there are 0"],
    ["a fraction", [0.5, "c"], "", "says that 0.5 values follow, and there are 1"],
    ["an object with more fields than it has", [1, 3, "c", 0, 0], "[0]", "has 3 fields, at most 2 are known"],
    ["an end inside of a part", [1, 2, "c"], "[0]", "says that 2 values follow, and there are 1"],
    ["an end inside of a list", [1, 2, "c", 2, 3, "10.0.0.1", 80, 1], "[0].endpoints[1]", ENDS],
    ["less than there is", [1, 2, "c", 0, "d"], "", "has 1 more values than it says"],
    ["a text", ["c"], "", "must be an array, is string"],
  ];
  test.each(CASES)("%s: refused", (_name, items, path, problem) => {
    expect(problemsOf("endpoints", { items, shared: [] })).toContainEqual({ path: `endpoints/all${path}`, problem });
  });

  test("a part is as long as it says, and what comes after its place is read on", () => {
    const items = [2, 2, "c", part(0), 2, "d", 1, 3, "10.0.0.1", 0, 1];
    const long = problemsOf("endpoints", { items, shared: [[0, "more"]] });
    expect(long.map(({ path, problem }) => `${path}: ${problem}`)).toEqual([
      "endpoints/all[0].endpoints: has 1 more values than it says",
      "endpoints/all[1].endpoints[0].port: must be from 1 to 65535",
    ]);
    const short = problemsOf("endpoints", { items, shared: [[1]] });
    expect(short.map(({ path }) => path)).toEqual(["endpoints/all[0].endpoints", "endpoints/all[1].endpoints[0].port"]);
  });

  test("parts that are nothing but references make no chain", () => {
    const shared = [[0], ...Array.from({ length: 100_000 }, (_, i) => [part(i)])];
    expect(problemsOf("endpoints", { items: [1, 2, "c", part(100_000)], shared })[0]?.problem).toMatch(/begins with a reference/);
  });

  test("counts in counts do not multiply the work", () => {
    const many = 200_000;
    const items = Array.from({ length: many }, (_, i) => many - 1 - i);
    expect(problemsOf("routes", { items, shared: [] }).length).toBeLessThanOrEqual(MAX_ISSUES + 1);
  });
});

describe("small chunks that say much", () => {
  const WRITTEN_OUT = JSON.stringify(PLAIN).length;
  /** 1,000 clusters with the one list of so many endpoints. */
  const amplified = (endpoints: number) => ({
    items: Array.from({ length: 1_000 }, (_, i) => [`c${i}`, part(1)]),
    shared: [endpoint, new Array<number>(endpoints).fill(part(0))],
  });

  test("are read up to chunkSize", () => {
    const most = DECODE_LIMITS.chunkSize / 1_000 / WRITTEN_OUT;
    expect(problemsOf("endpoints", laidOut(amplified(Math.floor(most * 0.9))))).toEqual([]);
    const problems = problemsOf("endpoints", laidOut(amplified(Math.ceil(most * 1.2))));
    expect(problems.map(({ problem }) => problem)).toEqual([
      expect.stringContaining(`at most ${DECODE_LIMITS.chunkSize} characters`),
    ]);
  });

  test("parts of parts do not multiply the work", () => {
    const routes = Array.from({ length: 1_000 }, (_, i) => [`r${i}`, ["a", "b", "c"], [], ["direct", 200], []]);
    // Every virtual host is the one part, whose routes are the other: a million times the same.
    const host = ["h", ["*"], null, [], part(0)];
    const items = [["t", new Array(100_000).fill(part(1)), []]];
    expect(problemsOf("routes", laidOut({ items, shared: [routes, host] }))[0]?.problem).toMatch(/too long written out/);
  });

  test("are read up to snapshotSize together", () => {
    const direct = ["direct", 200, { text: "x".repeat(1_000_000) }];
    const table = (t: number) => {
      const routes = Array.from({ length: 8 }, (_, i) => [`r${i}`, ["a", "b", "c"], [], part(0), []]);
      const items = [[`t${t}`, [["h", ["*"], null, [], routes]], []]];
      return chunk("routes", laidOut({ items, shared: [direct] }), `t${t}`);
    };
    const settings = chunkSnapshot(makeSnapshot(0)).find(({ ref }) => ref.kind === "settings")!;
    const read = (chunks: number) => decodeSnapshot([settings, ...Array.from({ length: chunks }, (_, t) => table(t))]);
    const fits = Math.floor(DECODE_LIMITS.snapshotSize / 8_000_000);
    expect(read(fits).ok).toBe(true);
    expect(read(fits + 1)).toMatchObject({
      ok: false,
      error: [{ path: "", problem: expect.stringContaining(`at most ${DECODE_LIMITS.snapshotSize} characters`) }],
    });
  });
});

test("what is counted is never more than the resources are long written out, and not much less", () => {
  const decoded = decodeChunks(chunkSnapshot(makeSnapshot(300)));
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
  for (const { size, resources } of decoded.value.values()) {
    const length = JSON.stringify(resources).length;
    expect(size).toBeLessThanOrEqual(length);
    expect(size).toBeGreaterThan(length * 0.7);
  }
});
