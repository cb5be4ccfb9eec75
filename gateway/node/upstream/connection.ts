/**
 * One connection to one origin, used by one request at a time.
 *
 *     connecting ──► busy ◄──► idle
 *         │           │  └──► draining ──► idle
 *         └───────────┴──────────┴───────► closed
 *
 * A connection is born for a request and is busy from the start; the socket keeps what is written until it is connected.
 * `draining`: the user has lost interest in a response that is on its way; a short rest is read so that the connection can live on.
 */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ErrorCode } from "../../core/index.ts";
import { ResponseParser } from "../../wire/index.ts";
import type { Timed } from "../deadlines.ts";
import type { UpstreamPool } from "./pool.ts";
import type { UpstreamFailure, UpstreamUser } from "./user.ts";

/** An abandoned response is read to its end for at most this long and this much, so that its connection can be used again. */
const DRAIN_MS = 1000;
const DRAIN_BYTES = 64 * 1024;

/** All plain upstream sockets of a thread read into this; nobody keeps a view of it beyond the call it came with. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

type State = "connecting" | "busy" | "idle" | "draining" | "closed";

export class UpstreamConnection implements Timed {
  deadlineMs = Number.POSITIVE_INFINITY;
  filedMs = 0;
  place = -1;

  readonly socket: Socket;
  readonly #pool: UpstreamPool;
  readonly #parser: ResponseParser;
  #state: State = "connecting";
  #user: UpstreamUser | undefined;
  #requests = 0;
  /** The request that is using it has been written whole. */
  #requestEnded = false;
  #keepAlive = false;
  /** Bytes of the current response have come. */
  #answered = false;
  #drainLeft = 0;
  #error: Error | undefined;

  constructor(pool: UpstreamPool) {
    this.#pool = pool;
    this.#parser = new ResponseParser(pool.thread.parser);
    this.socket = pool.tls === undefined ? this.#openPlain() : this.#openTls(pool.tls);
    this.socket.on("error", (error) => {
      this.#error = error;
    });
    this.socket.on("end", () => this.#ended());
    this.socket.on("close", () => this.#closed());
    this.socket.on("drain", () => this.#user?.requestDrained());
    pool.thread.deadlines.set(this, pool.thread.clock.now() + pool.settings.connectTimeoutMs);
  }

  /** It has carried a request before this one. */
  get reused(): boolean {
    return this.#requests > 1;
  }

  get requests(): number {
    return this.#requests;
  }

  /** False once its socket cannot take a request any more. */
  get usable(): boolean {
    return this.#state !== "closed" && this.socket.writable;
  }

  /** Starts a request. */
  begin(user: UpstreamUser, method: string): void {
    this.#user = user;
    this.#requests += 1;
    this.#requestEnded = false;
    this.#answered = false;
    if (this.#state === "idle") {
      this.#state = "busy";
      this.#pool.thread.deadlines.set(this, Number.POSITIVE_INFINITY);
    }
    this.#parser.expect(method);
  }

  /** The request has been written whole. Without this the connection is not used again. */
  requestEnded(): void {
    this.#requestEnded = true;
  }

  /** The user wants nothing more of it. A short rest of the response is read; otherwise the connection closes. */
  abandon(): void {
    this.#user = undefined;
    if (this.#state === "closed") return;
    if (this.#state !== "busy" || !this.#requestEnded || !this.#answered) {
      this.destroy();
      return;
    }
    this.#state = "draining";
    this.#drainLeft = DRAIN_BYTES;
    this.#pool.thread.deadlines.set(this, this.#pool.thread.clock.now() + DRAIN_MS);
    this.socket.resume();
  }

  /** Closes at once; the user is told nothing. */
  destroy(): void {
    this.#user = undefined;
    this.socket.destroy();
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

  #openPlain(): Socket {
    const { address, port } = this.#pool;
    const socket = connect({
      host: address,
      port,
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length, buffer) => {
          this.#read(buffer.subarray(0, length));
          return true;
        },
      },
    });
    socket.once("connect", () => this.#connected());
    return socket;
  }

  #openTls(options: NonNullable<UpstreamPool["tls"]>): Socket {
    const { address, port } = this.#pool;
    const session = this.#pool.session;
    const socket = connectTls({ host: address, port, ...options, ...(session === undefined ? {} : { session }) });
    socket.setNoDelay(true);
    socket.once("secureConnect", () => this.#connected());
    socket.on("session", (fresh) => {
      this.#pool.session = fresh;
    });
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    return socket;
  }

  #connected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "busy";
    this.#pool.thread.deadlines.set(this, Number.POSITIVE_INFINITY);
  }

  #read(bytes: Uint8Array): void {
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
            this.#fail("upstream_protocol", "the origin switches protocols, which nobody asked for", false);
            return;
          }
          if (event.head.status < 200) this.#user?.responseInterim(event.head);
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

  #complete(trailers: readonly string[] | undefined): void {
    const user = this.#user;
    this.#user = undefined;
    // Bytes behind the end belong to no request: whoever sends them may as well answer the next request with them.
    if (this.#keepAlive && this.#requestEnded && this.#parser.idle && this.socket.writable) this.#pool.release(this);
    else this.destroy();
    user?.responseEnd(trailers);
  }

  #ended(): void {
    if (this.#state === "closed") return;
    if (this.#state === "busy" || this.#state === "draining") {
      // A body without length ends with the connection; anything else has been cut.
      const event = this.#parser.eof();
      if (event.kind === "end") {
        this.#keepAlive = false;
        this.#complete(event.trailers);
        return;
      }
    }
    this.#fail(
      "upstream_reset",
      this.#answered ? "connection closed within the response" : "connection closed before a response",
      false,
    );
  }

  #closed(): void {
    if (this.#state === "closed") return;
    const error = this.#error;
    if (this.#state === "connecting")
      this.#fail(connectCode(error, this.#pool.tls !== undefined), error?.message ?? "closed", true);
    else this.#fail("upstream_reset", error?.message ?? "connection closed", false);
  }

  #fail(code: ErrorCode, reason: string, neverSent: boolean): void {
    const user = this.#user;
    const stale = this.reused && !this.#answered;
    this.destroy();
    const failure: UpstreamFailure = { code, reason, neverSent, stale };
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

function connectCode(error: (Error & { code?: unknown }) | undefined, tls: boolean): ErrorCode {
  const code = typeof error?.code === "string" ? error.code : "";
  if (code === "ENOTFOUND" || code.startsWith("EAI_")) return "dns_failure";
  if (CONNECT_ERRORS.has(code) || !tls) return "upstream_connect";
  return "upstream_tls";
}

const CONNECT_ERRORS: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "ETIMEDOUT",
  "EMFILE",
  "ENFILE",
]);
