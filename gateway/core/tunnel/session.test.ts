import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { NO_BODY, type RequestHead, type ResponseHead, STREAM_BODY } from "../http/message.ts";
import { decodeFrame, encodeFrame, type TunnelFrame } from "./frame.ts";
import {
  CONNECTION_WINDOW_BYTES,
  MAX_TUNNEL_DATA_BYTES,
  MAX_TUNNEL_FIELDS,
  MAX_TUNNEL_HEAD_BYTES,
  MAX_TUNNEL_REASON_CHARS,
  MAX_TUNNEL_STREAMS,
  STREAM_WINDOW_BYTES,
} from "./limits.ts";
import { type TunnelEvent, TunnelSession } from "./session.ts";

const GET: RequestHead = { method: "GET", scheme: "https", authority: "shop.test", target: "/", fields: [], body: NO_BODY };
const POST: RequestHead = { ...GET, method: "POST", body: STREAM_BODY };
const OK: ResponseHead = { status: 200, fields: [], body: STREAM_BODY };

/** An edge and a gateway, with nothing between them but the order of messages. */
class Pair {
  edge = new TunnelSession("opener");
  readonly gateway = new TunnelSession("acceptor");
  readonly events: { readonly at: "edge" | "gateway"; readonly event: TunnelEvent }[] = [];

  /** Carries everything over until nobody says anything more. */
  carry(): this {
    for (let more = true; more; ) more = this.step("edge") || this.step("gateway");
    return this;
  }

  /** What `from` has to say arrives. */
  step(from: "edge" | "gateway"): boolean {
    const [sender, receiver, at] =
      from === "edge" ? ([this.edge, this.gateway, "gateway"] as const) : ([this.gateway, this.edge, "edge"] as const);
    const messages = sender.take();
    for (const message of messages) {
      const event = receiver.receive(message);
      if (event.kind !== "none") this.events.push({ at, event });
    }
    return messages.length > 0;
  }

  told(at: "edge" | "gateway"): readonly string[] {
    return this.events.filter((one) => one.at === at).map(({ event }) => event.kind);
  }
}

const bytes = (length: number) => new Uint8Array(length).fill(7);

describe("frames", () => {
  const FRAMES: readonly TunnelFrame[] = [
    { kind: "open", stream: 1, head: { ...POST, fields: ["x-a", "\u00e9\u4e16"], body: { kind: "length", bytes: 3 } } },
    { kind: "head", stream: 0xffff_fffe, head: OK },
    { kind: "data", stream: 2, bytes: bytes(MAX_TUNNEL_DATA_BYTES) },
    { kind: "end", stream: 2 },
    { kind: "reset", stream: 2, code: "broken", reason: "why\u00e9" },
    { kind: "window", stream: 0, bytes: 0xffff_ffff },
    { kind: "ping", number: 7 },
    { kind: "pong", number: 0 },
    { kind: "goaway" },
  ];
  it.each(FRAMES.map((frame) => [frame.kind, frame] as const))("%s is read as it was written", (_, frame) => {
    expect(decodeFrame(encodeFrame(frame))).toEqual({ ok: true, value: frame });
  });

  it.each([
    ["nothing", [], "no header"],
    ["an unknown type", [99, 0, 0, 0, 1], "no frame of type 99"],
    ["a stream's frame on the connection", [4, 0, 0, 0, 0], "does not belong to the connection"],
    ["a connection's frame on a stream", [9, 0, 0, 0, 1], "does not belong to a stream"],
    ["empty DATA", [3, 0, 0, 0, 1], "from 1 to"],
    ["too much DATA", [3, 0, 0, 0, 1, ...bytes(MAX_TUNNEL_DATA_BYTES + 1)], `${MAX_TUNNEL_DATA_BYTES}`],
    ["END with a payload", [4, 0, 0, 0, 1, 0], "no payload"],
    ["WINDOW of 0", [6, 0, 0, 0, 1, 0, 0, 0, 0], "above 0"],
    ["a short WINDOW", [6, 0, 0, 0, 1, 1], "above 0"],
    ["an unknown code", [5, 0, 0, 0, 1, 9], "nobody knows"],
    ["a reason that is no UTF-8", [5, 0, 0, 0, 1, 1, 0xff], "not UTF-8"],
    ["too long a reason", [5, 0, 0, 0, 1, 1, ...Buffer.from("r".repeat(MAX_TUNNEL_REASON_CHARS + 1))], "at most"],
    ["a head that is no JSON", [1, 0, 0, 0, 1, 0x7b], "JSON"],
    ["too long a head", [1, 0, 0, 0, 1, ...bytes(MAX_TUNNEL_HEAD_BYTES + 1)], `${MAX_TUNNEL_HEAD_BYTES}`],
    ["a head that lacks everything", [1, 0, 0, 0, 1, ...Buffer.from("{}")], "lacks something"],
    ["an odd list of fields", [2, 0, 0, 0, 1, ...Buffer.from('{"status":200,"fields":["a"],"body":null}')], "lacks something"],
    ["an interim status", [2, 0, 0, 0, 1, ...Buffer.from('{"status":101,"fields":[],"body":null}')], "lacks something"],
  ] as const)("%s is no frame", (_, message, problem) => {
    const decoded = decodeFrame(Uint8Array.from(message));
    expect(decoded.ok ? "read" : decoded.error).toContain(problem);
  });

  it("too many fields fit no frame, either way", () => {
    const fields = new Array<string>(2 * (MAX_TUNNEL_FIELDS + 1)).fill("a");
    expect(() => encodeFrame({ kind: "open", stream: 1, head: { ...GET, fields } })).toThrow(RangeError);
    const payload = Buffer.from(JSON.stringify({ ...GET, fields, body: null }));
    expect(decodeFrame(Buffer.concat([Buffer.from([1, 0, 0, 0, 1]), payload]))).toMatchObject({ ok: false });
  });
});

describe("one request", () => {
  it("goes over whole, and leaves nothing behind", () => {
    const pair = new Pair();
    const stream = pair.edge.open({ ...POST, body: { kind: "length", bytes: 5 } });
    expect(pair.edge.data(stream, bytes(5))).toBe(5);
    pair.edge.end(stream);
    pair.carry();
    expect(pair.told("gateway")).toEqual(["open", "data", "end"]);
    pair.gateway.consumed(stream, 5);
    pair.gateway.head(stream, OK);
    pair.gateway.data(stream, bytes(3));
    pair.gateway.end(stream);
    pair.carry();
    expect([pair.edge.live, pair.gateway.live]).toEqual([0, 0]);
    // Unread still, so the session remembers.
    expect(pair.edge.idle).toBeUndefined();
    pair.edge.consumed(stream, 3);
    pair.carry();
    expect(pair.edge.idle).toEqual({ nextStream: 2, room: CONNECTION_WINDOW_BYTES });
    expect(pair.gateway.idle).toEqual({ nextStream: 2, room: CONNECTION_WINDOW_BYTES });
  });

  it.each([
    ["HEAD", { ...GET, method: "HEAD" }, { ...OK, body: { kind: "length", bytes: 9 } }],
    ["204", GET, { ...OK, status: 204 }],
    ["304", GET, { ...OK, status: 304, body: { kind: "length", bytes: 9 } }],
  ] as const)("a response without a body is over with its head: %s", (_, request, response) => {
    const pair = new Pair();
    const stream = pair.edge.open(request);
    pair.carry();
    pair.gateway.head(stream, response);
    pair.gateway.end(stream);
    pair.carry();
    expect([pair.edge.idle, pair.gateway.idle]).not.toContain(undefined);
  });

  it("an answer may come before the request is whole, and then the rest is not wanted", () => {
    const pair = new Pair();
    const stream = pair.edge.open(POST);
    pair.carry();
    pair.gateway.head(stream, { ...OK, body: NO_BODY });
    pair.gateway.reset(stream, "cancelled", "answered");
    pair.edge.data(stream, bytes(100));
    pair.carry();
    expect(pair.told("edge")).toEqual(["head", "reset", "room"]);
    expect(pair.told("gateway")).toEqual(["open"]);
    expect([pair.edge.idle?.room, pair.gateway.idle?.room]).toEqual([CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES]);
  });

  it.each([
    ["longer", 4, ["open", "data", "reset"]],
    ["shorter", 2, ["open", "data", "reset"]],
  ] as const)("a message that is %s than it declared is broken off on both sides", (_, length, told) => {
    const pair = new Pair();
    const stream = pair.edge.open({ ...POST, body: { kind: "length", bytes: 3 } });
    pair.edge.data(stream, bytes(length));
    pair.edge.end(stream);
    pair.carry();
    expect(pair.told("gateway")).toEqual(length > 3 ? told.filter((kind) => kind !== "data") : told);
    expect(pair.told("edge")).toContain("reset");
    expect([pair.edge.live, pair.gateway.live]).toEqual([0, 0]);
  });
});

describe("windows", () => {
  it("a reader that stands still stops its stream at STREAM_WINDOW_BYTES and no other", () => {
    const pair = new Pair();
    const [slow, quick] = [pair.edge.open(POST), pair.edge.open(POST)];
    expect(pair.edge.data(slow, bytes(2 * STREAM_WINDOW_BYTES))).toBe(STREAM_WINDOW_BYTES);
    expect(pair.edge.data(slow, bytes(1))).toBe(0);
    expect(pair.edge.data(quick, bytes(10))).toBe(10);
    pair.carry();
    pair.gateway.consumed(slow, STREAM_WINDOW_BYTES / 2);
    pair.carry();
    expect(pair.told("edge")).toEqual(["room"]);
    expect(pair.edge.room(slow)).toBe(STREAM_WINDOW_BYTES / 2);
  });

  it("all readers together stop the connection at CONNECTION_WINDOW_BYTES", () => {
    const pair = new Pair();
    const streams = Array.from({ length: 17 }, () => pair.edge.open(POST));
    const sent = streams.map((stream) => pair.edge.data(stream, bytes(STREAM_WINDOW_BYTES))).reduce((a, b) => a + b);
    expect(sent).toBe(CONNECTION_WINDOW_BYTES);
    pair.carry();
    for (const stream of streams) pair.gateway.reset(stream, "cancelled", "");
    pair.carry();
    expect(pair.edge.idle).toEqual({ nextStream: 18, room: CONNECTION_WINDOW_BYTES });
  });

  it("whoever sends beyond a window breaks the protocol", () => {
    const gateway = new TunnelSession("acceptor");
    gateway.receive(encodeFrame({ kind: "open", stream: 1, head: POST }));
    const data = encodeFrame({ kind: "data", stream: 1, bytes: bytes(MAX_TUNNEL_DATA_BYTES) });
    for (let sent = 0; sent < STREAM_WINDOW_BYTES; sent += MAX_TUNNEL_DATA_BYTES) expect(gateway.receive(data).kind).toBe("data");
    expect(gateway.receive(data)).toMatchObject({ kind: "violation", reason: expect.stringContaining("window") });
  });

  it.each([0, 1])("whoever grants more than a window breaks the protocol (stream %d)", (stream) => {
    const edge = new TunnelSession("opener");
    edge.open(GET);
    expect(edge.receive(encodeFrame({ kind: "window", stream, bytes: 1 }))).toMatchObject({ kind: "violation" });
  });
});

describe("order", () => {
  const gateway = () => new TunnelSession("acceptor");
  const open = (stream: number) => encodeFrame({ kind: "open", stream, head: POST });
  it.each([
    ["a stream out of turn", [open(2)]],
    ["a stream twice", [open(1), open(1)]],
    ["data of a stream that never was", [encodeFrame({ kind: "data", stream: 1, bytes: bytes(1) })]],
    ["a response from whoever opens streams", [open(1), encodeFrame({ kind: "head", stream: 1, head: OK })]],
    [
      "data after the end",
      [open(1), encodeFrame({ kind: "end", stream: 1 }), encodeFrame({ kind: "data", stream: 1, bytes: bytes(1) })],
    ],
    ["two ends", [open(1), encodeFrame({ kind: "end", stream: 1 }), encodeFrame({ kind: "end", stream: 1 })]],
    ["a stream after GOAWAY", [encodeFrame({ kind: "goaway" }), open(1)]],
  ] as const)("%s breaks the protocol", (_, messages) => {
    const session = gateway();
    expect(messages.map((message) => session.receive(message).kind).at(-1)).toBe("violation");
  });

  it("an edge that is sent a stream, a body before its head, or a second head, hears of a violation", () => {
    for (const frames of [
      [{ kind: "open", stream: 1, head: GET }],
      [{ kind: "data", stream: 1, bytes: bytes(1) }],
      [
        { kind: "head", stream: 1, head: OK },
        { kind: "head", stream: 1, head: OK },
      ],
    ] as const) {
      const edge = new TunnelSession("opener");
      edge.open(GET);
      expect(frames.map((frame) => edge.receive(encodeFrame(frame)).kind).at(-1)).toBe("violation");
    }
  });

  it("MAX_TUNNEL_STREAMS are in flight at most; one more is refused, and has never been sent", () => {
    const pair = new Pair();
    for (let i = 0; i < MAX_TUNNEL_STREAMS; i++) pair.edge.open(GET);
    expect(pair.edge.accepts).toBe(false);
    pair.edge.open(GET);
    pair.carry();
    expect(pair.events.at(-1)).toMatchObject({ at: "edge", event: { kind: "reset", code: "refused" } });
    expect(pair.gateway.live).toBe(MAX_TUNNEL_STREAMS);
  });
});

describe("draining", () => {
  it("what was opened before the edge heard of it is finished, then both are", () => {
    const pair = new Pair();
    const before = pair.edge.open(GET);
    pair.gateway.goaway();
    const meanwhile = pair.edge.open(GET);
    pair.carry();
    expect(pair.told("gateway")).toEqual(["open", "open", "goaway"]);
    expect([pair.edge.accepts, pair.gateway.finished]).toEqual([false, false]);
    for (const stream of [before, meanwhile]) {
      pair.gateway.head(stream, { ...OK, body: NO_BODY });
      pair.carry();
    }
    expect([pair.edge.finished, pair.gateway.finished]).toEqual([true, true]);
  });

  it("an answer to PING carries its number", () => {
    const pair = new Pair();
    pair.edge.ping(42);
    expect(pair.carry().events).toEqual([{ at: "edge", event: { kind: "pong", number: 42 } }]);
  });
});

test("whatever both sides do: every byte arrives once and in order, no window is passed, and nothing is left behind", () => {
  const action = fc.record({
    what: fc.constantFrom("open", "send", "answer", "read", "carry", "end", "reset", "forget"),
    side: fc.constantFrom("edge" as const, "gateway" as const),
    which: fc.nat(7),
    size: fc.nat(STREAM_WINDOW_BYTES),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => new World().run(actions)),
    { numRuns: 200 },
  );
});

/** Plays drivers on both ends, and keeps the books that the sessions have to agree with. */
class World {
  readonly pair = new Pair();
  #seen = 0;
  readonly #sent = new Map<string, number>();
  readonly #got = new Map<string, number>();
  readonly #unread = new Map<string, number>();
  readonly #gone = new Set<number>();

  run(actions: readonly { what: string; side: "edge" | "gateway"; which: number; size: number }[]): void {
    let opened = 0;
    for (const { what, side, which, size } of actions) {
      const session = this.pair[side];
      const stream = 1 + (which % Math.max(1, opened));
      if (what === "open" && this.pair.edge.accepts) opened = this.pair.edge.open(POST);
      if (what === "answer") this.pair.gateway.head(stream, OK);
      if (what === "send") this.#add(this.#sent, side, stream, session.data(stream, bytes(size)));
      if (what === "end") session.end(stream);
      if (what === "read") this.#read(side, stream, size);
      if (what === "carry") this.pair.step(side);
      if (what === "forget") this.#forget();
      if (what === "reset") {
        session.reset(stream, "cancelled", "");
        this.#gone.add(stream);
      }
      this.#look();
    }
    this.#close(opened);
  }

  /** An edge without streams is forgotten, and comes back by what it left. */
  #forget(): void {
    this.pair.step("edge");
    const { idle } = this.pair.edge;
    if (idle !== undefined) this.pair.edge = new TunnelSession("opener", idle);
  }

  #add(book: Map<string, number>, side: string, stream: number, count: number): void {
    book.set(`${side} ${stream}`, (book.get(`${side} ${stream}`) ?? 0) + count);
  }

  #read(side: "edge" | "gateway", stream: number, size: number): void {
    const length = Math.min(size, this.#unread.get(`${side} ${stream}`) ?? 0);
    this.pair[side].consumed(stream, length);
    this.#add(this.#unread, side, stream, -length);
  }

  #look(): void {
    for (const { at, event } of this.pair.events.slice(this.#seen)) {
      if (event.kind === "violation") throw new Error(event.reason);
      if (event.kind === "reset") this.#gone.add(event.stream);
      if (event.kind !== "data") continue;
      this.#add(this.#got, at === "edge" ? "gateway" : "edge", event.stream, event.bytes.length);
      this.#add(this.#unread, at, event.stream, event.bytes.length);
      const kept = [...this.#unread].filter(([key]) => key.startsWith(at) && !this.#gone.has(Number(key.split(" ")[1])));
      expect(kept.reduce((sum, [, length]) => sum + length, 0)).toBeLessThanOrEqual(CONNECTION_WINDOW_BYTES);
    }
    this.#seen = this.pair.events.length;
  }

  /** Everything that is still open is brought to an end. */
  #close(opened: number): void {
    for (let stream = 1; stream <= opened; stream++) {
      this.pair.carry();
      this.pair.gateway.head(stream, OK);
      for (const side of ["edge", "gateway"] as const) this.pair[side].end(stream);
      this.pair.carry();
      this.#look();
      for (const side of ["edge", "gateway"] as const) this.#read(side, stream, Number.POSITIVE_INFINITY);
    }
    this.pair.carry();
    this.#look();
    const state = { nextStream: opened + 1, room: CONNECTION_WINDOW_BYTES };
    expect([this.pair.edge.idle, this.pair.gateway.idle]).toEqual([state, state]);
    for (const [key, sent] of this.#sent) {
      if (!this.#gone.has(Number(key.split(" ")[1]))) expect([key, this.#got.get(key) ?? 0]).toEqual([key, sent]);
    }
  }
}
