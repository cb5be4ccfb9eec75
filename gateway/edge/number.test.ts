import { expect, test } from "vitest";
import { numberIn } from "./number.ts";

test.each([
  ["0", 0],
  ["007", 7],
  ["1024", 1024],
  ["9007199254740991", Number.MAX_SAFE_INTEGER],
] as const)("%s is a number", (text, number) => {
  expect(numberIn(text)).toBe(number);
});

test.each(["", " 1", "1 ", "+1", "-1", "1e3", "0x10", "1.5", "1,1", "\u0661"])("%j is none", (text) => {
  expect(numberIn(text)).toBeNaN();
});
