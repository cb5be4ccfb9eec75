/**
 * The request side of one attempt: a head and a body on their way to an endpoint, and to the mirrors of the request.
 *
 * One per client connection, used again for each of its requests. It keeps the body as far as it may be needed again, sends an idempotent request once more
 * over a new connection when a kept-alive one turns out to be stale, and says when it cannot take more.
 */
import type { AttemptFailure, MirrorSend, RequestHead, SendStep, UpstreamTarget } from "../core/index.ts";
import { CHUNK_END, chunkHeader, lastChunk, writeRequestHead } from "../wire/index.ts";
import { MirrorCopy } from "./mirror.ts";
import type { Outbox } from "./outbox.ts";
import { UpstreamConnection } from "./upstream/connection.ts";
import { poolOf, type UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure, UpstreamUser } from "./upstream/user.ts";

/** RFC 9110 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

const NONE: readonly never[] = [];
const KEEP = { keepAlive: true };

export class RequestSender {
  readonly #thread: UpstreamThread;
  readonly #outbox: Outbox;
  readonly #user: UpstreamUser;
  #connection: UpstreamConnection | undefined;
  #target: UpstreamTarget | undefined;
  #waiting = false;
  #method = "";
  #headText = "";
  #chunked = false;
  #hasBody = false;
  /** The client's part is complete (and with it `#trailers`). */
  #ended = false;
  #trailers: readonly string[] | undefined;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #maxKeptBytes = 0;
  /** The body so far can be told again from the start. */
  #replayable = true;
  #mirrors: readonly MirrorCopy[] = NONE;

  constructor(thread: UpstreamThread, outbox: Outbox, user: UpstreamUser) {
    this.#thread = thread;
    this.#outbox = outbox;
    this.#user = user;
  }

  /** Somebody is there to take body bytes, and has room. */
  get open(): boolean {
    return this.#connection !== undefined && !this.#connection.socket.writableNeedDrain;
  }

  /** An attempt is on its way: connected, connecting or waiting for a connection. */
  get active(): boolean {
    return this.#connection !== undefined || this.#waiting;
  }

  get connection(): UpstreamConnection | undefined {
    return this.#connection;
  }

  get replayable(): boolean {
    return this.#replayable;
  }

  /** Forgets the request before: a new one begins. `maxKeptBytes`: how much of its body may be kept for another attempt. */
  reset(hasBody: boolean, maxKeptBytes: number): void {
    this.#hasBody = hasBody;
    this.#maxKeptBytes = maxKeptBytes;
    this.#ended = false;
    this.#trailers = undefined;
    this.#replayable = true;
    this.#keptBytes = 0;
    if (this.#kept.length > 0) this.#kept = [];
    this.#mirrors = NONE;
  }

  /** Starts an attempt; what of the body has come already is sent again. A failure means that nothing was started. */
  send(step: SendStep): UpstreamFailure | undefined {
    if (!step.keepBody) this.#maxKeptBytes = 0;
    this.#method = step.head.method;
    this.#chunked = step.head.body.kind === "stream";
    this.#headText = writeRequestHead(step.head, KEEP);
    this.#target = step.target;
    if (step.mirrors.length > 0) this.#mirror(step.mirrors);
    return this.#acquire(false);
  }

  /** Part of the body. */
  body(bytes: Uint8Array): void {
    if (this.#replayable) this.#keep(bytes);
    if (this.#connection !== undefined) this.#bodyTo(this.#connection, bytes);
    for (const mirror of this.#mirrors) mirror.body(bytes);
  }

  /** The client's message is whole. */
  end(trailers: readonly string[] | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    if (this.#connection !== undefined) this.#endTo(this.#connection);
    for (const mirror of this.#mirrors) mirror.end();
  }

  /** A waiting attempt has its connection. */
  connected(connection: UpstreamConnection): void {
    this.#waiting = false;
    this.#start(connection);
    this.#outbox.flush();
  }

  /** The attempt's response is over and its connection gone back, or it has failed. */
  released(): void {
    this.#connection = undefined;
    this.#waiting = false;
  }

  /** Tries a stale attempt once more over a new connection, if that is safe. True when it was. */
  again(failure: UpstreamFailure): boolean {
    if (!failure.stale || !this.#replayable || !IDEMPOTENT.has(this.#method)) return false;
    this.released();
    const refused = this.#acquire(true);
    this.#outbox.flush();
    return refused === undefined;
  }

  /** Gives the attempt up: the response (if one comes) is not wanted. */
  cancel(): void {
    if (this.#waiting && this.#target !== undefined) poolOf(this.#thread, this.#target).cancel(this.#user);
    this.#connection?.abandon();
    this.released();
  }

  /** Gives up the attempt and the mirrors: the client's message will not become whole. */
  abort(): void {
    this.cancel();
    if (!this.#ended) for (const mirror of this.#mirrors) mirror.abort();
  }

  failureOf(failure: UpstreamFailure): AttemptFailure {
    return { code: failure.code, reason: failure.reason, neverSent: failure.neverSent, replayable: this.#replayable };
  }

  #acquire(fresh: boolean): UpstreamFailure | undefined {
    if (this.#target === undefined) return undefined;
    const acquired = poolOf(this.#thread, this.#target).acquire(this.#target, this.#user, fresh);
    if (acquired === "waiting") this.#waiting = true;
    else if (acquired instanceof UpstreamConnection) this.#start(acquired);
    else return acquired;
    return undefined;
  }

  #start(connection: UpstreamConnection): void {
    this.#connection = connection;
    connection.begin(this.#user, this.#method);
    this.#outbox.text(connection.socket, this.#headText);
    for (const bytes of this.#kept) this.#bodyTo(connection, bytes);
    if (this.#ended || !this.#hasBody) this.#endTo(connection);
  }

  #bodyTo(connection: UpstreamConnection, bytes: Uint8Array): void {
    if (this.#chunked) this.#outbox.text(connection.socket, chunkHeader(bytes.length));
    this.#outbox.bytes(connection.socket, bytes);
    if (this.#chunked) this.#outbox.text(connection.socket, CHUNK_END);
  }

  #endTo(connection: UpstreamConnection): void {
    if (this.#chunked) {
      this.#outbox.text(connection.socket, lastChunk(this.#trailers));
    }
    connection.requestEnded();
  }

  #keep(bytes: Uint8Array): void {
    this.#keptBytes += bytes.length;
    if (this.#keptBytes <= this.#maxKeptBytes) {
      this.#kept.push(Uint8Array.prototype.slice.call(bytes));
      return;
    }
    this.#replayable = false;
    this.#kept = [];
  }

  #mirror(sends: readonly MirrorSend[]): void {
    const copies: MirrorCopy[] = [];
    for (const { target, head } of sends) {
      const copy = new MirrorCopy(this.#thread, this.#outbox, head, target);
      if (copy.start()) copies.push(copy);
    }
    this.#mirrors = copies;
  }
}

/** True when the message has content to wait for. */
export function hasBody(head: RequestHead): boolean {
  return head.body.kind === "stream" || (head.body.kind === "length" && head.body.bytes > 0);
}
