import type { RouteMatch } from "../../../gateway/core/ir/index.ts";
import { exact, prefix, present, regex, route, routes } from "../build.ts";
import type { Case, CaseRequest } from "../case.ts";

const when = (name: string, match: RouteMatch, request: CaseRequest, holds: boolean): Case => ({
  name,
  snapshot: routes(route("r", [match])),
  request,
  expect: holds ? { status: 200, route: "r" } : { status: 404, route: null, upstream: [] },
});
const user = (match: RouteMatch["headers"]): RouteMatch => ({ headers: match ?? [] });
const jason = { fields: ["end-user", "jason"] };

export const conditions: readonly Case[] = [
  when("method", { method: exact("POST") }, { method: "POST" }, true),
  when("another method", { method: exact("POST") }, { method: "GET" }, false),
  when("methods have case", { method: exact("get") }, { method: "GET" }, false),
  when("method by regex", { method: regex("GET|HEAD") }, { method: "HEAD" }, true),
  when("scheme http", { scheme: exact("http") }, { scheme: "http" }, true),
  when("scheme https on a plain listener", { scheme: exact("https") }, { scheme: "http" }, false),
  when("scheme https on a TLS listener", { scheme: exact("https") }, { scheme: "https" }, true),
  when("service port, not the bound one", { port: 80 }, {}, true),
  when("another port", { port: 8080 }, {}, false),
  when("the TLS listener's service port", { port: 443 }, { scheme: "https" }, true),
  when("authority with its port", { authority: exact("a.test:8080") }, { authority: "a.test:8080" }, true),
  when("authority as a prefix", { authority: prefix("a.") }, { authority: "a.test" }, true),
  when("authority without the port it came with", { authority: exact("a.test") }, { authority: "a.test:80" }, false),
  when("header exact", user([{ name: "end-user", match: exact("jason") }]), jason, true),
  when("header absent", user([{ name: "end-user", match: exact("jason") }]), {}, false),
  when("header values have case", user([{ name: "end-user", match: exact("Jason") }]), jason, false),
  when("header prefix", user([{ name: "end-user", match: prefix("ja") }]), jason, true),
  when("header regex is the whole value", user([{ name: "end-user", match: regex("jas") }]), jason, false),
  when(
    "header regex",
    user([{ name: "cookie", match: regex("^(.*?;)?(user=jason)(;.*)?$") }]),
    { fields: ["cookie", "a=b;user=jason;c=d"] },
    true,
  ),
  when("header present", user([{ name: "end-user", match: present }]), jason, true),
  when("header present but empty", user([{ name: "end-user", match: present }]), { fields: ["end-user", ""] }, true),
  when("header not present", user([{ name: "end-user", match: present }]), {}, false),
  when("without header, absent", user([{ name: "end-user", match: present, invert: true }]), {}, true),
  when("without header, there", user([{ name: "end-user", match: present, invert: true }]), jason, false),
  when("without a value, another", user([{ name: "end-user", match: exact("bob"), invert: true }]), jason, true),
  when("without a value, absent", user([{ name: "end-user", match: exact("bob"), invert: true }]), {}, true),
  when("without a value, that one", user([{ name: "end-user", match: exact("jason"), invert: true }]), jason, false),
  when(
    "repeated lines are one value",
    user([{ name: "x-tag", match: exact("a, b") }]),
    { fields: ["x-tag", "a", "x-tag", "b"] },
    true,
  ),
  when(
    "no single line of a repeated field",
    user([{ name: "x-tag", match: exact("a") }]),
    { fields: ["x-tag", "a", "x-tag", "b"] },
    false,
  ),
  when(
    "all headers of a match",
    user([
      { name: "a", match: present },
      { name: "b", match: present },
    ]),
    { fields: ["a", "1"] },
    false,
  ),
  when("query exact", { query: [{ name: "v", match: exact("2") }] }, { target: "/?v=2" }, true),
  when("query, first of two", { query: [{ name: "v", match: exact("2") }] }, { target: "/?v=1&v=2" }, false),
  when("query, not a part of a name", { query: [{ name: "v", match: exact("2") }] }, { target: "/?xv=2&vv=2" }, false),
  when("query without a value", { query: [{ name: "debug", match: present }] }, { target: "/?a=b&debug" }, true),
  when("query values are raw", { query: [{ name: "v", match: exact("a b") }] }, { target: "/?v=a%20b" }, false),
  when("query values as sent", { query: [{ name: "v", match: exact("a%20b") }] }, { target: "/?v=a%20b" }, true),
  when("query absent", { query: [{ name: "v", match: present }] }, { target: "/" }, false),
  when("query inverted", { query: [{ name: "v", match: present, invert: true }] }, { target: "/?w" }, true),
  when(
    "all conditions, one fails",
    { path: prefix("/a"), method: exact("GET"), headers: [{ name: "x", match: present }] },
    { target: "/a" },
    false,
  ),
  {
    name: "the next match is tried when one condition fails",
    snapshot: routes(
      route("jason", [{ path: prefix("/reviews"), headers: [{ name: "end-user", match: exact("jason") }] }]),
      route("rest", [{ path: prefix("/reviews") }]),
    ),
    request: { target: "/reviews/1" },
    expect: { status: 200, route: "rest" },
  },
];
