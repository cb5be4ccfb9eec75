/**
 * What an HTTP/2 connection tells. It is fed the bytes that a socket delivered and asked for events until it needs more:
 *
 *     connection.feed(bytes, nowMs); for (;;) { const event = connection.next(); if (event.kind === "need") break; … }
 *
 * The bytes of an event are valid until the next call of `next`. Frames that tell the caller nothing (SETTINGS, PING, windows of streams that wait for
 * nothing, PRIORITY, unknown ones) are dealt with inside.
 */
import type { FieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";
import type { ConnectionProblem, StreamProblem } from "./errors.ts";
import type { Http2Stream } from "./stream.ts";

export type Http2Event<Owner> =
  | { readonly kind: "need" }
  | RequestEvent<Owner>
  | ResponseEvent<Owner>
  | DataEvent<Owner>
  | TrailersEvent<Owner>
  | ResetEvent<Owner>
  | RefusedEvent<Owner>
  | WindowEvent<Owner>
  | GoAwayEvent
  /** The answer to `ping` came. */
  | { readonly kind: "pong" }
  /** The connection is broken; terminal. GOAWAY is in the output already (`take`); afterwards the connection has to be closed. Its streams are over. */
  | { readonly kind: "error"; readonly error: ConnectionProblem };

/** Server: a request began a stream. */
export interface RequestEvent<Owner> {
  readonly kind: "request";
  readonly stream: Http2Stream<Owner>;
  readonly head: RequestHead;
  /** Nothing follows. */
  readonly end: boolean;
  /** Extended CONNECT (RFC 8441): what the stream is to speak. `head` has scheme, authority and target as any request. */
  readonly protocol: string | undefined;
  readonly expectContinue: boolean;
  /** The client takes trailers (`te: trailers`). */
  readonly takesTrailers: boolean;
  /** Names of fields that must be written so again wherever HTTP/2 is spoken next (RFC 7541 6.2.3). */
  readonly neverIndexed: readonly string[] | undefined;
}

/** Client: a response head. After one with a 1xx status comes another. */
export interface ResponseEvent<Owner> {
  readonly kind: "response";
  readonly stream: Http2Stream<Owner>;
  readonly head: ResponseHead;
  readonly end: boolean;
  readonly neverIndexed: readonly string[] | undefined;
}

/** Content: a view into the fed bytes, framing and padding taken off; empty only to tell the end. The receiver says `consumed` once it has let go of it. */
export interface DataEvent<Owner> {
  readonly kind: "data";
  readonly stream: Http2Stream<Owner>;
  readonly bytes: Uint8Array;
  readonly end: boolean;
}

/** The end, with trailer fields. */
export interface TrailersEvent<Owner> {
  readonly kind: "trailers";
  readonly stream: Http2Stream<Owner>;
  readonly fields: FieldList;
}

/** The peer gave the stream up; it is over. */
export interface ResetEvent<Owner> {
  readonly kind: "reset";
  readonly stream: Http2Stream<Owner>;
  /** What RST_STREAM or GOAWAY said. */
  readonly code: number;
  /** The peer has not looked at the request, so it may be sent again, whatever it is (RFC 9113 8.7). */
  readonly unprocessed: boolean;
}

/**
 * What came on the stream breaks a rule; nothing more of it will be told. The owner ends it with `reset(stream, error.http2Code)`; a server may
 * answer before it does.
 */
export interface RefusedEvent<Owner> {
  readonly kind: "refused";
  readonly stream: Http2Stream<Owner>;
  readonly error: StreamProblem;
}

/** `data` had taken less than was offered, and would take more now. */
export interface WindowEvent<Owner> {
  readonly kind: "window";
  readonly stream: Http2Stream<Owner>;
}

/** The peer opens or accepts no more streams. Streams that it will not process were told by `reset` events. */
export interface GoAwayEvent {
  readonly kind: "goaway";
  readonly code: number;
}
