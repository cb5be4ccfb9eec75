/**
 * One request of an HTTP/2 client connection: what comes on its stream goes to its call, and what the call says goes out on it.
 *
 *     free ──► open ──► flushing ──► free       flushing: the call is over, the client has not made room for all of the answer yet
 *               │ └──────────────────► free
 *               └─────► tunnel ──────► …         CONNECT: its bytes belong to somebody else
 *
 * What waits here is bounded by windows: the request's body by what the client may send before it is told that some was consumed, the response's by
 * what the origin's connection brought before it was paused.
 */
import { type ExchangeEnd, NO_BODY, type ResponseHead, STREAM_BODY, type TunnelStep } from "../core/index.ts";
import { Http2Code, type Http2Connection, type Http2Event, type Http2Stream, type StreamProblem } from "../wire/index.ts";
import { Call, type CallListener, type HttpThread } from "./call.ts";
import { ConnectionTimes, NEVER } from "./connection-times.ts";
import type { Timed } from "./deadlines.ts";
import type { Downstream } from "./downstream.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { type EarlyBytes, StreamTunnel, type TunnelStream } from "./http2-tunnel.ts";
import type { UpstreamFailure } from "./upstream/user.ts";
import { agreedFields } from "./websocket.ts";

export type ServerCodec = Http2Connection<Http2ServerStream>;
export type RequestEvent = Extract<Http2Event<Http2ServerStream>, { kind: "request" }>;

/** What a stream asks of its connection. */
export interface StreamPort {
  readonly codec: ServerCodec;
  readonly listener: CallListener;
  readonly info: ConnectionInfo;
  /** There is something to be written. */
  later(): void;
  /** It can carry another request. */
  free(stream: Http2ServerStream): void;
}

const SWITCHING_PROTOCOLS = 101;
const EMPTY = new Uint8Array(0);
const NO_TRAILERS: readonly string[] = [];

export class Http2ServerStream implements Downstream, TunnelStream, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;

  readonly #thread: HttpThread;
  readonly #port: StreamPort;
  readonly #times: ConnectionTimes;
  readonly #call: Call;
  #stream: Http2Stream<Http2ServerStream> | undefined;
  #phase: "free" | "open" | "tunnel" | "flushing" = "free";
  #tunnel: StreamTunnel | undefined;
  #method = "";
  responseBytes = 0;
  /** Of the request: come, and nobody takes it yet. */
  #incoming: Uint8Array[] = [];
  /** The request is whole, with these trailers; told once `#incoming` is empty. */
  #incomingEnd: { readonly trailers: readonly string[] | undefined } | undefined;
  /** Of the response: said, and no room for it yet. */
  #outgoing: Uint8Array[] = [];
  /** Trailers that end the response once `#outgoing` is empty. */
  #outgoingEnd: readonly string[] | undefined;
  /** The response is whole. */
  #ended = false;
  /** Another protocol is spoken: what the client says goes on after we have ended. */
  #isSwitched = false;
  /** With what the stream is given up once it is answered. */
  #endCode: number = Http2Code.noError;

  constructor(thread: HttpThread, port: StreamPort) {
    this.#thread = thread;
    this.#port = port;
    this.#times = new ConnectionTimes(0);
    this.#call = new Call(thread, port.listener, port.info, this, this.#times);
  }

  // --- what comes of the client

  begin(event: RequestEvent): void {
    const { stream, head } = event;
    const isWebSocket = event.protocol === "websocket";
    if (isWebSocket) {
      head.method = "GET";
      head.body = NO_BODY;
    }
    this.#stream = stream;
    this.#phase = "open";
    this.#method = head.method;
    this.responseBytes = 0;
    this.#ended = false;
    this.#isSwitched = false;
    this.#endCode = Http2Code.noError;
    this.#outgoingEnd = undefined;
    this.#incomingEnd = event.end ? { trailers: undefined } : undefined;
    this.#call.begin({
      head,
      version: "2",
      connectionOptions: undefined,
      form: head.method === "CONNECT" ? "authority" : "origin",
      expectContinue: event.expectContinue,
      switchTo: isWebSocket ? "websocket" : undefined,
      neverIndexed: event.neverIndexed,
    });
    // What follows CONNECT is no content of it (RFC 9110 9.3.6).
    if (head.method === "CONNECT" && this.#phase === "open") this.#call.requestEnd(undefined);
    this.#tellEnd();
  }

  /** @param bytes valid during this call */
  data(bytes: Uint8Array, end: boolean): void {
    if (this.#tunnel !== undefined) {
      this.#tunnel.data(bytes, end);
      return;
    }
    if (end) this.#incomingEnd = { trailers: undefined };
    if (this.#phase !== "open") {
      this.consumed(bytes);
      return;
    }
    if (this.#incoming.length > 0 || !this.#call.wantsRequest) this.#hold(bytes);
    else this.#take(bytes);
    this.#tellEnd();
  }

  trailers(fields: readonly string[]): void {
    this.#incomingEnd = { trailers: fields };
    this.#tellEnd();
  }

  /** What came breaks a rule: nothing more of it will be told. */
  refused({ code, message, status, http2Code }: StreamProblem): void {
    this.#endCode = http2Code;
    if (this.#tunnel !== undefined) this.#lost(http2Code);
    else if (this.#phase === "open") this.#call.refuse(status, `${code}: ${message}`);
  }

  /** What threw while this stream was told something. */
  broken(error: unknown): void {
    this.#call.broken(error);
  }

  /** There is room for more of the response. */
  room(): void {
    const { codec } = this.#port;
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#times.activeMs = this.#thread.clock.now();
    for (let first = this.#outgoing[0]; first !== undefined; first = this.#outgoing[0]) {
      const taken = codec.data(stream, first, false);
      if (taken < first.length) {
        this.#outgoing[0] = first.subarray(taken);
        return;
      }
      this.#outgoing.shift();
    }
    if (this.#outgoingEnd !== undefined) this.#endWith(stream, this.#outgoingEnd);
    if (this.#tunnel !== undefined) this.#tunnel.room();
    else if (this.#phase === "open") this.#call.drained();
    else this.#close(this.#endCode);
  }

  /** The client gave the request up, or is gone. */
  gone(): void {
    this.#lost(Http2Code.cancel);
    if (this.#phase === "flushing") this.#close(Http2Code.cancel);
  }

  /** Nothing of the client's request, or of what it tunnels, goes on. */
  #lost(code: number): void {
    this.#tunnel?.gone(code);
    this.#call.clientGone();
  }

  #hold(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#incoming.push(Uint8Array.prototype.slice.call(bytes));
  }

  #take(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#call.requestBody(bytes);
    this.consumed(bytes);
  }

  /** The client may send as much again. */
  consumed(bytes: Uint8Array): void {
    if (this.#stream !== undefined) this.#port.codec.consumed(this.#stream, bytes.length);
  }

  #tellEnd(): void {
    const end = this.#incomingEnd;
    if (end === undefined || this.#incoming.length > 0 || this.#phase !== "open" || this.#call.requestDone) return;
    this.#call.requestEnd(end.trailers);
  }

  // --- the way back (Downstream)

  get isFull(): boolean {
    return this.#outgoing.length > 0;
  }

  schedule(): void {
    if (this.#phase === "free") return;
    this.#thread.deadlines.set(this, this.#nextDeadlineMs());
  }

  goAhead(): void {
    this.#interim({ status: 100, fields: [], body: NO_BODY });
  }

  /** A go-ahead was given here already. */
  interim(head: ResponseHead): void {
    if (head.status !== 100) this.#interim(head);
  }

  head(head: ResponseHead, _close: boolean, neverIndexed?: readonly string[]): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (head.status === SWITCHING_PROTOCOLS) {
      this.#switch(stream, head);
      return;
    }
    const { status, body } = head;
    const isEmpty = body.kind === "none" || (body.kind === "length" && body.bytes === 0);
    const isWhole = isEmpty || this.#method === "HEAD" || status === 204 || status === 304;
    this.#port.codec.respond(stream, head, isWhole, neverIndexed);
    this.#ended = isWhole;
    this.#port.later();
  }

  /** RFC 8441 5: 200 says what 101 says in HTTP/1.1. */
  #switch(stream: Http2Stream<Http2ServerStream>, head: ResponseHead): void {
    this.#port.codec.respond(stream, { ...head, status: 200, fields: agreedFields(head.fields), body: STREAM_BODY }, false);
    this.#isSwitched = true;
    this.#port.later();
  }

  body(bytes: Uint8Array): void {
    const stream = this.#stream;
    if (stream === undefined || this.#ended || bytes.length === 0) return;
    this.responseBytes += bytes.length;
    const taken = this.#outgoing.length > 0 ? 0 : this.#port.codec.data(stream, bytes, false);
    if (taken < bytes.length) this.#outgoing.push(Uint8Array.prototype.slice.call(bytes, taken));
    this.#port.later();
  }

  /** RFC 9113 8.1: who has answered may say that the rest of the request is not wanted. */
  end(trailers: readonly string[] | undefined): boolean {
    const stream = this.#stream;
    if (stream === undefined || this.#ended) return false;
    if (this.#outgoing.length > 0) this.#outgoingEnd = trailers ?? NO_TRAILERS;
    else this.#endWith(stream, trailers ?? NO_TRAILERS);
    return this.#isSwitched;
  }

  wanted(): void {
    try {
      while (this.#phase === "open" && this.#incoming.length > 0 && this.#call.wantsRequest) {
        this.#take(this.#incoming.shift() as Uint8Array);
      }
      this.#tellEnd();
    } catch (error) {
      this.#call.broken(error);
    }
    this.#thread.outbox.flush();
    this.#port.later();
  }

  // --- the tunnel (TunnelStream)

  tunnel(step: TunnelStep): void {
    const early = { bytes: this.#incoming, ended: this.#incomingEnd !== undefined };
    this.#incoming = [];
    this.#phase = "tunnel";
    this.#tunnel = new StreamTunnel(this, this.#thread, step, this.#port.listener.settings, early);
    this.schedule();
  }

  accepted(head: ResponseHead): void {
    if (this.#stream !== undefined) this.#port.codec.respond(this.#stream, { ...head, body: STREAM_BODY }, false);
    this.#port.later();
  }

  tunnelFailed(failure: UpstreamFailure, { bytes, ended }: EarlyBytes): void {
    this.#tunnel = undefined;
    this.#phase = "open";
    this.#incoming = bytes;
    this.#incomingEnd = ended ? { trailers: undefined } : undefined;
    this.#call.tunnelFailed(failure);
  }

  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number, code: number | undefined): void {
    this.#tunnel = undefined;
    this.#call.tunnelEnded(outcome, requestBytes);
    if (code !== undefined) {
      this.#close(code);
      return;
    }
    this.end(undefined);
    this.over();
  }

  over(): void {
    this.#incoming = [];
    if (this.#outgoing.length === 0) {
      this.#close(this.#endCode);
      return;
    }
    this.#phase = "flushing";
    this.schedule();
  }

  cut(outcome: ExchangeEnd["outcome"]): void {
    const code = outcome === "client_gone" || outcome === "timeout" ? Http2Code.cancel : Http2Code.internalError;
    this.#close(this.#endCode === Http2Code.noError ? code : this.#endCode);
  }

  expired(nowMs: number): void {
    if (this.#nextDeadlineMs() <= nowMs) {
      if (this.#phase === "flushing") this.#close(Http2Code.cancel);
      else if (this.#phase === "open") this.#call.expired(nowMs);
      this.#thread.outbox.flush();
    }
    this.schedule();
  }

  #nextDeadlineMs(): number {
    return this.#times.nextMs(this.#phase === "tunnel" ? "tunnel" : "exchange", this.#port.listener.settings, false);
  }

  #interim(head: ResponseHead): void {
    if (this.#stream !== undefined) this.#port.codec.interim(this.#stream, head);
    this.#port.later();
  }

  #endWith(stream: Http2Stream<Http2ServerStream>, trailers: readonly string[]): void {
    this.#ended = true;
    this.#outgoingEnd = undefined;
    if (trailers.length > 0) this.#port.codec.trailers(stream, trailers);
    else this.#port.codec.data(stream, EMPTY, true);
    this.#port.later();
  }

  /** Whatever of the stream is still open is given up. */
  #close(code: number): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#stream = undefined;
    this.#phase = "free";
    stream.owner = undefined;
    this.#incoming = [];
    this.#outgoing = [];
    this.#thread.deadlines.set(this, NEVER);
    this.#port.codec.reset(stream, code);
    this.#port.later();
    this.#port.free(this);
  }
}
