import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GrpcStatus, grpcKind, grpcMessage, grpcStatusIn, grpcStatusOfHttp, grpcTimeout, grpcTimeoutMs } from "./grpc-status.ts";

it("HTTP statuses mean what gRPC's documentation says", () => {
  const meant = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14, 200: 2, 302: 2, 500: 2, 418: 2 };
  for (const [status, grpc] of Object.entries(meant)) expect(grpcStatusOfHttp(Number(status)), status).toBe(grpc);
});

it.each([
  ["application/grpc", "grpc"],
  ["application/grpc+proto", "grpc"],
  ["application/grpc;charset=utf-8", "grpc"],
  ["application/grpc-web", "grpc-web"],
  ["application/grpc-web+json", "grpc-web"],
  ["application/grpc-web-text", "grpc-web-text"],
  ["application/grpc-web-text+proto", "grpc-web-text"],
  ["application/grpc-web-texts", undefined],
  ["application/grpc-other", undefined],
  ["application/json", undefined],
])("%s is %s", (type, kind) => {
  expect(grpcKind(["accept", "x", "content-type", type])).toBe(kind);
  expect(grpcKind([])).toBeUndefined();
});

it("a status in fields; one that nobody knows is UNKNOWN", () => {
  expect(grpcStatusIn(["grpc-status", "0"])).toBe(0);
  expect(grpcStatusIn(["grpc-status", "16"])).toBe(16);
  for (const odd of ["17", "-1", "", "1x", "00", "999"]) expect(grpcStatusIn(["grpc-status", odd])).toBe(GrpcStatus.unknown);
  expect(grpcStatusIn(["grpc-message", "x"])).toBeUndefined();
});

it("messages are percent-encoded, and nothing else leaves", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const encoded = grpcMessage(text);
      expect(encoded).toMatch(/^[\x20-\x7e]*$/);
      if (text.isWellFormed()) expect(decodeURIComponent(encoded)).toBe(text);
    }),
  );
});

describe("timeouts", () => {
  it.each([
    ["1H", 3_600_000],
    ["2M", 120_000],
    ["3S", 3000],
    ["4m", 4],
    ["5000u", 5],
    ["6000000n", 6],
    ["0S", 0],
    ["99999999H", 99_999_999 * 3_600_000],
  ])("%s is %d ms", (text, ms) => expect(grpcTimeoutMs(text)).toBe(ms));

  it.each(["", "1", "S", "123456789S", "-1S", "1.5S", "1s", "1S ", "1 S"])("%j is none", (text) =>
    expect(grpcTimeoutMs(text)).toBeNaN(),
  );

  it("what is left is never more than it was, nor much less", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e10, noNaN: true }), (ms) => {
        const text = grpcTimeout(ms);
        const read = grpcTimeoutMs(text);
        expect(read).toBeLessThanOrEqual(ms + 1e-9);
        expect(read).toBeGreaterThanOrEqual(Math.min(ms * 0.999, 99_999_999_000) - 0.001);
      }),
    );
    expect(grpcTimeout(-5)).toBe("0u");
  });
});
