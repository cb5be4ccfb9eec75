import type { HeaderOps, Settings } from "../../../gateway/core/ir/index.ts";
import { forward, only, route, snapshot, virtualHost } from "../build.ts";
import type { Case } from "../case.ts";

const request = (
  name: string,
  ops: HeaderOps,
  sent: readonly string[],
  fields: { [name: string]: string },
  absent: string[] = [],
): Case => ({
  name,
  snapshot: only({ requestHeaders: ops }),
  request: { fields: sent },
  expect: { status: 200, upstream: [{ fields, absent }] },
});
const response = (
  name: string,
  ops: HeaderOps,
  sent: readonly string[],
  fields: { [name: string]: string },
  absent: string[] = [],
): Case => ({
  name,
  snapshot: only({ responseHeaders: ops }),
  request: {},
  origin: [{ status: 200, fields: sent }],
  expect: { status: 200, fields, absent },
});
const both = {
  action: forward("a", {
    destinations: [
      {
        cluster: "a",
        weight: 1,
        requestHeaders: { set: [["x", "destination"]], add: [["y", "destination"]] },
        responseHeaders: { set: [["x", "destination"]] },
      },
    ],
  }),
} as const;
const told = (settings: Partial<Settings>) => snapshot([virtualHost(["*"], [route("demo/shop/r")])], { settings });

export const headers: readonly Case[] = [
  request("request set replaces", { set: [["x", "new"]] }, ["x", "old", "x", "older"], { x: "new" }),
  request("request set brings", { set: [["x", "new"]] }, [], { x: "new" }),
  request("request add appends", { add: [["x", "two"]] }, ["x", "one"], { x: "one, two" }),
  request("request remove", { remove: ["x"] }, ["x", "1", "y", "2", "x", "3"], { y: "2" }, ["x"]),
  request("remove, then set, then add", { remove: ["x"], set: [["x", "s"]], add: [["x", "a"]] }, ["x", "1"], { x: "s, a" }),
  request(
    "of two sets the last stands",
    {
      set: [
        ["x", "1"],
        ["x", "2"],
      ],
    },
    [],
    { x: "2" },
  ),
  request("what the gateway added can be removed", { remove: ["x-forwarded-for"] }, [], {}, ["x-forwarded-for"]),
  response("response set replaces", { set: [["x", "new"]] }, ["x", "old"], { x: "new" }),
  response("response add appends", { add: [["x", "two"]] }, ["x", "one"], { x: "one, two" }),
  response("response remove", { remove: ["server"] }, ["server", "origin/1"], {}, ["server"]),
  {
    name: "the route's operations stand over the destination's",
    snapshot: only({ ...both, requestHeaders: { set: [["x", "route"]] }, responseHeaders: { set: [["x", "route"]] } }),
    request: {},
    expect: { status: 200, upstream: [{ fields: { x: "route", y: "destination" } }], fields: { x: "route" } },
  },
  {
    name: "the route removes what the destination set",
    snapshot: only({ ...both, requestHeaders: { remove: ["x", "y"] } }),
    request: {},
    expect: { status: 200, upstream: [{ absent: ["x", "y"] }], fields: { x: "destination" } },
  },
  {
    name: "operations reach a direct response",
    snapshot: only({ action: { kind: "direct", status: 200, body: { text: "hi" } }, responseHeaders: { set: [["x", "1"]] } }),
    request: {},
    expect: { status: 200, fields: { x: "1" }, body: "hi" },
  },
  {
    name: "operations do not dress up errors",
    snapshot: only({ action: forward("empty"), responseHeaders: { set: [["x", "1"]] } }),
    request: {},
    expect: { status: 503, absent: ["x"] },
  },
  {
    name: "explain headers on a response",
    snapshot: told({ explainHeaders: true }),
    request: {},
    origin: [{ status: 200, fields: ["x-tidegate-rule", "forged"] }],
    expect: {
      status: 200,
      fields: { "x-tidegate-snapshot": "1.7", "x-tidegate-rule": "demo/shop/r" },
      absent: ["x-tidegate-reason"],
    },
  },
  {
    name: "explain headers on an error",
    snapshot: snapshot([], { settings: { explainHeaders: true } }),
    request: {},
    expect: {
      status: 404,
      fields: { "x-tidegate-snapshot": "1.7", "x-tidegate-reason": "no_route" },
      absent: ["x-tidegate-rule"],
    },
  },
  {
    name: "no explain headers unless asked for",
    snapshot: told({}),
    request: {},
    expect: { status: 200, absent: ["x-tidegate-snapshot", "x-tidegate-rule", "x-tidegate-reason"] },
  },
];
