import { describe, expect, test } from "vitest";
import type { Exchange } from "../core/index.ts";
import { MAX_UNWATCHED, PRESUMED_GONE_MS, type Unwatched, UnwatchedRequests } from "./unwatched.ts";

class Rig {
  readonly requests = new UnwatchedRequests();
  readonly gone: string[] = [];

  add(name: string, nowMs: number): Unwatched | undefined {
    return this.requests.add({ presumeGone: () => void this.gone.push(name) } as unknown as Exchange, nowMs);
  }
}

describe("requests whose clients nobody watches", () => {
  test("are presumed gone, oldest first, when another one comes after PRESUMED_GONE_MS", () => {
    const rig = new Rig();
    for (const [name, at] of [
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ] as const)
      rig.add(name, at);
    rig.add("d", PRESUMED_GONE_MS - 1);
    expect(rig.gone).toEqual([]);
    rig.add("e", PRESUMED_GONE_MS + 1);
    expect([rig.gone, rig.requests.presumedGone, rig.requests.size]).toEqual([["a", "b"], 2, 3]);
  });

  test("that have their answer are not, wherever they stand among the others", () => {
    const names = ["a", "b", "c", "d"];
    for (const answered of [["a"], ["b", "c"], ["d"], ["d", "a"], names]) {
      const rig = new Rig();
      const added = new Map(names.map((name) => [name, rig.add(name, 0)]));
      for (const name of answered) rig.requests.remove(added.get(name) as Unwatched);
      rig.add("late", PRESUMED_GONE_MS);
      expect([answered, rig.gone]).toEqual([answered, names.filter((name) => !answered.includes(name))]);
      expect(rig.requests.size).toBe(1);
    }
  });

  test("let go of the tables that they were held against when others are in force", () => {
    const rig = new Rig();
    rig.add("a", 0);
    rig.add("b", 1);
    rig.requests.presumeAll();
    expect([rig.gone, rig.requests.size]).toEqual([["a", "b"], 0]);
    rig.add("c", 2);
    expect(rig.requests.size).toBe(1);
  });

  test("whose answer comes after they were presumed gone change nothing any more", () => {
    const rig = new Rig();
    const late = rig.add("late", 0) as Unwatched;
    rig.add("other", PRESUMED_GONE_MS);
    rig.requests.remove(late);
    expect([rig.gone, rig.requests.size]).toEqual([["late"], 1]);
  });

  test("are MAX_UNWATCHED at most, and there is room again when one is answered or presumed gone", () => {
    const rig = new Rig();
    const [first] = Array.from({ length: MAX_UNWATCHED }, (_, i) => rig.add(String(i), 0));
    expect(rig.add("more", 1)).toBeUndefined();
    rig.requests.remove(first as Unwatched);
    expect(rig.add("instead", 1)).toBeDefined();
    expect(rig.add("more", 1)).toBeUndefined();
    expect(rig.add("later", PRESUMED_GONE_MS)).toBeDefined();
    expect(rig.requests.presumedGone).toBe(MAX_UNWATCHED - 1);
  });
});
