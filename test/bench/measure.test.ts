import { expect, test } from "vitest";
import { figuresOf, type Round } from "./measure.ts";

const round = (change: Partial<Round>): Round => ({ rate: 100, cpuMicros: 10, busy: 1, rssMb: 50, ...change });

test("each figure is the median of its own rounds", () => {
  const figures = figuresOf(
    [round({ rate: 90, cpuMicros: 12 }), round({ rate: 100, cpuMicros: 10 }), round({ rate: 110, cpuMicros: 40 })],
    [],
  );
  expect(figures).toMatchObject({ rate: 100, cpuMicros: 12, rounds: 3, dropped: [] });
  expect(figures.spread).toBeCloseTo(0.2);
});

test("growth is from the first counted round to the last, not to the highest", () => {
  expect(figuresOf([round({ rssMb: 50 }), round({ rssMb: 90 }), round({ rssMb: 55 })], []).rssGrowthMb).toBe(5);
  expect(figuresOf([round({})], []).rssGrowthMb).toBe(0);
});

test("what generators do not tell is left out; what did not count is told", () => {
  const figures = figuresOf([round({})], ["Socket errors"]);
  expect("p99Ms" in figures).toBe(false);
  expect(figures.dropped).toEqual(["Socket errors"]);
  expect(figuresOf([round({ p99Ms: 3 }), round({ p99Ms: 1 })], []).p99Ms).toBe(2);
});
