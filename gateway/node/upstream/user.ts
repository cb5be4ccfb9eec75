/** The two sides of one attempt at an origin: what its user may do with it, and what its user is told. */
import type { ErrorCode, RequestHead, ResponseHead, Upgrade } from "../../core/index.ts";

/** One request on its way to an origin. Over HTTP/1.1 that is the connection itself; over HTTP/2 a stream of one. */
export interface UpstreamStream {
  /** It takes more of the request right now; afterwards `requestDrained` says when it does again. */
  readonly hasRoom: boolean;
  /** Bytes of the request that wait here because the origin does not take them. */
  readonly queuedBytes: number;
  /** Begins. Throws when the head holds what must not be written; nothing was written then. */
  start(user: UpstreamUser, head: RequestHead, options: StartOptions): void;
  /** Part of the request's body, valid during this call. */
  body(bytes: Uint8Array): void;
  /** The request is whole. */
  end(trailers: readonly string[] | undefined): void;
  /** The user takes no more of the response for now. What was read before still comes. */
  pause(): void;
  resume(): void;
  /** The user wants nothing more of it and is told nothing more. Also for a stream that was not started. */
  cancel(): void;
}

export interface StartOptions {
  /** As the client's request had them: see `ClientRequest`. */
  readonly neverIndexed: readonly string[] | undefined;
  /**
   * Ask for this protocol. Once the response is 101, `body` and `end` are the client's bytes and their end, the response's body is the origin's, and after
   * `responseEnd` the stream is the user's still, until it has said `end` or `cancel`.
   */
  readonly switchTo: Upgrade | undefined;
}

/** Told what happens to a request's attempt, in order, and nothing after its end. */
export interface UpstreamUser {
  /** A waiting request may start. Only after `acquire` answered "waiting". */
  streamReady(stream: UpstreamStream): void;
  /** A 1xx response, other than 101. */
  responseInterim(event: UpstreamHead): void;
  /** The final response's head. The user may cancel the stream in here. */
  responseHead(event: UpstreamHead): void;
  /** Bytes of the body. They are gone after the call: copy what has to stay. */
  responseBody(bytes: Uint8Array): void;
  /** Everything that one read brought has been told. Not called after `responseEnd`. */
  responseFlush(): void;
  /** Whole. The stream is no longer the user's. */
  responseEnd(trailers: readonly string[] | undefined): void;
  /** The stream takes more of the request again. */
  requestDrained(): void;
  /** No (whole) response will come. The stream is no longer the user's. */
  upstreamFailed(failure: UpstreamFailure): void;
}

/** The head of a response and what is only for this hop, whatever it came by. */
export interface UpstreamHead {
  readonly head: ResponseHead;
  readonly connectionOptions: readonly string[] | undefined;
  /** As a request's: see `ClientRequest`. */
  readonly neverIndexed?: readonly string[] | undefined;
}

export interface UpstreamFailure {
  readonly code: ErrorCode;
  readonly reason: string;
  /** No byte of the request can have reached the origin. */
  readonly neverSent: boolean;
  /**
   * May it be sent once more without asking anybody? `idempotent`: a kept-alive connection was closed before any byte came (RFC 9112 9.3.1). `any`: the
   * origin says that it has not looked at the request (RFC 9113 8.7).
   */
  readonly resend: "no" | "idempotent" | "any";
}
