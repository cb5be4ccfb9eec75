import { expect, it } from "vitest";
import { findHost, hostOf, portOf } from "./host.ts";
import { queryValue } from "./query.ts";

const table = {
  exact: new Map([["a.example.com", "exact"]]),
  suffix: new Map([
    [".example.com", "wide"],
    [".b.example.com", "narrow"],
  ]),
  any: undefined,
};

it.each([
  ["a.example.com", "exact"],
  ["c.example.com", "wide"],
  ["x.y.example.com", "wide"],
  ["x.b.example.com", "narrow"],
  ["b.example.com", "wide"],
  ["example.com", undefined],
  [".example.com", undefined],
  ["", undefined],
])("%s goes to %s", (host, name) => {
  expect(findHost(table, host)).toBe(name);
});

it.each([
  ["a.test", "a.test", undefined],
  ["a.test:80", "a.test", "80"],
  ["a.test:", "a.test", undefined],
  ["[::1]", "[::1]", undefined],
  ["[::1]:80", "[::1]", "80"],
  ["", "", undefined],
])("%s has host and port", (authority, host, port) => {
  expect([hostOf(authority), portOf(authority)]).toEqual([host, port]);
});

it.each([
  ["a=1&b=2", "b", "2"],
  ["a=1&a=2", "a", "1"],
  ["aa=1", "a", undefined],
  ["a", "a", ""],
  ["a=", "a", ""],
  ["x&a&y", "a", ""],
  ["a=b=c", "a", "b=c"],
  ["", "a", undefined],
  ["&&a=1", "a", "1"],
  ["%61=1", "a", undefined],
])("query %s: %s is %s", (query, name, value) => {
  expect(queryValue(query, name)).toBe(value);
});
