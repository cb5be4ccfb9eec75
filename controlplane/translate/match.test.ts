import { describe, expect, test } from "vitest";
import type { RouteMatch } from "../../gateway/core/ir/index.ts";
import { matchesEverything, requestMatch } from "./match.ts";

const EMPTY = { headers: {}, withoutHeaders: {}, queryParams: {}, ignoreUriCase: false, gateways: [], sourceLabels: {} };

describe("takes every request", () => {
  test.each<[RouteMatch, boolean]>([
    [{}, true],
    [{ name: "x" }, true],
    [{ path: { kind: "prefix", value: "/" } }, true],
    [{ path: { kind: "prefix", value: "/" }, ignorePathCase: true }, true],
    [{ path: { kind: "regex", value: ".*" } }, true],
    [{ path: { kind: "regex", value: "/.*" } }, true],
    [{ path: { kind: "regex", value: ".+" } }, false],
    [{ path: { kind: "exact", value: "/" } }, false],
    [{ path: { kind: "prefix", value: "/a" } }, false],
    [{ path: { kind: "prefix", value: "/" }, method: { kind: "exact", value: "GET" } }, false],
    [{ headers: [{ name: "x", match: { kind: "present" } }] }, false],
  ])("%j: %s", (match, expected) => {
    expect(matchesEverything(match)).toBe(expected);
  });
});

describe("headers of a match", () => {
  test("are sorted by name, the negated ones behind", () => {
    const present = { kind: "present" } as const;
    const found = requestMatch({ ...EMPTY, headers: { b: present, a: present }, withoutHeaders: { "0": present } });
    expect("match" in found && found.match.headers).toEqual([
      { name: "a", match: present },
      { name: "b", match: present },
      { name: "0", match: present, invert: true },
    ]);
  });

  test("that are parts of the request line or the authority are conditions on those", () => {
    const value = { kind: "exact", value: "v" } as const;
    const found = requestMatch({ ...EMPTY, headers: { host: value, ":method": value, ":scheme": value } });
    expect(found).toEqual({ match: { authority: value, method: value, scheme: value } });
  });

  test("that Istio takes for fields of the match are ignored", () => {
    const value = { kind: "exact", value: "v" } as const;
    expect(requestMatch({ ...EMPTY, headers: { uri: value, method: value, scheme: value, authority: value } })).toEqual({
      match: {},
    });
  });

  test.each([
    [{ headers: { ":path": { kind: "present" as const } } }, '":path"'],
    [{ withoutHeaders: { host: { kind: "present" as const } } }, '"host"'],
    [{ headers: { host: { kind: "present" as const } }, authority: { kind: "exact" as const, value: "a" } }, "authority"],
  ])("%j cannot be kept, so the alternative goes", (fields, named) => {
    const found = requestMatch({ ...EMPTY, ...fields });
    expect("unsupported" in found && found.unsupported).toContain(named);
  });
});
