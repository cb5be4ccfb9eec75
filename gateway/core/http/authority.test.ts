import { describe, expect, test } from "vitest";
import { parseAuthority, REG_NAME, sameAuthority } from "./authority.ts";

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

test("letters, digits, and 14 marks make a name", () => {
  expect(REG_NAME.filter((value) => value === 1)).toHaveLength(62 + 4 + 10);
});

test("a default port is as good as none", () => {
  expect(sameAuthority("a.test", "a.test:80", "http")).toBe(true);
  expect(sameAuthority("a.test:443", "a.test", "https")).toBe(true);
  expect(sameAuthority("a.test:443", "a.test", "http")).toBe(false);
  expect(sameAuthority("a.test", "b.test", "http")).toBe(false);
});
