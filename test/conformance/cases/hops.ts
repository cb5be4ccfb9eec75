/** Methods that count their hops, requests that go round in circles, and protocols that nobody asked for. */
import { MAX_FORWARDS } from "../../../gateway/core/http/max-forwards.ts";
import { MAX_OWN_HOPS } from "../../../gateway/core/http/via.ts";
import { only, route, routes } from "../build.ts";
import type { Case, CaseRequest, ExpectedRequest } from "../case.ts";

const plain = only({});

const sent = (name: string, request: CaseRequest, expected: ExpectedRequest): Case => ({
  name,
  snapshot: plain,
  request,
  expect: { status: 200, upstream: [expected] },
});
const refused = (name: string, status: number, request: CaseRequest): Case => ({
  name,
  snapshot: plain,
  request,
  expect: { status, upstream: [] },
});

const ownHops = (count: number): readonly string[] => ["via", Array(count).fill("1.1 tidegate").join(", ")];

export const hops: readonly Case[] = [
  sent(
    "OPTIONS goes on with one hop less",
    { method: "OPTIONS", fields: ["max-forwards", "2"] },
    { fields: { "max-forwards": "1" } },
  ),
  sent(
    "a hop count beyond measure",
    { method: "OPTIONS", fields: ["max-forwards", "9".repeat(30)] },
    {
      fields: { "max-forwards": String(MAX_FORWARDS) },
    },
  ),
  sent("no hop count is made up", { method: "OPTIONS" }, { absent: ["max-forwards"] }),
  sent("the hop count of other methods is theirs", { fields: ["max-forwards", "0"] }, { fields: { "max-forwards": "0" } }),
  sent(
    "TRACE goes on with one hop less",
    { method: "TRACE", fields: ["max-forwards", "1"] },
    { fields: { "max-forwards": "0" } },
  ),
  {
    name: "OPTIONS ends where its last hop is used up",
    snapshot: plain,
    request: { method: "OPTIONS", fields: ["max-forwards", "0"] },
    expect: { status: 200, upstream: [], body: "", flags: "-" },
  },
  {
    name: "TRACE ends where its last hop is used up, and tells no secrets",
    snapshot: plain,
    request: {
      method: "TRACE",
      target: "/a?b",
      fields: ["max-forwards", "0", "x-a", "1", "authorization", "Bearer x", "cookie", "a=b", "x-api-key", "k"],
    },
    expect: {
      status: 200,
      upstream: [],
      fields: { "content-type": "message/http" },
      body: /^TRACE \/a\?b HTTP\/1\.1\r\nhost: shop\.example\.com\r\n(?!.*(?:authorization|cookie|api-key)).*x-a: 1\r\n.*\r\n$/s,
    },
  },
  refused("a hop count that is no number", 400, { method: "OPTIONS", fields: ["max-forwards", "-1"] }),
  refused("two hop counts", 400, { method: "OPTIONS", fields: ["max-forwards", "1", "max-forwards", "2"] }),
  refused("TRACE with content", 400, { method: "TRACE", body: "x" }),
  {
    name: "TRACE does not carry what configuration adds",
    snapshot: routes(route("r", [], { requestHeaders: { set: [["x-secret", "s"]], add: [], remove: ["x-a"] } })),
    request: { method: "TRACE", fields: ["x-a", "1", "x-b", "2"] },
    expect: { status: 200, upstream: [{ fields: { "x-b": "2" }, absent: ["x-a", "x-secret"] }] },
  },
  refused("a request that goes round in circles", 508, { fields: ownHops(MAX_OWN_HOPS) }),
  sent("a request that has come far", { fields: ownHops(MAX_OWN_HOPS - 1) }, {}),
  sent("gateways of other names are none of ours", { fields: ["via", Array(40).fill("1.1 tidegate-2").join(",")] }, {}),
  {
    name: "a switch of protocols that nobody asked for is the origin's failure",
    snapshot: plain,
    request: {},
    origin: [{ status: 101, fields: ["upgrade", "websocket", "connection", "upgrade"] }],
    expect: { status: 502, flags: "UPE" },
  },
  {
    name: "an origin may ask for another protocol",
    snapshot: plain,
    request: {},
    origin: [{ status: 426, fields: ["upgrade", "websocket", "connection", "upgrade"] }],
    expect: { status: 426, fields: { upgrade: "websocket" } },
  },
];
