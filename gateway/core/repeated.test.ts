import { expect, test } from "vitest";
import { repeated } from "./repeated.ts";

const places = (names: readonly string[]) => repeated(names, (name) => name);

test("the second and every further place of a name", () => {
  expect(places([])).toEqual([]);
  expect(places(["a", "b", "A"])).toEqual([]);
  expect(places(["a", "b", "a", "a", "b"])).toEqual([2, 3, 4]);
});

test("few and many names alike", () => {
  for (let length = 10; length < 30; length++) {
    const names = Array.from({ length }, (_, i) => `name-${i}`);
    expect(places(names)).toEqual([]);
    expect(places([...names, "name-3", "name-0"])).toEqual([length, length + 1]);
  }
});
