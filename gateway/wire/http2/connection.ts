/** One HTTP/2 connection (RFC 9113), either end, without I/O: feed what was read, ask for events, write what `take` gives. */
import type { ReadonlyFieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";
import { type ConnectionProblemCode, connectionProblem, Http2Code } from "./errors.ts";
import type { Http2Event } from "./events.ts";
import { writeGoAway } from "./frame/goaway.ts";
import { writePing } from "./frame/ping.ts";
import { DEFAULT_WINDOW_BYTES, writeSettings } from "./frame/settings.ts";
import { writeWindowUpdate } from "./frame/window-update.ts";
import { PREFACE } from "./preface.ts";
import { DRAIN_MARK, KEEP_ALIVE_MARK, Receiver } from "./receiver.ts";
import { Sender } from "./sender.ts";
import type { Http2Settings } from "./settings.ts";
import { ConnectionState } from "./state.ts";
import { CLOSED, type Http2Stream } from "./stream.ts";

/** RFC 9113 6.8: the id that excludes no stream yet. */
const ANY_STREAM = 0x7fffffff;

export class Http2Connection<Owner> {
  readonly #state: ConnectionState<Owner>;
  readonly #sender: Sender<Owner>;
  readonly #receiver: Receiver<Owner>;
  #failure: Extract<Http2Event<Owner>, { kind: "error" }> | undefined;
  /** Nothing that comes from now on is looked at. */
  #isOver = false;
  #drain: "no" | "asked" | "done" = "no";

  /** The preface (client) and SETTINGS are in the output from the start. */
  constructor(settings: Http2Settings) {
    this.#state = new ConnectionState(settings);
    this.#sender = new Sender(this.#state);
    this.#receiver = new Receiver(this.#state, this.#sender);
    const { out } = this.#state;
    if (!settings.isServer) out.append(PREFACE);
    writeSettings(out, settings.announced);
    const more = settings.limits.connectionWindowBytes - DEFAULT_WINDOW_BYTES;
    if (more > 0) writeWindowUpdate(out, 0, more);
  }

  /** Streams that are open in either direction. */
  get streams(): number {
    return this.#state.streams.size;
  }

  /** Client: `request` would open a stream now. */
  get hasRoom(): boolean {
    return this.#state.hasRoom;
  }

  /** The peer has said what it allows. */
  get isSettled(): boolean {
    return this.#receiver.isSettled;
  }

  /** Client: the peer takes extended CONNECT (known once its SETTINGS are here). */
  get takesExtendedConnect(): boolean {
    return this.#state.peer.extendedConnect;
  }

  /** GOAWAY was sent or received, or the connection is broken: no new streams. */
  get isGoingAway(): boolean {
    return this.#state.isGoingAway;
  }

  /** `take` would give something. */
  get hasOutput(): boolean {
    return this.#state.out.end > 0;
  }

  /** Streams waited for room in the output, and there is some: `next` tells which. */
  get hasWritable(): boolean {
    return this.#sender.hasWritable;
  }

  /** After `shutdown`: no stream is under way to us any more. */
  get isDrained(): boolean {
    return this.#drain === "done";
  }

  /** Visits the streams that are open. After an error event: those that it ended. */
  each(visit: (stream: Http2Stream<Owner>) => void): void {
    for (const stream of this.#state.streams.values()) visit(stream);
  }

  /** Adds bytes from the connection, valid until `next` has said `need` or `settle` was called. `nowMs`: monotonic, for the limits that are rates. */
  feed(bytes: Uint8Array, nowMs: number): void {
    if (this.#isOver) return;
    this.#receiver.messages.nowMs = nowMs;
    this.#receiver.input.feed(bytes);
  }

  next(): Http2Event<Owner> {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#isOver) return NEED;
    const outcome = this.#receiver.next();
    if (typeof outcome === "string") return this.#fail(outcome);
    if (outcome.kind === "need") this.#receiver.input.settle();
    if (this.#receiver.isPeerDrained && this.#drain === "asked") this.#drained();
    return outcome;
  }

  /** The fed bytes are about to be overwritten although not all events were asked for: keeps a copy of what is unread. */
  settle(): void {
    this.#receiver.input.settle();
  }

  /** The reading side has ended: `need` when no stream was open, else an error. */
  eof(): Http2Event<Owner> {
    if (this.#failure !== undefined) return this.#failure;
    return this.#state.streams.size === 0 ? NEED : this.#fail("cut_connection");
  }

  /**
   * Client: opens a stream; undefined when the peer allows no more now or is going away.
   *
   * @param protocol extended CONNECT (RFC 8441): what the stream is to speak
   * @param neverIndexed names of fields that came marked so (RFC 7541 6.2.3)
   */
  request(
    head: RequestHead,
    end: boolean,
    owner: Owner,
    protocol?: string,
    neverIndexed?: readonly string[],
  ): Http2Stream<Owner> | undefined {
    return this.#sender.request(head, end, owner, protocol, neverIndexed);
  }

  /** Server: the final head. `head.body` of kind `length` is written as Content-Length. */
  respond(stream: Http2Stream<Owner>, head: ResponseHead, end: boolean, neverIndexed?: readonly string[]): void {
    this.#sender.respond(stream, head, end, neverIndexed);
  }

  /** Server: a 1xx head. */
  interim(stream: Http2Stream<Owner>, head: ResponseHead): void {
    this.#sender.respond(stream, head, false, undefined);
  }

  /**
   * Content, as much as windows and `maxBufferedBytes` let go. @returns the bytes taken (copied); fewer than offered: a `window` event tells when to go
   * on. `end` counts once all is taken; an empty `bytes` with `end` is always taken.
   */
  data(stream: Http2Stream<Owner>, bytes: Uint8Array, end: boolean): number {
    return this.#sender.data(stream, bytes, end);
  }

  /** Ends the stream with these fields. */
  trailers(stream: Http2Stream<Owner>, fields: ReadonlyFieldList): void {
    this.#sender.trailers(stream, fields);
  }

  /** Gives the stream up. `noError` after a whole response: the rest of the request is not wanted (RFC 9113 8.1). */
  reset(stream: Http2Stream<Owner>, code: number): void {
    this.#sender.reset(stream, code);
  }

  /** So many bytes of `data` events have left us: the peer may send as many again. */
  consumed(stream: Http2Stream<Owner>, bytes: number): void {
    this.#sender.consumed(stream, bytes);
  }

  /**
   * Drains, in two steps (RFC 9113 6.8): streams under way to us are still taken until the peer has answered a PING, later ones are not. The
   * connection may be closed once `streams` is 0 and `isDrained`.
   */
  shutdown(): void {
    if (this.#isOver || this.#drain !== "no") return;
    const { out, settings } = this.#state;
    this.#state.isGoingAway = true;
    if (settings.isServer) {
      this.#drain = "asked";
      writeGoAway(out, ANY_STREAM, Http2Code.noError);
      writePing(out, DRAIN_MARK);
    } else this.#drained();
  }

  /** Ends the connection: GOAWAY with this code. Its streams are over, and nothing that comes is looked at. */
  goAway(code: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#state.isGoingAway = true;
    for (const stream of this.#state.streams.values()) stream.state = CLOSED;
    writeGoAway(this.#state.out, this.#state.lastPeerStream, code);
    this.#receiver.input.clear();
  }

  /** A sign of life is asked for: a `pong` event follows. */
  ping(): void {
    if (!this.#isOver) writePing(this.#state.out, KEEP_ALIVE_MARK);
  }

  /**
   * What is to be written now, valid until the next call. Call it once the write before has been done (the buffer is used again then), at
   * the end of a turn and when a write is over; empty: nothing waits, and the connection holds no buffer. When DATA had to wait for room here, `next` tells.
   */
  take(): Uint8Array {
    const bytes = this.#state.out.take();
    this.#sender.taken();
    return bytes;
  }

  #drained(): void {
    const { out, lastPeerStream } = this.#state;
    this.#drain = "done";
    this.#receiver.messages.lastTaken = lastPeerStream;
    writeGoAway(out, lastPeerStream, Http2Code.noError);
  }

  #fail(code: ConnectionProblemCode): Http2Event<Owner> {
    const error = connectionProblem(code);
    this.goAway(error.http2Code);
    this.#failure = { kind: "error", error };
    return this.#failure;
  }
}

const NEED: { readonly kind: "need" } = { kind: "need" };
