/**
 * One HTTP/2 client connection: its streams become requests, and what their calls say leaves in one write a turn.
 *
 *     open ──► draining ──► closing ──► closed
 *      └──────────────────────▲                 idle for too long, or broken: GOAWAY, then the end
 *
 * Draining takes two steps (RFC 9113 6.8): requests that were under way when it began are still taken.
 */
import { unreachable } from "../core/result.ts";
import {
  type ConnectionProblem,
  Http2Code,
  Http2Connection,
  type Http2Event,
  type Http2Settings,
  type Http2Stream,
  type StreamProblem,
} from "../wire/index.ts";
import type { CallListener, ClientConnection, HttpThread } from "./call.ts";
import type { ClientSocket, SocketOwner } from "./client-socket.ts";
import { NEVER } from "./connection-times.ts";
import type { Timed } from "./deadlines.ts";
import { plainAnswer } from "./downstream.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { Http2Liveness } from "./http2-liveness.ts";
import { Http2ServerStream, type RequestEvent, type ServerCodec, type StreamPort } from "./http2-stream.ts";
import { Http2Writer } from "./http2-writer.ts";
import { Lifetime } from "./lifetime.ts";
import { clientLeft } from "./upstream/pools.ts";

/** What the connections of one listener share. */
export interface Http2Listener extends CallListener {
  readonly http2: Http2Settings;
  readonly draining: boolean;
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  closed(connection: ClientConnection): void;
}

/** After the last frame the client gets this long to read it. */
const LINGER_MS = 2000;
/** While draining, a connection without requests is closed after this. */
const DRAIN_QUIET_MS = 1000;

type Event = Http2Event<Http2ServerStream>;

export class Http2ServerConnection implements SocketOwner, StreamPort, ClientConnection, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;
  seat = -1;

  readonly codec: ServerCodec;
  readonly listener: Http2Listener;
  readonly info: ConnectionInfo;
  readonly #client: ClientSocket;
  readonly #thread: HttpThread;
  readonly #writer: Http2Writer;
  /** To be used again: as many as there were at once. */
  readonly #free: Http2ServerStream[] = [];
  readonly #lifetime: Lifetime;
  #requests = 0;
  #phase: "open" | "draining" | "closing" | "closed" = "open";
  #pumping = false;
  readonly #liveness: Http2Liveness;
  /** The last request ended, or the connection began. */
  #quietMs: number;

  constructor(client: ClientSocket, listener: Http2Listener, thread: HttpThread, info: ConnectionInfo) {
    const nowMs = thread.clock.now();
    this.codec = new Http2Connection(listener.http2);
    this.listener = listener;
    this.info = info;
    this.#client = client;
    this.#thread = thread;
    this.#lifetime = new Lifetime(nowMs);
    this.#liveness = new Http2Liveness(nowMs);
    this.#quietMs = nowMs;
    this.#writer = new Http2Writer(client.socket, this.codec, thread.turnEnd, false, () => this.#pump());
    client.ownedBy(this);
    this.later();
    this.#schedule();
  }

  drain(): void {
    if (this.#phase !== "open") return;
    this.#phase = "draining";
    this.codec.shutdown();
    this.later();
    this.#settle();
  }

  destroy(): void {
    this.#client.socket.destroy();
  }

  // --- the socket (SocketOwner)

  read(bytes: Uint8Array): void {
    if (this.#phase === "closing" || this.#phase === "closed") return;
    const nowMs = this.#thread.clock.now();
    this.#liveness.heardMs = nowMs;
    this.codec.feed(bytes, nowMs);
    this.#pump();
  }

  drained(): void {}

  ended(): void {
    if (this.#phase === "closing") return;
    this.#abandon();
    this.#client.socket.destroy();
  }

  closed(): void {
    this.#phase = "closed";
    this.#thread.deadlines.remove(this);
    this.#abandon();
    clientLeft(this.info);
    this.listener.closed(this);
  }

  // --- events

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let event = this.codec.next(); event.kind !== "need"; event = this.codec.next()) {
      if (event.kind === "error") {
        this.#fail(event.error);
        break;
      }
      this.#told(event);
    }
    this.#pumping = false;
    this.#thread.outbox.flush();
    this.later();
    this.#settle();
  }

  #told(event: Exclude<Event, { kind: "need" } | { kind: "error" }>): void {
    if (event.kind === "pong") this.#liveness.answered();
    // Who goes away opens no more streams, and that is all.
    if (event.kind === "pong" || event.kind === "goaway") return;
    try {
      this.#tell(event);
    } catch (error) {
      if (event.stream.owner === undefined) this.#thread.problem(error);
      else event.stream.owner.broken(error);
    }
  }

  #tell(event: Extract<Event, { stream: unknown }>): void {
    const { owner } = event.stream;
    switch (event.kind) {
      case "request":
        this.#begin(event);
        return;
      case "data":
        owner?.data(event.bytes, event.end);
        return;
      case "trailers":
        owner?.trailers(event.fields);
        return;
      case "refused":
        if (owner === undefined) this.#refuse(event.stream, event.error);
        else owner.refused(event.error);
        return;
      case "reset":
        owner?.gone();
        return;
      case "window":
        owner?.room();
        return;
      // A server is answered nothing.
      case "response":
        return;
      default:
        unreachable(event);
    }
  }

  #begin(event: RequestEvent): void {
    const stream = this.#free.pop() ?? new Http2ServerStream(this.#thread, this);
    event.stream.owner = stream;
    this.#requests += 1;
    this.#lifetime.requestBegun();
    stream.begin(event);
    if (this.listener.draining || this.#lifetime.isOver(this.listener.settings, this.#thread.clock)) this.drain();
  }

  /** What came makes no request: it is answered without one. */
  #refuse(stream: Http2Stream<Http2ServerStream>, { status, code, message, http2Code }: StreamProblem): void {
    const text = `${code}: ${message}`;
    this.listener.refused(this.info, status, text);
    const { head, body } = plainAnswer(status, text, this.#thread.clock.unixMs());
    this.codec.respond(stream, head, false);
    this.codec.data(stream, body, true);
    this.codec.reset(stream, http2Code);
  }

  #fail({ code, message }: ConnectionProblem): void {
    this.listener.refused(this.info, 400, `${code}: ${message}`);
    this.#abandon();
    this.#close();
  }

  /** The client is not there any more for any of its requests. */
  #abandon(): void {
    const owners: Http2ServerStream[] = [];
    this.codec.each(({ owner }) => {
      if (owner !== undefined) owners.push(owner);
    });
    for (const owner of owners) owner.gone();
  }

  // --- StreamPort

  later(): void {
    this.#writer.later();
  }

  free(stream: Http2ServerStream): void {
    this.#requests -= 1;
    this.#free.push(stream);
    if (this.#requests > 0) return;
    this.#quietMs = this.#thread.clock.now();
    this.#settle();
  }

  // --- time and the end

  /** Closes what has nothing left to do, and files the next deadline. */
  #settle(): void {
    if (this.#pumping) return;
    if (this.#phase === "draining" && this.#requests === 0 && this.codec.isDrained) this.#close();
    this.#schedule();
  }

  /** Whatever GOAWAY says is the last that is written. */
  #close(): void {
    if (this.#phase === "closing" || this.#phase === "closed") return;
    this.#phase = "closing";
    this.#quietMs = this.#thread.clock.now();
    this.#writer.end();
  }

  #schedule(): void {
    this.#thread.deadlines.set(this, this.#nextDeadlineMs());
  }

  #nextDeadlineMs(): number {
    switch (this.#phase) {
      case "closing":
        return this.#quietMs + LINGER_MS;
      case "closed":
        return NEVER;
      default:
        if (this.#requests === 0)
          return Math.min(this.#quietMs + this.#patienceMs(), this.#lifetime.endMs(this.listener.settings));
        return this.#liveness.nextMs;
    }
  }

  /** How long a connection without requests is kept. */
  #patienceMs(): number {
    if (this.#phase === "draining") return DRAIN_QUIET_MS;
    const { headerTimeoutMs, idleTimeoutMs } = this.listener.settings;
    return this.codec.isSettled ? idleTimeoutMs : headerTimeoutMs;
  }

  expired(nowMs: number): void {
    if (this.#nextDeadlineMs() <= nowMs) this.#act(nowMs);
    if (this.#phase !== "closed") this.#schedule();
  }

  #act(nowMs: number): void {
    if (this.#phase === "closing") {
      this.#tearDown();
    } else if (this.#requests === 0) {
      this.codec.goAway(Http2Code.noError);
      this.#close();
    } else if (this.#liveness.due(nowMs) === "ask") {
      this.codec.ping();
      this.later();
    } else {
      this.#tearDown();
    }
  }

  /** The socket's end tells the rest. */
  #tearDown(): void {
    this.#phase = "closed";
    this.#client.socket.destroy();
  }
}
