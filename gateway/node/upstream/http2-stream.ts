/** One request on an HTTP/2 connection to an origin. */

import { type ErrorCode, MeshError, NO_BODY, type RequestHead, type ResponseHead } from "../../core/index.ts";
import { Http2Code, type Http2Connection, type Http2Stream, type StreamProblem } from "../../wire/index.ts";
import { connectFields, switchedFields } from "../websocket.ts";
import type { StartOptions, UpstreamFailure, UpstreamStream, UpstreamUser } from "./user.ts";

export type ClientCodec = Http2Connection<Http2UpstreamStream>;

/** What a stream asks of its connection. */
export interface UpstreamPort {
  readonly codec: ClientCodec;
  /** How often something has come: tells whether anything has since a request began. */
  readonly reads: number;
  /** It has carried a request before. */
  readonly isReused: boolean;
  started(): void;
  /** The stream is to be told by `settled` once the origin has said what it allows, or by `lost`. Never at once. */
  whenSettled(stream: Http2UpstreamStream): void;
  /** There is something to be written. */
  later(): void;
  /** Something of the response was told: a flush is to follow. */
  touched(stream: Http2UpstreamStream): void;
  over(): void;
}

const EMPTY = new Uint8Array(0);

export class Http2UpstreamStream implements UpstreamStream {
  readonly #port: UpstreamPort;
  #stream: Http2Stream<Http2UpstreamStream> | undefined;
  #user: UpstreamUser | undefined;
  /** Reads of the connection when the request began. */
  #startedAt = 0;
  /** Of the request: said, and the origin makes no room for it yet. */
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #outgoingEnd: { readonly trailers: readonly string[] | undefined } | undefined;
  /** The final head is here. */
  #answered = false;
  /** To be sent once the origin has said that it takes such a request. */
  #asked: { readonly head: RequestHead; readonly options: StartOptions } | undefined;
  /** Another protocol was asked for, with the echo that the client waits for. */
  #switch: { readonly accept: string | undefined } | undefined;
  /** It is spoken. */
  #isSwitched = false;
  /** All that the origin had to say in it has been told. */
  #isOriginDone = false;
  /** The user takes no more. */
  #paused = false;
  /** Told to the user, and the origin not told yet that it may send as much again. */
  #unconsumed = 0;
  /** A flush is to follow. */
  isTouched = false;

  constructor(port: UpstreamPort) {
    this.#port = port;
  }

  // --- what its user says (UpstreamStream)

  get hasRoom(): boolean {
    return this.#outgoing.length === 0;
  }

  get queuedBytes(): number {
    return this.#outgoingBytes;
  }

  start(user: UpstreamUser, head: RequestHead, options: StartOptions): void {
    this.#user = user;
    if (options.switchTo !== undefined) {
      this.#asked = { head, options };
      this.#port.whenSettled(this);
      return;
    }
    const { body } = head;
    this.#open(head, body.kind === "none" || (body.kind === "length" && body.bytes === 0), options);
  }

  /** RFC 8441 4: only once the origin has said that it takes such a request. */
  settled(): void {
    if (this.#user === undefined || this.#asked === undefined) return;
    const { head, options } = this.#asked;
    if (!this.#port.codec.takesExtendedConnect) {
      const reason = "the origin does not take extended CONNECT (RFC 8441)";
      this.#fail({ code: "upstream_protocol", reason, neverSent: true, resend: "no" });
      return;
    }
    const { fields, accept } = connectFields(head.fields);
    this.#switch = { accept };
    try {
      this.#open({ ...head, method: "CONNECT", fields }, false, options);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#fail({ code: "internal", reason, neverSent: true, resend: "no" });
    }
  }

  #open(head: RequestHead, isWhole: boolean, { neverIndexed, switchTo }: StartOptions): void {
    const { codec, reads } = this.#port;
    const stream = codec.request(head, isWhole, this, switchTo, neverIndexed);
    if (stream === undefined) throw new MeshError("internal", "local", "a stream was started when there was no room for it");
    this.#stream = stream;
    this.#startedAt = reads;
    this.#port.started();
    this.#port.later();
  }

  body(bytes: Uint8Array): void {
    const stream = this.#stream;
    if (stream === undefined || bytes.length === 0) return;
    const taken = this.#outgoing.length > 0 ? 0 : this.#port.codec.data(stream, bytes, false);
    if (taken < bytes.length) {
      this.#outgoing.push(Uint8Array.prototype.slice.call(bytes, taken));
      this.#outgoingBytes += bytes.length - taken;
    }
    this.#port.later();
  }

  end(trailers: readonly string[] | undefined): void {
    if (this.#stream === undefined) return;
    if (this.#outgoing.length > 0) this.#outgoingEnd = { trailers };
    else this.#endWith(this.#stream, trailers);
  }

  /** In another protocol both directions have an end. */
  #endIfDone(): void {
    if (this.#isOriginDone && this.#stream?.isClosed === true) this.#leave(Http2Code.noError);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#credit();
  }

  cancel(): void {
    this.#user = undefined;
    this.#leave(Http2Code.cancel);
  }

  #endWith(stream: Http2Stream<Http2UpstreamStream>, trailers: readonly string[] | undefined): void {
    const { codec } = this.#port;
    if (trailers !== undefined && trailers.length > 0) codec.trailers(stream, trailers);
    else codec.data(stream, EMPTY, true);
    this.#port.later();
    this.#endIfDone();
  }

  #credit(): void {
    if (this.#unconsumed === 0 || this.#stream === undefined) return;
    this.#port.codec.consumed(this.#stream, this.#unconsumed);
    this.#unconsumed = 0;
    this.#port.later();
  }

  // --- what the origin says

  head(head: ResponseHead, isWhole: boolean, neverIndexed: readonly string[] | undefined): void {
    if (head.status < 200) {
      this.#user?.responseInterim({ head, connectionOptions: undefined });
      return;
    }
    this.#answered = true;
    this.#touch();
    this.#user?.responseHead({ head: this.#translated(head), connectionOptions: undefined, neverIndexed });
    if (isWhole) this.complete(undefined);
  }

  /** RFC 8441 5: any 2xx is what HTTP/1.1 says with 101. */
  #translated(head: ResponseHead): ResponseHead {
    const asked = this.#switch;
    if (asked === undefined || head.status >= 300) return head;
    this.#isSwitched = true;
    return { ...head, status: 101, fields: switchedFields(head.fields, asked.accept), body: NO_BODY };
  }

  data(bytes: Uint8Array, isLast: boolean): void {
    this.#unconsumed += bytes.length;
    this.#touch();
    if (bytes.length > 0) this.#user?.responseBody(bytes);
    if (isLast) this.complete(undefined);
  }

  complete(trailers: readonly string[] | undefined): void {
    const user = this.#user;
    if (this.#isSwitched) {
      this.#isOriginDone = true;
      user?.responseEnd(undefined);
      this.#endIfDone();
      return;
    }
    this.#user = undefined;
    // What is left of the request is of no use to whoever has answered.
    this.#leave(Http2Code.cancel);
    user?.responseEnd(trailers);
  }

  /** Everything that one read brought has been told. */
  flush(): void {
    this.isTouched = false;
    this.#user?.responseFlush();
    if (!this.#paused) this.#credit();
  }

  /** There is room for more of the request. */
  room(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    for (let first = this.#outgoing[0]; first !== undefined; first = this.#outgoing[0]) {
      const taken = this.#port.codec.data(stream, first, false);
      this.#outgoingBytes -= taken;
      if (taken < first.length) {
        this.#outgoing[0] = first.subarray(taken);
        return;
      }
      this.#outgoing.shift();
    }
    if (this.#outgoingEnd !== undefined) this.#endWith(stream, this.#outgoingEnd.trailers);
    else this.#user?.requestDrained();
  }

  reset(code: number, isUnprocessed: boolean): void {
    if (isUnprocessed || code === Http2Code.refusedStream) {
      this.#fail({ code: "upstream_reset", reason: "the origin takes no more requests here", neverSent: true, resend: "any" });
    } else {
      this.#fail(failure("upstream_reset", `the origin reset the stream with code ${code}`));
    }
  }

  refused({ code, message, http2Code }: StreamProblem): void {
    this.#fail(failure("upstream_protocol", `${code}: ${message}`), http2Code);
  }

  /** The connection is gone, or did not come to stand. */
  lost(code: ErrorCode, reason: string, neverSent: boolean): void {
    const { isReused, reads } = this.#port;
    const isStale = isReused && !this.#answered && reads === this.#startedAt;
    this.#fail({ code, reason, neverSent, resend: isStale ? "idempotent" : "no" });
  }

  #touch(): void {
    if (this.isTouched) return;
    this.isTouched = true;
    this.#port.touched(this);
  }

  #fail(failed: UpstreamFailure, code: number = Http2Code.cancel): void {
    const user = this.#user;
    this.#user = undefined;
    this.#leave(code);
    user?.upstreamFailed(failed);
  }

  /** Nothing more is to be done for it; what is still open is given up. */
  #leave(code: number): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    this.#stream = undefined;
    stream.owner = undefined;
    this.#outgoing = [];
    this.#outgoingBytes = 0;
    this.#port.codec.reset(stream, code);
    this.#port.later();
    this.#port.over();
  }
}

function failure(code: ErrorCode, reason: string): UpstreamFailure {
  return { code, reason, neverSent: false, resend: "no" };
}
