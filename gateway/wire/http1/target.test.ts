import { expect, test } from "vitest";
import { parseAbsolute, parseConnectTarget } from "./target.ts";

test.each([
  ["GET", "http://a", { scheme: "http", authority: "a", target: "/" }],
  ["GET", "HttpS://A:1/b?c", { scheme: "https", authority: "a:1", target: "/b?c" }],
  ["OPTIONS", "http://a", { scheme: "http", authority: "a", target: "*" }],
  ["OPTIONS", "http://a/", { scheme: "http", authority: "a", target: "/" }],
  ["OPTIONS", "http://a?", { scheme: "http", authority: "a", target: "/?" }],
  ["GET", "http://a/@b", { scheme: "http", authority: "a", target: "/@b" }],
  ["GET", "http:/a", "bad_target_form"],
  ["GET", "http:a", "bad_target_form"],
  ["GET", "://a", "bad_target_form"],
  ["GET", "ws://a/", "unsupported_scheme"],
  ["GET", "http://@a/", "userinfo_in_target"],
  ["GET", "http:///", "bad_target_authority"],
] as const)("absolute form %s %s", (method, text, expected) => {
  expect(parseAbsolute(method, text)).toEqual(expected);
});

test("authority form always has a port", () => {
  expect(parseConnectTarget("A:1")).toBe("a:1");
  expect(parseConnectTarget("[::1]:1")).toBe("[::1]:1");
  for (const text of ["a", "[::1]", "a:", "a:0", "*", "/", "http://a:1"]) expect(parseConnectTarget(text)).toBeUndefined();
});
