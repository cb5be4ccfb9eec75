import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Part } from "../../gateway/core/ir/index.ts";
import { chunkText } from "./share.ts";

const [ROW, LIST] = [{}, {}];
const row = (...items: readonly unknown[]) => new Part(ROW, items);
const list = (...items: readonly unknown[]) => new Part(LIST, items);

describe("what is shared", () => {
  const CASES: readonly [string, readonly unknown[], string][] = [
    ["nothing that is there once", [row("a", list(1))], '{"items":[1,2,"a",1,1],"shared":[]}'],
    ["what is there twice", [row("a", list(1)), row("b", list(1))], '{"items":[2,2,"a",-1,2,"b",-1],"shared":[[1,1]]}'],
    [
      "the largest equal part: what it alone has stays in it",
      [row("a", list(row(1))), row("b", list(row(1)))],
      '{"items":[2,2,"a",-1,2,"b",-1],"shared":[[1,1,1]]}',
    ],
    [
      "parts of parts, the inner before the outer",
      [row("a", list(row(1), row(1))), row("b", list(row(1), row(1))), row("c", row(1))],
      '{"items":[3,2,"a",-2,2,"b",-2,2,"c",-1],"shared":[[1,1],[2,-1,-1]]}',
    ],
    ["only parts of one type", [row("a", list(1)), row("b", row(1))], '{"items":[2,2,"a",1,1,2,"b",1,1],"shared":[]}'],
    ["items, too", [row("a"), row("a")], '{"items":[2,-1,-1],"shared":[[1,"a"]]}'],
    [
      "no text, and none that looks like a part",
      [row("#0", "[1]"), row("#0", list(1))],
      '{"items":[2,2,"#0","[1]",2,"#0",1,1],"shared":[]}',
    ],
    [
      "nothing of what is no part",
      [row({ b: [1], a: undefined }), row({ b: [1] }, 1)],
      '{"items":[2,1,{"b":[1]},2,{"b":[1]},1],"shared":[]}',
    ],
  ];
  test.each(CASES)("%s", (_name, items, text) => {
    expect(chunkText(items)).toBe(text);
  });
});

describe("any parts", () => {
  const tree = fc.letrec<{ part: Part }>((tie) => ({
    part: fc
      .tuple(
        fc.constantFrom(ROW, LIST),
        fc.array(fc.oneof({ maxDepth: 4 }, fc.constantFrom("a", "#1", null), tie("part")), { maxLength: 4 }),
      )
      .map(([type, items]) => new Part(type, items)),
  })).part;
  const plain = (item: unknown): unknown => (item instanceof Part ? item.items.map(plain) : item);
  const read = (values: unknown[], shared: readonly unknown[][], end: number): unknown => {
    const value = values.shift();
    if (typeof value !== "number") return value;
    if (value >= 0) return Array.from({ length: value }, () => read(values, shared, end));
    const place = -1 - value;
    expect(place).toBeLessThan(end);
    return read([...shared[place]!], shared, place);
  };

  test("come back when references are followed, each to an earlier part", () => {
    const property = fc.property(fc.array(tree, { maxLength: 6 }), (items) => {
      const { items: written, shared } = JSON.parse(chunkText(items)) as { items: unknown[]; shared: unknown[][] };
      expect(read(written, shared, shared.length)).toEqual(items.map(plain));
      expect(written).toEqual([]);
    });
    fc.assert(property, { seed: 5, numRuns: 500 });
  });
});
