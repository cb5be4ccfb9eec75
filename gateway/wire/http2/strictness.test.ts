/** What RFC 9113 has an endpoint refuse, rule by rule: the word, and whether the stream ends or the connection. */
import { describe, expect, test } from "vitest";
import {
  ACK,
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  frame,
  GET,
  HEADERS,
  headers,
  PADDED,
  PREFACE,
  PRIORITY,
  PUSH_PROMISE,
  ping,
  rstStream,
  Script,
  SETTINGS,
  settings,
  uint32,
  WITH_PRIORITY,
  windowUpdate,
} from "../../../test/support/http2-frames.ts";
import {
  CONNECTION_CASES,
  instead,
  OPEN,
  plus,
  REQUEST_HEAD_CASES,
  RESPONSE_CASES,
  STREAM_CASES,
} from "../../../test/wire/http2-cases.ts";
import { CONNECTION_PROBLEM_CODES, connectionProblem, STREAM_PROBLEM_CODES, streamProblem } from "./errors.ts";

describe("what ends the connection", () => {
  test.each(CONNECTION_CASES)("%s", (_name, bytes, code) => {
    const script = new Script("server");
    expect(script.say(...bytes).at(-1)).toBe(`error ${code}`);
    const { http2Code } = connectionProblem(code as Parameters<typeof connectionProblem>[0]);
    expect(script.sent().at(-1)).toMatch(new RegExp(`^GOAWAY \\d+ ${http2Code}$`));
    expect(script.connection.isGoingAway).toBe(true);
    expect(script.say(headers(9, GET))).toEqual([`error ${code}`]);
    // Split anywhere, it ends alike.
    const split = new Script("server");
    const all = Buffer.concat(bytes);
    let last: string | undefined;
    for (let at = 0; at < all.length && !last?.startsWith("error"); at += 7)
      last = split.say(all.subarray(at, at + 7)).at(-1) ?? last;
    expect(last).toBe(`error ${code}`);
  });

  test.each([
    ["another protocol", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_preface"],
    ["a preface that is wrong at its end", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", "bad_preface"],
  ])("%s", (_name, text, code) => {
    const script = new Script("server", {}, Buffer.alloc(0));
    expect(script.say(Buffer.from(text))).toEqual([`error ${code}`]);
  });

  test("a first frame other than SETTINGS", () => {
    for (const first of [ping(), frame(SETTINGS, ACK, 0), frame(0xbb, 0, 0)]) {
      expect(new Script("server", {}, Buffer.alloc(0)).say(PREFACE, first)).toEqual(["error settings_not_first"]);
      expect(new Script("client", {}, Buffer.alloc(0)).say(first)).toEqual(["error settings_not_first"]);
    }
  });

  test("a server's frames that only a client's are", () => {
    const open = (): Script => {
      const script = new Script("client");
      script.connection.request(
        { method: "GET", scheme: "https", authority: "a", target: "/", fields: [], body: { kind: "none" } },
        true,
        "",
      );
      return script;
    };
    expect(open().say(frame(PUSH_PROMISE, END_HEADERS, 1, uint32(2)))).toEqual(["error push_promise"]);
    expect(open().say(settings([2, 1]))).toEqual(["error bad_setting"]);
    expect(open().say(headers(2, [[":status", "200"]]))).toEqual(["error frame_on_idle_stream"]);
    expect(open().say(headers(3, [[":status", "200"]]))).toEqual(["error frame_on_idle_stream"]);
  });

  test("the connection's end under open streams", () => {
    const script = new Script("server");
    expect(script.connection.eof().kind).toBe("need");
    script.say(OPEN);
    expect(script.connection.eof()).toMatchObject({ error: { code: "cut_connection" } });
  });
});

describe("what ends a request's stream", () => {
  test.each(REQUEST_HEAD_CASES)("%s", (_name, fields, code) => {
    const script = new Script("server");
    expect(script.say(headers(1, fields))).toEqual([`refused 1 ${code}`]);
    const { http2Code } = streamProblem(code as Parameters<typeof streamProblem>[0]);
    expect(script.sent()).toEqual([`RST_STREAM 1 ${http2Code}`]);
    // The connection lives on, and the tables agree.
    expect(script.say(headers(3, GET))).toEqual(["request 3 GET a.test/ end"]);
    expect(script.connection.streams).toBe(1);
  });

  test.each(STREAM_CASES)("%s", (_name, bytes, code) => {
    const script = new Script("server");
    expect(script.say(...bytes).at(-1)).toBe(`refused 1 ${code}`);
    expect(script.sent().at(-1)).toBe(`RST_STREAM 1 ${streamProblem(code as Parameters<typeof streamProblem>[0]).http2Code}`);
    // What was under way is thrown away; after the stream's end nothing can have been.
    if (code === "stream_closed") {
      expect(script.say(frame(DATA, 0, 1, "late"))).toEqual(["error frame_on_closed_stream"]);
      return;
    }
    expect(script.say(frame(DATA, 0, 1, "late"), headers(1, [["a", "b"]]), windowUpdate(1, 5), rstStream(1, 8))).toEqual([]);
    expect(script.say(headers(3, GET))).toEqual(["request 3 GET a.test/ end"]);
  });

  test("a server may answer a refused request before it resets it", () => {
    const { connection } = new Script("server");
    connection.take();
    connection.feed(headers(1, plus(["te", "gzip"])), 0);
    const event = connection.next();
    if (event.kind !== "refused") throw new Error(event.kind);
    expect(event.error.status).toBe(400);
    connection.respond(event.stream, { status: event.error.status, fields: [], body: { kind: "none" } }, true);
    connection.reset(event.stream, event.error.http2Code);
    expect(event.stream.isClosed).toBe(true);
    const script = new Script("server");
    expect(script.connection.streams).toBe(0);
  });

  test("without the offer, extended CONNECT", () => {
    const fields: Fields = [...instead(":method", "CONNECT"), [":protocol", "websocket"]];
    expect(new Script("server").say(headers(1, fields, END_HEADERS))).toEqual(["request 1 CONNECT a.test/"]);
    expect(new Script("server", {}, settings(), { extendedConnect: false }).say(headers(1, fields, END_HEADERS))).toEqual([
      "refused 1 unsupported_protocol",
    ]);
  });
});

describe("what ends a response's stream", () => {
  test.each(RESPONSE_CASES)("%s", (_name, method, bytes, code) => {
    const script = new Script("client");
    script.connection.request(
      { method, scheme: "https", authority: "a", target: "/", fields: [], body: { kind: "none" } },
      true,
      "",
    );
    expect(script.say(...bytes).at(-1)).toBe(`refused 1 ${code}`);
    expect(script.sent().at(-1)).toMatch(/^RST_STREAM 1 /);
  });

  test("a length that HEAD, 304 and CONNECT do not fill", () => {
    for (const [method, status] of [
      ["HEAD", "200"],
      ["GET", "304"],
    ] as const) {
      const script = new Script("client");
      script.connection.request(
        { method, scheme: "https", authority: "a", target: "/", fields: [], body: { kind: "none" } },
        true,
        "",
      );
      const [event] = script.hear([
        headers(1, [
          [":status", status],
          ["content-length", "9"],
        ]),
      ]);
      expect(event).toMatchObject({ kind: "response", end: true, head: { body: { kind: "length", bytes: 9 } } });
    }
  });
});

test("every problem has a message that says which rule it is", () => {
  for (const code of CONNECTION_PROBLEM_CODES) expect(connectionProblem(code).message.length).toBeGreaterThan(20);
  for (const code of STREAM_PROBLEM_CODES) expect(streamProblem(code).message.length).toBeGreaterThan(20);
});

test("what means nothing here is ignored", () => {
  const script = new Script("server");
  expect(
    script.say(
      frame(0xbb, 0xff, 77, "whatever"),
      frame(PRIORITY, 0, 9, `${uint32(9).toString("latin1")}\x10`),
      settings([0xbeef, 1]),
    ),
  ).toEqual([]);
  // The reserved bit of an id.
  const reserved = headers(1, GET);
  reserved.writeUInt8(0x80, 5);
  expect(script.say(reserved)).toEqual(["request 1 GET a.test/ end"]);
  // Priority of HEADERS, a stream that depends on itself (RFC 9113 5.3.2), and padding.
  const payload = Buffer.concat([Buffer.from([2]), uint32(3), Buffer.from([9]), block(GET), Buffer.alloc(2)]);
  expect(script.say(frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY | PADDED, 3, payload))).toEqual([
    "request 3 GET a.test/ end",
  ]);
});
