import { exact, forward, NO_RETRY, only } from "../build.ts";
import type { Case } from "../case.ts";

const delayed = { fault: { delay: { ms: 7000, percent: 50 } } };
const GRPC = { method: "POST", target: "/pkg.Service/Method", fields: ["content-type", "application/grpc"] };
const aborted = { fault: { abort: { status: 555, percent: 50 } } };

export const faults: readonly Case[] = [
  { name: "delay", snapshot: only(delayed), request: {}, dice: [0.49], expect: { status: 200, tookMs: 7000, flags: "DI" } },
  { name: "no delay", snapshot: only(delayed), request: {}, dice: [0.5], expect: { status: 200, tookMs: 0, flags: "-" } },
  {
    name: "abort",
    snapshot: only(aborted),
    request: {},
    dice: [0.49],
    expect: { status: 555, upstream: [], flags: "FI", rule: "r", reason: "fault_abort", body: "fault injected\n" },
  },
  {
    name: "abort with a gRPC status, for a gRPC client",
    snapshot: only({ fault: { abort: { status: 503, percent: 100, grpcStatus: 10 } } }),
    request: GRPC,
    expect: {
      status: 200,
      upstream: [],
      fields: { "grpc-status": "10", "grpc-message": "fault injected" },
      body: "",
      flags: "FI",
    },
  },
  {
    name: "abort with a gRPC status, for others",
    snapshot: only({ fault: { abort: { status: 503, percent: 100, grpcStatus: 14 } } }),
    request: {},
    expect: { status: 503, upstream: [], absent: ["grpc-status"], flags: "FI" },
  },
  {
    name: "abort with an HTTP status, for a gRPC client",
    snapshot: only({ fault: { abort: { status: 404, percent: 100 } } }),
    request: GRPC,
    expect: { status: 200, upstream: [], fields: { "grpc-status": "12" }, flags: "FI" },
  },
  { name: "no abort", snapshot: only(aborted), request: {}, dice: [0.5], expect: { status: 200, flags: "-" } },
  {
    name: "delay and abort",
    snapshot: only({ fault: { delay: { ms: 100, percent: 100 }, abort: { status: 500, percent: 100 } } }),
    request: {},
    expect: { status: 500, upstream: [], tookMs: 100, flags: "DI,FI" },
  },
  {
    name: "zero percent never",
    snapshot: only({ fault: { delay: { ms: 5, percent: 0 }, abort: { status: 500, percent: 0 } } }),
    request: {},
    dice: [0],
    expect: { status: 200, tookMs: 0 },
  },
  {
    name: "a hundred percent always",
    snapshot: only({ fault: { abort: { status: 500, percent: 100 } } }),
    request: {},
    dice: [0.9999999],
    expect: { status: 500 },
  },
  {
    name: "a delayed request skips timeout and retries",
    snapshot: only({
      fault: { delay: { ms: 5000, percent: 100 } },
      action: forward("a", { timeoutMs: 1000, retry: { ...NO_RETRY, attempts: 3, on: ["5xx"] } }),
    }),
    request: {},
    origin: [{ status: 500 }],
    expect: { status: 500, upstream: [{}], tookMs: 5000, flags: "DI" },
  },
  {
    name: "an abort comes before a preflight is answered",
    snapshot: only({
      fault: { abort: { status: 418, percent: 100 } },
      cors: {
        allowOrigins: [exact("*")],
        allowMethods: [],
        allowHeaders: [],
        exposeHeaders: [],
        allowCredentials: false,
        unmatchedPreflights: "forward",
      },
    }),
    request: { method: "OPTIONS", fields: ["origin", "https://a.test", "access-control-request-method", "GET"] },
    expect: { status: 418 },
  },
  {
    name: "a fault meets direct responses as well",
    snapshot: only({ fault: { abort: { status: 500, percent: 100 } }, action: { kind: "direct", status: 200 } }),
    request: {},
    expect: { status: 500 },
  },
];
