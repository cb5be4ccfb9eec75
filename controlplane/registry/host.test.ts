import fc from "fast-check";
import { expect, test } from "vitest";
import { compareHosts, covers, HostIndex, intersectHosts, patternsOver, resolveShortName } from "./host.ts";

test.each([
  ["reviews", "reviews.shop.svc.cluster.local"],
  ["Reviews", "reviews.shop.svc.cluster.local"],
  ["reviews.other", "reviews.other"],
  ["*", "*"],
  ["*.example.com", "*.example.com"],
  ["localhost", "localhost"],
  ["2001:db8::1", "2001:db8::1"],
])("%s in namespace shop is %s", (name, full) => {
  expect(resolveShortName(name, "shop")).toBe(full);
});

test.each([
  ["*", "anything", true],
  ["*", "*", true],
  ["*.example.com", "a.example.com", true],
  ["*.example.com", "a.b.example.com", true],
  ["*.example.com", "*.b.example.com", true],
  ["*.example.com", "*.example.com", true],
  ["*.example.com", "example.com", false],
  ["*.example.com", "badexample.com", false],
  ["*.example.com", "*", false],
  ["*.b.example.com", "*.example.com", false],
  ["a.example.com", "a.example.com", true],
  ["a.example.com", "*.example.com", false],
])("%s covers %s: %s", (pattern, host, expected) => {
  expect(covers(pattern, host)).toBe(expected);
});

test("two hosts have the more specific one in common", () => {
  expect(intersectHosts("*", "a.example.com")).toBe("a.example.com");
  expect(intersectHosts("a.example.com", "*.example.com")).toBe("a.example.com");
  expect(intersectHosts("*.a.com", "*.b.com")).toBeUndefined();
});

test("exact before wildcard, longer before shorter, then by the alphabet", () => {
  expect(["*", "*.com", "b.com", "*.long.com", "a.com", "aa.com"].sort(compareHosts)).toEqual([
    "aa.com",
    "a.com",
    "b.com",
    "*.long.com",
    "*.com",
    "*",
  ]);
});

const label = fc.constantFrom("a", "b", "c");
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const pattern = fc.oneof(
  name,
  name.map((text) => `*.${text}`),
  fc.constant("*"),
);

test("the patterns over a host are exactly those that cover it, most specific first", () => {
  fc.assert(
    fc.property(pattern, pattern, (host, other) => {
      const over = [...patternsOver(host)];
      expect(over.includes(other)).toBe(covers(other, host));
      expect([...over].sort(compareHosts)).toEqual(over);
    }),
  );
});

test("an index answers with the most specific pattern", () => {
  const index = new HostIndex<number>();
  index.set("*", 0);
  index.set("*.example.com", 1);
  index.set("a.example.com", 2);
  expect(index.mostSpecific("a.example.com")?.value).toBe(2);
  expect(index.mostSpecific("b.example.com")?.value).toBe(1);
  expect(index.mostSpecific("example.com")?.value).toBe(0);
});
