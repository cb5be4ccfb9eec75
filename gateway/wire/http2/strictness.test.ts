/** What RFC 9113 has an endpoint refuse, rule by rule: the word, and whether the stream ends or the connection. */
import { describe, expect, test } from "vitest";
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  frame,
  GET,
  goAway,
  HEADERS,
  headers,
  PADDED,
  PING,
  POST,
  PREFACE,
  PRIORITY,
  PUSH_PROMISE,
  ping,
  RST_STREAM,
  rstStream,
  Script,
  SETTINGS,
  settings,
  uint32,
  WINDOW_UPDATE,
  WITH_PRIORITY,
  windowUpdate,
} from "../../../test/support/http2-frames.ts";
import { CONNECTION_PROBLEM_CODES, connectionProblem, STREAM_PROBLEM_CODES, streamProblem } from "./errors.ts";

const OPEN = headers(1, POST, END_HEADERS);
const without = (name: string): Fields => GET.filter((field) => field[0] !== name);
const plus = (...fields: Fields): Fields => [...GET, ...fields];
const instead = (name: string, value: string): Fields => GET.map((field) => (field[0] === name ? [name, value] : field));

describe("what ends the connection", () => {
  const ROWS: readonly (readonly [name: string, bytes: readonly Uint8Array[], code: string])[] = [
    ["a frame longer than announced", [frame(DATA, 0, 1, Buffer.alloc(16_385))], "frame_too_large"],
    ["DATA on stream 0", [frame(DATA, 0, 0, "x")], "stream_expected"],
    ["DATA on an idle stream", [frame(DATA, 0, 1, "x")], "frame_on_idle_stream"],
    ["DATA with more padding than frame", [OPEN, frame(DATA, PADDED, 1, "\x05abc")], "bad_padding"],
    ["padded DATA without the padding's length", [OPEN, frame(DATA, PADDED, 1)], "bad_frame_size"],
    ["HEADERS on stream 0", [headers(0, GET)], "stream_expected"],
    ["HEADERS on an even stream", [headers(2, GET)], "bad_stream_id"],
    ["HEADERS with more padding than frame", [frame(HEADERS, END_HEADERS | PADDED, 1, "\x09\x82")], "bad_padding"],
    ["padded HEADERS without the padding's length", [frame(HEADERS, END_HEADERS | PADDED, 1)], "bad_frame_size"],
    ["HEADERS too short for their priority", [frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, "abcd")], "bad_frame_size"],
    ["HEADERS that cannot be decoded", [frame(HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff")], "bad_header_block"],
    ["HEADERS on a stream that ended", [headers(3, GET), rstStream(3, 8), headers(3, GET)], "frame_on_closed_stream"],
    ["HEADERS on a lower stream that was never opened", [headers(5, GET), headers(3, GET)], "frame_on_closed_stream"],
    ["a frame within a header block", [headers(1, GET, END_STREAM), ping()], "header_block_interrupted"],
    ["another stream's CONTINUATION", [headers(1, GET, 0), frame(CONTINUATION, END_HEADERS, 3, "")], "header_block_interrupted"],
    ["an unknown frame within a header block", [headers(1, GET, 0), frame(0xbb, 0, 0, "")], "header_block_interrupted"],
    ["CONTINUATION without HEADERS", [frame(CONTINUATION, END_HEADERS, 1, "")], "continuation_unexpected"],
    ["CONTINUATION after the block's end", [OPEN, frame(CONTINUATION, END_HEADERS, 1, "")], "continuation_unexpected"],
    ["PRIORITY on stream 0", [frame(PRIORITY, 0, 0, "abcde")], "stream_expected"],
    ["PRIORITY of another length", [frame(PRIORITY, 0, 1, "abcd")], "bad_frame_size"],
    ["RST_STREAM on stream 0", [rstStream(0, 8)], "stream_expected"],
    ["RST_STREAM on an idle stream", [rstStream(1, 8)], "frame_on_idle_stream"],
    ["RST_STREAM of another length", [OPEN, frame(RST_STREAM, 0, 1, "abc")], "bad_frame_size"],
    ["SETTINGS on a stream", [frame(SETTINGS, 0, 1, "")], "stream_unexpected"],
    ["SETTINGS of another length", [frame(SETTINGS, 0, 0, "abcde")], "bad_frame_size"],
    ["acknowledged SETTINGS with a payload", [frame(SETTINGS, ACK, 0, "abcdef")], "bad_frame_size"],
    ["ENABLE_PUSH of 2", [settings([2, 2])], "bad_setting"],
    ["INITIAL_WINDOW_SIZE of 2^31", [settings([4, 0x8000_0000])], "bad_initial_window"],
    [
      "INITIAL_WINDOW_SIZE that makes a window too large",
      [OPEN, windowUpdate(1, 0x7000_0000), settings([4, 0x7fff_ffff])],
      "bad_initial_window",
    ],
    ["MAX_FRAME_SIZE below 2^14", [settings([5, 16_383])], "bad_setting"],
    ["MAX_FRAME_SIZE above 2^24-1", [settings([5, 16_777_216])], "bad_setting"],
    ["ENABLE_CONNECT_PROTOCOL of 2", [settings([8, 2])], "bad_setting"],
    ["ENABLE_CONNECT_PROTOCOL taken back", [settings([8, 1]), settings([8, 0])], "bad_setting"],
    ["PUSH_PROMISE from a client", [OPEN, frame(PUSH_PROMISE, END_HEADERS, 1, uint32(2))], "push_promise"],
    ["PING on a stream", [frame(PING, 0, 1, "12345678")], "stream_unexpected"],
    ["PING of another length", [frame(PING, 0, 0, "1234567")], "bad_frame_size"],
    ["GOAWAY on a stream", [frame(7, 0, 1, "12345678")], "stream_unexpected"],
    ["GOAWAY of another length", [frame(7, 0, 0, "1234567")], "bad_frame_size"],
    ["GOAWAY that takes back more", [goAway(1, 0), goAway(3, 0)], "bad_last_stream"],
    ["WINDOW_UPDATE of another length", [frame(WINDOW_UPDATE, 0, 0, "abc")], "bad_frame_size"],
    ["WINDOW_UPDATE by 0", [windowUpdate(0, 0)], "zero_increment"],
    ["WINDOW_UPDATE on an idle stream", [windowUpdate(1, 1)], "frame_on_idle_stream"],
    ["WINDOW_UPDATE beyond 2^31-1", [windowUpdate(0, 0x7fff_ffff)], "window_overflow"],
    ["DATA on a stream that ended", [headers(1, GET), rstStream(1, 8), frame(DATA, 0, 1, "x")], "frame_on_closed_stream"],
  ];
  test.each(ROWS)("%s", (_name, bytes, code) => {
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
  const HEAD: readonly (readonly [name: string, fields: Fields, code: string])[] = [
    ["an upper case name", plus(["X-A", "b"]), "bad_field_name"],
    ["an empty name", plus(["", "b"]), "bad_field_name"],
    ["a name with a colon in it", plus(["a:b", "c"]), "bad_field_name"],
    ["a value with a line end", plus(["a", "b\r\nc: d"]), "bad_field_value"],
    ["a value with NUL", plus(["a", "b\0"]), "bad_field_value"],
    ["a value that begins with white space", plus(["a", " b"]), "bad_field_value"],
    ["a value that ends with white space", plus(["a", "b\t"]), "bad_field_value"],
    ["a path with a line end", instead(":path", "/\r\nx"), "bad_field_value"],
    ["connection", plus(["connection", "close"]), "connection_field"],
    ["keep-alive", plus(["keep-alive", "1"]), "connection_field"],
    ["proxy-connection", plus(["proxy-connection", "x"]), "connection_field"],
    ["transfer-encoding", plus(["transfer-encoding", "chunked"]), "connection_field"],
    ["upgrade", plus(["upgrade", "h2c"]), "connection_field"],
    ["te other than trailers", plus(["te", "gzip"]), "bad_te"],
    ["te with more than trailers", plus(["te", "trailers, gzip"]), "bad_te"],
    ["a pseudo-header after a field", [["a", "b"], ...GET], "pseudo_after_field"],
    ["a pseudo-header twice", [...GET, [":path", "/"]], "duplicate_pseudo"],
    ["an unknown pseudo-header", [...GET, [":odd", "x"]], "unknown_pseudo"],
    ["a response's pseudo-header", [...GET, [":status", "200"]], "unknown_pseudo"],
    ["no method", without(":method"), "missing_pseudo"],
    ["no scheme", without(":scheme"), "missing_pseudo"],
    ["no path", without(":path"), "missing_pseudo"],
    ["a method that is no token", instead(":method", "GE T"), "bad_method"],
    ["an empty method", instead(":method", ""), "bad_method"],
    ["an unknown scheme", instead(":scheme", "ftp"), "bad_scheme"],
    ["an empty path", instead(":path", ""), "bad_path"],
    ["a path without a slash", instead(":path", "x"), "bad_path"],
    ["a path in absolute form", instead(":path", "https://a.test/"), "bad_path"],
    ["a path with a space", instead(":path", "/ HTTP/1.1"), "bad_path"],
    ["a path with a fragment", instead(":path", "/#a"), "bad_path"],
    ["`*` for GET", instead(":path", "*"), "bad_path"],
    ["no authority", without(":authority"), "missing_authority"],
    ["an authority that is none", instead(":authority", "a b"), "bad_authority"],
    ["user information", instead(":authority", "u@a.test"), "bad_authority"],
    ["host twice", plus(["host", "a.test"], ["host", "a.test"]), "duplicate_host"],
    ["host that is another", plus(["host", "b.test"]), "host_mismatch"],
    ["host that is none", plus(["host", ""]), "host_mismatch"],
    ["CONNECT with a path", instead(":method", "CONNECT"), "bad_connect"],
    ["CONNECT without an authority", [[":method", "CONNECT"]], "missing_authority"],
    ["CONNECT without a port", [[":method", "CONNECT"], [":authority", "a.test"]], "bad_authority"],
    ["CONNECT for another host", [[":method", "CONNECT"], [":authority", "a.test:1"], ["host", "b.test:1"]], "host_mismatch"],
    ["a protocol without CONNECT", plus([":protocol", "websocket"]), "bad_connect"],
    ["extended CONNECT without a path", [[":method", "CONNECT"], [":scheme", "https"], [":authority", "a"], [":protocol", "websocket"]], "missing_pseudo"],
    ["a protocol that is no token", [...instead(":method", "CONNECT"), [":protocol", "a b"]], "bad_connect"],
    ["content-length twice", plus(["content-length", "0"], ["content-length", "0"]), "duplicate_content_length"],
    ["a signed content-length", plus(["content-length", "+0"]), "bad_content_length"],
    ["a content-length beyond exact numbers", plus(["content-length", "9007199254740993"]), "bad_content_length"],
    ["content-length of what has no content", plus(["content-length", "1"]), "content_length_mismatch"],
    ["an expectation nobody knows", plus(["expect", "miracles"]), "unsupported_expectation"],
  ]; // biome-ignore format: a table
  test.each(HEAD)("%s", (_name, fields, code) => {
    const script = new Script("server");
    expect(script.say(headers(1, fields))).toEqual([`refused 1 ${code}`]);
    const { http2Code } = streamProblem(code as Parameters<typeof streamProblem>[0]);
    expect(script.sent()).toEqual([`RST_STREAM 1 ${http2Code}`]);
    // The connection lives on, and the tables agree.
    expect(script.say(headers(3, GET))).toEqual(["request 3 GET a.test/ end"]);
    expect(script.connection.streams).toBe(1);
  });

  const DECLARED: Fields = [...POST, ["content-length", "3"]];
  const declared = headers(1, DECLARED, END_HEADERS);
  const FRAMES: readonly (readonly [name: string, bytes: readonly Uint8Array[], code: string])[] = [
    ["less content than declared", [declared, frame(DATA, END_STREAM, 1, "ab")], "content_length_mismatch"],
    ["more content than declared", [declared, frame(DATA, 0, 1, "abcd")], "content_length_mismatch"],
    ["trailers after less content than declared", [declared, frame(DATA, 0, 1, "ab"), headers(1, [])], "content_length_mismatch"],
    ["DATA after the end", [headers(1, GET), frame(DATA, 0, 1, "x")], "stream_closed"],
    ["HEADERS after the end", [headers(1, GET), headers(1, GET)], "stream_closed"],
    ["trailers that do not end the stream", [OPEN, headers(1, [["a", "b"]], END_HEADERS)], "trailers_without_end"],
    ["a pseudo-header in trailers", [OPEN, headers(1, [[":path", "/"]])], "pseudo_in_trailers"],
    ["a bad field in trailers", [OPEN, headers(1, [["A", "b"]])], "bad_field_name"],
    ["WINDOW_UPDATE by 0", [OPEN, windowUpdate(1, 0)], "stream_zero_increment"],
    ["WINDOW_UPDATE beyond 2^31-1", [OPEN, windowUpdate(1, 0x7fff_ffff)], "stream_window_overflow"],
  ];
  test.each(FRAMES)("%s", (_name, bytes, code) => {
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
  const HEAD: readonly (readonly [name: string, method: string, bytes: readonly Uint8Array[], code: string])[] = [
    ["no status", "GET", [headers(1, [["a", "b"]])], "missing_pseudo"],
    ["a status of two digits", "GET", [headers(1, [[":status", "20"]])], "bad_status"],
    ["a status beyond 599", "GET", [headers(1, [[":status", "600"]])], "bad_status"],
    ["101", "GET", [headers(1, [[":status", "101"]], END_HEADERS)], "bad_status"],
    ["a request's pseudo-header", "GET", [headers(1, [[":path", "/"]])], "unknown_pseudo"],
    ["1xx that ends the stream", "GET", [headers(1, [[":status", "100"]])], "interim_ends_stream"],
    ["DATA before the head", "GET", [frame(DATA, 0, 1, "x")], "data_before_head"],
    ["DATA after 1xx alone", "GET", [headers(1, [[":status", "103"]], END_HEADERS), frame(DATA, 0, 1, "x")], "data_before_head"],
    ["content for HEAD", "HEAD", [headers(1, [[":status", "200"]], END_HEADERS), frame(DATA, 0, 1, "x")], "content_unexpected"],
    ["content of 204", "GET", [headers(1, [[":status", "204"]], END_HEADERS), frame(DATA, 0, 1, "x")], "content_unexpected"],
    ["a second head", "GET", [headers(1, [[":status", "200"]], END_HEADERS), headers(1, [[":status", "200"]])], "pseudo_in_trailers"],
    ["less content than declared", "GET", [headers(1, [[":status", "200"], ["content-length", "1"]])], "content_length_mismatch"],
    ["transfer-encoding", "GET", [headers(1, [[":status", "200"], ["transfer-encoding", "chunked"]])], "connection_field"],
  ]; // biome-ignore format: a table
  test.each(HEAD)("%s", (_name, method, bytes, code) => {
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
