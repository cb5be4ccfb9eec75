import { exact, forward, NO_RETRY, only, prefix, route, snapshot, virtualHost } from "../build.ts";
import type { Case } from "../case.ts";

const call = (target: string, ...fields: string[]): Case["request"] => ({
  method: "POST",
  target,
  fields: ["content-type", "application/grpc", ...fields],
  body: "\0\0\0\0\x01a",
});
const METHODS = snapshot([
  virtualHost(
    ["*"],
    [
      route("get", [{ path: exact("/shop.Items/Get"), method: exact("POST") }]),
      route("rest", [{ path: prefix("/shop.Items/") }], { action: forward("b") }),
    ],
  ),
]);
const OK = { status: 200, fields: ["content-type", "application/grpc", "grpc-status", "0"] } as const;

export const grpc: readonly Case[] = [
  {
    name: "a gRPC method's route",
    snapshot: METHODS,
    request: call("/shop.Items/Get"),
    origin: [OK],
    expect: {
      status: 200,
      route: "get",
      upstream: [{ method: "POST", target: "/shop.Items/Get" }],
      fields: { "grpc-status": "0" },
    },
  },
  {
    name: "another gRPC method's",
    snapshot: METHODS,
    request: call("/shop.Items/GetAll"),
    origin: [OK],
    expect: { status: 200, route: "rest" },
  },
  {
    name: "a gRPC service that nothing routes is UNIMPLEMENTED",
    snapshot: METHODS,
    request: call("/shop.Carts/Get"),
    expect: {
      status: 200,
      upstream: [],
      fields: { "grpc-status": "12", "content-type": "application/grpc" },
      flags: "NR",
      route: null,
    },
  },
  {
    name: "a gRPC client's deadline, shorter than the route's",
    snapshot: only({ action: forward("a", { timeoutMs: 10_000 }) }),
    request: call("/s/m", "grpc-timeout", "50m"),
    origin: [{ hangs: true }],
    expect: {
      status: 200,
      upstream: [{ fields: { "grpc-timeout": "50000u" } }],
      fields: { "grpc-status": "4" },
      tookMs: 50,
      flags: "UT",
    },
  },
  {
    name: "a gRPC client's deadline, longer than the route's",
    snapshot: only({ action: forward("a", { timeoutMs: 40 }) }),
    request: call("/s/m", "grpc-timeout", "1S"),
    origin: [{ hangs: true }],
    expect: { status: 200, upstream: [{ fields: { "grpc-timeout": "40000u" } }], fields: { "grpc-status": "4" }, tookMs: 40 },
  },
  {
    name: "a gRPC deadline that is none",
    snapshot: only({}),
    request: call("/s/m", "grpc-timeout", "1 second"),
    expect: { status: 200, upstream: [], fields: { "grpc-status": "3" } },
  },
  {
    name: "a gRPC call whose origin cannot be reached is UNAVAILABLE",
    snapshot: only({}),
    request: call("/s/m"),
    origin: [{ fails: "upstream_connect", sent: false }],
    expect: { status: 200, fields: { "grpc-status": "14" }, flags: "UF" },
  },
  {
    name: "a gRPC call that may be repeated, after UNAVAILABLE",
    snapshot: only({
      action: forward("pair", { retry: { ...NO_RETRY, attempts: 1, on: ["unavailable"], nonIdempotent: true } }),
    }),
    request: call("/s/m"),
    origin: [{ status: 200, fields: ["content-type", "application/grpc", "grpc-status", "14"] }, OK],
    expect: { status: 200, upstream: [{ to: "10.0.1.1:80" }, { to: "10.0.1.2:80" }], fields: { "grpc-status": "0" } },
  },
];
