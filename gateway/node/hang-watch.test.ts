import { expect, test } from "vitest";
import { createBeats, HangWatch } from "./hang-watch.ts";

function watched(afterMs: number) {
  const beats = createBeats();
  const seen = { hung: 0, looks: undefined as (() => void) | undefined };
  const watch = new HangWatch({
    beats,
    afterMs,
    hung: () => {
      seen.hung += 1;
    },
    every: (_, run) => {
      seen.looks = run;
      return () => {
        seen.looks = undefined;
      };
    },
  });
  const look = (times: number): number => {
    for (let i = 0; i < times; i++) seen.looks?.();
    return seen.hung;
  };
  return { beats, seen, watch, look };
}

test("a thread that has begun and takes no more turns hangs, once", () => {
  const { beats, look, seen } = watched(2_000);
  Atomics.add(beats, 0, 1);
  expect([look(1), look(3), look(1), look(9)]).toEqual([0, 0, 1, 1]);
  expect(seen.looks).toBeUndefined();
});

test("one turn is enough to begin anew", () => {
  const { beats, look } = watched(2_000);
  for (let i = 0; i < 5; i++) {
    Atomics.add(beats, 0, 1);
    expect(look(4)).toBe(0);
  }
  expect(look(1)).toBe(1);
});

test("who has not begun is not silent, however long it takes", () => {
  expect(watched(500).look(100)).toBe(0);
});

test("nobody looks where nobody asks for it, or after the end", () => {
  expect(watched(0).seen.looks).toBeUndefined();
  const { beats, watch, look } = watched(500);
  Atomics.add(beats, 0, 1);
  look(1);
  watch.end();
  expect(look(9)).toBe(0);
});
