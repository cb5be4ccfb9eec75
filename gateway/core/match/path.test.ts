import fc from "fast-check";
import { expect, it } from "vitest";
import { normalizePath } from "./path.ts";

it.each([
  ["/", "/"],
  ["/a/b", "/a/b"],
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/a/..", "/"],
  ["/a/.", "/a/"],
  ["/..", "/"],
  ["/../..//a", "//a"],
  ["/a//../b", "/a/b"],
  ["/.hidden", "/.hidden"],
  ["/a/...", "/a/..."],
  ["/%2e%2e/a", "/a"],
  ["/a%2fb", "/a%2Fb"],
  ["/%41%7e%5f", "/A~_"],
  ["/%25%32%65", "/%252e"],
  ["/a%zz%", "/a%zz%"],
  ["\\a\\..\\b", "/b"],
  ["*", "*"],
])("%s is %s", (path, normalized) => {
  expect(normalizePath(path)).toBe(normalized);
});

it.each(["/a%00", "/a#b", "/%2e/%00"])("%s is refused", (path) => {
  expect(normalizePath(path)).toBeUndefined();
});

const piece = fc.constantFrom("/", ".", "..", "a", "%2e", "%2F", "%2f", "\\", "%", "%5c", "%61");

it("is its own normal form, stays rooted and has no dot segments", () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const once = normalizePath(`/${pieces.join("")}`)!;
      expect(once.startsWith("/")).toBe(true);
      expect(once.split("/")).not.toContain("..");
      expect(once.split("/")).not.toContain(".");
      // Decoding may lay bare a triplet only where a percent sign stood alone before letters and digits.
      if (!/%(?![0-9A-F]{2})/i.test(`/${pieces.join("")}`)) expect(normalizePath(once)).toBe(once);
    }),
  );
});
