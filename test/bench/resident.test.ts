import { expect, test } from "vitest";
import { readRollup, settledOf } from "./resident.ts";

test("a process is at rest when its last readings are as good as alike", () => {
  expect(settledOf([], 3)).toBeUndefined();
  expect(settledOf([100, 100], 3)).toBeUndefined();
  expect(settledOf([140, 100, 100.5, 100.2], 3)).toBe(100.2);
  expect(settledOf([100, 100, 140], 3)).toBeUndefined();
  expect(settledOf([140, 100, 100], 3)).toBeUndefined();
  // Never much from one reading to the next, and growing all the time.
  expect(settledOf([100, 100.6, 101.2], 3)).toBeUndefined();
});

test("resident memory is read as the kernel tells it, shares of pages left aside", () => {
  const text = "5600-7fff ---p 00000000 00:00 0 [rollup]\nRss:                1776 kB\nPss:                 285 kB\n";
  expect(readRollup(text)).toBe(1776 * 1024);
  expect(() => readRollup("Size: 4 kB\n")).toThrow("Rss");
});
