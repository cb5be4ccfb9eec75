/** `node:http2` (nghttp2) over memory: a peer for our codec, and a second opinion on frames. */
import http2 from "node:http2";
import { Duplex } from "node:stream";
import type { Http2Connection, Http2Event } from "../../gateway/wire/index.ts";
import { ACK, frame, GOAWAY, PING, PREFACE, ping, RST_STREAM, readFrames, SETTINGS, settings } from "./http2-frames.ts";

/** One end of a connection for node:http2; what it writes goes to `sink`, what it is to read comes by `push`. */
class MemorySocket extends Duplex {
  readonly #sink: (bytes: Buffer) => void;

  constructor(sink: (bytes: Buffer) => void) {
    super({ allowHalfOpen: false });
    this.#sink = sink;
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.#sink(bytes);
    done();
  }

  override _final(done: () => void): void {
    this.push(null);
    done();
  }
}

/** Our codec at one end, node:http2 at the other. `cut` splits what goes to our end. */
export class Bridge {
  readonly socket: MemorySocket;
  readonly #connection: Http2Connection<unknown>;
  readonly #handle: (event: Http2Event<unknown>) => void;
  readonly #cut: (bytes: Buffer) => Iterable<Uint8Array>;
  #isBusy = false;

  constructor(
    connection: Http2Connection<unknown>,
    handle: (event: Http2Event<unknown>) => void,
    cut: (bytes: Buffer) => Iterable<Uint8Array>,
  ) {
    this.#connection = connection;
    this.#handle = handle;
    this.#cut = cut;
    this.socket = new MemorySocket((bytes) => this.#receive(bytes));
    queueMicrotask(() => this.flush());
  }

  /** Sends what waits, and whatever comes of the room that this makes. */
  flush(): void {
    if (this.#isBusy) return;
    for (let bytes = this.#connection.take(); bytes.length > 0; bytes = this.#connection.take()) {
      this.socket.push(Buffer.from(bytes));
      this.#events();
    }
  }

  #receive(bytes: Buffer): void {
    for (const part of this.#cut(bytes)) {
      const lent = Uint8Array.from(part);
      this.#connection.feed(lent, performance.now());
      this.#events();
      lent.fill(0xee);
    }
    this.flush();
  }

  #events(): void {
    this.#isBusy = true;
    for (let event = this.#connection.next(); event.kind !== "need"; event = this.#connection.next()) {
      this.#handle(event);
      if (event.kind === "error") break;
    }
    this.#isBusy = false;
  }
}

export type Verdict = "taken" | "stream" | "connection";

/** What frames, as a peer would send them, come to: is the stream given up, or the connection, or neither? */
export function verdictOf(sent: Uint8Array, stream: number): Verdict {
  const frames = readFrames(sent);
  if (frames.some(({ type, payload }) => type === GOAWAY && payload.readUInt32BE(4) !== 0)) return "connection";
  return frames.some(({ type, stream: id }) => type === RST_STREAM && id === stream) ? "stream" : "taken";
}

const ASK = "last one";

/** Says `bytes` to a server of node:http2, after preface and SETTINGS. @returns its verdict on stream 1 */
export function judgedByServer(bytes: readonly Uint8Array[]): Promise<Verdict> {
  return judged(
    (socket) => {
      const session = http2.performServerHandshake(socket, { settings: { enableConnectProtocol: true } });
      session.on("stream", (stream: http2.ServerHttp2Stream) => stream.on("error", () => {}).resume());
      return session;
    },
    [PREFACE, settings(), frame(SETTINGS, ACK, 0), ...bytes],
  );
}

/** The same for a client that has sent one request with this method. */
export function judgedByClient(method: string, bytes: readonly Uint8Array[]): Promise<Verdict> {
  return judged(
    (socket) => {
      const session = http2.connect("https://a.test", { createConnection: () => socket });
      session
        .request({ ":method": method }, { endStream: true })
        .on("error", () => {})
        .resume();
      return session;
    },
    [settings(), frame(SETTINGS, ACK, 0), ...bytes],
  );
}

async function judged(open: (socket: Duplex) => http2.Http2Session, bytes: readonly Uint8Array[]): Promise<Verdict> {
  let sent = Buffer.alloc(0);
  let settle = (): void => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  const socket = new MemorySocket((part) => {
    sent = Buffer.concat([sent, part]);
    const lines = readFrames(sent);
    if (
      lines.some(
        ({ type, flags, payload }) => (type === PING && (flags & ACK) !== 0 && payload.toString() === ASK) || type === GOAWAY,
      )
    )
      settle();
  });
  const session = open(socket);
  let failed = false;
  session.on("error", () => {
    failed = true;
    settle();
  });
  session.on("close", settle);
  socket.on("error", settle);
  // A client has sent its request before it is answered.
  await new Promise((resolve) => setImmediate(resolve));
  for (const part of bytes) socket.push(part);
  socket.push(ping(ASK));
  await settled;
  await new Promise((resolve) => setImmediate(resolve));
  session.destroy();
  socket.destroy();
  return failed ? "connection" : verdictOf(sent, 1);
}
