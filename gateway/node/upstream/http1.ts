/**
 * One HTTP/1.1 connection to one origin, used by one request at a time: so it is that request's stream, too.
 *
 *     connecting ──► busy ◄──► idle
 *         │           │  └──► draining ──► idle
 *         └───────────┴──────────┴───────► closed
 *
 * A connection is born for a request and is busy from the start; the socket keeps what is written until it is connected.
 * `switched`, out of `busy`: the connection speaks another protocol until it closes.
 * `draining`: the user has lost interest in a response that is on its way; a short rest is read so that the connection can live on.
 */
import type { Socket } from "node:net";
import type { ErrorCode, RequestHead, ResponseHead } from "../../core/index.ts";
import {
  CHUNK_END,
  chunkHeader,
  encodeRequestHead,
  type HeadEvent,
  headBound,
  lastChunk,
  ResponseParser,
  writeRequestHead,
} from "../../wire/index.ts";
import type { Timed } from "../deadlines.ts";
import { writeLatin1 } from "../latin1.ts";
import { SocketWriter } from "../socket-writer.ts";
import { isAccepted, upgradeFields } from "../websocket.ts";
import { type DialUser, dial, dialCode } from "./dial.ts";
import type { Http1Pool } from "./http1-pool.ts";
import { isTlsError, tlsReason } from "./tls.ts";
import type { StartOptions, UpstreamFailure, UpstreamStream, UpstreamUser } from "./user.ts";

/** An abandoned response is read to its end for at most this long and this much, so that its connection can be used again. */
const DRAIN_MS = 1000;
const DRAIN_BYTES = 64 * 1024;

const KEEP = { keepAlive: true };

type State = "connecting" | "busy" | "idle" | "draining" | "switched" | "closed";

export class Http1UpstreamConnection implements UpstreamStream, DialUser, Timed {
  deadlineMs = Number.POSITIVE_INFINITY;
  filedMs = 0;
  place = -1;

  /** When it was dialled, monotonic ms. */
  readonly openedMs: number;
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
  readonly #pool: Http1Pool;
  readonly #parser: ResponseParser;
  #state: State = "connecting";
  #user: UpstreamUser | undefined;
  #requests = 0;
  /** The request that is using it has been written whole. */
  #requestEnded = false;
  #chunked = false;
  #keepAlive = false;
  #paused = false;
  /** In another protocol: the origin has said all that it had to say. */
  #originDone = false;
  /** Another protocol was asked for: what the answer has to echo. */
  #accept: string | undefined;
  /** Bytes of the current response have come. */
  #answered = false;
  #drainLeft = 0;
  #error: Error | undefined;

  constructor(pool: Http1Pool) {
    this.#pool = pool;
    this.generation = pool.generation;
    this.openedMs = pool.thread.clock.now();
    this.#parser = new ResponseParser(pool.thread.parser);
    this.#socket = dial(pool, this);
    this.#socket.on("error", (error) => {
      this.#error = error;
    });
    this.#socket.on("end", () => this.#ended());
    this.#socket.on("close", () => this.#closed());
    this.#writer = new SocketWriter(this.#socket, () => this.#user?.requestDrained());
    pool.thread.deadlines.set(this, this.openedMs + pool.settings.connectTimeoutMs);
  }

  /** Of the pool's settings by which it was opened. */
  readonly generation: number;

  /** It has carried a request before this one. */
  get reused(): boolean {
    return this.#requests > 1;
  }

  get requests(): number {
    return this.#requests;
  }

  /** False once its socket cannot take a request any more. */
  get usable(): boolean {
    return this.#state !== "closed" && this.#socket.writable;
  }

  get hasRoom(): boolean {
    return !this.#writer.isFull;
  }

  get queuedBytes(): number {
    return this.#writer.unsentBytes;
  }

  start(user: UpstreamUser, head: RequestHead, { switchTo }: StartOptions): void {
    const upgrade = switchTo === undefined ? undefined : upgradeFields(head.fields);
    this.#head(upgrade === undefined ? head : { ...head, fields: upgrade.fields });
    this.#user = user;
    this.#requests += 1;
    // Nothing follows a request to switch before it is answered.
    this.#requestEnded = switchTo !== undefined;
    this.#accept = upgrade?.accept;
    this.#answered = false;
    this.#chunked = head.body.kind === "stream";
    if (this.#state === "idle") {
      this.#state = "busy";
      this.#pool.thread.deadlines.set(this, Number.POSITIVE_INFINITY);
    }
    this.#parser.expect(head.method);
  }

  #head(head: RequestHead): void {
    const { outbox } = this.#pool.thread;
    const at = outbox.reserve(this.#writer, headBound(head));
    if (at === undefined) outbox.text(this.#writer, writeRequestHead(head, KEEP));
    else outbox.commit(encodeRequestHead(head, KEEP, outbox.memory, at, writeLatin1));
  }

  body(bytes: Uint8Array): void {
    const { outbox } = this.#pool.thread;
    if (this.#chunked) outbox.text(this.#writer, chunkHeader(bytes.length));
    outbox.bytes(this.#writer, bytes);
    if (this.#chunked) outbox.text(this.#writer, CHUNK_END);
  }

  /** Without this the connection is not used again. */
  end(trailers: readonly string[] | undefined): void {
    if (this.#chunked) this.#pool.thread.outbox.text(this.#writer, lastChunk(trailers));
    this.#requestEnded = true;
    if (this.#state !== "switched") return;
    this.#pool.thread.outbox.flush();
    this.#writer.end();
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** A short rest of the response is read; otherwise the connection closes. */
  cancel(): void {
    this.#user = undefined;
    if (this.#state === "closed") return;
    if (this.#state !== "busy" || !this.#requestEnded || !this.#answered) {
      this.destroy();
      return;
    }
    this.#state = "draining";
    this.#drainLeft = DRAIN_BYTES;
    this.#pool.thread.deadlines.set(this, this.#pool.thread.clock.now() + DRAIN_MS);
    this.resume();
  }

  /** Closes at once; the user is told nothing. */
  destroy(): void {
    this.#user = undefined;
    // RFC 9112 9.8: over TLS with a closure alert, unless something unsent is in its way.
    const alerts = this.#pool.tls !== undefined && this.#state !== "connecting" && this.#writer.unsentBytes === 0;
    if (alerts) this.#socket.destroySoon();
    else this.#socket.destroy();
    this.#leave();
  }

  /** Idle in the pool until `untilMs`. */
  rest(untilMs: number): void {
    this.#state = "idle";
    this.#pool.thread.deadlines.set(this, untilMs);
  }

  expired(): void {
    switch (this.#state) {
      case "connecting":
        this.#fail("upstream_connect_timeout", `no connection within ${this.#pool.settings.connectTimeoutMs} ms`, true);
        return;
      case "idle":
      case "draining":
        this.destroy();
        return;
      default:
    }
  }

  connected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "busy";
    this.#pool.thread.deadlines.set(this, Number.POSITIVE_INFINITY);
  }

  read(bytes: Uint8Array): void {
    if (this.#state === "switched") {
      this.#user?.responseBody(bytes);
      this.#user?.responseFlush();
      return;
    }
    if (this.#state === "draining") {
      this.#drainLeft -= bytes.length;
      if (this.#drainLeft < 0) {
        this.destroy();
        return;
      }
    } else if (this.#state !== "busy") {
      // RFC 9112 9.2: bytes that answer no request (a 408 before closing, say) make the connection useless.
      this.destroy();
      return;
    }
    this.#answered = true;
    this.#parser.feed(bytes);
    this.#tell();
  }

  #tell(): void {
    for (;;) {
      const event = this.#parser.next();
      switch (event.kind) {
        case "need":
          this.#user?.responseFlush();
          return;
        case "head":
          if (event.head.status === 101) {
            this.#switch(event);
            return;
          }
          if (event.head.status < 200) this.#user?.responseInterim(event);
          else {
            this.#keepAlive = event.keepAlive;
            this.#user?.responseHead(event);
          }
          break;
        case "body":
          this.#user?.responseBody(event.bytes);
          break;
        case "end":
          this.#complete(event.trailers);
          return;
        case "error":
          this.#fail("upstream_protocol", `${event.error.code}: ${event.error.message}`, false);
          return;
      }
      if (this.#state === "closed") return;
    }
  }

  /** From here on bytes are moved and not looked at. */
  #switch(event: HeadEvent<ResponseHead>): void {
    const accept = this.#accept;
    if (accept === undefined) {
      this.#fail("upstream_protocol", "the origin switches protocols, which nobody asked for", false);
      return;
    }
    if (!isAccepted(event.head.fields, accept)) {
      this.#fail("upstream_protocol", "the origin switches protocols without the echo of the key (RFC 6455 4.1)", false);
      return;
    }
    const early = this.#parser.rest();
    this.#state = "switched";
    this.#requestEnded = false;
    this.#socket.allowHalfOpen = true;
    this.#user?.responseHead(event);
    if (early.length > 0) this.#user?.responseBody(early);
    this.#user?.responseFlush();
  }

  #complete(trailers: readonly string[] | undefined): void {
    const user = this.#user;
    this.#user = undefined;
    this.resume();
    // Bytes behind the end belong to no request: whoever sends them may as well answer the next request with them.
    if (this.#keepAlive && this.#requestEnded && this.#parser.idle && this.#socket.writable) this.#pool.release(this);
    else this.destroy();
    user?.responseEnd(trailers);
  }

  #ended(): void {
    if (this.#state === "closed") return;
    if (this.#state === "switched") {
      this.#originDone = true;
      this.#user?.responseEnd(undefined);
      return;
    }
    if (this.#state === "busy" || this.#state === "draining") {
      // A body without length ends with the connection; anything else has been cut.
      const event = this.#parser.eof();
      if (event.kind === "end") {
        this.#keepAlive = false;
        this.#complete(event.trailers);
        return;
      }
    }
    this.#cut(this.#answered ? "connection closed within the response" : "connection closed before a response");
  }

  #closed(): void {
    if (this.#state === "closed") return;
    const error = this.#error;
    if (this.#originDone && error === undefined) {
      this.#leave();
      return;
    }
    if (this.#state === "connecting")
      this.#fail(dialCode(error, this.#pool.tls !== undefined), tlsReason(error) ?? "closed", true);
    else this.#cut(tlsReason(error) ?? "connection closed");
  }

  #cut(reason: string): void {
    const error = this.#error;
    if (isTlsError(error)) this.#fail("upstream_tls", tlsReason(error) ?? reason, false);
    else this.#fail("upstream_reset", reason, false);
  }

  #fail(code: ErrorCode, reason: string, neverSent: boolean): void {
    const user = this.#user;
    const isStale = this.reused && !this.#answered;
    this.destroy();
    const failure: UpstreamFailure = { code, reason, neverSent, resend: isStale ? "idempotent" : "no" };
    user?.upstreamFailed(failure);
  }

  #leave(): void {
    if (this.#state === "closed") return;
    const wasIdle = this.#state === "idle";
    this.#state = "closed";
    this.#pool.thread.deadlines.remove(this);
    this.#pool.forget(this, wasIdle);
  }
}
