import { forward, only, route, routes } from "../build.ts";
import type { Case } from "../case.ts";

const split = only({
  action: forward("a", {
    destinations: [
      { cluster: "a", weight: 3 },
      { cluster: "b", weight: 1 },
    ],
  }),
});
const thrown = (name: string, dice: number, to: string): Case => ({
  name,
  snapshot: split,
  request: {},
  dice: [dice],
  expect: { status: 200, upstream: [{ to }] },
});

export const destinations: readonly Case[] = [
  thrown("3:1, lowest throw", 0, "10.0.0.1:80"),
  thrown("3:1, just below the edge", 0.7499, "10.0.0.1:80"),
  thrown("3:1, on the edge", 0.75, "10.0.0.2:80"),
  thrown("3:1, highest throw", 0.99999, "10.0.0.2:80"),
  {
    name: "a single destination takes all",
    snapshot: only({ action: forward("b") }),
    request: {},
    expect: { status: 200, upstream: [{ to: "10.0.0.2:80" }] },
  },
  {
    name: "a destination that the snapshot lacks",
    snapshot: only({ action: forward("gone") }),
    request: {},
    expect: {
      status: 503,
      upstream: [],
      flags: "NC",
      route: "r",
      reason: "no_cluster",
      body: "the route's destination does not exist\n",
    },
  },
  {
    name: "a destination without endpoints",
    snapshot: only({ action: forward("empty") }),
    request: {},
    expect: { status: 503, upstream: [], flags: "UH", reason: "no_healthy_upstream" },
  },
  {
    name: "method, query and body go through",
    snapshot: only({}),
    request: { method: "PATCH", target: "/x?y=1", body: "hello" },
    expect: { status: 200, upstream: [{ method: "PATCH", target: "/x?y=1", body: "hello", authority: "shop.example.com" }] },
  },
  {
    name: "authority of the destination",
    snapshot: only({ action: forward("a", { destinations: [{ cluster: "a", weight: 1, authority: "a.internal" }] }) }),
    request: {},
    expect: { status: 200, upstream: [{ authority: "a.internal", fields: { "x-forwarded-host": "shop.example.com" } }] },
  },
  {
    name: "authority of the route wins over the destination's",
    snapshot: only({
      action: forward("a", {
        destinations: [{ cluster: "a", weight: 1, authority: "a.internal" }],
        rewrite: { authority: "route.internal" },
      }),
    }),
    request: {},
    expect: { status: 200, upstream: [{ authority: "route.internal" }] },
  },
  {
    name: "a mirror gets a copy",
    snapshot: only({ action: forward("a", { mirrors: [{ cluster: "b", percent: 100 }] }) }),
    request: {},
    expect: { status: 200, upstream: [{ to: "10.0.0.1:80" }], mirrored: ["10.0.0.2:80"] },
  },
  {
    name: "a mirror of a share, below",
    snapshot: only({ action: forward("a", { mirrors: [{ cluster: "b", percent: 30 }] }) }),
    request: {},
    dice: [0.29],
    expect: { status: 200, mirrored: ["10.0.0.2:80"] },
  },
  {
    name: "a mirror of a share, above",
    snapshot: only({ action: forward("a", { mirrors: [{ cluster: "b", percent: 30 }] }) }),
    request: {},
    dice: [0.3],
    expect: { status: 200, mirrored: [] },
  },
  {
    name: "several mirrors, one without endpoints, one unknown",
    snapshot: only({
      action: forward("a", {
        mirrors: [
          { cluster: "b", percent: 100 },
          { cluster: "empty", percent: 100 },
          { cluster: "gone", percent: 100 },
          { cluster: "a", percent: 100 },
        ],
      }),
    }),
    request: {},
    expect: { status: 200, mirrored: ["10.0.0.2:80", "10.0.0.1:80"] },
  },
  {
    name: "the second route's destination",
    snapshot: routes(route("none", [{ port: 1 }]), route("r", [], { action: forward("b") })),
    request: {},
    expect: { status: 200, route: "r", upstream: [{ to: "10.0.0.2:80" }] },
  },
];
