import { route, snapshot, virtualHost } from "../build.ts";
import type { Case } from "../case.ts";

const mesh = snapshot([
  virtualHost(["shop.example.com"], [route("exact")]),
  virtualHost(["*.example.com"], [route("wide")]),
  virtualHost(["*.eu.example.com", "[2001:db8::1]"], [route("narrow")]),
]);
const open = snapshot([virtualHost(["shop.example.com"], [route("exact")]), virtualHost(["*"], [route("any")])]);

const host = (name: string, authority: string, id: string | null, on = mesh): Case => ({
  name,
  snapshot: on,
  request: authority === "" ? { authority, minor: 0 } : { authority },
  expect:
    id === null
      ? { status: 404, route: null, flags: "NR", upstream: [], reason: "no_route" }
      : { status: 200, route: id, flags: "-" },
});

export const hosts: readonly Case[] = [
  host("exact beats wildcard", "shop.example.com", "exact"),
  host("the port does not matter", "shop.example.com:8080", "exact"),
  host("a wildcard takes one label", "x.example.com", "wide"),
  host("a wildcard takes any depth", "a.b.c.example.com", "wide"),
  host("the longer wildcard wins", "a.eu.example.com", "narrow"),
  host("the apex of a longer wildcard falls to the shorter", "eu.example.com", "wide"),
  host("a wildcard does not take its apex", "example.com", null),
  host("a suffix counts by label", "notexample.com", null),
  host("an empty label is none", ".example.com", null),
  host("an IPv6 literal", "[2001:db8::1]", "narrow"),
  host("an IPv6 literal with port", "[2001:db8::1]:80", "narrow"),
  host("another IPv6 literal", "[2001:db8::2]", null),
  host("`*` takes what nobody else does", "other.test", "any", open),
  {
    name: "`*` takes an empty authority, and the origin is told its own name",
    snapshot: open,
    request: { authority: "", minor: 0 },
    expect: { status: 200, route: "any", flags: "-", upstream: [{ authority: "a.demo" }] },
  },
  host("exact beats `*`", "shop.example.com", "exact", open),
  host("a trailing dot is another name", "shop.example.com.", null, mesh),
];
