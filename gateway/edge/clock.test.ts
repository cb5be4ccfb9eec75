import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { workerClock } from "./clock.ts";

let looks = 0;
let nowMs = Date.now() + 1e6;

beforeEach(() => {
  looks = 0;
  vi.spyOn(Date, "now").mockImplementation(() => {
    looks++;
    return nowMs;
  });
});

afterEach(() => vi.restoreAllMocks());

test("time stands still while code runs, and is looked at once", async () => {
  const started = workerClock.now();
  nowMs += 5;
  expect(workerClock.now()).toBe(started);
  expect(looks).toBe(1);
  await Promise.resolve();
  expect(workerClock.now()).toBe(started + 5);
  expect(looks).toBe(2);
});

test("a clock that is set back stands still until it has caught up", async () => {
  await Promise.resolve();
  const before = workerClock.now();
  nowMs -= 1_000;
  await Promise.resolve();
  expect(workerClock.now()).toBe(before);
  nowMs += 1_500;
  await Promise.resolve();
  expect(workerClock.now()).toBe(before + 500);
});

test("code that never waits sees time go on as well", async () => {
  await Promise.resolve();
  const started = workerClock.now();
  nowMs += 7;
  const seen = Array.from({ length: 100 }, () => workerClock.now());
  expect(seen[0]).toBe(started);
  expect(seen.at(-1)).toBe(started + 7);
});
