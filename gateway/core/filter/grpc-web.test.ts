import { describe, expect, it } from "vitest";
import type { FieldList, RequestHead } from "../http/message.ts";
import { NO_BODY, STREAM_BODY } from "../http/message.ts";
import { fromGrpc, grpcWebOf, toGrpc } from "./grpc-web.ts";

const request = (fields: FieldList): RequestHead => ({
  method: "POST",
  scheme: "https",
  authority: "a.test",
  target: "/pkg.Service/Method",
  fields,
  body: { kind: "length", bytes: 8 },
});

describe("requests", () => {
  it.each([
    ["grpc-web", "application/grpc-web", "application/grpc", { kind: "length", bytes: 8 }],
    ["grpc-web", "application/grpc-web+proto", "application/grpc+proto", { kind: "length", bytes: 8 }],
    ["grpc-web-text", "application/grpc-web-text+proto", "application/grpc+proto", STREAM_BODY],
  ] as const)("%s of %s", (kind, from, to, body) => {
    const head = request(["content-type", from, "x-grpc-web", "1"]);
    const web = grpcWebOf(kind, head);
    if (web === undefined) throw new Error("not gRPC-Web");
    toGrpc(head, web);
    expect(head.fields).toEqual(["content-type", to, "x-grpc-web", "1", "te", "trailers"]);
    expect(head.body).toEqual(body);
  });

  it("gRPC itself is none of it", () => expect(grpcWebOf("grpc", request([]))).toBeUndefined());

  it("the response comes in the form that was asked for, else in the request's", () => {
    expect(grpcWebOf("grpc-web", request(["accept", "application/grpc-web-text"]))).toEqual({
      request: "binary",
      response: "text",
    });
    expect(grpcWebOf("grpc-web-text", request(["accept", "*/*"]))).toEqual({ request: "text", response: "text" });
  });
});

describe("responses", () => {
  const web = { request: "text", response: "text" } as const;

  it("with content: trailers have to go into it", () => {
    const head = { status: 200, fields: ["content-type", "application/grpc"], body: { kind: "length", bytes: 9 } as const };
    expect(fromGrpc(head, web)).toBe("text");
    expect(head).toEqual({ status: 200, fields: ["content-type", "application/grpc-web-text+proto"], body: STREAM_BODY });
  });

  it("of trailers alone: the status is in the head already", () => {
    const head = { status: 200, fields: ["content-type", "application/grpc+json", "grpc-status", "5"], body: NO_BODY };
    expect(fromGrpc(head, { request: "binary", response: "binary" })).toBeUndefined();
    expect(head.fields).toEqual(["content-type", "application/grpc-web+json", "grpc-status", "5"]);
  });

  it("that are not gRPC go on as they are", () => {
    const head = { status: 503, fields: ["content-type", "text/html"], body: STREAM_BODY };
    expect(fromGrpc(head, web)).toBeUndefined();
    expect(head.fields).toEqual(["content-type", "text/html"]);
  });
});
