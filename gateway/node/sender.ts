/**
 * The request side of one attempt: a head and a body on their way to an endpoint, and to the mirrors of the request.
 *
 * One for each call, used again for each of its requests. It keeps the body as far as it may be needed again, sends an idempotent request once more
 * over a new connection when a kept-alive one turns out to be stale, and says when it cannot take more.
 */
import type { AttemptFailure, MirrorSend, RequestHead, SendStep } from "../core/index.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { MirrorCopy } from "./mirror.ts";
import type { UpstreamPool, UpstreamThread } from "./upstream/pool.ts";
import { poolOf } from "./upstream/pools.ts";
import type { UpstreamFailure, UpstreamStream, UpstreamUser } from "./upstream/user.ts";

/** RFC 9110 9.2.2. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

const NONE: readonly never[] = [];

export class RequestSender {
  readonly #thread: UpstreamThread;
  readonly #user: UpstreamUser;
  readonly #client: ConnectionInfo | undefined;
  #stream: UpstreamStream | undefined;
  /** What the attempt at hand was to send, and where. */
  #step: SendStep | undefined;
  #waiting = false;
  /** The attempt at hand has been sent once more without anybody being asked. */
  #isRepeated = false;
  #hasBody = false;
  /** The client's part is complete (and with it `#trailers`). */
  #ended = false;
  #trailers: readonly string[] | undefined;
  #kept: Uint8Array[] = [];
  #keptBytes = 0;
  #maxKeptBytes = 0;
  #isHttp2 = false;
  #neverIndexed: readonly string[] | undefined;
  /** The body so far can be told again from the start. */
  #replayable = true;
  #mirrors: readonly MirrorCopy[] = NONE;

  /** @param client whose requests it sends; undefined: the gateway's own */
  constructor(thread: UpstreamThread, user: UpstreamUser, client: ConnectionInfo | undefined) {
    this.#thread = thread;
    this.#user = user;
    this.#client = client;
  }

  /** Somebody is there to take body bytes, and has room. */
  get open(): boolean {
    return this.#stream?.hasRoom === true;
  }

  /**
   * Forgets the request before: a new one begins.
   *
   * @param maxKeptBytes how much of its body may be kept for another attempt
   * @param isHttp2 what it came by, for clusters that are spoken to likewise
   */
  reset(hasBody: boolean, maxKeptBytes: number, isHttp2: boolean, neverIndexed: readonly string[] | undefined): void {
    this.#hasBody = hasBody;
    this.#isHttp2 = isHttp2;
    this.#neverIndexed = neverIndexed;
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
    this.#isRepeated = false;
    if (step.mirrors.length > 0) this.#mirror(step.mirrors);
    return this.#acquire(step, false);
  }

  /** Part of the body. */
  body(bytes: Uint8Array): void {
    if (this.#replayable) this.#keep(bytes);
    this.#stream?.body(bytes);
    for (const mirror of this.#mirrors) mirror.body(bytes);
  }

  /** The client's message is whole. */
  end(trailers: readonly string[] | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
    this.#stream?.end(trailers);
    for (const mirror of this.#mirrors) mirror.end();
  }

  /** A waiting attempt may start. */
  ready(stream: UpstreamStream): void {
    this.#waiting = false;
    if (this.#step === undefined) stream.cancel();
    else this.#start(stream, this.#step);
    this.#thread.outbox.flush();
  }

  /** The client takes no more of the response for now. */
  pause(): void {
    this.#stream?.pause();
  }

  resume(): void {
    this.#stream?.resume();
  }

  /** The attempt's response is over, or it has failed. */
  released(): void {
    this.#stream = undefined;
    this.#step = undefined;
    this.#waiting = false;
  }

  /** Tries once more over a new connection what the origin cannot have begun to do, or may do twice. True when that was so. */
  again(failure: UpstreamFailure): boolean {
    const step = this.#step;
    if (step === undefined || !this.#replayable || this.#isRepeated) return false;
    if (failure.resend === "no" || (failure.resend === "idempotent" && !IDEMPOTENT.has(step.head.method))) return false;
    this.#isRepeated = true;
    this.released();
    const refused = this.#acquire(step, true);
    this.#thread.outbox.flush();
    return refused === undefined;
  }

  /** Gives the attempt up: the response (if one comes) is not wanted. */
  cancel(): void {
    if (this.#waiting && this.#step !== undefined) this.#poolOf(this.#step).cancel(this.#user);
    this.#stream?.cancel();
    this.released();
  }

  /** Gives up the attempt and the mirrors: the client's message will not become whole. */
  abort(): void {
    this.cancel();
    if (!this.#ended) for (const mirror of this.#mirrors) mirror.abort();
  }

  /** The body so far can be told again from the start. */
  get replayable(): boolean {
    return this.#replayable;
  }

  failureOf(failure: UpstreamFailure): AttemptFailure {
    return { code: failure.code, reason: failure.reason, neverSent: failure.neverSent, replayable: this.#replayable };
  }

  #acquire(step: SendStep, fresh: boolean): UpstreamFailure | undefined {
    this.#step = step;
    const acquired = this.#poolOf(step).acquire(step.target, this.#user, fresh);
    if (acquired === "waiting") this.#waiting = true;
    else if ("reason" in acquired) return acquired;
    else this.#start(acquired, step);
    return undefined;
  }

  #poolOf({ target }: SendStep): UpstreamPool {
    return poolOf(this.#thread, target, this.#isHttp2, this.#client);
  }

  #start(stream: UpstreamStream, step: SendStep): void {
    this.#stream = stream;
    stream.start(this.#user, step.head, { neverIndexed: this.#neverIndexed, switchTo: step.switchTo });
    if (step.switchTo !== undefined) return;
    for (const bytes of this.#kept) stream.body(bytes);
    if (this.#ended || !this.#hasBody) stream.end(this.#trailers);
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
      const copy = new MirrorCopy(this.#thread, head, target, this.#isHttp2, this.#client);
      if (copy.start()) copies.push(copy);
    }
    this.#mirrors = copies;
  }
}

/** True when the message has content to wait for. */
export function hasBody(head: RequestHead): boolean {
  return head.body.kind === "stream" || (head.body.kind === "length" && head.body.bytes > 0);
}
