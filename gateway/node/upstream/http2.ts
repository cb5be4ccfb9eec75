/**
 * One HTTP/2 connection to an origin, shared by as many requests as the origin and the cluster's settings allow.
 *
 *     connecting ──► open ──► closed
 *         └────────────────────▲
 *
 * Once it is retiring (GOAWAY, other settings, as many requests as it may carry) what is under way is finished and no more begins. Requests begin before it stands: their bytes wait in the codec until it does.
 */
import type { Socket } from "node:net";
import type { ErrorCode } from "../../core/index.ts";
import { unreachable } from "../../core/result.ts";
import { Http2Code, Http2Connection, type Http2Event } from "../../wire/index.ts";
import type { Timed } from "../deadlines.ts";
import { Http2Liveness, PONG_WITHIN_MS } from "../http2-liveness.ts";
import { Http2Writer } from "../http2-writer.ts";
import { type DialUser, dial, dialCode } from "./dial.ts";
import type { Http2Pool } from "./http2-pool.ts";
import { type ClientCodec, Http2UpstreamStream, type UpstreamPort } from "./http2-stream.ts";
import { isTlsError, tlsReason } from "./tls.ts";
import type { UpstreamStream } from "./user.ts";

const NEVER = Number.POSITIVE_INFINITY;

type Event = Http2Event<Http2UpstreamStream>;

export class Http2UpstreamConnection implements UpstreamPort, DialUser, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;

  readonly codec: ClientCodec;
  readonly #pool: Http2Pool;
  readonly #socket: Socket;
  readonly #writer: Http2Writer;
  #state: "connecting" | "open" | "closed" = "connecting";
  #isRetiring = false;
  #pumping = false;
  #error: Error | undefined;
  reads = 0;
  #requests = 0;
  /** Handed out and not over. */
  #active = 0;
  /** Streams that were told something by the read at hand. */
  #touched: Http2UpstreamStream[] = [];
  /** Streams that wait for the origin to say what it allows. */
  #unsettled: Http2UpstreamStream[] = [];
  readonly #openedMs: number;
  readonly #liveness: Http2Liveness;
  /** The last request ended. */
  #quietMs = NEVER;

  constructor(pool: Http2Pool) {
    this.#pool = pool;
    this.codec = new Http2Connection(pool.http2);
    this.#socket = dial(pool, this);
    this.#socket.on("error", (error) => {
      this.#error = error;
    });
    this.#socket.on("end", () => this.#lost("connection closed"));
    this.#socket.on("close", () => this.#lost(tlsReason(this.#error) ?? "connection closed"));
    const { thread } = pool;
    this.#writer = new Http2Writer(this.#socket, this.codec, thread.turnEnd, true, () => this.#pump());
    this.#openedMs = thread.clock.now();
    this.#liveness = new Http2Liveness(this.#openedMs);
    thread.deadlines.set(this, this.#openedMs + pool.settings.connectTimeoutMs);
  }

  /** Another request may begin. */
  get hasRoom(): boolean {
    return this.#state !== "closed" && !this.#isRetiring && this.codec.hasRoom;
  }

  get isReused(): boolean {
    return this.#requests > 1;
  }

  /** A stream that is to be started at once. */
  open(): UpstreamStream {
    return new Http2UpstreamStream(this);
  }

  /** No more requests after those that are under way. */
  retire(): void {
    this.#isRetiring = true;
    this.#settle();
  }

  /** @returns whether it was */
  closeIfIdle(): boolean {
    if (this.#active > 0 || this.#state === "closed") return false;
    this.#close();
    return true;
  }

  // --- UpstreamPort

  started(): void {
    this.#requests += 1;
    this.#active += 1;
    const max = this.#pool.settings.maxRequestsPerConnection;
    if (max !== 0 && this.#requests >= max) this.#isRetiring = true;
    this.#age();
    this.#settle();
  }

  later(): void {
    this.#writer.later();
  }

  whenSettled(stream: Http2UpstreamStream): void {
    if (this.codec.isSettled) this.#pool.thread.turnEnd.add({ endOfTurn: () => stream.settled() });
    else this.#unsettled.push(stream);
  }

  touched(stream: Http2UpstreamStream): void {
    this.#touched.push(stream);
  }

  over(): void {
    this.#active -= 1;
    this.#quietMs = this.#pool.thread.clock.now();
    this.#age();
    this.#settle();
    if (this.hasRoom) this.#pool.roomMade();
  }

  /** One that is older than it may be carries no more requests. */
  #age(): void {
    const { maxConnectionMs } = this.#pool.settings;
    if (maxConnectionMs !== undefined && this.#pool.thread.clock.now() - this.#openedMs >= maxConnectionMs)
      this.#isRetiring = true;
  }

  // --- DialUser

  connected(): void {
    if (this.#state !== "connecting") return;
    const { tls } = this.#pool;
    if (tls !== undefined && !("alpnProtocol" in this.#socket && this.#socket.alpnProtocol === "h2")) {
      this.#fail("upstream_protocol", "the origin does not agree to speak HTTP/2 (ALPN)", true);
      return;
    }
    this.#state = "open";
    this.#writer.release();
    this.#settle();
  }

  read(bytes: Uint8Array): void {
    if (this.#state === "closed") return;
    const nowMs = this.#pool.thread.clock.now();
    this.#liveness.heardMs = nowMs;
    this.reads += 1;
    this.codec.feed(bytes, nowMs);
    this.#pump();
  }

  // --- events

  #pump(): void {
    if (this.#pumping || this.#state === "closed") return;
    const hadRoom = this.codec.hasRoom;
    this.#pumping = true;
    for (let event = this.codec.next(); event.kind !== "need"; event = this.codec.next()) {
      if (event.kind === "error") {
        this.#pumping = false;
        this.#fail("upstream_protocol", `${event.error.code}: ${event.error.message}`, false);
        return;
      }
      this.#told(event);
    }
    this.#pumping = false;
    if (this.codec.isSettled && this.#unsettled.length > 0) for (const stream of this.#unsettled.splice(0)) stream.settled();
    this.#flush();
    this.later();
    this.#settle();
    if (!hadRoom && this.hasRoom) this.#pool.roomMade();
  }

  #told(event: Event): void {
    switch (event.kind) {
      case "need":
      case "error":
      // A client is asked for nothing.
      case "request":
        return;
      case "response":
        event.stream.owner?.head(event.head, event.end, event.neverIndexed);
        return;
      case "data":
        event.stream.owner?.data(event.bytes, event.end);
        return;
      case "trailers":
        event.stream.owner?.complete(event.fields);
        return;
      case "reset":
        event.stream.owner?.reset(event.code, event.unprocessed);
        return;
      case "refused":
        event.stream.owner?.refused(event.error);
        return;
      case "window":
        event.stream.owner?.room();
        return;
      case "goaway":
        this.retire();
        return;
      case "pong":
        this.#liveness.answered();
        return;
      default:
        unreachable(event);
    }
  }

  #flush(): void {
    const touched = this.#touched;
    if (touched.length === 0) return;
    this.#touched = [];
    for (const stream of touched) stream.flush();
  }

  // --- time and the end

  /** Closes what has nothing left to do, and files the next deadline. */
  #settle(): void {
    if (this.#pumping || this.#state === "closed") return;
    if (this.#isRetiring && this.#active === 0) {
      this.#close();
      return;
    }
    this.#pool.thread.deadlines.set(this, this.#nextDeadlineMs());
  }

  #nextDeadlineMs(): number {
    if (this.#state === "connecting") return this.deadlineMs;
    if (this.#active === 0) return this.#quietMs + this.#pool.settings.idleTimeoutMs;
    return this.#liveness.nextMs;
  }

  expired(nowMs: number): void {
    if (this.#state === "connecting") {
      this.#fail("upstream_connect_timeout", `no connection within ${this.#pool.settings.connectTimeoutMs} ms`, true);
      return;
    }
    // Activity moves deadlines without filing them anew.
    if (this.#nextDeadlineMs() <= nowMs) {
      if (this.#active === 0) {
        this.#close();
        return;
      }
      if (this.#liveness.due(nowMs) === "dead") {
        this.#fail("upstream_reset", `no sign of life within ${PONG_WITHIN_MS} ms`, false);
        return;
      }
      this.codec.ping();
      this.later();
    }
    this.#settle();
  }

  /** Nothing is under way: the origin is told, and the connection goes. */
  #close(): void {
    this.codec.goAway(Http2Code.noError);
    this.#leave();
    this.#writer.flush();
    this.#socket.destroySoon();
  }

  #lost(reason: string): void {
    if (this.#state === "connecting") this.#fail(dialCode(this.#error, this.#pool.tls !== undefined), reason, true);
    else if (isTlsError(this.#error)) this.#fail("upstream_tls", tlsReason(this.#error) ?? reason, false);
    else this.#fail("upstream_reset", reason, false);
  }

  #fail(code: ErrorCode, reason: string, neverSent: boolean): void {
    if (this.#state === "closed") return;
    const owners: Http2UpstreamStream[] = this.#unsettled.splice(0);
    this.codec.each(({ owner }) => {
      if (owner !== undefined) owners.push(owner);
    });
    this.#leave();
    this.#writer.flush();
    this.#socket.destroySoon();
    for (const owner of owners) owner.lost(code, reason, neverSent);
  }

  #leave(): void {
    this.#state = "closed";
    this.#pool.thread.deadlines.remove(this);
    this.#pool.forget(this);
  }
}
