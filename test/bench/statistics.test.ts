import { expect, test } from "vitest";
import { meanOf, median, medianOf, percentile, spread } from "./statistics.ts";

test("the median is the middle one, or the mean of the two in the middle, whatever the order", () => {
  expect(median([5, 1, 100])).toBe(5);
  expect(median([4, 1, 100, 2])).toBe(3);
  expect(median([])).toBe(0);
});

test("one round in which the machine was busy does not move the median", () => {
  expect(median([100, 101, 99, 100, 3])).toBe(100);
});

test("a figure that some rounds lack is the median of those that have it", () => {
  const rounds = [{ p99: 3 }, {}, { p99: 1 }, { p99: 2 }] as { readonly p99?: number }[];
  expect(medianOf(rounds, ({ p99 }) => p99)).toBe(2);
  expect(medianOf([{}, {}] as { readonly p99?: number }[], ({ p99 }) => p99)).toBeUndefined();
});

test("a percentile is a value that was measured: the smallest that enough are not above", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 0.5)).toBe(50);
  expect(percentile(hundred, 1)).toBe(100);
  expect(percentile(hundred, 0)).toBe(1);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.99)).toBe(0);
});

test("the spread is a share of the median", () => {
  expect(spread([90, 100, 120])).toBeCloseTo(0.3);
  expect(spread([100])).toBe(0);
  expect(spread([])).toBe(0);
});

test("the error of a mean shrinks with the number of values", () => {
  expect(meanOf([1, 2, 3, 4])).toEqual({ mean: 2.5, error: Math.sqrt(5 / 3 / 4) });
  expect(meanOf([3])).toEqual({ mean: 3, error: 0 });
  expect(meanOf([]).mean).toBeNaN();
});
