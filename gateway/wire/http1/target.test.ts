import { describe, expect, test } from "vitest";
import { parseAbsolute, parseAuthority, parseConnectTarget } from "./target.ts";

describe("authority", () => {
  test.each([
    ["example.com", "example.com"],
    ["Example.COM:8080", "example.com:8080"],
    ["a_b.c", "a_b.c"],
    ["a.", "a."],
    ["10.0.0.1:1", "10.0.0.1:1"],
    ["[::]", "[::]"],
    ["[::1]:65535", "[::1]:65535"],
    ["[2001:DB8:0:0:0:0:0:1]", "[2001:db8:0:0:0:0:0:1]"],
    ["[1::]", "[1::]"],
    ["[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]"],
    ["[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]"],
  ])("%s", (text, authority) => {
    expect(parseAuthority(text)).toBe(authority);
  });

  test.each([
    "",
    ":80",
    "a:",
    "a:0",
    "a:00080",
    "a:65536",
    "a:8x",
    "a:80:80",
    "a b",
    "a@b",
    "a/b",
    "a?b",
    "a#b",
    "a\\b",
    "a%20",
    "a,b",
    "\xe9",
    "a\0",
    "[",
    "[]",
    "[::1",
    "::1",
    "[::1]x",
    "[:::]",
    "[1::2::3]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]",
    "[1:2:3:4:5:6:7:8::]",
    "[12345::]",
    "[g::]",
    "[::1%25eth0]",
    "[v1.a]",
    "[1.2.3.4::]",
    "[::1.2.3]",
    "[::1.2.3.256]",
    "[::01.2.3.4]",
    "x".repeat(263),
  ])("refuses %j", (text) => {
    expect(parseAuthority(text)).toBeUndefined();
  });
});

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
