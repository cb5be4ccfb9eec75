import type { ForwardAction, RetryPolicy } from "../../../gateway/core/ir/index.ts";
import { forward, NO_RETRY, only } from "../build.ts";
import type { Case, OriginBehaviour } from "../case.ts";

const retry = (policy: Partial<RetryPolicy>, more: Partial<ForwardAction> = {}, cluster = "pair") =>
  only({ action: forward(cluster, { retry: { ...NO_RETRY, attempts: 2, ...policy }, ...more }) });
const DEFAULT = retry({ on: ["connect-failure", "refused-stream", "unavailable", "cancelled"] });
const refused: OriginBehaviour = { fails: "upstream_connect", sent: false };
const reset: OriginBehaviour = { fails: "upstream_reset", sent: true };
const fine: OriginBehaviour = { status: 200, body: "ok" };
const after = (
  name: string,
  snapshot: Case["snapshot"],
  first: OriginBehaviour,
  again: boolean,
  status: number,
  request: Case["request"] = {},
): Case => ({
  name,
  snapshot,
  request,
  origin: [first, fine],
  expect: again
    ? { status: 200, upstream: [{ to: "10.0.1.1:80" }, { to: "10.0.1.2:80" }], flags: "-" }
    : { status, upstream: [{}] },
});
const on = (...words: RetryPolicy["on"]) => retry({ on: words });
const POST = { method: "POST", body: "x" };

export const retries: readonly Case[] = [
  after("connect failure, default policy", DEFAULT, refused, true, 503),
  after("connect failure of a POST: it was never sent", DEFAULT, refused, true, 503, POST),
  after("connect timeout", DEFAULT, { fails: "upstream_connect_timeout", sent: false }, true, 503),
  after("a name that does not resolve", DEFAULT, { fails: "dns_failure", sent: false }, true, 503),
  after("TLS failure", DEFAULT, { fails: "upstream_tls", sent: false }, true, 503),
  after(
    "a full pool is not tried again",
    on("5xx", "reset", "connect-failure"),
    { fails: "upstream_overflow", sent: false },
    false,
    503,
  ),
  after("reset, default policy", DEFAULT, reset, false, 503),
  after("503, default policy", DEFAULT, { status: 503 }, false, 503),
  after("reset, GET", on("reset"), reset, true, 503),
  after("reset, POST", on("reset"), reset, false, 503, POST),
  after("reset, POST that may be repeated", retry({ on: ["reset"], nonIdempotent: true }), reset, true, 503, POST),
  after("reset, PUT with a body", on("reset"), reset, true, 503, { method: "PUT", body: "x" }),
  after(
    "reset before the request was sent, POST",
    on("reset-before-request"),
    { fails: "upstream_reset", sent: false },
    true,
    503,
    POST,
  ),
  after("reset-before-request does not cover a sent one", on("reset-before-request"), reset, false, 503),
  after("gateway-error takes 503", on("gateway-error"), { status: 503 }, true, 503),
  after("gateway-error leaves 500", on("gateway-error"), { status: 500 }, false, 500),
  after("gateway-error takes a reset", on("gateway-error"), reset, true, 503),
  after("5xx takes 500", on("5xx"), { status: 500 }, true, 500),
  after("5xx leaves 404", on("5xx"), { status: 404 }, false, 404),
  after("5xx of a POST stands", on("5xx"), { status: 500 }, false, 500, POST),
  after("retriable-4xx takes 409", on("retriable-4xx"), { status: 409 }, true, 409),
  after("retriable-4xx leaves 400", on("retriable-4xx"), { status: 400 }, false, 400),
  after("numeric codes", retry({ on: ["retriable-status-codes"], statusCodes: [425] }), { status: 425 }, true, 425),
  after("numeric codes, another", retry({ on: ["retriable-status-codes"], statusCodes: [425] }), { status: 503 }, false, 503),
  after("gRPC unavailable", DEFAULT, { status: 200, fields: ["grpc-status", "14"] }, true, 200),
  after("gRPC not found", DEFAULT, { status: 200, fields: ["grpc-status", "5"] }, false, 200),
  after("gRPC resource exhausted", on("resource-exhausted"), { status: 200, fields: ["grpc-status", "8"] }, true, 200),
  {
    name: "back-off doubles, dice decide how much of it",
    snapshot: retry({ on: ["connect-failure"], attempts: 3 }, {}, "a"),
    request: { fields: ["x-request-id", "1"] },
    origin: [refused],
    dice: [0.8],
    expect: {
      status: 503,
      upstream: [{}, {}, {}, {}],
      tookMs: 20 + 40 + 80,
      flags: "UF,URX",
      reason: "scripted",
      body: "upstream connect error\n",
    },
  },
  {
    name: "back-off has an upper bound",
    snapshot: retry({ on: ["connect-failure"], attempts: 3, backoffMaxMs: 30 }, {}, "a"),
    request: { fields: ["x-request-id", "1"] },
    origin: [refused],
    dice: [0.5],
    expect: { status: 503, tookMs: 12.5 + 15 + 15 },
  },
  {
    name: "the last response stands when retries are used up",
    snapshot: on("5xx"),
    request: {},
    origin: [{ status: 500 }, { status: 502 }, { status: 503, body: "third" }],
    expect: { status: 503, body: "third", upstream: [{}, {}, {}], flags: "URX" },
  },
  {
    name: "attempts 0 is off",
    snapshot: retry({ on: ["connect-failure"], attempts: 0 }),
    request: {},
    origin: [refused, fine],
    expect: { status: 503, upstream: [{}], flags: "UF" },
  },
  {
    name: "a body too large to keep is not sent twice",
    snapshot: on("5xx"),
    request: { method: "PUT", body: "x".repeat(64 * 1024 + 1) },
    origin: [{ status: 500 }, fine],
    expect: { status: 500, upstream: [{}] },
  },
  {
    name: "the body is sent again",
    snapshot: on("5xx"),
    request: { method: "PUT", body: "hello" },
    origin: [{ status: 500 }, fine],
    expect: { status: 200, upstream: [{ body: "hello" }, { body: "hello" }] },
  },
  {
    name: "the request id stays the same over attempts",
    snapshot: on("5xx"),
    request: { fields: ["x-request-id", "one"] },
    origin: [{ status: 500 }, fine],
    expect: { status: 200, upstream: [{ fields: { "x-request-id": "one" } }, { fields: { "x-request-id": "one" } }] },
  },
  {
    name: "mirrors get the first attempt only",
    snapshot: retry({ on: ["5xx"] }, { mirrors: [{ cluster: "b", percent: 100 }] }),
    request: {},
    origin: [{ status: 500 }, fine],
    expect: { status: 200, mirrored: ["10.0.0.2:80"] },
  },
  {
    name: "request timeout",
    snapshot: only({ action: forward("a", { timeoutMs: 300 }) }),
    request: {},
    origin: [{ hangs: true }],
    expect: { status: 504, tookMs: 300, flags: "UT", reason: "request_timeout", body: "upstream request timeout\n" },
  },
  {
    name: "a try takes too long, the next one does not",
    snapshot: retry({ on: ["gateway-error"], perTryTimeoutMs: 100 }),
    request: { fields: ["x-request-id", "1"] },
    dice: [0],
    origin: [{ hangs: true }, fine],
    expect: { status: 200, upstream: [{ to: "10.0.1.1:80" }, { to: "10.0.1.2:80" }], tookMs: 100 },
  },
  {
    name: "a try that takes too long is not repeated for a POST",
    snapshot: retry({ on: ["gateway-error"], perTryTimeoutMs: 100 }),
    request: POST,
    origin: [{ hangs: true }, fine],
    expect: { status: 504, upstream: [{}], tookMs: 100, reason: "per_try_timeout" },
  },
  {
    name: "the whole request is bounded however many tries",
    snapshot: retry({ on: ["gateway-error"], perTryTimeoutMs: 100, attempts: 10 }, { timeoutMs: 250 }),
    request: { fields: ["x-request-id", "1"] },
    dice: [0],
    origin: [{ hangs: true }],
    expect: { status: 504, upstream: [{}, {}, {}], tookMs: 250, reason: "request_timeout" },
  },
  {
    name: "no retry that could not begin in time",
    snapshot: retry({ on: ["connect-failure"], backoffBaseMs: 1000, backoffMaxMs: 1000 }, { timeoutMs: 400 }),
    request: { fields: ["x-request-id", "1"] },
    dice: [0.9],
    origin: [refused, fine],
    expect: { status: 503, upstream: [{}], tookMs: 0 },
  },
];
