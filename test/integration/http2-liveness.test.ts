/** HTTP/2 connections that have gone quiet with requests under way: asked for a sign of life, kept when they give one, closed when not. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Clock, Exchange } from "../../gateway/core/index.ts";
import { DEFAULT_SETTINGS } from "../../gateway/core/ir/index.ts";
import { ClientSocket } from "../../gateway/node/client-socket.ts";
import { Deadlines } from "../../gateway/node/deadlines.ts";
import { type Http2Listener, Http2ServerConnection } from "../../gateway/node/http2.ts";
import { PING_AFTER_MS, PONG_WITHIN_MS } from "../../gateway/node/http2-liveness.ts";
import { createHttpThread } from "../../gateway/node/thread.ts";
import { Http2Pool } from "../../gateway/node/upstream/http2-pool.ts";
import type { UpstreamFailure, UpstreamUser } from "../../gateway/node/upstream/user.ts";
import { Http2Settings } from "../../gateway/wire/index.ts";
import { listening, testCluster } from "../support/gateway.ts";
import { ACK, type Frame, GET, HEADERS, headers, PING, PREFACE, ping, readFrames, settings } from "../support/http2-frames.ts";

const opened: (() => unknown)[] = [];
afterEach(() => {
  for (const close of opened.splice(0).reverse()) close();
});

/** A thread whose time is the test's. */
class Time {
  nowMs = 0;
  #run: (() => void) | undefined;
  #atMs = 0;
  readonly clock: Clock = { now: () => this.nowMs, unixMs: () => this.nowMs };
  readonly thread = {
    ...createHttpThread((error) => {
      throw error;
    }),
    clock: this.clock,
    deadlines: new Deadlines(this.clock, (delayMs, run) => {
      this.#run = run;
      this.#atMs = this.nowMs + delayMs;
      return () => {
        this.#run = undefined;
      };
    }),
  };

  pass(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (this.#run !== undefined && this.#atMs <= untilMs) {
      this.nowMs = this.#atMs;
      const run = this.#run;
      this.#run = undefined;
      run();
    }
    this.nowMs = untilMs;
  }
}

/** The other end, which says only what it is told to. */
class Peer {
  readonly socket: Socket;
  closed = false;
  #received = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    opened.push(() => socket.destroy());
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
    });
    socket.on("close", () => {
      this.closed = true;
    });
  }

  frames(type: number): readonly Frame[] {
    return readFrames(this.#received).filter((frame) => frame.type === type && !(type === PING && frame.flags === ACK));
  }

  /** Answers the last PING, and asks in turn: once that is answered, the first was heard. */
  async pong(): Promise<void> {
    const acks = () => readFrames(this.#received).filter(({ type, flags }) => type === PING && flags === ACK).length;
    const before = acks();
    this.socket.write(Buffer.concat([ping(this.frames(PING).at(-1)?.payload.toString("latin1"), ACK), ping()]));
    await expect.poll(acks).toBe(before + 1);
  }
}

const FOREVER: Exchange = {
  start: () => ({ kind: "wait", until: new Promise(() => undefined), deadlineMs: undefined }),
  responded: () => ({ kind: "drop", code: "internal" }),
  failed: () => ({ kind: "drop", code: "internal" }),
  timer: () => ({ kind: "drop", code: "internal" }),
  resumed: () => ({ kind: "drop", code: "internal" }),
  finished: () => undefined,
};

describe("a client", () => {
  async function client(time: Time): Promise<Peer> {
    const begun = Promise.withResolvers<void>();
    const open = (): Exchange => {
      begun.resolve();
      return FOREVER;
    };
    const listener: Http2Listener = {
      factory: { open },
      settings: { ...DEFAULT_SETTINGS.http, streamIdleTimeoutMs: 0, requestTimeoutMs: 0 },
      http2: new Http2Settings({ role: "server" }),
      draining: false,
      refused: () => undefined,
      closed: () => undefined,
    };
    const ends = { peer: { address: "127.0.0.1", port: 1 }, local: { address: "127.0.0.1", port: 2 } };
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      new Http2ServerConnection(new ClientSocket(socket), listener, time.thread, { listener: "l", scheme: "http", ...ends });
    });
    opened.push(() => server.close());
    const peer = new Peer(connect(await listening(server), "127.0.0.1"));
    peer.socket.write(Buffer.concat([PREFACE, settings(), headers(1, GET)]));
    await begun.promise;
    return peer;
  }

  it("that answers keeps its connection, and is asked again when it is quiet again", async () => {
    const time = new Time();
    const peer = await client(time);
    time.pass(PING_AFTER_MS - 1);
    expect(peer.frames(PING)).toHaveLength(0);
    time.pass(1);
    await expect.poll(() => peer.frames(PING).length).toBe(1);
    time.pass(PONG_WITHIN_MS - 1);
    await peer.pong();
    time.pass(PING_AFTER_MS);
    await expect.poll(() => peer.frames(PING).length).toBe(2);
    expect(peer.closed).toBe(false);
  });

  it("that does not is closed", async () => {
    const time = new Time();
    const peer = await client(time);
    time.pass(PING_AFTER_MS);
    await expect.poll(() => peer.frames(PING).length).toBe(1);
    time.pass(PONG_WITHIN_MS);
    await expect.poll(() => peer.closed).toBe(true);
  });
});

describe("an origin", () => {
  class User implements UpstreamUser {
    readonly failures: UpstreamFailure[] = [];
    streamReady(): void {}
    responseInterim(): void {}
    responseHead(): void {}
    responseBody(): void {}
    responseFlush(): void {}
    responseEnd(): void {}
    requestDrained(): void {}
    upstreamFailed(failure: UpstreamFailure): void {
      this.failures.push(failure);
    }
  }

  async function asked(time: Time): Promise<{ readonly peer: Peer; readonly user: User }> {
    const server = createServer();
    const port = await listening(server);
    opened.push(() => server.close());
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const endpoint = { key: "c|127.0.0.1|1", address: "127.0.0.1", port, weight: 1, active: 0, runtime: undefined };
    const target = { endpoint, pool: testCluster("c").pool, tls: undefined, protocol: "http2" } as const;
    const pool = new Http2Pool(time.thread, target, undefined);
    const user = new User();
    const stream = pool.acquire(target, user);
    if (stream === "waiting" || "reason" in stream) throw new Error("no stream");
    const head = { method: "GET", scheme: "http", authority: "a.test", target: "/", fields: [], body: { kind: "none" } } as const;
    stream.start(user, { ...head, fields: [] }, { neverIndexed: undefined, switchTo: undefined });
    const peer = new Peer((await accepted)[0]);
    peer.socket.write(settings());
    await expect.poll(() => peer.frames(HEADERS).length).toBe(1);
    return { peer, user };
  }

  it("that answers is waited for", async () => {
    const time = new Time();
    const { peer, user } = await asked(time);
    for (let round = 1; round <= 3; round++) {
      time.pass(PING_AFTER_MS);
      await expect.poll(() => peer.frames(PING).length).toBe(round);
      time.pass(PONG_WITHIN_MS - 1);
      await peer.pong();
    }
    expect(user.failures).toEqual([]);
    expect(peer.closed).toBe(false);
  });

  it("that does not has failed, whoever waits for it", async () => {
    const time = new Time();
    const { peer, user } = await asked(time);
    time.pass(PING_AFTER_MS);
    await expect.poll(() => peer.frames(PING).length).toBe(1);
    time.pass(PONG_WITHIN_MS - 1);
    expect(user.failures).toEqual([]);
    time.pass(1);
    expect(user.failures).toMatchObject([{ code: "upstream_reset", reason: `no sign of life within ${PONG_WITHIN_MS} ms` }]);
    await expect.poll(() => peer.closed).toBe(true);
  });
});
