import type { DirectResponseAction, RedirectAction, RouteMatch } from "../../../gateway/core/ir/index.ts";
import { exact, only, prefix, route, routes, segments, snapshot, virtualHost } from "../build.ts";
import type { Case, CaseRequest } from "../case.ts";

const to = (
  name: string,
  action: Partial<RedirectAction>,
  request: CaseRequest,
  location: string,
  match: RouteMatch = {},
): Case => ({
  name,
  snapshot: routes(route("r", [match], { action: { kind: "redirect", status: 301, ...action } })),
  request,
  expect: {
    status: action.status ?? 301,
    fields: { location, server: "tidegate" },
    upstream: [],
    route: "r",
    body: "",
    flags: "-",
  },
});
const direct = (
  name: string,
  action: Partial<DirectResponseAction>,
  request: CaseRequest,
  expect: Partial<Case["expect"]>,
): Case => ({
  name,
  snapshot: only({ action: { kind: "direct", status: 200, ...action } }),
  request,
  expect: { status: action.status ?? 200, upstream: [], ...expect },
});
const secure = (port?: number) =>
  snapshot([virtualHost(["*"], [route("r")], { httpsRedirect: { status: 301, ...(port === undefined ? {} : { port }) } })]);

export const responses: readonly Case[] = [
  to("redirect of the path keeps the query", { path: "/new" }, { target: "/old?x=1" }, "http://shop.example.com/new?x=1"),
  to("redirect with a query of its own", { path: "/new?y=2" }, { target: "/old?x=1" }, "http://shop.example.com/new?y=2"),
  to("redirect of the authority", { authority: "new.test" }, { target: "/a" }, "http://new.test/a"),
  to("redirect of the scheme", { scheme: "https" }, { target: "/a" }, "https://shop.example.com/a"),
  to("redirect status", { status: 308, path: "/b" }, {}, "http://shop.example.com/b"),
  to("redirect of the prefix", { prefix: "/v2" }, { target: "/v1/x?q" }, "http://shop.example.com/v2/x?q", {
    path: prefix("/v1"),
  }),
  to("redirect of a segment prefix to the root", { prefix: "/" }, { target: "/v1/x" }, "http://shop.example.com/x", {
    path: segments("/v1"),
  }),
  to("the old scheme's default port is left behind", { scheme: "https" }, { authority: "a.test:80" }, "https://a.test/"),
  to("another port stays", { scheme: "https" }, { authority: "a.test:8080" }, "https://a.test:8080/"),
  to("redirect to a port", { port: 8443, scheme: "https" }, { authority: "a.test:80" }, "https://a.test:8443/"),
  to("redirect to the scheme's own port", { port: 443, scheme: "https" }, { authority: "a.test:80" }, "https://a.test/"),
  to("port of the protocol", { port: "from-protocol-default" }, { authority: "a.test:8080" }, "http://a.test/"),
  to("port of the request", { port: "from-request", authority: "b.test", scheme: "https" }, {}, "https://b.test:80/"),
  to("the path in a Location is the normalised one", { authority: "b.test" }, { target: "/a/../b" }, "http://b.test/b"),
  {
    name: "https redirect of a host",
    snapshot: secure(),
    request: { authority: "shop.example.com:80", target: "/a?b" },
    expect: { status: 301, fields: { location: "https://shop.example.com/a?b" }, upstream: [] },
  },
  {
    name: "https redirect to a port",
    snapshot: secure(8443),
    request: {},
    expect: { status: 301, fields: { location: "https://shop.example.com:8443/" }, upstream: [] },
  },
  {
    name: "https redirect comes before everything else",
    snapshot: snapshot([virtualHost(["*"], [route("r", [{ path: exact("/no") }])], { httpsRedirect: { status: 301 } })]),
    request: { target: "/a" },
    expect: { status: 301, upstream: [] },
  },
  {
    name: "no https redirect without a host to go to",
    snapshot: secure(),
    request: { authority: "", minor: 0 },
    expect: { status: 400, upstream: [] },
  },
  { name: "no https redirect over TLS", snapshot: secure(), request: { scheme: "https" }, expect: { status: 200 } },
  direct(
    "direct text",
    { body: { text: "grüezi" } },
    {},
    {
      body: "grüezi",
      fields: { "content-type": "text/plain; charset=utf-8", server: "tidegate", date: "Thu, 01 Jan 2026 00:00:00 GMT" },
    },
  ),
  direct(
    "direct bytes",
    { body: { base64: "aGk=" } },
    {},
    { body: "hi", fields: { "content-type": "application/octet-stream" } },
  ),
  direct("direct without a body", { status: 503 }, {}, { body: "", absent: ["content-type"], flags: "-" }),
  direct("direct 204", { status: 204 }, {}, { body: "" }),
  direct(
    "direct to HEAD has no body",
    { body: { text: "hi" } },
    { method: "HEAD" },
    { body: "", fields: { "content-type": "text/plain; charset=utf-8" } },
  ),
  {
    name: "no virtual host",
    snapshot: snapshot([]),
    request: {},
    expect: {
      status: 404,
      body: "no route\n",
      flags: "NR",
      fields: { "content-type": "text/plain; charset=utf-8", server: "tidegate" },
    },
  },
  {
    name: "a gRPC client reads the status from fields",
    snapshot: snapshot([]),
    request: { method: "POST", fields: ["content-type", "application/grpc+proto"] },
    expect: {
      status: 200,
      body: "",
      fields: { "grpc-status": "12", "grpc-message": "no route", "content-type": "application/grpc" },
      flags: "NR",
    },
  },
  {
    name: "CONNECT is no request for a gateway",
    snapshot: only({}),
    request: { method: "CONNECT", target: "shop.example.com:443" },
    expect: { status: 501, upstream: [], reason: "not_supported" },
  },
];
