/**
 * A tunnel whose client is a stream of an HTTP/2 connection (RFC 9113 8.5): DATA is its bytes, END_STREAM the end of one direction, and an error on
 * either side resets the other. Windows bound what waits here of the client's bytes.
 */
import type { ExchangeEnd, ResponseHead, TunnelStep } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { Http2Code } from "../wire/index.ts";
import { Tunnel, type TunnelClient, type TunnelOwner } from "./tunnel.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure } from "./upstream/user.ts";

/** The client's bytes that nobody has taken yet, and whether those are all. */
export interface EarlyBytes {
  readonly bytes: Uint8Array[];
  readonly ended: boolean;
}

/** What a tunnel asks of its stream. */
export interface TunnelStream {
  readonly isFull: boolean;
  /** The answer to CONNECT; the stream is open both ways from here on. */
  accepted(head: ResponseHead): void;
  /** Bytes for the client, valid during this call. */
  body(bytes: Uint8Array): void;
  end(trailers: undefined): unknown;
  /** Bytes of the client's are where they belong: it may send as many again. */
  consumed(bytes: Uint8Array): void;
  /** Not connected. */
  tunnelFailed(failure: UpstreamFailure, early: EarlyBytes): void;
  /** Over. @param code with which the stream is reset at once; undefined: it ends when the client has got everything */
  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number, code: number | undefined): void;
}

export class StreamTunnel implements TunnelClient, TunnelOwner {
  readonly #stream: TunnelStream;
  readonly #tunnel: Tunnel;
  readonly #waiting: Uint8Array[];
  /** The client has said all that it had to say; the tunnel is told after what waits. */
  #ended: boolean;
  #isHeld = true;
  #code: number | undefined;

  constructor(stream: TunnelStream, thread: UpstreamThread, step: TunnelStep, settings: HttpSettings, early: EarlyBytes) {
    this.#stream = stream;
    this.#waiting = early.bytes;
    this.#ended = early.ended;
    this.#tunnel = new Tunnel(this, thread, step, settings, this);
  }

  // --- what comes of the client

  /** @param bytes valid during this call */
  data(bytes: Uint8Array, end: boolean): void {
    if (this.#isHeld || this.#waiting.length > 0) this.#waiting.push(Uint8Array.prototype.slice.call(bytes));
    else this.#take(bytes);
    if (!end) return;
    this.#ended = true;
    this.#tellEnd();
  }

  /** It takes more again. */
  room(): void {
    this.#tunnel.clientDrained();
  }

  /** It gave the stream up, or is gone, or broke a rule. @param code with which the stream is over */
  gone(code: number): void {
    this.#code = code;
    this.#tunnel.clientCut();
  }

  #take(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#tunnel.clientBytes(bytes);
    this.#stream.consumed(bytes);
  }

  #tellEnd(): void {
    if (this.#ended && !this.#isHeld && this.#waiting.length === 0) this.#tunnel.clientEnded();
  }

  // --- TunnelClient

  write(bytes: Uint8Array): boolean {
    this.#stream.body(bytes);
    return !this.#stream.isFull;
  }

  pause(): void {
    this.#isHeld = true;
  }

  resume(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    while (!this.#isHeld && this.#waiting.length > 0) this.#take(this.#waiting.shift() as Uint8Array);
    this.#tellEnd();
  }

  end(): void {
    this.#stream.end(undefined);
  }

  leave(): void {
    this.end();
  }

  cut(outcome: ExchangeEnd["outcome"]): void {
    this.#code ??= outcome === "timeout" ? Http2Code.cancel : Http2Code.connectError;
  }

  // --- TunnelOwner

  tunnelDialled(head: ResponseHead): void {
    this.#stream.accepted(head);
    this.resume();
  }

  tunnelFailed(failure: UpstreamFailure): void {
    this.#stream.tunnelFailed(failure, { bytes: this.#waiting, ended: this.#ended });
  }

  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number): void {
    this.#stream.tunnelEnded(outcome, requestBytes, this.#code);
  }
}
