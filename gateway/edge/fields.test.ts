import { expect, test } from "vitest";
import { fieldsInit } from "./fields.ts";

const linesIn = (init: ReturnType<typeof fieldsInit>): string[][] => [...new Headers(init)];

test("fields become one record, or lines where a name comes twice", () => {
  expect(fieldsInit(["a", "1", "b", "2"])).toEqual({ a: "1", b: "2" });
  expect(linesIn(fieldsInit(["set-cookie", "a=1", "set-cookie", "b=2"]))).toEqual([
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ]);
});

test("names that mean something to JavaScript are names like any other", () => {
  const init = fieldsInit(["__proto__", "1", "constructor", "2", "tostring", "3"]);
  expect(linesIn(init)).toEqual([
    ["__proto__", "1"],
    ["constructor", "2"],
    ["tostring", "3"],
  ]);
});
