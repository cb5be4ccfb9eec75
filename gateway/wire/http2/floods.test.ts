/** Attacks on an HTTP/2 endpoint: each meets a named limit, and what is within the limit does no harm. */
import { describe, expect, test } from "vitest";
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GET,
  HEADERS,
  headers,
  integer,
  PADDED,
  POST,
  PRIORITY,
  ping,
  rstStream,
  Script,
  SETTINGS,
  settings,
  windowUpdate,
} from "../../../test/support/http2-frames.ts";
import { Allowance } from "./allowance.ts";
import type { Http2Limits } from "./limits.ts";

const RATE = { burst: 10, perSecond: 5 };

/** Says `one(i)` until the connection ends. @returns how often, and the end */
function flood(script: Script, one: (i: number) => readonly Uint8Array[], most = 2000): readonly [number, string] {
  for (let i = 0; i < most; i++) {
    const last = script.say(...one(i)).at(-1);
    if (last?.startsWith("error")) return [i, last];
  }
  return [most, "lives"];
}

const id = (i: number): number => 2 * i + 1;

describe("floods end the connection when their limit is used up", () => {
  const ROWS: readonly (readonly [
    name: string,
    limits: Partial<Http2Limits>,
    one: (i: number) => readonly Uint8Array[],
    error: string,
  ])[] = [
    ["rapid reset", { resets: RATE }, (i) => [headers(id(i), GET), rstStream(id(i), 8)], "reset_flood"],
    ["MadeYouReset by WINDOW_UPDATE", { resets: RATE }, (i) => [headers(id(i), POST, END_HEADERS), windowUpdate(id(i), 0)], "reset_flood"],
    ["MadeYouReset by a window's overflow", { resets: RATE }, (i) => [headers(id(i), GET), windowUpdate(id(i), 0x7fff_ffff)], "reset_flood"],
    ["MadeYouReset by DATA after the end", { resets: RATE }, (i) => [headers(id(i), GET), frame(DATA, 0, id(i), "x")], "reset_flood"],
    ["MadeYouReset by bad fields", { resets: RATE }, (i) => [headers(id(i), [...GET, ["te", "x"]])], "reset_flood"],
    ["PING", { pings: RATE }, () => [ping()], "ping_flood"],
    ["SETTINGS", { settings: { burst: 11, perSecond: 1 } }, () => [settings()], "settings_flood"],
    ["empty DATA", { emptyFrames: RATE }, (i) => [...(i === 0 ? [headers(1, POST, END_HEADERS)] : []), frame(DATA, 0, 1)], "empty_frame_flood"],
    ["padding without content", { emptyFrames: RATE }, (i) => [...(i === 0 ? [headers(1, POST, END_HEADERS)] : []), frame(DATA, PADDED, 1, "\x03abc")], "empty_frame_flood"],
    ["empty HEADERS", { emptyFrames: RATE, resets: { burst: 99, perSecond: 1 } }, (i) => [frame(HEADERS, END_HEADERS, id(i))], "empty_frame_flood"],
    ["empty CONTINUATION", { emptyFrames: RATE, maxContinuations: 99 }, (i) => [...(i === 0 ? [headers(1, GET, 0)] : []), frame(CONTINUATION, 0, 1)], "empty_frame_flood"],
    ["tiny WINDOW_UPDATE", { windowUpdates: RATE }, () => [windowUpdate(0, 1)], "window_update_flood"],
    ["PRIORITY", { idleFrames: RATE }, () => [frame(PRIORITY, 0, 1, "abcde")], "idle_frame_flood"],
    ["unknown frames", { idleFrames: RATE }, () => [frame(0xbb, 0, 0, "x")], "idle_frame_flood"],
    ["acknowledgements of nothing", { idleFrames: RATE }, () => [frame(SETTINGS, ACK, 0)], "idle_frame_flood"],
    ["answers to no PING", { idleFrames: RATE }, () => [ping("12345678", ACK)], "idle_frame_flood"],
  ]; // biome-ignore format: a table
  test.each(ROWS)("%s", (_name, limits, one, error) => {
    const [count, end] = flood(new Script("server", limits), one);
    expect(end).toBe(`error ${error}`);
    expect(count).toBeGreaterThanOrEqual(RATE.burst);
    expect(count).toBeLessThan(3 * RATE.burst);
    // At the rate that the limit allows it goes on for ever.
    const slow = new Script("server", limits);
    const [, slowEnd] = flood(slow, (i) => {
      slow.nowMs += 1000 / (limits.settings === undefined ? RATE.perSecond : 1);
      return one(i);
    }, 90); // biome-ignore format: a table
    if (!/CONTINUATION|DATA|padding|window's/.test(_name)) expect(slowEnd).toBe("lives");
  });

  test("resets of streams that were answered are not counted, and those that end well make up for others", () => {
    const script = new Script("server", { resets: RATE });
    for (let i = 0; i < 200; i++) {
      const [event] = script.hear([headers(id(2 * i), POST, END_HEADERS)]);
      if (event?.kind !== "request") throw new Error("no request");
      script.connection.respond(event.stream, { status: 200, fields: [], body: { kind: "none" } }, true);
      if (i % 2 === 0) expect(script.say(rstStream(id(2 * i), 8))).toEqual([`reset ${id(2 * i)} 8`]);
      else expect(script.say(frame(DATA, END_STREAM, id(2 * i)))).toEqual([`data ${id(2 * i)} 0 end`]);
      if (i % 2 === 1) expect(script.say(headers(id(2 * i + 1), GET), rstStream(id(2 * i + 1), 8))).toHaveLength(2);
      script.connection.take();
    }
  });

  test("what we send makes up for the PINGs and WINDOW_UPDATEs that it calls for", () => {
    const script = new Script("server", { pings: RATE, windowUpdates: RATE });
    const [event] = script.hear([headers(1, GET)]);
    if (event?.kind !== "request") throw new Error("no request");
    script.connection.respond(event.stream, { status: 200, fields: [], body: { kind: "stream" } }, false);
    for (let i = 0; i < 100; i++) {
      expect(script.connection.data(event.stream, Buffer.alloc(100), false)).toBe(100);
      expect(script.say(windowUpdate(0, 100), windowUpdate(1, 100), ping())).toEqual([]);
      script.connection.take();
    }
  });
});

describe("header blocks", () => {
  test("maxContinuations", () => {
    const chain = (frames: number): readonly Uint8Array[] => [
      frame(HEADERS, END_STREAM, 1, block(GET)),
      ...Array.from({ length: frames }, (_, i) =>
        frame(CONTINUATION, i === frames - 1 ? END_HEADERS : 0, 1, block([["a", "b"]])),
      ),
    ];
    expect(new Script("server", { maxContinuations: 3 }).say(...chain(3))).toEqual(["request 1 GET a.test/ end"]);
    expect(new Script("server", { maxContinuations: 3 }).say(...chain(4))).toEqual(["error too_many_continuations"]);
    // Without an end, it is not waited for.
    expect(flood(new Script("server"), (i) => [i === 0 ? headers(1, GET, 0) : frame(CONTINUATION, 0, 1, "x")])[1]).toBe(
      "error too_many_continuations",
    );
  });

  test("maxHeaderBlockBytes", () => {
    const limits = { maxHeaderBlockBytes: 120 };
    const sized = (bytes: number): Buffer => headers(1, [...GET, ["a", "b".repeat(bytes - block([...GET, ["a", ""]]).length)]]);
    expect(new Script("server", limits).say(sized(120))).toEqual(["request 1 GET a.test/ end"]);
    expect(new Script("server", limits).say(sized(121))).toEqual(["error header_block_too_large"]);
    const inPieces = [headers(1, GET, 0), frame(CONTINUATION, 0, 1, Buffer.alloc(100))];
    expect(new Script("server", limits).say(...inPieces)).toEqual(["error header_block_too_large"]);
  });

  test("maxHeaderListBytes: what is small on the wire and large in memory", () => {
    const script = new Script("server", { maxHeaderListBytes: 8000 });
    const bomb = (references: number): Buffer =>
      Buffer.concat([block(GET), block([["x", "y".repeat(3000)]], 0x40), Buffer.alloc(references, 0x80 | 62)]);
    expect(script.say(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb(1)))).toEqual(["request 1 GET a.test/ end"]);
    expect(script.say(frame(HEADERS, END_STREAM | END_HEADERS, 3, bomb(10_000)))).toEqual(["refused 3 header_too_large"]);
    // The table has followed: the entry is there.
    expect(
      script.say(frame(HEADERS, END_STREAM | END_HEADERS, 5, Buffer.concat([block(GET), Buffer.from([0x80 | 62])]))),
    ).toEqual(["request 5 GET a.test/ end"]);
  });

  test("maxHeaderListBytes counts 32 bytes for each field, as announced", () => {
    const size = GET.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    expect(new Script("server", { maxHeaderListBytes: size }).say(headers(1, GET))).toEqual(["request 1 GET a.test/ end"]);
    expect(new Script("server", { maxHeaderListBytes: size - 1 }).say(headers(1, GET))).toEqual(["refused 1 header_too_large"]);
  });

  test("maxHeaderCount", () => {
    const limits = { maxHeaderCount: 5 };
    expect(new Script("server", limits).say(headers(1, [...GET, ["a", "b"]]))).toEqual(["request 1 GET a.test/ end"]);
    expect(new Script("server", limits).say(headers(1, [...GET, ["a", "b"], ["c", "d"]]))).toEqual([
      "refused 1 too_many_headers",
    ]);
  });

  test("maxTargetBytes, maxRequestBodyBytes", () => {
    const limits = { maxTargetBytes: 4, maxRequestBodyBytes: 3 };
    const at = (path: string, ...more: readonly (readonly [string, string])[]): Buffer =>
      headers(1, [...POST.slice(0, 3), [":path", path], ...more], END_HEADERS);
    expect(new Script("server", limits).say(at("/abc"), frame(DATA, END_STREAM, 1, "abc"))).toHaveLength(2);
    expect(new Script("server", limits).say(at("/abcd"))).toEqual(["refused 1 path_too_long"]);
    expect(new Script("server", limits).say(at("/", ["content-length", "4"]))).toEqual(["refused 1 body_too_large"]);
    const tunnel = new Script("server", limits);
    tunnel.say(headers(1, [[":method", "CONNECT"], [":authority", "a:1"]], END_HEADERS)); // biome-ignore format: a head
    expect(tunnel.say(frame(DATA, 0, 1, "more than three"))).toEqual(["data 1 15"]);
    expect(new Script("server", limits).say(at("/"), frame(DATA, 0, 1, "ab"), frame(DATA, 0, 1, "cd")).at(-1)).toBe(
      "refused 1 body_too_large",
    );
  });

  test("maxDecoderTableBytes holds once it was acknowledged", () => {
    const update = (bytes: number): Buffer =>
      frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.concat([integer(5, 0x20, bytes), block(GET)]));
    expect(new Script("server", { maxDecoderTableBytes: 100 }).say(update(100))).toEqual(["request 1 GET a.test/ end"]);
    expect(new Script("server", { maxDecoderTableBytes: 100 }).say(update(101))).toEqual(["error bad_header_block"]);
    expect(new Script("server", { maxDecoderTableBytes: 8192 }).say(update(8192))).toEqual(["request 1 GET a.test/ end"]);
  });

  test("maxEncoderTableBytes bounds what a peer can have us keep for it", () => {
    const script = new Script("server", { maxEncoderTableBytes: 0 }, settings([1, 0x7fff_ffff]));
    const sizes = [1, 3, 5].map((stream) => {
      const [event] = script.hear([headers(stream, GET)]);
      if (event?.kind !== "request") throw new Error("no request");
      script.connection.respond(
        event.stream,
        { status: 200, fields: ["content-type", "text/plain"], body: { kind: "none" } },
        true,
      );
      return script.connection.take().length;
    });
    expect(sizes[1]).toBe(sizes[2]);
    expect(sizes[1]).toBeGreaterThan(20);
  });
});

describe("streams", () => {
  test("maxConcurrentStreams: more are refused, so that they may be sent again; going on is a flood", () => {
    const script = new Script("server", { maxConcurrentStreams: 2, resets: RATE });
    expect(script.say(headers(1, GET), headers(3, GET), headers(5, GET))).toEqual([
      "request 1 GET a.test/ end",
      "request 3 GET a.test/ end",
    ]);
    expect(script.sent()).toEqual(["RST_STREAM 5 7"]);
    expect(flood(script, (i) => [headers(id(i + 3), GET)])).toEqual([RATE.burst - 1, "error reset_flood"]);
  });

  test("before our SETTINGS were acknowledged, too many are nobody's fault", () => {
    const script = new Script("server", { maxConcurrentStreams: 1, resets: { burst: 1, perSecond: 1 } }, Buffer.alloc(0));
    const opening = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), settings()]);
    expect(script.say(opening, ...[1, 3, 5, 7, 9].map((stream) => headers(stream, GET)))).toEqual(["request 1 GET a.test/ end"]);
  });

  test("maxRememberedResets: frames under way to streams that we reset are told from mistakes", () => {
    const script = new Script("server", { maxRememberedResets: 2 });
    for (const stream of [1, 3, 5]) {
      const [event] = script.hear([headers(stream, POST, END_HEADERS)]);
      if (event?.kind === "request") script.connection.reset(event.stream, 8);
    }
    expect(script.say(frame(DATA, 0, 3, "x"), frame(DATA, 0, 5, "x"))).toEqual([]);
    expect(script.say(frame(DATA, 0, 1, "x"))).toEqual(["error frame_on_closed_stream"]);
  });

  test("maxInterimResponses", () => {
    const script = new Script("client", { maxInterimResponses: 2 });
    const head = { method: "GET", scheme: "https", authority: "a", target: "/", fields: [], body: { kind: "none" } } as const;
    script.connection.request({ ...head, fields: [] }, true, "");
    const early = headers(1, [[":status", "103"]], END_HEADERS);
    expect(script.say(early, early, early)).toEqual(["response 1 103", "response 1 103", "refused 1 too_many_interim_responses"]);
  });
});

describe("a peer that does not read", () => {
  test("maxOutputBytes bounds acknowledgements that wait", () => {
    const script = new Script("server", { maxOutputBytes: 2000, pings: { burst: 1e6, perSecond: 1 } });
    const [count, end] = flood(script, () => [ping()]);
    expect(end).toBe("error output_not_read");
    expect(count).toBeLessThanOrEqual(2000 / 17);
  });

  test("maxBufferedBytes bounds content that waits, whatever the windows allow", () => {
    const limits = { maxBufferedBytes: 50_000 };
    const script = new Script("server", limits, settings([4, 0x7fff_ffff]));
    script.say(windowUpdate(0, 0x7000_0000));
    const [one, two] = script.hear([headers(1, GET), headers(3, GET)]);
    if (one?.kind !== "request" || two?.kind !== "request") throw new Error("no requests");
    const content = Buffer.alloc(1 << 20);
    const taken = script.connection.data(one.stream, content, true);
    expect(taken).toBeLessThanOrEqual(50_000);
    expect(script.connection.data(two.stream, content, true)).toBe(0);
    expect(script.say()).toEqual([]);
    // Room again: both get their turn, in order.
    expect(script.connection.take().length).toBeLessThanOrEqual(50_000 + 100);
    expect(script.connection.next()).toMatchObject({ kind: "window", stream: { id: 1 } });
    script.connection.data(one.stream, content, true);
    expect(script.connection.next().kind).toBe("need");
    script.connection.take();
    expect(script.connection.next()).toMatchObject({ kind: "window", stream: { id: 3 } });
  });

  test("streams that are reset while they wait are forgotten", () => {
    const script = new Script("server", { resets: { burst: 1e6, perSecond: 1 } });
    const content = Buffer.alloc(70_000);
    const ask = (stream: number): void => {
      const [event] = script.hear([headers(stream, GET), windowUpdate(stream, 10_000)]);
      if (event?.kind !== "request") throw new Error("no request");
      script.connection.respond(event.stream, { status: 200, fields: [], body: { kind: "stream" } }, false);
      script.connection.data(event.stream, content, true);
      script.connection.take();
    };
    for (let i = 0; i < 500; i++) {
      ask(id(i));
      expect(script.say(rstStream(id(i), 8))).toHaveLength(1);
    }
    ask(id(500));
    expect(script.say(windowUpdate(0, 1_000_000))).toEqual([`window ${id(500)}`]);
  });

  test("a window that never opens holds nothing here but what is told to the owner", () => {
    const script = new Script("server", {}, settings([4, 0]));
    const [event] = script.hear([headers(1, GET)]);
    if (event?.kind !== "request") throw new Error("no request");
    script.connection.respond(event.stream, { status: 200, fields: [], body: { kind: "stream" } }, false);
    script.connection.take();
    expect(script.connection.data(event.stream, Buffer.alloc(1 << 20), true)).toBe(0);
    expect(script.connection.hasOutput).toBe(false);
  });
});

test("streamWindowBytes and connectionWindowBytes bound what a peer can have us hold", () => {
  const limits = { streamWindowBytes: 70_000, connectionWindowBytes: 100_000 };
  const full = frame(DATA, 0, 1, Buffer.alloc(10_000));
  const one = new Script("server", limits);
  expect(one.say(headers(1, POST, END_HEADERS), ...Array<Buffer>(7).fill(full))).toHaveLength(8);
  expect(one.say(frame(DATA, 0, 1, "x"))).toEqual(["refused 1 stream_window_exceeded"]);
  const two = new Script("server", limits);
  two.say(headers(1, POST, END_HEADERS), headers(3, POST, END_HEADERS), ...Array<Buffer>(7).fill(full));
  expect(two.say(...Array<Buffer>(3).fill(frame(DATA, 0, 3, Buffer.alloc(10_000))))).toHaveLength(3);
  expect(two.say(frame(DATA, 0, 3, "x"))).toEqual(["error window_exceeded"]);
});

test("maxFrameBytes", () => {
  const script = new Script("server", { maxFrameBytes: 20_000 });
  expect(script.say(headers(1, POST, END_HEADERS), frame(DATA, 0, 1, Buffer.alloc(20_000)))).toHaveLength(2);
  expect(script.say(frame(DATA, 0, 1, Buffer.alloc(20_001)))).toEqual(["error frame_too_large"]);
});

test("an allowance: a burst, then the rate, and what is earned", () => {
  const allowance = new Allowance({ burst: 2, perSecond: 10 });
  expect([0, 0, 0].map((ms) => allowance.spend(ms))).toEqual([true, true, false]);
  expect([1000, 1000, 1000].map((ms) => allowance.spend(ms))).toEqual([true, true, false]);
  allowance.earn(5);
  expect([1000, 1000, 1000].map((ms) => allowance.spend(ms))).toEqual([true, true, false]);
});
