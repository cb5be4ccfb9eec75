/** What goes through as it came: methods, statuses, bodies, encodings, targets. */
import { only, prefix, route, routes } from "../build.ts";
import type { Case, CaseRequest, OriginBehaviour } from "../case.ts";

const plain = only({});

const method = (name: string, body?: string): Case => ({
  name: body === undefined ? `${name} goes through` : `${name} goes through with its body`,
  snapshot: plain,
  request: { method: name, ...(body === undefined ? {} : { body }) },
  expect: { status: 200, upstream: [{ method: name, ...(body === undefined ? {} : { body }) }], flags: "-" },
});

const EMPTY_STATUSES = new Set([204, 304]);
const status = (code: number): Case => {
  const body = EMPTY_STATUSES.has(code) ? {} : { body: `status ${code}` };
  return {
    name: `an origin's ${code} goes through`,
    snapshot: plain,
    request: {},
    origin: [{ status: code, fields: ["x-origin", "1"], ...body }],
    expect: { status: code, body: body.body ?? "", fields: { "x-origin": "1" }, upstream: [{}], flags: "-" },
  };
};

const back = (name: string, answer: Extract<OriginBehaviour, { status: number }>, fields: { [name: string]: string }): Case => ({
  name,
  snapshot: plain,
  request: {},
  origin: [answer],
  expect: { status: answer.status, fields, ...(answer.body === undefined ? {} : { body: answer.body }) },
});

const sent = (name: string, fields: readonly string[], expected: { [name: string]: string }): Case => ({
  name,
  snapshot: plain,
  request: { fields },
  expect: { status: 200, upstream: [{ fields: expected }] },
});

const target = (name: string, path: string): Case => ({
  name,
  snapshot: plain,
  request: { target: path },
  expect: { status: 200, upstream: [{ target: path }] },
});

/** The body's text is no gzip at all: whoever looks inside fails. */
const encoded = (coding: string): Case =>
  back(
    `content in ${coding} is not looked into`,
    { status: 200, fields: ["content-encoding", coding], body: `not ${coding}` },
    {
      "content-encoding": coding,
    },
  );

const dropped = (request: CaseRequest, name: string): Case => ({
  name,
  snapshot: routes(route("get", [{ path: prefix("/only"), method: { kind: "exact", value: "GET" } }])),
  request,
  expect: { status: 404, upstream: [], route: null, flags: "NR", body: request.method === "HEAD" ? "" : "no route\n" },
});

export const messages: readonly Case[] = [
  ...["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "POST"].map((name) => method(name)),
  ...["POST", "PUT", "PATCH", "DELETE", "GET"].map((name) => method(name, "content")),
  ...[200, 201, 202, 204, 206, 300, 302, 304, 307, 400, 401, 404, 409, 410, 429, 451, 500, 502, 503, 504, 599].map(status),
  ...["gzip", "br", "deflate", "zstd"].map(encoded),
  sent("what encodings the client takes is its own affair", ["accept-encoding", "gzip;q=0.5, br"], {
    "accept-encoding": "gzip;q=0.5, br",
  }),
  sent("a range is the origin's to cut", ["range", "bytes=2-3", "if-range", '"x"'], { range: "bytes=2-3", "if-range": '"x"' }),
  sent(
    "conditions are the origin's to judge",
    ["if-none-match", '"x", W/"y"', "if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"],
    {
      "if-none-match": '"x", W/"y"',
      "if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT",
    },
  ),
  sent("credentials for the origin go through", ["authorization", "Bearer abc.def", "cookie", "a=1; b=2"], {
    authorization: "Bearer abc.def",
    cookie: "a=1; b=2",
  }),
  sent("a long field", ["x-long", "v".repeat(4_096)], { "x-long": "v".repeat(4_096) }),
  sent("a field with no value", ["x-empty", ""], { "x-empty": "" }),
  sent("Cache-Control with no value", ["cache-control", ""], { "cache-control": "" }),
  sent("lines of one field stay in order", ["x-list", "1", "x-list", "2", "x-list", "3"], { "x-list": "1, 2, 3" }),
  back(
    "a part of the content",
    { status: 206, fields: ["content-range", "bytes 2-3/10"], body: "cd" },
    { "content-range": "bytes 2-3/10" },
  ),
  back(
    "caching is the origin's to rule",
    { status: 200, fields: ["cache-control", "private", "vary", "accept", "age", "7"] },
    {
      "cache-control": "private",
      vary: "accept",
      age: "7",
    },
  ),
  back("the origin's date is the answer's", { status: 200, fields: ["x-date-of", "origin"] }, { "x-date-of": "origin" }),
  back(
    "fields about the resource go through as they are",
    { status: 405, fields: ["allow", "GET, , HEAD", "accept-ranges", "none"] },
    { allow: "GET, , HEAD", "accept-ranges": "none" },
  ),
  back(
    "a challenge of the origin",
    { status: 401, fields: ["www-authenticate", 'Basic realm="shop"'] },
    { "www-authenticate": 'Basic realm="shop"' },
  ),
  back(
    "a cookie with an expiry date",
    { status: 200, fields: ["set-cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"] },
    {
      "set-cookie": "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
    },
  ),
  target("a query goes through as it came", "/a?b=%41&c=%2f&b=+&&d"),
  target("an empty query stays", "/a?"),
  target("a query may hold a path", "/a?next=/b/../c?d"),
  target("an apostrophe in a query", "/a?name='o'"),
  target("marks that a path may hold", "/a;v=1/(b)/c!d*e,f$g@h:i~j"),
  target("brackets in a path", "/a[1]"),
  target("a bar in a path", "/a|b"),
  target("empty segments stay", "//a//b/"),
  target("a long target", `/${"p".repeat(4_000)}?${"q".repeat(2_000)}`),
  dropped({ method: "POST", target: "/only", body: "x" }, "a route by method leaves the others out"),
  dropped({ method: "HEAD", target: "/only" }, "HEAD is not GET, and its refusal has no body"),
];
