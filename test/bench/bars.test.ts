import { expect, test } from "vitest";
import { againstBar, type Bar, beside, otherBars, ratioOf, verdictOf } from "./bars.ts";
import type { EdgeFigures } from "./edge.ts";
import type { Figures } from "./measure.ts";
import { OWN } from "./peers/tidegate.ts";
import type { LoadResult, Results } from "./results.ts";
import { addedRatio } from "./rows/latency.ts";

function figures(change: Partial<Figures>): Figures {
  return { rate: 100, cpuMicros: 50, busy: 1, rssMb: 10, spread: 0, rssGrowthMb: 0, rounds: 5, dropped: [], ...change };
}

const result = (other: Partial<Figures>, own: Partial<Figures> = {}): LoadResult => ({
  figures: { [OWN]: figures(own), nginx: figures(other) },
  refused: {},
});

test("rates are compared when the other one was busy", () => {
  expect(ratioOf(figures({}), figures({ rate: 200, cpuMicros: 30, busy: 0.97 }))).toEqual({ value: 0.5, by: "rate", cpu: 0.6 });
});

test("CPU is compared when the other one was not busy, because its rate was then the load generator's", () => {
  expect(ratioOf(figures({}), figures({ rate: 200, cpuMicros: 10, busy: 0.6 }))).toEqual({ value: 0.2, by: "cpu", cpu: 0.2 });
});

test("a bar tells how it was judged", () => {
  const bar = (other: Partial<Figures>) => againstBar({ what: "x", result: result(other), other: "nginx", bar: 0.9 });
  expect(bar({ rate: 110 })).toMatchObject({ note: "by CPU 1.00", other: "nginx" });
  expect(verdictOf(bar({ rate: 110 }))).toBe("met");
  expect(verdictOf(bar({ rate: 120 }))).toBe("MISSED");
  expect(bar({ rate: 10, busy: 0.5, cpuMicros: 25 })).toMatchObject({ value: 0.5, note: "by CPU: nginx was 50 % busy" });
});

test("a contender without figures is no figure, with its reason", () => {
  const bar = againstBar({
    what: "x",
    result: { figures: {}, refused: { [OWN]: "protocol TCP is not supported" } },
    other: "nginx",
    bar: 1,
  });
  expect(bar).toMatchObject({ value: undefined, note: "protocol TCP is not supported" });
  expect(verdictOf(bar)).toBe("no figure");
  expect(verdictOf(againstBar({ what: "x", result: undefined, other: "nginx", bar: 1 }))).toBe("no figure");
});

test("bars have a direction, and some cannot be judged here", () => {
  const bar: Bar = { what: "x", value: 5, bar: 5, atLeast: false };
  expect(verdictOf(bar)).toBe("met");
  expect(verdictOf({ ...bar, value: 5.1 })).toBe("MISSED");
  expect(verdictOf({ ...bar, value: Number.NaN })).toBe("no figure");
  expect(verdictOf({ ...bar, value: 9, unjudged: "two processors" })).toBe("not judged");
});

test("a row is held against another row of ours", () => {
  const both = beside("10 routes", result({}, { rate: 95 }), result({}, { rate: 100 }));
  expect(againstBar({ what: "x", result: both, other: "10 routes", bar: 0.95 })).toMatchObject({ value: 0.95 });
  expect(beside("10 routes", { figures: {}, refused: { [OWN]: "no" } }, undefined)).toEqual({
    figures: {},
    refused: { [OWN]: "no" },
  });
});

test("latency that somebody adds is compared, and less than none of it is no figure", () => {
  const added = (own: number, theirs: number) =>
    addedRatio(
      {
        figures: { [OWN]: figures({ p99Ms: 3 + own }), envoy: figures({ p99Ms: 3 + theirs }), direct: figures({ p99Ms: 3 }) },
        refused: {},
      },
      "envoy",
    );
  expect(added(2, 4)).toBeCloseTo(2);
  expect(added(2, 0)).toBeCloseTo(0.005);
  expect(added(2, -0.4)).toBeUndefined();
  expect(added(-0.4, 2)).toBeUndefined();
});

test("the edge is judged by what both Workers need in slices, in older runs by their turns", () => {
  const edge: EdgeFigures = {
    workers: { [OWN]: figures({ rate: 70 }), "pass-through": figures({ rate: 100 }) },
    isolate: { routes: 5000, cpuMs: 1, firstCpuMs: 1, memoryMb: 1, bytes: 1 },
    propagation: { changes: 1, widening: { p50Ms: 1, p99Ms: 1 }, narrowing: { p50Ms: 1, p99Ms: 1 } },
  };
  const judged = (figures: EdgeFigures) => otherBars({ edge: figures } as unknown as Results)[0];
  expect(judged(edge)).toMatchObject({ value: 0.7, atLeast: true });
  const together = { "pass-through": { ratio: 0.81, error: 0.012, rounds: 36 } };
  expect(judged({ ...edge, together })).toMatchObject({ value: 0.81, note: "in slices, ± 0.01; in turns 0.70" });
});
