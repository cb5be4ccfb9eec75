import { describe, expect, test } from "vitest";
import type { BodyKind, RequestHead, ResponseHead } from "../../core/http/message.ts";
import { chunkHeader, headBound, lastChunk, responseFraming, writeRequestHead, writeResponseHead } from "./write.ts";

const NONE: BodyKind = { kind: "none" };
const STREAM: BodyKind = { kind: "stream" };
const length = (bytes: number): BodyKind => ({ kind: "length", bytes });
const request = (change: Partial<RequestHead> = {}): RequestHead => ({
  method: "GET",
  scheme: "http",
  authority: "a:80",
  target: "/x?y",
  fields: [],
  body: NONE,
  ...change,
});
const response = (status: number, body: BodyKind, fields: string[] = []): ResponseHead => ({ status, fields, body });
const keep = { keepAlive: true };

describe("request heads", () => {
  test.each([
    ["origin form", request(), keep, "GET /x?y HTTP/1.1\r\nhost: a:80\r\n\r\n"],
    [
      "fields in order",
      request({ fields: ["b", "1", "a", "2"] }),
      keep,
      "GET /x?y HTTP/1.1\r\nhost: a:80\r\nb: 1\r\na: 2\r\n\r\n",
    ],
    ["asterisk", request({ method: "OPTIONS", target: "*" }), keep, "OPTIONS * HTTP/1.1\r\nhost: a:80\r\n\r\n"],
    ["CONNECT", request({ method: "CONNECT", target: "" }), keep, "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"],
    ["close", request(), { keepAlive: false }, "GET /x?y HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n"],
    [
      "length",
      request({ method: "POST", body: length(7) }),
      keep,
      "POST /x?y HTTP/1.1\r\nhost: a:80\r\ncontent-length: 7\r\n\r\n",
    ],
    [
      "stream",
      request({ method: "POST", body: STREAM }),
      keep,
      "POST /x?y HTTP/1.1\r\nhost: a:80\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    ["POST without content", request({ method: "POST" }), keep, "POST /x?y HTTP/1.1\r\nhost: a:80\r\ncontent-length: 0\r\n\r\n"],
  ] as const)("%s", (_name, head, options, text) => {
    expect(writeRequestHead(head, options)).toBe(text);
  });
});

describe("response heads", () => {
  test.each([
    ["length", response(200, length(5)), {}, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"],
    ["chunked", response(200, STREAM, ["x", "y"]), {}, "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["stream to 1.0", response(200, STREAM), { minor: 0 }, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"],
    [
      "1.0 kept alive",
      response(200, length(5)),
      { minor: 0 },
      "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n",
    ],
    [
      "close",
      response(200, length(5)),
      { keepAlive: false },
      "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\n",
    ],
    ["no content", response(404, NONE), {}, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"],
    ["HEAD with a length", response(200, length(5)), { method: "HEAD" }, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"],
    ["HEAD without", response(200, NONE), { method: "HEAD" }, "HTTP/1.1 200 OK\r\n\r\n"],
    ["HEAD of a stream", response(200, STREAM), { method: "HEAD" }, "HTTP/1.1 200 OK\r\n\r\n"],
    ["204", response(204, length(0)), {}, "HTTP/1.1 204 No Content\r\n\r\n"],
    ["304 with a length", response(304, length(5)), {}, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"],
    ["304 without", response(304, NONE), {}, "HTTP/1.1 304 Not Modified\r\n\r\n"],
    ["interim", response(103, NONE, ["link", "x"]), { keepAlive: false }, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"],
    ["2xx to CONNECT", response(200, NONE), { method: "CONNECT" }, "HTTP/1.1 200 OK\r\n\r\n"],
    ["4xx to CONNECT", response(403, length(2)), { method: "CONNECT" }, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n"],
    ["status without a usual reason", response(299, length(0)), {}, "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"],
  ] as const)("%s", (_name, head, options, text) => {
    expect(writeResponseHead(head, { keepAlive: true, method: "GET", minor: 1, ...options })).toBe(text);
  });

  test.each([
    [200, STREAM, "GET", 1, "chunked"],
    [200, STREAM, "GET", 0, "close"],
    [200, STREAM, "HEAD", 1, "none"],
    [200, length(3), "GET", 0, "length"],
    [304, length(3), "GET", 1, "none"],
    [204, STREAM, "GET", 1, "none"],
    [101, STREAM, "GET", 1, "none"],
    [200, STREAM, "CONNECT", 1, "none"],
    [502, STREAM, "CONNECT", 1, "chunked"],
  ] as const)("framing of %s %o to %s over 1.%s is %s", (status, body, method, minor, framing) => {
    expect(responseFraming(status, body, { method, minor })).toBe(framing);
  });
});

test("a head never outgrows its bound", () => {
  const fields = Array.from({ length: 100 }, () => ["te", "", "upgrade", "", "x", ""]).flat();
  const asked = request({ fields, authority: "a".repeat(300), body: length(Number.MAX_SAFE_INTEGER) });
  expect(writeRequestHead(asked, { keepAlive: false }).length).toBeLessThanOrEqual(headBound(asked));
  const said = response(431, length(Number.MAX_SAFE_INTEGER), fields);
  const text = writeResponseHead(said, { keepAlive: false, method: "GET", minor: 1 });
  expect(text.endsWith("\r\n\r\n")).toBe(true);
  expect(text.length).toBeLessThanOrEqual(headBound(said));
});

test("chunks", () => {
  expect(chunkHeader(255)).toBe("ff\r\n");
  expect(lastChunk(undefined)).toBe("0\r\n\r\n");
  expect(lastChunk(["a", "b", "content-length", "5"])).toBe("0\r\na: b\r\n\r\n");
});

test("what is for the next hop alone is named in Connection", () => {
  const asked = request({ fields: ["te", "trailers", "upgrade", "websocket", "x", "y"] });
  const fields = "te: trailers\r\nupgrade: websocket\r\nx: y\r\n";
  expect(writeRequestHead(asked, keep)).toBe(`GET /x?y HTTP/1.1\r\nhost: a:80\r\n${fields}connection: te, upgrade\r\n\r\n`);
  expect(writeRequestHead(asked, { keepAlive: false })).toContain("\r\nconnection: close, te, upgrade\r\n");
  const options = { keepAlive: true, method: "GET", minor: 1 } as const;
  const switched = writeResponseHead(response(101, NONE, ["upgrade", "websocket"]), options);
  expect(switched).toBe("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
  const wanted = response(426, length(0), ["upgrade", "websocket"]);
  expect(writeResponseHead(wanted, { ...options, minor: 0 })).toContain("\r\nconnection: keep-alive, upgrade\r\n");
});

test("framing fields in a list are never written", () => {
  const fields = ["host", "evil", "connection", "x", "content-length", "9", "transfer-encoding", "chunked", "x", "y"];
  expect(writeRequestHead(request({ fields }), keep)).toBe("GET /x?y HTTP/1.1\r\nhost: a:80\r\nx: y\r\n\r\n");
  expect(writeResponseHead(response(200, length(1), fields), { keepAlive: true, method: "GET", minor: 1 })).toBe(
    "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 1\r\n\r\n",
  );
});

describe("nothing that could begin a line gets out", () => {
  const bad = ["a\r\nb", "a\rb", "a\nb", "a\0b", "a\x7f", "a\u010a", "a\u{1f600}"];
  test.each(bad)("value %j", (value) => {
    expect(() => writeRequestHead(request({ fields: ["x", value] }), keep)).toThrow(/field "x"/);
    expect(() => writeResponseHead(response(200, NONE, ["x", value]), { keepAlive: true, method: "GET", minor: 1 })).toThrow(
      /field "x"/,
    );
    expect(() => lastChunk(["x", value])).toThrow(/field "x"/);
  });
  test.each([...bad, "a b", "a:b", "", "\xe9"])("name %j", (name) => {
    expect(() => writeRequestHead(request({ fields: [name, "v"] }), keep)).toThrow(/must not be sent/);
  });
  test.each([...bad, "/a b", "/#", "/\\", "/\xe9"])("target %j", (target) => {
    expect(() => writeRequestHead(request({ target }), keep)).toThrow(/request line/);
  });
  test.each([...bad, "a b"])("authority and method %j", (text) => {
    expect(() => writeRequestHead(request({ authority: text }), keep)).toThrow(/request line/);
    expect(() => writeRequestHead(request({ method: text }), keep)).toThrow(/request line/);
  });
  test.each([99, 600, 0, -1, 200.5, Number.NaN])("status %s", (status) => {
    expect(() => writeResponseHead(response(status, NONE), { keepAlive: true, method: "GET", minor: 1 })).toThrow(/status/);
  });
  test("the message does not repeat the value", () => {
    expect(() => writeRequestHead(request({ fields: ["authorization", "secret\n"] }), keep)).not.toThrow(/secret/);
  });
});
