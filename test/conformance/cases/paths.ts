import { exact, forward, prefix, regex, route, routes, segments, suffix } from "../build.ts";
import type { Case } from "../case.ts";

const path = (name: string, target: string, id: string | null, list: readonly Parameters<typeof route>[]): Case => ({
  name,
  snapshot: routes(...list.map((parts) => route(...parts))),
  request: { target },
  expect: id === null ? { status: 404, route: null } : { status: 200, route: id },
});

const two: readonly Parameters<typeof route>[] = [
  ["exact", [{ path: exact("/foo") }]],
  ["prefix", [{ path: prefix("/foo") }]],
];
const sent = (name: string, target: string, upstream: string): Case => ({
  name,
  snapshot: routes(route("r")),
  request: { target },
  expect: { status: 200, upstream: [{ target: upstream }] },
});
const refused = (name: string, target: string): Case => ({
  name,
  snapshot: routes(route("r")),
  request: { target },
  expect: { status: 400, upstream: [], reason: "bad_request", flags: "DPE", route: null },
});

export const paths: readonly Case[] = [
  path("exact", "/foo", "exact", two),
  path("exact leaves out the query", "/foo?x=/bar", "exact", two),
  path("exact is the whole path", "/foo/", "prefix", two),
  path("a prefix is a raw string", "/foobar", "prefix", two),
  path("a prefix of a prefix is none", "/fo", null, two),
  path("case matters", "/Foo", null, two),
  path("first match wins over the more specific", "/foo/bar", "wide", [
    ["wide", [{ path: prefix("/foo") }]],
    ["narrow", [{ path: exact("/foo/bar") }]],
  ]),
  path("a regex before a prefix", "/v12/x", "regex", [
    ["regex", [{ path: regex("/v[0-9]+/.*") }]],
    ["prefix", [{ path: prefix("/v12") }]],
  ]),
  path("a regex takes the whole path", "/v1/x", null, [["regex", [{ path: regex("/v[0-9]") }]]]),
  path("a regex with alternatives", "/b", "regex", [["regex", [{ path: regex("/a|/b") }]]]),
  path("a regex whose literal start is optional", "/a", "regex", [["regex", [{ path: regex("/ab?") }]]]),
  path("a regex behind a route that fails elsewhere", "/a/b", "second", [
    ["first", [{ path: prefix("/a"), method: exact("POST") }]],
    ["second", [{ path: regex("/a/.*") }]],
  ]),
  path("a suffix", "/img/x.png", "suffix", [["suffix", [{ path: suffix(".png") }]]]),
  path("any of several matches", "/two", "r", [["r", [{ path: exact("/one") }, { path: exact("/two") }]]]),
  path("no match at all takes everything", "/x", "all", [["all"]]),
  path("segments take the path itself", "/foo", "r", [["r", [{ path: segments("/foo") }]]]),
  path("segments take what lies below", "/foo/bar", "r", [["r", [{ path: segments("/foo") }]]]),
  path("segments do not cut one in two", "/foobar", null, [["r", [{ path: segments("/foo") }]]]),
  path("segments with a slash behind", "/foo", "r", [["r", [{ path: segments("/foo/") }]]]),
  path("ignored case, prefix", "/FOO/Bar", "r", [["r", [{ path: prefix("/Foo"), ignorePathCase: true }]]]),
  path("ignored case, exact", "/FOO", "r", [["r", [{ path: exact("/foo"), ignorePathCase: true }]]]),
  path("dot segments are gone before matching", "/public/../admin", "admin", [
    ["public", [{ path: prefix("/public") }]],
    ["admin", [{ path: prefix("/admin") }]],
  ]),
  path("encoded dot segments too", "/public/%2e%2E/admin", "admin", [
    ["public", [{ path: prefix("/public") }]],
    ["admin", [{ path: prefix("/admin") }]],
  ]),
  path("encoded letters are letters", "/%61dmin", "r", [["r", [{ path: prefix("/admin") }]]]),
  path("an encoded slash is no slash", "/a%2fb", null, [["r", [{ path: exact("/a/b") }]]]),
  path("an encoded slash has one spelling", "/a%2fb", "r", [["r", [{ path: exact("/a%2Fb") }]]]),
  sent("what was matched is sent", "/a/./b/../c?x=%2e%2e/", "/a/c?x=%2e%2e/"),
  sent("backslashes are slashes", "/a\\b", "/a/b"),
  sent("nothing climbs above the root", "/../../a", "/a"),
  sent("a directory keeps its slash", "/a/b/..", "/a/"),
  sent("empty segments stay", "//a//b", "//a//b"),
  sent("dots inside a name stay", "/a/..b/c..", "/a/..b/c.."),
  sent("a lone percent sign stays", "/100%", "/100%"),
  sent("an empty query stays", "/a?", "/a?"),
  {
    name: "asterisk form",
    snapshot: routes(route("r")),
    request: { method: "OPTIONS", target: "*" },
    expect: { status: 200, upstream: [{ target: "*" }] },
  },
  refused("an encoded NUL", "/a%00b"),
  refused("a fragment", "/a#b"),
  {
    name: "rewriting replaces the matched prefix",
    snapshot: routes(route("r", [{ path: prefix("/old/") }], { action: forward("a", { rewrite: { path: "/new/" } }) })),
    request: { target: "/old/x?y=1" },
    expect: { status: 200, upstream: [{ target: "/new/x?y=1" }] },
  },
  {
    name: "rewriting replaces the whole path when the match was exact",
    snapshot: routes(route("r", [{ path: exact("/old") }], { action: forward("a", { rewrite: { path: "/new" } }) })),
    request: { target: "/old?y" },
    expect: { status: 200, upstream: [{ target: "/new?y" }] },
  },
  {
    name: "rewriting a segment prefix to the root",
    snapshot: routes(route("r", [{ path: segments("/v1") }], { action: forward("a", { rewrite: { path: "/" } }) })),
    request: { target: "/v1/x" },
    expect: { status: 200, upstream: [{ target: "/x" }] },
  },
  {
    name: "rewriting by the match that was met",
    snapshot: routes(
      route("r", [{ path: prefix("/one") }, { path: prefix("/second") }], { action: forward("a", { rewrite: { path: "/n" } }) }),
    ),
    request: { target: "/second/x" },
    expect: { status: 200, upstream: [{ target: "/n/x" }] },
  },
  {
    name: "rewriting by regex with groups",
    snapshot: routes(
      route("r", [], {
        action: forward("a", { rewrite: { pathRegex: { match: "^/user/([^/]+)/(.*)$", substitution: "/\\2/$of/\\1" } } }),
      }),
    ),
    request: { target: "/user/jason/cart?x" },
    expect: { status: 200, upstream: [{ target: "/cart/$of/jason?x" }] },
  },
  {
    name: "a rewritten path is rooted",
    snapshot: routes(route("r", [{ path: prefix("/old/") }], { action: forward("a", { rewrite: { path: "" } }) })),
    request: { target: "/old/x" },
    expect: { status: 200, upstream: [{ target: "/x" }] },
  },
];
