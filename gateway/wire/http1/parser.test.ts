import { describe, expect, test } from "vitest";
import { decodeLatin1, HEX, TARGET, TOKEN, VALUE } from "./chars.ts";
import { PROTOCOL_ERROR_CODES } from "./errors.ts";
import { KNOWN_NAMES, knownName } from "./names.ts";
import { RequestParser, RequestParserSettings } from "./request.ts";
import { ResponseParser, ResponseParserSettings } from "./response.ts";

const settings = new RequestParserSettings({ scheme: "https" });
const responses = new ResponseParserSettings();
const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

test("the scheme is the listener's", () => {
  const parser = new RequestParser(settings);
  parser.feed(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  expect(parser.next()).toMatchObject({ head: { scheme: "https" } });
});

test("bodies are views of what was fed", () => {
  const parser = new RequestParser(settings);
  const chunk = bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
  parser.feed(chunk);
  parser.next();
  const event = parser.next();
  expect(event.kind === "body" && event.bytes.buffer === chunk.buffer).toBe(true);
  expect(parser.next().kind).toBe("need");
  const more = bytes("def");
  parser.feed(more);
  expect(parser.next()).toEqual({ kind: "body", bytes: more });
});

test("an unfinished head survives the reuse of the fed chunk", () => {
  const parser = new RequestParser(settings);
  const chunk = bytes("GET /first HTT");
  parser.feed(chunk);
  expect(parser.next().kind).toBe("need");
  chunk.fill(0);
  parser.feed(bytes("P/1.1\r\nHost: a\r\n\r\n"));
  expect(parser.next()).toMatchObject({ head: { target: "/first" } });
});

test("views stay as they were while later bytes come", () => {
  const parser = new RequestParser(settings);
  parser.feed(bytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"));
  parser.next();
  parser.feed(bytes("\r\nabcGET / HT"));
  parser.next();
  const body = parser.next();
  expect(parser.next().kind).toBe("end");
  for (let i = 0; i < 300; i++) parser.feed(bytes("X".repeat(10)));
  expect(body.kind === "body" && Buffer.from(body.bytes).toString()).toBe("abc");
});

test("idle tells whether a request has begun", () => {
  const parser = new RequestParser(settings);
  expect(parser.idle).toBe(true);
  parser.feed(bytes("G"));
  parser.next();
  expect(parser.idle).toBe(false);
  parser.feed(bytes("ET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  parser.next();
  expect(parser.idle).toBe(false);
  expect(parser.next().kind).toBe("end");
  expect(parser.idle).toBe(true);
});

describe("the end of a client's side", () => {
  test.each([
    ["", "need"],
    ["G", "cut_head"],
    ["\r\n", "need"],
    ["\r", "cut_head"],
    ["GET / HTTP/1.1\r\nHost: a\r\n", "cut_head"],
    ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "need"],
    ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET", "need"],
    ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", "cut_body"],
    ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "cut_body"],
    ["GET  ", "bad_request_line"],
  ])("%j", (raw, outcome) => {
    const parser = new RequestParser(settings);
    parser.feed(bytes(raw));
    while (!["need", "error"].includes(parser.next().kind));
    const event = parser.eof();
    expect(event.kind === "error" ? event.error.code : event.kind).toBe(outcome);
  });
});

test("an error stays", () => {
  const parser = new RequestParser(settings);
  parser.feed(bytes("\n"));
  const error = parser.next();
  expect(error.kind).toBe("error");
  parser.feed(bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  expect(parser.next()).toBe(error);
  expect(parser.eof()).toBe(error);
});

describe("responses and their requests", () => {
  test("bytes that no request asked for are refused", () => {
    const parser = new ResponseParser(responses);
    expect(parser.next().kind).toBe("need");
    parser.feed(bytes("HTTP/1.1 408 Timeout\r\n\r\n"));
    expect(parser.idle).toBe(false);
    expect(parser.next()).toMatchObject({ error: { code: "unexpected_response" } });
  });

  test("a connection is idle again after the response's end", () => {
    const parser = new ResponseParser(responses);
    parser.expect("HEAD");
    expect(parser.idle).toBe(false);
    parser.feed(bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"));
    expect(parser.next()).toMatchObject({ kind: "head", head: { body: { kind: "length", bytes: 9 } } });
    expect(parser.next().kind).toBe("end");
    expect(parser.idle).toBe(true);
    expect(parser.eof().kind).toBe("need");
  });

  test("the end of the connection ends content without a length, once", () => {
    const parser = new ResponseParser(responses);
    parser.expect("GET");
    parser.feed(bytes("HTTP/1.1 200 OK\r\n\r\nabc"));
    expect(parser.next()).toMatchObject({ keepAlive: false, head: { body: { kind: "stream" } } });
    expect(parser.next().kind).toBe("body");
    expect(parser.next().kind).toBe("need");
    expect(parser.eof().kind).toBe("end");
    expect(parser.eof().kind).toBe("need");
  });

  test("the end of the connection before the bytes were read is an error, not an end", () => {
    const parser = new ResponseParser(responses);
    parser.expect("GET");
    parser.feed(bytes("HTTP/1.1 200 OK\r\n\r\nabc"));
    parser.next();
    expect(parser.eof()).toMatchObject({ error: { code: "cut_body" } });
  });
});

test("known names are found in any case, others are not", () => {
  for (const [index, name] of KNOWN_NAMES.entries()) {
    expect(knownName(bytes(name), 0, name.length)).toBe(index);
    expect(knownName(bytes(`..${name.toUpperCase()}..`), 2, name.length + 2)).toBe(index);
    expect(knownName(bytes(`${name}x`), 0, name.length + 1)).not.toBe(index);
    expect(knownName(bytes(`!${name.slice(1)}`), 0, name.length)).toBe(-1);
  }
});

test("byte classes", () => {
  const members = (table: Uint8Array): number => table.reduce((count, value) => count + (value === 0 ? 0 : 1), 0);
  expect(members(TOKEN)).toBe(77);
  expect(members(VALUE)).toBe(256 - 32);
  expect(members(TARGET)).toBe(92);
  expect(HEX.filter((value) => value !== 255)).toHaveLength(22);
});

test("the portable decoder agrees with the runtime's", () => {
  const all = Uint8Array.from({ length: 10_000 }, (_, i) => i & 255);
  expect(decodeLatin1(all, 3, 9_999)).toBe(Buffer.from(all).toString("latin1", 3, 9_999));
});

test("error codes are words", () => {
  for (const code of PROTOCOL_ERROR_CODES) expect(code).toMatch(/^[a-z][a-z0-9_]+$/);
});
