import { describe, expect, it } from "vitest";
import type { ErrorCode } from "./error.ts";
import { field } from "./http/message.ts";
import { ERROR_FACES, grpcHead, respondError, respondRefusal } from "./respond.ts";
import { RESPONSE_FLAGS } from "./telemetry/flags.ts";

const EXPECTED: { readonly [code in ErrorCode]: string } = {
  bad_request: "400 3 DPE",
  header_too_large: "431 3 IH",
  uri_too_long: "414 3 IH",
  body_too_large: "413 8 -",
  request_timeout: "408 4 SI",
  misdirected_request: "421 5 -",
  client_gone: "499 1 DC",
  no_route: "404 12 NR",
  no_cluster: "503 14 NC",
  denied: "403 7 -",
  unauthenticated: "401 16 -",
  proxy_auth_required: "407 16 -",
  quota_exceeded: "429 8 RL",
  quota_unavailable: "503 14 RLSE",
  fault_abort: "503 14 FI",
  overload: "503 14 OM",
  draining: "503 14 OM",
  loop_detected: "508 9 -",
  snapshot_expired: "503 14 -",
  no_snapshot: "503 14 -",
  not_supported: "501 12 -",
  internal: "500 13 -",
  no_healthy_upstream: "503 14 UH",
  upstream_connect: "503 14 UF",
  upstream_connect_timeout: "503 14 UF",
  upstream_reset: "503 14 UC",
  upstream_protocol: "502 14 UPE",
  upstream_timeout: "504 4 UT",
  upstream_tls: "503 14 UF",
  upstream_overflow: "503 14 UO",
  dns_failure: "503 14 DF",
};

describe.each(Object.entries(EXPECTED) as [ErrorCode, string][])("%s", (code, expected) => {
  it(`is ${expected}`, () => {
    const { status, grpc, flag } = ERROR_FACES[code];
    expect(`${status} ${grpc} ${flag ?? "-"}`).toBe(expected);
    if (flag !== undefined) expect(RESPONSE_FLAGS).toHaveProperty(flag);
  });

  it("answers in one line of plain text, or in fields for gRPC", () => {
    const step = respondError(code, ["accept", "*/*"]);
    expect(step.head.status).toBe(ERROR_FACES[code].status);
    expect(new TextDecoder().decode(step.body as Uint8Array)).toBe(`${ERROR_FACES[code].title}\n`);
    expect(step.head.body).toEqual({ kind: "length", bytes: step.body.length });
    expect(field(respondError(code, ["content-type", "application/grpc"]).head.fields, "grpc-status")).toBe(
      String(ERROR_FACES[code].grpc),
    );
  });
});

it("a detail, a status and a close of its own", () => {
  const step = respondError("fault_abort", [], "on purpose", 555, true);
  expect(step).toMatchObject({ head: { status: 555 }, close: true });
  expect(new TextDecoder().decode(step.body as Uint8Array)).toBe("fault injected: on purpose\n");
});

it.each([
  [400, 3],
  [408, 4],
  [413, 8],
  [500, 13],
  [504, 4],
  [418, 2],
])("a status of the runtime's own, %d, is %d to a gRPC client", (status, grpc) => {
  const head = grpcHead(GRPC, status, "why: 50 %");
  expect(head).toEqual({
    status: 200,
    fields: ["content-type", "application/grpc", "grpc-status", String(grpc), "grpc-message", "why: 50 %25"],
    body: { kind: "none" },
  });
  expect(grpcHead([], status, "why")).toBeUndefined();
});

const GRPC = ["content-type", "application/grpc"];

it.each([
  ["application/grpc", "application/grpc"],
  ["application/grpc+json", "application/grpc"],
  ["application/grpc; charset=utf-8", "application/grpc"],
  ["application/grpc-web", "application/grpc-web+proto"],
  ["application/grpc-web-text+proto", "application/grpc-web-text+proto"],
  ["application/grpcx", "text/plain; charset=utf-8"],
  ["application/grpc-webx", "text/plain; charset=utf-8"],
])("a request of %s is answered as %s", (asked, answered) => {
  expect(field(respondError("denied", ["content-type", asked]).head.fields, "content-type")).toBe(answered);
});

it("grpc-message is percent-encoded", () => {
  const step = respondError("denied", ["content-type", "application/grpc+json"], "50 % grüezi");
  expect(field(step.head.fields, "grpc-message")).toBe("denied: 50 %25 gr%C3%BCezi");
});

it("a refusal keeps its fields for gRPC clients, but not its body", () => {
  const refusal = {
    kind: "refused",
    code: "quota_exceeded",
    status: 429,
    fields: ["retry-after", "7", "content-type", "application/problem+json"],
    body: "{}",
    rule: "a/b#c",
    reason: "used up",
    retryAfterMs: 7000,
  } as const;
  const plain = respondRefusal({ ...refusal, fields: [...refusal.fields] }, []);
  expect(plain.head).toMatchObject({ status: 429, fields: refusal.fields, body: { kind: "length", bytes: 2 } });
  const grpc = respondRefusal({ ...refusal, fields: [...refusal.fields] }, ["content-type", "application/grpc"]);
  expect(grpc.head.status).toBe(200);
  expect(field(grpc.head.fields, "content-type")).toBe("application/grpc");
  expect(field(grpc.head.fields, "retry-after")).toBe("7");
  expect(field(grpc.head.fields, "grpc-retry-pushback-ms")).toBe("7000");
  const never = respondRefusal({ ...refusal, fields: [...refusal.fields], retryAfterMs: Number.POSITIVE_INFINITY }, GRPC);
  expect(field(never.head.fields, "grpc-retry-pushback-ms")).toBe("-1");
});
