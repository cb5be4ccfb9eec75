import { expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";

test("doubles from the base to the most, and stays there", () => {
  const waits = [0, 1, 2, 3, 10, 1000].map((attempt) => backoffMs(attempt, 100, 1000, () => 1));
  expect(waits).toEqual([100, 200, 400, 800, 1000, 1000]);
});

test("is spread over the upper half", () => {
  expect(backoffMs(2, 100, 1000, () => 0)).toBe(200);
  expect(backoffMs(2, 100, 1000, () => 0.5)).toBe(300);
});
