/**
 * One tunnel connection, seen from one of its ends.
 *
 * The driver feeds it whole messages (`receive`), acts on the event that it gets back, and sends what `take` has after each call. Bodies are under two
 * windows, the stream's and the connection's: `room` says how much may be sent now, and what has come counts as unread until `consumed`.
 * A session without streams is as good as new but for two numbers (`idle`), so whoever keeps many may forget them meanwhile.
 *
 *     open ──► draining (GOAWAY sent: whoever opens streams opens no more) ──► quiet (the opener has said so too) ──► finished (no stream is left)
 */
import type { BodyKind, RequestHead, ResponseHead } from "../http/message.ts";
import { decodeFrame, encodeFrame, type ResetCode, type TunnelFrame } from "./frame.ts";
import { CONNECTION_WINDOW_BYTES, MAX_TUNNEL_DATA_BYTES, MAX_TUNNEL_STREAMS, STREAM_WINDOW_BYTES } from "./limits.ts";
import { bodyBehind, nextState, openedStream, type StreamAction, type StreamState } from "./stream.ts";

/** What a message that came means for the driver. */
export type TunnelEvent =
  | { readonly kind: "none" }
  | { readonly kind: "open"; readonly stream: number; readonly head: RequestHead }
  | { readonly kind: "head"; readonly stream: number; readonly head: ResponseHead }
  /** A view of the message. Unread until `consumed`. */
  | { readonly kind: "data"; readonly stream: number; readonly bytes: Uint8Array }
  /** The incoming message is whole. */
  | { readonly kind: "end"; readonly stream: number }
  /** Nothing more comes or goes; nothing of it counts as unread any more. */
  | { readonly kind: "reset"; readonly stream: number; readonly code: ResetCode; readonly reason: string }
  /** There is room again for this stream, or (0) for all of them. */
  | { readonly kind: "room"; readonly stream: number }
  | { readonly kind: "pong"; readonly number: number }
  /** The other side has said GOAWAY. */
  | { readonly kind: "goaway" }
  /** The other side does not keep to the protocol: the connection has to be closed. */
  | { readonly kind: "violation"; readonly reason: string };

/** What is left of a session that has no streams. */
export interface IdleSession {
  readonly nextStream: number;
  readonly room: number;
}

interface Stream {
  state: StreamState;
  /** Bytes that may be sent. */
  room: number;
  /** Bytes that the other side may send. */
  window: number;
  /** Bytes that came and are not consumed. */
  unread: number;
  /** Bytes consumed and not granted anew. */
  owed: number;
  /** What the incoming message has left by its declared length; undefined: it declared none. */
  left: number | undefined;
  /** Of the request. */
  readonly method: string;
}

const NONE: TunnelEvent = { kind: "none" };

export class TunnelSession {
  readonly #role: "opener" | "acceptor";
  readonly #streams = new Map<number, Stream>();
  #out: Uint8Array<ArrayBuffer>[] = [];
  /** Number of the next stream that is opened, by whoever opens streams here. */
  #nextStream: number;
  #room: number;
  #window = CONNECTION_WINDOW_BYTES;
  #owed = 0;
  #live = 0;
  #saidGoaway = false;
  #heardGoaway = false;

  /** @param role who opens streams is the same for the whole connection. @param idle what a session that has been forgotten left */
  constructor(role: "opener" | "acceptor", idle: IdleSession = { nextStream: 1, room: CONNECTION_WINDOW_BYTES }) {
    this.#role = role;
    this.#nextStream = idle.nextStream;
    this.#room = idle.room;
  }

  /** Streams in flight. */
  get live(): number {
    return this.#live;
  }

  /** Something is still to come, to go, or to be read of it. */
  has(stream: number): boolean {
    return this.#streams.has(stream);
  }

  /** An opener may open one more stream. */
  get accepts(): boolean {
    return !this.#saidGoaway && !this.#heardGoaway && this.#live < MAX_TUNNEL_STREAMS && this.#nextStream <= LAST_STREAM;
  }

  /** Undefined while there are streams, or once the connection is to end. */
  get idle(): IdleSession | undefined {
    if (this.#streams.size > 0 || this.#saidGoaway || this.#heardGoaway) return undefined;
    return { nextStream: this.#nextStream, room: this.#room };
  }

  /** Nothing is left to do on this connection. */
  get finished(): boolean {
    const isQuiet = this.#role === "opener" ? this.#saidGoaway : this.#heardGoaway;
    return isQuiet && this.#streams.size === 0;
  }

  /** Messages to send, in this order. */
  take(): readonly Uint8Array<ArrayBuffer>[] {
    if (this.#out.length === 0) return NOTHING;
    const out = this.#out;
    this.#out = [];
    return out;
  }

  // --- sending

  /** @returns the stream's number. @throws RangeError for a head that fits no frame; nothing has happened then. Only where `accepts`. */
  open(head: RequestHead): number {
    const stream = this.#nextStream;
    this.#send({ kind: "open", stream, head });
    this.#nextStream += 1;
    this.#add(stream, openedStream("opener", head.body), head.method, undefined);
    return stream;
  }

  /** The response's head. @throws RangeError for one that fits no frame. False: the stream is gone. */
  head(stream: number, head: ResponseHead): boolean {
    const found = this.#streams.get(stream);
    if (found === undefined) return false;
    const action: StreamAction = { kind: "head", way: "outgoing", body: bodyBehind(found.method, head) };
    if (!this.#allows(found, action)) return false;
    this.#send({ kind: "head", stream, head });
    this.#act(stream, found, action);
    return true;
  }

  /** Bytes of the stream that may be sent now. */
  room(stream: number): number {
    const found = this.#streams.get(stream);
    return found === undefined ? 0 : Math.min(found.room, this.#room);
  }

  /** Sends as much of the body as there is room for; the bytes are copied. @returns how many those were */
  data(stream: number, bytes: Uint8Array): number {
    const found = this.#streams.get(stream);
    if (found === undefined || !this.#allows(found, { kind: "data", way: "outgoing" })) return 0;
    const length = Math.min(bytes.length, found.room, this.#room);
    for (let at = 0; at < length; at += MAX_TUNNEL_DATA_BYTES) {
      this.#send({ kind: "data", stream, bytes: bytes.subarray(at, Math.min(length, at + MAX_TUNNEL_DATA_BYTES)) });
    }
    found.room -= length;
    this.#room -= length;
    return length;
  }

  /** The outgoing message is whole. */
  end(stream: number): void {
    const found = this.#streams.get(stream);
    if (found === undefined || !this.#allows(found, { kind: "end", way: "outgoing" })) return;
    this.#send({ kind: "end", stream });
    this.#act(stream, found, { kind: "end", way: "outgoing" });
  }

  /** Gives the stream up. What has come of it counts as consumed. */
  reset(stream: number, code: ResetCode, reason: string): void {
    const found = this.#streams.get(stream);
    if (found === undefined) return;
    if (found.state.kind === "live") this.#send({ kind: "reset", stream, code, reason });
    this.#act(stream, found, { kind: "reset" });
  }

  /** So many bytes of a stream have been passed on, and there is room for as many. */
  consumed(stream: number, bytes: number): void {
    const found = this.#streams.get(stream);
    if (found === undefined) return;
    found.unread -= bytes;
    found.owed += bytes;
    if (found.state.kind === "live" && found.owed >= STREAM_WINDOW_BYTES / 2) {
      this.#send({ kind: "window", stream, bytes: found.owed });
      found.window += found.owed;
      found.owed = 0;
    }
    this.#settle(bytes);
    this.#forget(stream, found);
  }

  ping(number: number): void {
    this.#send({ kind: "ping", number });
  }

  /** No more streams: an acceptor asks for it, an opener says it. */
  goaway(): void {
    if (this.#saidGoaway) return;
    this.#saidGoaway = true;
    this.#send({ kind: "goaway" });
  }

  // --- receiving

  receive(message: Uint8Array): TunnelEvent {
    const decoded = decodeFrame(message);
    if (!decoded.ok) return violation(decoded.error);
    const frame = decoded.value;
    switch (frame.kind) {
      case "open":
        return this.#opened(frame);
      case "ping":
        this.#send({ kind: "pong", number: frame.number });
        return NONE;
      case "pong":
        return { kind: "pong", number: frame.number };
      case "goaway":
        return this.#goneAway();
      case "window":
        return this.#granted(frame);
      default:
        return this.#inStream(frame);
    }
  }

  #opened({ stream, head }: Extract<TunnelFrame, { readonly kind: "open" }>): TunnelEvent {
    if (this.#role === "opener") return violation("only one side opens streams");
    if (this.#heardGoaway) return violation("a stream was opened after GOAWAY");
    if (stream !== this.#nextStream) return violation(`stream ${stream} was opened, ${this.#nextStream} is next`);
    this.#nextStream += 1;
    this.#add(stream, openedStream("acceptor", head.body), head.method, declared(head.body));
    if (this.#live > MAX_TUNNEL_STREAMS) {
      this.reset(stream, "refused", `${MAX_TUNNEL_STREAMS} requests are in flight on this connection`);
      return NONE;
    }
    return { kind: "open", stream, head };
  }

  #goneAway(): TunnelEvent {
    this.#heardGoaway = true;
    // Whoever is asked to open no more says that it will not: everything opened before has come when that arrives.
    if (this.#role === "opener") this.goaway();
    return { kind: "goaway" };
  }

  #granted({ stream, bytes }: Extract<TunnelFrame, { readonly kind: "window" }>): TunnelEvent {
    if (stream === 0) {
      this.#room += bytes;
      if (this.#room > CONNECTION_WINDOW_BYTES) return violation("more was granted than the connection's window");
      return { kind: "room", stream };
    }
    const found = this.#streams.get(stream);
    if (found === undefined) return this.#late(stream);
    found.room += bytes;
    if (found.room > STREAM_WINDOW_BYTES) return violation("more was granted than a stream's window");
    return { kind: "room", stream };
  }

  #inStream(frame: Extract<TunnelFrame, { readonly kind: "head" | "data" | "end" | "reset" }>): TunnelEvent {
    const { stream } = frame;
    if (frame.kind === "data") {
      this.#window -= frame.bytes.length;
      if (this.#window < 0) return violation("more came than the connection's window allows");
    }
    const found = this.#streams.get(stream);
    // This side has given the stream up while that was on its way.
    if (found === undefined) {
      if (frame.kind === "data") this.#settle(frame.bytes.length);
      return this.#late(stream);
    }
    switch (frame.kind) {
      case "head":
        return this.#headCame(stream, found, frame.head);
      case "data":
        return this.#received(stream, found, frame.bytes);
      case "end":
        return this.#ended(stream, found);
      case "reset":
        if (found.state.kind === "closed") return NONE;
        this.#act(stream, found, { kind: "reset" });
        return frame;
    }
  }

  #headCame(stream: number, found: Stream, head: ResponseHead): TunnelEvent {
    const body = bodyBehind(found.method, head);
    const action: StreamAction = { kind: "head", way: "incoming", body };
    if (this.#role === "acceptor" || !this.#allows(found, action)) return violation("a HEAD came where none belongs");
    found.left = declared(body);
    this.#act(stream, found, action);
    return { kind: "head", stream, head };
  }

  #received(stream: number, found: Stream, bytes: Uint8Array): TunnelEvent {
    if (!this.#allows(found, { kind: "data", way: "incoming" })) return violation("DATA came where none belongs");
    found.window -= bytes.length;
    if (found.window < 0) return violation("more came than the stream's window allows");
    found.unread += bytes.length;
    if (found.left !== undefined) {
      found.left -= bytes.length;
      // Passed on, the rest would be read as something else.
      if (found.left < 0) return this.#broken(stream, "the message is longer than it declared");
    }
    return { kind: "data", stream, bytes };
  }

  #ended(stream: number, found: Stream): TunnelEvent {
    const action: StreamAction = { kind: "end", way: "incoming" };
    if (!this.#allows(found, action)) return violation("an END came where none belongs");
    if (found.left !== undefined && found.left > 0) return this.#broken(stream, "the message is shorter than it declared");
    this.#act(stream, found, action);
    return { kind: "end", stream };
  }

  #broken(stream: number, reason: string): TunnelEvent {
    this.reset(stream, "broken", reason);
    return { kind: "reset", stream, code: "broken", reason };
  }

  /** A frame of a stream that is not there: of one that is gone it means nothing, of one that never was it is wrong. */
  #late(stream: number): TunnelEvent {
    return stream < this.#nextStream ? NONE : violation(`stream ${stream} was never opened`);
  }

  // --- streams

  #add(stream: number, state: StreamState, method: string, left: number | undefined): void {
    const [room, window] = [STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES];
    this.#streams.set(stream, { state, room, window, unread: 0, owed: 0, left, method });
    this.#live += 1;
  }

  #allows(stream: Stream, action: StreamAction): boolean {
    return nextState(stream.state, action) !== undefined;
  }

  #act(number: number, stream: Stream, action: StreamAction): void {
    const next = nextState(stream.state, action);
    if (next === undefined) return;
    if (next.kind === "closed" && stream.state.kind === "live") this.#live -= 1;
    stream.state = next;
    this.#forget(number, stream);
  }

  /** A closed stream goes once its bytes have been read, or when it was reset, at once. */
  #forget(number: number, stream: Stream): void {
    if (stream.state.kind === "live" || (stream.state.how === "complete" && stream.unread > 0)) return;
    this.#streams.delete(number);
    this.#settle(stream.unread);
    stream.unread = 0;
  }

  /** Bytes that need not be kept any more. With the last stream all that is owed is granted, so that an idle session owes nothing. */
  #settle(bytes: number): void {
    this.#owed += bytes;
    if (this.#owed === 0 || (this.#owed < CONNECTION_WINDOW_BYTES / 2 && this.#streams.size > 0)) return;
    this.#send({ kind: "window", stream: 0, bytes: this.#owed });
    this.#window += this.#owed;
    this.#owed = 0;
  }

  #send(frame: TunnelFrame): void {
    this.#out.push(encodeFrame(frame));
  }
}

const NOTHING: readonly Uint8Array<ArrayBuffer>[] = [];
/** Numbers are 32 bits; long before they run out a connection is replaced. */
const LAST_STREAM = 0xffff_fffe;

function violation(reason: string): TunnelEvent {
  return { kind: "violation", reason };
}

/** What the message's body has to come to. */
function declared(body: BodyKind): number | undefined {
  return body.kind === "length" ? body.bytes : undefined;
}
