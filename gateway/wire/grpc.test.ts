import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GrpcWebResponse, GrpcWebText } from "./grpc.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("a response", () => {
  test("binary: the content as it is, the trailers as a last message", () => {
    const body = new GrpcWebResponse("binary");
    const bytes = Buffer.from("\0\0\0\0\x02hi", "latin1");
    expect(body.content(bytes)).toBe(bytes);
    expect(text(body.trailers(["grpc-status", "0", "x-a", "b"]))).toBe("\x80\0\0\0\x18grpc-status: 0\r\nx-a: b\r\n");
  });

  test("text: each piece can be read by itself", () => {
    const body = new GrpcWebResponse("text");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(text(body.content(bytes))).toBe(Buffer.from(bytes).toString("base64"));
      }),
    );
    expect(Buffer.from(text(body.trailers(["grpc-status", "5"])), "base64").toString("latin1")).toBe(
      "\x80\0\0\0\x10grpc-status: 5\r\n",
    );
  });

  test("a call without a status ends as UNKNOWN", () => {
    for (const none of [undefined, []])
      expect(text(new GrpcWebResponse("binary").trailers(none))).toContain("grpc-status: 2\r\n");
  });

  test("no trailer begins a line of its own", () => {
    const message = text(new GrpcWebResponse("binary").trailers(["grpc-status", "0", "x-a", "b\r\ngrpc-status: 1", "x b", "c"]));
    expect(message.slice(5)).toBe("grpc-status: 0\r\n");
  });
});

describe("a request's text", () => {
  const read = (pieces: readonly string[]): string | undefined => {
    const body = new GrpcWebText();
    let out = "";
    for (const piece of pieces) {
      const bytes = body.content(Buffer.from(piece, "latin1"));
      if (bytes === undefined) return undefined;
      out += text(bytes);
    }
    return body.isWhole ? out : undefined;
  };

  test("one text after another, split anywhere", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 5 }), fc.integer({ min: 1, max: 7 }), (parts, size) => {
        const encoded = parts.map((part) => Buffer.from(part).toString("base64")).join("");
        const pieces = Array.from({ length: Math.ceil(encoded.length / size) }, (_, i) =>
          encoded.slice(i * size, (i + 1) * size),
        );
        expect(read(pieces)).toBe(parts.map(text).join(""));
      }),
    );
  });

  test.each(["A", "AA", "AAA", "AA=A", "A===", "====", "AAA=A", "AA*A", "AA A", "AA==="])("%j is none", (wrong) => {
    expect(read([wrong])).toBeUndefined();
    expect(read([...wrong])).toBeUndefined();
  });
});
