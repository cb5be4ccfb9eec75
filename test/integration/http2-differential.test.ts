/** Our HTTP/2 codec against node:http2 over memory: conversations in both roles, and verdicts on frames that break a rule. */
import http2 from "node:http2";
import { describe, expect, test } from "vitest";
import {
  DEFAULT_HTTP2_LIMITS,
  Http2Connection,
  type Http2Event,
  Http2Settings,
  type Http2Stream,
} from "../../gateway/wire/index.ts";
import { Dice } from "../fuzz/dice.ts";
import { headers } from "../support/http2-frames.ts";
import { Bridge, judgedByClient, judgedByServer, type Verdict } from "../support/http2-node.ts";
import { CONNECTION_CASES, REQUEST_HEAD_CASES, RESPONSE_CASES, STREAM_CASES } from "../wire/http2-cases.ts";
import { HTTP2_DISAGREEMENTS } from "../wire/http2-disagreements.ts";

const SEEDS = Array.from({ length: 40 }, (_, i) => 20_261_128 + i);

interface Message {
  readonly path: string;
  readonly method: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly trailers: Readonly<Record<string, string>>;
}

/** What came back, in the terms of what was sent: the other end echoes. */
type Echo = Omit<Message, "path" | "method">;

function message(dice: Dice, i: number): Message {
  const record = (prefix: string, most: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: dice.int(most) }, (_, n) => [
        `${prefix}-${dice.pick(["a", "b", "same", `n${n}`])}`,
        dice.pick(["constant", dice.text("abcXYZ019 -_/;=", 0, 60).trim(), dice.text("abc", 200, 900)]),
      ]),
    );
  const bytes = dice.pick([0, 1, 100, 16_384, 16_385, 70_000, 200_000]);
  return {
    path: `/${i}/${dice.text("abc/", 0, 30)}`,
    method: bytes > 0 ? "POST" : dice.pick(["GET", "POST", "DELETE"]),
    fields: record("x-f", 8),
    body: Buffer.alloc(bytes, dice.text("abcdef", 1, 9)),
    trailers: dice.chance(0.4) ? record("x-t", 4) : {},
  };
}

const cutBy = (dice: Dice, isFine: boolean) =>
  function* (bytes: Buffer): Iterable<Uint8Array> {
    for (let at = 0; at < bytes.length; ) {
      const size = isFine ? 1 + dice.int(dice.pick([1, 20, 3000])) : bytes.length;
      yield bytes.subarray(at, at + size);
      at += size;
    }
  };

const list = (record: Readonly<Record<string, string>>): string[] => Object.entries(record).flat();
const record = (fields: readonly string[], prefix: string): Record<string, string> =>
  Object.fromEntries(fields.flatMap((name, i) => (i % 2 === 0 && name.startsWith(prefix) ? [[name, fields[i + 1] ?? ""]] : [])));
const own = (headers: http2.IncomingHttpHeaders, prefix: string): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (name.startsWith(prefix) ? [[name, String(value)]] : [])),
  );

/** What waits to be sent on a stream of ours, in order, as windows allow. */
class Sending {
  readonly #connection: Http2Connection<Sending | undefined>;
  readonly #stream: Http2Stream<Sending | undefined>;
  readonly #queue: Buffer[] = [];
  #trailers: string[] | undefined;

  constructor(connection: Http2Connection<Sending | undefined>, stream: Http2Stream<Sending | undefined>) {
    this.#connection = connection;
    this.#stream = stream;
  }

  push(bytes: Uint8Array): void {
    this.#queue.push(Buffer.from(bytes));
    this.go();
  }

  end(trailers: string[]): void {
    this.#trailers = trailers;
    this.go();
  }

  go(): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const taken = this.#connection.data(this.#stream, first, false);
      this.#connection.consumed(this.#stream, taken);
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        return;
      }
      this.#queue.shift();
    }
    if (this.#trailers === undefined) return;
    if (this.#trailers.length > 0) this.#connection.trailers(this.#stream, this.#trailers);
    else this.#connection.data(this.#stream, Buffer.alloc(0), true);
  }
}

function echoServer(connection: Http2Connection<Sending | undefined>, event: Http2Event<Sending | undefined>): void {
  if (event.kind === "error") throw new Error(event.error.message);
  if (event.kind === "refused") throw new Error(event.error.message);
  if (event.kind === "window") event.stream.owner?.go();
  if (event.kind === "request") {
    event.stream.owner = new Sending(connection, event.stream);
    const fields = list(record(event.head.fields, "x-f"));
    connection.respond(event.stream, { status: 200, fields, body: { kind: "stream" } }, false);
    if (event.end) event.stream.owner.end([]);
  }
  if (event.kind === "data") {
    if (event.bytes.length > 0) event.stream.owner?.push(event.bytes);
    if (event.end) event.stream.owner?.end([]);
  }
  if (event.kind === "trailers") event.stream.owner?.end(event.fields);
}

function limitsBy(dice: Dice): typeof DEFAULT_HTTP2_LIMITS {
  return {
    ...DEFAULT_HTTP2_LIMITS,
    streamWindowBytes: dice.pick([1000, 65_535, 300_000]),
    connectionWindowBytes: dice.pick([65_535, 100_000, 1_000_000]),
    maxBufferedBytes: dice.pick([20_000, 256 * 1024]),
    maxDecoderTableBytes: dice.pick([0, 100, 4096, 16_384]),
    maxEncoderTableBytes: dice.pick([0, 100, 4096]),
    maxFrameBytes: dice.pick([16_384, 100_000]),
    emptyFrames: { burst: 1e6, perSecond: 1 },
    windowUpdates: { burst: 1e6, perSecond: 1 },
  };
}

const nodeSettings = (dice: Dice): http2.Settings => ({
  initialWindowSize: dice.pick([1000, 65_535, 1_000_000]),
  headerTableSize: dice.pick([0, 128, 4096, 65_536]),
  maxFrameSize: dice.pick([16_384, 50_000]),
});

function asServer(dice: Dice, messages: readonly Message[]): Promise<Echo[]> {
  const settings = new Http2Settings({ role: "server", limits: limitsBy(dice) });
  const connection = new Http2Connection<Sending | undefined>(settings);
  const bridge = new Bridge(
    connection,
    (event) => echoServer(connection, event as Http2Event<Sending | undefined>),
    cutBy(dice, dice.chance(0.5)),
  );
  const session = http2.connect("http://a.test", { createConnection: () => bridge.socket, settings: nodeSettings(dice) });
  const echoes = messages.map(
    ({ path, method, fields, body, trailers }) =>
      new Promise<Echo>((resolve, reject) => {
        const hasTrailers = Object.keys(trailers).length > 0;
        const stream = session.request(
          { ":path": path, ":method": method, ...fields },
          { endStream: false, waitForTrailers: hasTrailers },
        );
        const got: { fields: Record<string, string>; trailers: Record<string, string>; parts: Buffer[] } = {
          fields: {},
          trailers: {},
          parts: [],
        };
        stream.on("wantTrailers", () => stream.sendTrailers(trailers));
        stream.on("response", (headers) => {
          got.fields = own(headers, "x-f");
        });
        stream.on("trailers", (headers) => {
          got.trailers = own(headers, "x-t");
        });
        stream.on("data", (part: Buffer) => got.parts.push(part));
        stream.on("close", () => resolve({ fields: got.fields, trailers: got.trailers, body: Buffer.concat(got.parts) }));
        stream.on("error", reject);
        stream.end(body);
      }),
  );
  return Promise.all(echoes).finally(() => session.destroy());
}

function asClient(dice: Dice, messages: readonly Message[]): Promise<Echo[]> {
  const settings = new Http2Settings({ role: "client", limits: limitsBy(dice) });
  const connection = new Http2Connection<Sending | undefined>(settings);
  const got = new Map<number, { fields: Record<string, string>; trailers: Record<string, string>; parts: Buffer[] }>();
  let left = messages.length;
  let finish: (error?: Error) => void = () => {};
  const finished = new Promise<void>((resolve, reject) => {
    finish = (error) => (error === undefined ? resolve() : reject(error));
  });
  const ended = (): void => {
    if (--left === 0) finish();
  };
  const bridge = new Bridge(
    connection,
    (raw) => {
      const event = raw as Http2Event<Sending | undefined>;
      if (event.kind === "error" || event.kind === "refused") return finish(new Error(event.error.message));
      if (event.kind === "reset") return finish(new Error(`reset ${event.code}`));
      if (event.kind === "window") return event.stream.owner?.go();
      if (event.kind !== "response" && event.kind !== "data" && event.kind !== "trailers") return;
      const entry = got.get(event.stream.id);
      if (entry === undefined) throw new Error("nobody asked");
      if (event.kind === "response") entry.fields = record(event.head.fields, "x-f");
      if (event.kind === "trailers") entry.trailers = record(event.fields, "x-t");
      if (event.kind === "data") {
        entry.parts.push(Buffer.from(event.bytes));
        connection.consumed(event.stream, event.bytes.length);
      }
      if (event.kind === "trailers" || event.end) ended();
    },
    cutBy(dice, dice.chance(0.5)),
  );
  const session = http2.performServerHandshake(bridge.socket, { settings: nodeSettings(dice) });
  session.on("error", finish);
  session.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    let trailers: Record<string, string> = {};
    stream.respond({ ":status": 200, ...own(headers, "x-f") }, { waitForTrailers: true });
    stream.on("trailers", (fields: http2.IncomingHttpHeaders) => {
      trailers = own(fields, "x-t");
    });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.pipe(stream);
  });
  for (const { path, method, fields, body, trailers } of messages) {
    const head = {
      method,
      scheme: "http",
      authority: "a.test",
      target: path,
      fields: list(fields),
      body: { kind: "stream" },
    } as const;
    const stream = connection.request({ ...head, fields: list(fields) }, false, undefined);
    if (stream === undefined) throw new Error("no room");
    got.set(stream.id, { fields: {}, trailers: {}, parts: [] });
    stream.owner = new Sending(connection, stream);
    if (body.length > 0) stream.owner.push(body);
    stream.owner.end(list(trailers));
  }
  bridge.flush();
  return finished
    .then(() => [...got.values()].map(({ fields, trailers, parts }) => ({ fields, trailers, body: Buffer.concat(parts) })))
    .finally(() => session.destroy());
}

describe.each([
  ["server", asServer],
  ["client", asClient],
] as const)("conversations, ours the %s", (_role, converse) => {
  test.each(SEEDS)("seed %i", async (seed) => {
    const dice = new Dice(seed);
    const messages = Array.from({ length: 1 + dice.int(8) }, (_, i) => message(dice, i));
    const echoes = await converse(dice, messages);
    expect(echoes.length).toBe(messages.length);
    for (const [i, { fields, body, trailers }] of messages.entries()) {
      expect(echoes[i]?.fields).toEqual(fields);
      expect(echoes[i]?.trailers).toEqual(trailers);
      // Compared as numbers first: a difference in megabytes of text helps nobody.
      expect(echoes[i]?.body.length).toBe(body.length);
      expect(Buffer.compare(echoes[i]?.body ?? Buffer.alloc(0), body)).toBe(0);
    }
  });
});

describe("verdicts", () => {
  const needed = new Set<string>();
  const compare = (code: string, ours: Verdict, theirs: Verdict): void => {
    if (ours === theirs) return;
    const explained = HTTP2_DISAGREEMENTS.find((one) => one.code === code && one.theirs === theirs);
    expect(explained, `${code}: ours ends the ${ours}, theirs: ${theirs}`).toBeDefined();
    needed.add(`${code} ${theirs}`);
  };

  test("on what ends a connection", async () => {
    for (const [, bytes, code] of CONNECTION_CASES) compare(code, "connection", await judgedByServer(bytes));
  });
  test("on request heads", async () => {
    for (const [, fields, code] of REQUEST_HEAD_CASES) compare(code, "stream", await judgedByServer([headers(1, fields)]));
  });
  test("on what ends a request's stream", async () => {
    for (const [, bytes, code] of STREAM_CASES) compare(code, "stream", await judgedByServer(bytes));
  });
  test("on what ends a response's stream", async () => {
    for (const [, method, bytes, code] of RESPONSE_CASES) compare(code, "stream", await judgedByClient(method, bytes));
  });
  test("every explanation is needed", () => {
    expect(HTTP2_DISAGREEMENTS.filter(({ code, theirs }) => !needed.has(`${code} ${theirs}`))).toEqual([]);
  });
});
