/** One HTTP/2 connection (RFC 9113), either end, without I/O: feed what was read, ask for events, write what `take` gives. */
import type { ReadonlyFieldList, RequestHead, ResponseHead, Scheme } from "../../core/http/message.ts";
import type { Latin1Decoder } from "../http1/chars.ts";
import type { Http2Event } from "./events.ts";
import type { Http2Limits } from "./limits.ts";
import type { Http2Stream } from "./stream.ts";

export interface Http2Options {
  readonly role: "server" | "client";
  readonly limits?: Http2Limits;
  /** Server: what the connection is, `https` behind TLS. A request's `:scheme` may differ, as behind a proxy that terminates TLS. Default `http`. */
  readonly scheme?: Scheme;
  /** Server: offer extended CONNECT (RFC 8441). Default true. */
  readonly extendedConnect?: boolean;
  /** The runtime's decoder; the portable one by default. */
  readonly decode?: Latin1Decoder;
}

/** Options with everything filled in and derived: made once per listener or cluster, shared by its connections (which also share output buffers by it). */
export declare class Http2Settings {
  constructor(options: Http2Options);
}

export declare class Http2Connection<Owner> {
  /** The preface (client) and SETTINGS are in the output from the start. */
  constructor(settings: Http2Settings);

  /** Streams that are open in either direction. */
  readonly streams: number;
  /** Client: `request` would open a stream now. */
  readonly hasRoom: boolean;
  /** Client: the peer takes extended CONNECT (known once its SETTINGS are here). */
  readonly takesExtendedConnect: boolean;
  /** GOAWAY was sent or received, or the connection is broken: no new streams. */
  readonly isGoingAway: boolean;
  /** `take` would give something. */
  readonly hasOutput: boolean;

  /** Adds bytes from the connection, valid until `next` has said `need` or `settle` was called. `nowMs`: monotonic, for the limits that are rates. */
  feed(bytes: Uint8Array, nowMs: number): void;
  next(): Http2Event<Owner>;
  /** The fed bytes are about to be overwritten although not all events were asked for: keeps a copy of what is unread. */
  settle(): void;
  /** The reading side has ended: `need` when no stream was open, else an error. */
  eof(): Http2Event<Owner>;

  /** Client: opens a stream; undefined when the peer allows no more now or is going away. `protocol`: extended CONNECT. */
  request(head: RequestHead, end: boolean, owner: Owner, protocol?: string): Http2Stream<Owner> | undefined;
  /** Server: the final head. `head.body` of kind `length` is written as Content-Length. */
  respond(stream: Http2Stream<Owner>, head: ResponseHead, end: boolean): void;
  /** Server: a 1xx head. */
  interim(stream: Http2Stream<Owner>, head: ResponseHead): void;
  /**
   * Content, as much as windows and `maxBufferedBytes` let go. @returns the bytes taken (copied); fewer than offered: a `window` event tells when to go
   * on. `end` counts once all is taken; an empty `bytes` with `end` is always taken.
   */
  data(stream: Http2Stream<Owner>, bytes: Uint8Array, end: boolean): number;
  /** Ends the stream with these fields. */
  trailers(stream: Http2Stream<Owner>, fields: ReadonlyFieldList): void;
  /** Gives the stream up. `noError` after a whole response: the rest of the request is not wanted (RFC 9113 8.1). */
  reset(stream: Http2Stream<Owner>, code: number): void;
  /** So many bytes of `data` events have left us: the peer may send as many again. Also to be called for a stream that is over. */
  consumed(stream: Http2Stream<Owner>, bytes: number): void;

  /**
   * Drains, in two steps (RFC 9113 6.8): streams under way to us are still taken until the peer has answered a PING, later ones are not. The
   * connection may be closed once `streams` is 0 and `isDrained`.
   */
  shutdown(): void;
  readonly isDrained: boolean;
  /** Ends the connection: GOAWAY with this code. */
  goAway(code: number): void;
  /** A sign of life is asked for: a `pong` event follows. */
  ping(): void;

  /**
   * What is to be written now, valid until the next call. Call it once the write before has been done (the buffer is used again then), at
   * the end of a turn and when a write is over; empty: nothing waits, and the connection holds no buffer. When DATA had to wait for room here, `next` tells.
   */
  take(): Uint8Array;
}
