import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ACK,
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  eventLine,
  type Fields,
  frame,
  frameLine,
  GET,
  goAway,
  HEADERS,
  headers,
  POST,
  ping,
  readFrames,
  rstStream,
  Script,
  settings,
  windowUpdate,
} from "../../../test/support/http2-frames.ts";
import { NO_BODY, type RequestHead, STREAM_BODY } from "../../core/http/message.ts";
import { Http2Connection } from "./connection.ts";
import type { Http2Event } from "./events.ts";
import { Http2Settings } from "./settings.ts";

const REQUEST: RequestHead = {
  method: "GET",
  scheme: "https",
  authority: "a.test",
  target: "/x",
  fields: ["x-a", "b"],
  body: NO_BODY,
};
const OK = { status: 200, fields: ["content-type", "text/plain"], body: STREAM_BODY };
const OPEN = headers(1, POST, END_HEADERS);

function requestOf(event: Http2Event<string> | undefined): Extract<Http2Event<string>, { kind: "request" }> {
  if (event?.kind !== "request") throw new Error(`${event?.kind} is no request`);
  return event;
}

/** Two ends of ours, joined. */
function joined(): { client: Http2Connection<string>; server: Http2Connection<string>; pass: () => string[] } {
  const client = new Http2Connection<string>(new Http2Settings({ role: "client" }));
  const server = new Http2Connection<string>(new Http2Settings({ role: "server", scheme: "https" }));
  const hand = (from: Http2Connection<string>, to: Http2Connection<string>, name: string): string[] => {
    const events: string[] = [];
    to.feed(Uint8Array.from(from.take()), 0);
    for (let event = to.next(); event.kind !== "need"; event = to.next()) {
      events.push(`${name} ${eventLine(event)}`);
      if (event.kind === "request") event.stream.owner = `server's ${event.stream.id}`;
      if (event.kind === "data") to.consumed(event.stream, event.bytes.length);
      if (event.kind === "error") break;
    }
    return events;
  };
  const pass = (): string[] => {
    const events: string[] = [];
    while (client.hasOutput || server.hasOutput)
      events.push(...hand(client, server, "server"), ...hand(server, client, "client"));
    return events;
  };
  return { client, server, pass };
}

describe("a request and its response", () => {
  test("head, content and trailers, both ways", () => {
    const { client, server, pass } = joined();
    pass();
    const stream = client.request({ ...REQUEST, method: "POST", body: STREAM_BODY }, false, "mine");
    if (stream === undefined) throw new Error("no stream");
    client.data(stream, Buffer.from("abc"), false);
    client.trailers(stream, ["x-sum", "1"]);
    expect(pass()).toEqual(["server request 1 POST a.test/x", "server data 1 3", "server trailers 1 x-sum|1"]);
    expect(stream.owner).toBe("mine");
    server.each((of) => {
      server.interim(of, { status: 103, fields: ["link", "a"], body: NO_BODY });
      server.respond(of, OK, false);
      server.data(of, Buffer.from("defg"), false);
      server.trailers(of, ["grpc-status", "0"]);
    });
    expect(pass()).toEqual([
      "client response 1 103",
      "client response 1 200",
      "client data 1 4",
      "client trailers 1 grpc-status|0",
    ]);
    expect([client.streams, server.streams, stream.isClosed]).toEqual([0, 0, true]);
  });

  test("what a request is made of", () => {
    const fields: Fields = [
      ...GET.slice(0, 2),
      [":authority", "A.test:8443"],
      [":path", "/a?b=c"],
      ["cookie", "a=1"],
      ["x-a", "b"],
      ["cookie", "c=2"],
      ["host", "a.test:8443"],
      ["te", "trailers"],
      ["expect", "100-continue"],
      ["content-length", "12"],
    ];
    const [event] = new Script("server").hear([headers(1, fields, END_HEADERS)]);
    expect(requestOf(event)).toMatchObject({
      head: {
        method: "GET",
        scheme: "https",
        authority: "a.test:8443",
        target: "/a?b=c",
        fields: ["cookie", "a=1; c=2", "x-a", "b", "te", "trailers", "expect", "100-continue"],
        body: { kind: "length", bytes: 12 },
      },
      end: false,
      expectContinue: true,
      takesTrailers: true,
      neverIndexed: undefined,
    });
  });

  test("host stands in for an authority that is missing", () => {
    const fields: Fields = [...GET.filter(([name]) => name !== ":authority"), ["host", "b.test"]];
    expect(new Script("server").say(headers(1, fields))).toEqual(["request 1 GET b.test/ end"]);
    expect(new Script("server").say(headers(1, [...GET, ["host", "a.test:443"]]))).toEqual(["request 1 GET a.test/ end"]);
  });

  test("OPTIONS *, CONNECT and extended CONNECT", () => {
    const method = (name: string): Fields => GET.map((field) => (field[0] === ":method" ? [":method", name] : field));
    const script = new Script("server");
    expect(
      script.say(
        headers(
          1,
          method("OPTIONS").map((field) => (field[0] === ":path" ? [":path", "*"] : field)),
        ),
      ),
    ).toEqual(["request 1 OPTIONS a.test* end"]);
    const [tunnel] = script.hear([
      headers(
        3,
        [
          [":method", "CONNECT"],
          [":authority", "b.test:22"],
        ],
        END_HEADERS,
      ),
    ]);
    expect(requestOf(tunnel)).toMatchObject({
      head: { authority: "b.test:22", target: "", body: NO_BODY },
      end: false,
      protocol: undefined,
    });
    const [socket] = script.hear([headers(5, [...method("CONNECT"), [":protocol", "websocket"]], END_HEADERS)]);
    expect(requestOf(socket)).toMatchObject({ head: { authority: "a.test", target: "/" }, protocol: "websocket" });
    const { client, server, pass } = joined();
    pass();
    expect(client.takesExtendedConnect).toBe(true);
    client.request({ ...REQUEST, method: "CONNECT", body: STREAM_BODY }, false, "", "websocket");
    client.request({ ...REQUEST, method: "CONNECT", authority: "b.test:22", body: STREAM_BODY }, false, "");
    expect(pass()).toEqual(["server request 1 CONNECT a.test/x", "server request 3 CONNECT b.test:22"]);
    expect(server.streams).toBe(2);
  });

  test("fields that must not be indexed are named, and written so again", () => {
    const script = new Script("server");
    const [event] = script.hear([
      frame(HEADERS, END_STREAM | END_HEADERS, 1, Buffer.concat([block(GET), block([["x-key", "k"]], 0x10)])),
    ]);
    expect(requestOf(event).neverIndexed).toEqual(["x-key"]);
    const { client, server } = joined();
    for (let i = 0; i < 3; i++) client.request({ ...REQUEST, fields: ["x-key", "k"] }, true, "", undefined, ["x-key"]);
    server.feed(Uint8Array.from(client.take()), 0);
    for (let i = 0; i < 3; i++) expect(requestOf(server.next()).neverIndexed).toEqual(["x-key"]);
  });

  test("trailers keep only what may trail", () => {
    const script = new Script("server");
    expect(
      script.say(
        OPEN,
        headers(1, [
          ["content-length", "1"],
          ["x-a", "b"],
          ["host", "c"],
          ["te", "trailers"],
          ["cookie", "d"],
        ]),
      ),
    ).toEqual(["request 1 POST a.test/", "trailers 1 x-a|b"]);
  });

  test("lengths are written from the head's meaning", () => {
    const { client, server, pass } = joined();
    client.request({ ...REQUEST, method: "HEAD" }, true, "");
    client.request({ ...REQUEST, method: "PUT", body: { kind: "length", bytes: 2 } }, false, "");
    client.feed(Uint8Array.from(server.take()), 0);
    server.feed(Uint8Array.from(client.take()), 0);
    const head = requestOf(server.next());
    expect(requestOf(server.next()).head.body).toEqual({ kind: "length", bytes: 2 });
    server.respond(head.stream, { status: 200, fields: ["content-length", "99"], body: { kind: "length", bytes: 7 } }, true);
    client.feed(Uint8Array.from(server.take()), 0);
    expect(client.next().kind).toBe("response");
    expect(pass()).toEqual([]);
  });

  test("a head that may not be sent leaves no trace", () => {
    const { client, pass } = joined();
    pass();
    expect(() => client.request({ ...REQUEST, fields: ["x-new", "v", "bad", "a\r\nb"] }, true, "")).toThrow(/must not be sent/);
    expect([client.streams, client.hasOutput]).toEqual([0, false]);
    client.request({ ...REQUEST, fields: ["x-new", "v", "accept", "c"] }, true, "");
    client.request({ ...REQUEST, fields: ["x-new", "v", "accept", "c"] }, true, "");
    expect(pass()).toEqual(["server request 1 GET a.test/x end", "server request 3 GET a.test/x end"]);
  });

  test("a head longer than a frame is continued", () => {
    const { client, server, pass } = joined();
    pass();
    const long = Array.from({ length: 40 }, (_, i) => [`x-${i}`, `${i}`.repeat(300)]).flat();
    client.request({ ...REQUEST, fields: long }, true, "");
    const bytes = Uint8Array.from(client.take());
    expect(readFrames(bytes).map(frameLine)).toEqual(["HEADERS 1 end", "CONTINUATION 1"]);
    server.feed(bytes, 0);
    expect(requestOf(server.next()).head.fields).toEqual(long);
  });
});

describe("however the bytes are split", () => {
  test("the events are the same", () => {
    const conversation = Buffer.concat([
      headers(1, POST, END_HEADERS),
      frame(DATA, 0, 1, "abc"),
      ping(),
      frame(DATA, 0x8, 1, "\x02defxx"),
      headers(3, GET, END_STREAM),
      frame(9, END_HEADERS, 3, block([["x-a", "b"]])),
      windowUpdate(0, 10),
      frame(0xbb, 0, 0, "unknown"),
      headers(1, [["x-t", "1"]]),
      frame(DATA, END_STREAM | 0x8, 5, "\x00"),
    ]);
    const read = (chunks: readonly Uint8Array[]): string[] => {
      const script = new Script("server");
      let text = "";
      const lines: string[] = [];
      for (const chunk of chunks) {
        // Overwritten after each turn, as a thread's one read buffer is.
        const lent = Uint8Array.from(chunk);
        script.connection.feed(lent, 0);
        for (let event = script.connection.next(); event.kind !== "need"; event = script.connection.next()) {
          if (event.kind === "data") text += Buffer.from(event.bytes).toString("latin1");
          else lines.push(eventLine(event));
          if (event.kind === "error") return [text, ...lines];
        }
        lent.fill(0xee);
      }
      return [text, ...lines];
    };
    const whole = read([conversation]);
    expect(whole).toEqual([
      "abcdef",
      "request 1 POST a.test/",
      "request 3 GET a.test/ end",
      "trailers 1 x-t|1",
      "error frame_on_idle_stream",
    ]);
    for (let at = 1; at < conversation.length; at++) {
      expect(read([conversation.subarray(0, at), conversation.subarray(at)])).toEqual(whole);
    }
    expect(read(Array.from(conversation, (byte) => Uint8Array.of(byte)))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 20, maxLength: 60 }), (sizes) => {
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const size of sizes) {
          chunks.push(conversation.subarray(at, at + size));
          at += size;
        }
        expect(read([...chunks, conversation.subarray(at)])).toEqual(whole);
      }),
      { numRuns: 50 },
    );
  });

  test("bytes fed before the earlier ones were read, and settled, are not lost", () => {
    const script = new Script("server");
    const { connection } = script;
    const lent = Buffer.from(Buffer.concat([OPEN, frame(DATA, 0, 1, "abc")]));
    connection.feed(lent, 0);
    expect(connection.next().kind).toBe("request");
    connection.settle();
    lent.fill(0xee);
    connection.feed(frame(DATA, 0, 1, "de"), 0);
    connection.feed(frame(DATA, END_STREAM, 1, "f"), 0);
    const text: string[] = [];
    for (let event = connection.next(); event.kind === "data"; event = connection.next())
      text.push(Buffer.from(event.bytes).toString());
    expect(text.join("")).toBe("abcdef");
  });
});

describe("windows", () => {
  test("what is received is given back when half a window was consumed, end to end", () => {
    const limits = { streamWindowBytes: 1000, connectionWindowBytes: 70_000 };
    const script = new Script("server", limits);
    const [event] = script.hear([OPEN]);
    const { stream } = requestOf(event);
    script.say(frame(DATA, 0, 1, Buffer.alloc(900)));
    script.connection.consumed(stream, 499);
    expect(script.sent()).toEqual([]);
    script.connection.consumed(stream, 1);
    expect(script.sent()).toEqual(["WINDOW_UPDATE 1 500"]);
    // No more than was held can be given back, and padding is consumed at once.
    script.connection.consumed(stream, 5000);
    expect(script.sent()).toEqual([]);
    script.say(frame(DATA, 0x8, 1, Buffer.concat([Buffer.from([200]), Buffer.alloc(201)])));
    expect(script.sent()).toEqual(["WINDOW_UPDATE 1 601"]);
  });

  test("what a stream held when it ended is given back to the connection", () => {
    const limits = { streamWindowBytes: 65_535, connectionWindowBytes: 65_535 };
    const script = new Script("server", limits);
    const [event] = script.hear([OPEN, ...Array<Buffer>(4).fill(frame(DATA, 0, 1, Buffer.alloc(10_000)))]);
    script.connection.reset(requestOf(event).stream, 8);
    expect(script.sent()).toEqual(["RST_STREAM 1 8", "WINDOW_UPDATE 0 40000"]);
    // And so is what comes for it afterwards.
    script.say(...Array<Buffer>(4).fill(frame(DATA, 0, 1, Buffer.alloc(10_000))));
    expect(script.sent()).toEqual(["WINDOW_UPDATE 0 40000"]);
  });

  test("what is sent waits for both windows and goes on when told", () => {
    const script = new Script("server", {}, settings([4, 100]));
    const [event] = script.hear([headers(1, GET)]);
    const { stream } = requestOf(event);
    const { connection } = script;
    connection.respond(stream, OK, false);
    expect(connection.data(stream, Buffer.alloc(250), true)).toBe(100);
    expect(script.say(windowUpdate(0, 1000))).toEqual([]);
    expect(script.say(windowUpdate(1, 50))).toEqual(["window 1"]);
    expect(connection.data(stream, Buffer.alloc(150), true)).toBe(50);
    // RFC 9113 6.9.2: the difference of settings, which may be negative.
    expect(script.say(settings([4, 40]), windowUpdate(1, 60))).toEqual([]);
    expect(script.say(settings([4, 140]))).toEqual(["window 1"]);
    expect(connection.data(stream, Buffer.alloc(100), true)).toBe(100);
    expect(stream.isClosed).toBe(true);
    expect(script.sent().filter((line) => line.startsWith("DATA"))).toEqual(["DATA 1 100", "DATA 1 50", "DATA 1 100 end"]);
  });

  test("streams that wait for the connection's window take turns", () => {
    const script = new Script("server");
    const streams = script.hear([headers(1, GET), headers(3, GET)]).map((event) => requestOf(event).stream);
    const left = new Map(streams.map((stream) => [stream, 200_000]));
    const { connection } = script;
    const order: number[] = [];
    const send = (stream: (typeof streams)[number]): void => {
      order.push(stream.id);
      const rest = left.get(stream) ?? 0;
      left.set(stream, rest - connection.data(stream, Buffer.alloc(rest), true));
    };
    for (const stream of streams) send(stream);
    script.say(windowUpdate(1, 1_000_000), windowUpdate(3, 1_000_000));
    for (let i = 0; i < 20; i++) {
      connection.take();
      connection.feed(windowUpdate(0, 50_000), 0);
      for (let event = connection.next(); event.kind === "window"; event = connection.next())
        send(event.stream as (typeof streams)[number]);
    }
    expect([...left.values()]).toEqual([0, 0]);
    expect(order.slice(0, 6)).toEqual([1, 3, 1, 3, 1, 3]);
  });

  test("the end is said by the last DATA frame, as long as it has not left", () => {
    const script = new Script("server");
    const { connection } = script;
    const [one, two, three] = script
      .hear([headers(1, GET), headers(3, GET), headers(5, GET)])
      .map((event) => requestOf(event).stream);
    if (one === undefined || two === undefined || three === undefined) throw new Error("no requests");
    const end = (stream: typeof one): number => connection.data(stream, Buffer.alloc(0), true);
    connection.data(one, Buffer.alloc(3), false);
    end(one);
    connection.data(two, Buffer.alloc(3), false);
    connection.ping();
    end(two);
    connection.data(three, Buffer.alloc(3), false);
    expect(script.sent()).toEqual(["DATA 1 3 end", "DATA 3 3", "PING", "DATA 3 0 end", "DATA 5 3"]);
    connection.ping();
    connection.reset(one, 0);
    end(three);
    expect(script.sent()).toEqual(["PING", "DATA 5 0 end"]);
    expect([one, two, three].every((stream) => stream.isClosed)).toBe(true);
  });

  test("frames are no larger than the peer takes", () => {
    const script = new Script("server", {}, settings([4, 1_000_000], [5, 20_000]));
    const [event] = script.hear([headers(1, GET), windowUpdate(0, 1_000_000)]);
    script.connection.data(requestOf(event).stream, Buffer.alloc(45_000), true);
    expect(script.sent()).toEqual(["DATA 1 20000", "DATA 1 20000", "DATA 1 5000 end"]);
  });
});

describe("the end of streams and connections", () => {
  test("a reset tells whether the request may be sent again", () => {
    const script = new Script("client");
    for (let i = 0; i < 3; i++) script.connection.request(REQUEST, true, "");
    expect(script.say(rstStream(1, 7), rstStream(3, 8), headers(5, [[":status", "200"]], END_HEADERS), rstStream(5, 7))).toEqual([
      "reset 1 7 unprocessed",
      "reset 3 8",
      "response 5 200",
      "reset 5 7",
    ]);
    expect(script.connection.streams).toBe(0);
  });

  test("after GOAWAY, what the peer will not process is told, the rest goes on, nothing new begins", () => {
    const script = new Script("client");
    for (let i = 0; i < 3; i++) script.connection.request(REQUEST, true, "");
    expect(script.say(goAway(0x7fff_ffff, 0))).toEqual(["goaway 0"]);
    expect([script.connection.hasRoom, script.connection.isGoingAway]).toEqual([false, true]);
    expect(script.connection.request(REQUEST, true, "")).toBeUndefined();
    expect([...script.say(goAway(1, 0))].sort()).toEqual(["goaway 0", "reset 3 7 unprocessed", "reset 5 7 unprocessed"]);
    expect(script.say(headers(1, [[":status", "200"]]))).toEqual(["response 1 200 end"]);
  });

  test("a server drains in two steps", () => {
    const script = new Script("server");
    const [event] = script.hear([headers(1, GET)]);
    script.connection.shutdown();
    expect(script.sent()).toEqual([`GOAWAY ${0x7fff_ffff} 0`, "PING"]);
    // Under way when we said so: still taken.
    expect(script.say(headers(3, GET))).toEqual(["request 3 GET a.test/ end"]);
    expect(script.connection.isDrained).toBe(false);
    script.say(ping("DDDDDDDD", ACK));
    expect(script.sent()).toEqual(["GOAWAY 3 0"]);
    expect(script.connection.isDrained).toBe(true);
    // Later ones are not looked at.
    expect(script.say(headers(5, POST, END_HEADERS), frame(DATA, 0, 5, "x"), headers(3, GET))).toEqual([
      "refused 3 stream_closed",
    ]);
    script.connection.respond(requestOf(event).stream, { ...OK, body: NO_BODY }, true);
    expect(script.connection.streams).toBe(0);
  });

  test("pings are answered, and ours come back as `pong`", () => {
    const script = new Script("server");
    script.say(ping("abcdefgh"));
    expect(readFrames(script.connection.take()).map(({ flags, payload }) => `${flags} ${payload}`)).toEqual(["1 abcdefgh"]);
    script.connection.ping();
    const [sent] = readFrames(script.connection.take());
    expect(script.say(ping(sent?.payload.toString(), ACK))).toEqual(["pong"]);
  });

  test("the peer's limit of streams is kept, and ours", () => {
    const script = new Script("client", { maxConcurrentStreams: 3 }, settings([3, 2]));
    const open = (): boolean => script.connection.request(REQUEST, true, "") !== undefined;
    expect([open(), open(), open()]).toEqual([true, true, false]);
    script.say(settings([3, 100]));
    expect([open(), open()]).toEqual([true, false]);
    script.say(headers(1, [[":status", "200"]]));
    expect(open()).toBe(true);
  });

  test("after the end every method does nothing", () => {
    const script = new Script("server");
    const [event] = script.hear([OPEN]);
    const { stream } = requestOf(event);
    const { connection } = script;
    connection.goAway(0);
    expect(script.sent()).toEqual(["GOAWAY 1 0"]);
    connection.respond(stream, OK, false);
    connection.data(stream, Buffer.alloc(3), true);
    connection.trailers(stream, []);
    connection.reset(stream, 8);
    connection.consumed(stream, 10);
    connection.shutdown();
    connection.ping();
    expect(script.say(headers(3, GET))).toEqual([]);
    expect(connection.hasOutput).toBe(false);
  });

  test("what was taken stays as it is until the next time, and an idle connection holds no buffer", () => {
    const script = new Script("server");
    script.say(ping("aaaaaaaa"));
    const first = script.connection.take();
    const copy = Buffer.from(first);
    script.say(ping("bbbbbbbb"));
    expect(Buffer.compare(first, copy)).toBe(0);
    expect(script.connection.take()).not.toHaveLength(0);
    expect(script.connection.take()).toHaveLength(0);
  });
});
