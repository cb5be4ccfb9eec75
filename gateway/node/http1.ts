/**
 * One HTTP/1.1 client connection: its bytes become requests, one at a time and in order, and what its call says becomes bytes.
 *
 *     head ──► exchange ──► head ──► …          keep-alive; a pipelined request waits in the parser
 *                  ├──────► linger ──► closed    the last answer is on its way, the rest of the request is read and dropped
 *                  └──────► tunnel ──► closed    CONNECT: the bytes belong to somebody else
 *
 * The plain path has no promise, no timer and no closure in it, and one write each way.
 */
import type { Socket } from "node:net";
import type { ExchangeEnd, PeerInfo, ResponseHead, TunnelStep } from "../core/index.ts";
import { unreachable } from "../core/result.ts";
import { type ProtocolError, type RequestEvent, RequestParser, type RequestParserSettings } from "../wire/index.ts";
import { Call, type CallListener, type Downstream, type HttpThread, plainAnswer } from "./call.ts";
import { ConnectionTimes, NEVER, type Phase } from "./connection-times.ts";
import type { Timed } from "./deadlines.ts";
import { readInto } from "./direct-read.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { ResponseWriter } from "./response-writer.ts";
import { Tunnel, type TunnelOwner } from "./tunnel.ts";
import type { UpstreamFailure } from "./upstream/user.ts";

/** What the connections of one listener share. */
export interface HttpListener extends CallListener {
  readonly parser: RequestParserSettings;
  /** Answers say `Connection: close`. */
  readonly draining: boolean;
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  /** A connection is gone. */
  closed(connection: ServerConnection): void;
}

export class ServerConnection implements Downstream, TunnelOwner, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;

  readonly #socket: Socket;
  readonly #thread: HttpThread;
  readonly #info: ConnectionInfo;
  readonly #parser: RequestParser;
  readonly #call: Call;
  readonly #response: ResponseWriter;
  readonly #listener: HttpListener;
  readonly #times: ConnectionTimes;
  #phase: Phase = "head";
  #tunnel: Tunnel | undefined;
  #pumping = false;
  #paused = false;
  /** The client lets the connection live on, and so do we. */
  #keepAlive = true;

  /** @param accepted in this very turn */
  constructor(accepted: Socket, listener: HttpListener, thread: HttpThread, info: ConnectionInfo) {
    this.#socket = readInto(accepted, (bytes) => this.#read(bytes));
    this.#listener = listener;
    this.#thread = thread;
    this.#info = info;
    this.#parser = new RequestParser(listener.parser);
    const socket = this.#socket;
    this.#response = new ResponseWriter(socket, thread.outbox);
    this.#times = new ConnectionTimes(thread.clock.now());
    this.#call = new Call(thread, listener, info, this, this.#times);
    socket.on("drain", () => this.#drained());
    socket.on("end", () => this.#clientEnded());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed());
    this.schedule();
  }

  get peer(): PeerInfo {
    return this.#info.peer;
  }

  /** Ends as soon as that loses nothing: a request in flight is answered first, an idle connection gets a moment to send one more. */
  drain(): void {
    if (this.#phase === "head" && this.#parser.idle) this.schedule();
  }

  /** Closes at once, whatever is in flight. */
  destroy(): void {
    this.#socket.destroy();
  }

  // --- bytes of the client

  /** @param bytes valid during this call */
  #read(bytes: Uint8Array): void {
    if (this.#phase === "linger" || this.#phase === "closed") return;
    if (this.#phase === "tunnel" && this.#response.started) {
      this.#tunnel?.clientBytes(bytes);
      return;
    }
    this.#parser.feed(bytes);
    if (this.#pumping || !this.#wants()) {
      this.#pause();
    } else {
      this.#pump();
    }
    this.#parser.settle();
  }

  /** Somebody can do something with the parser's next event. */
  #wants(): boolean {
    if (this.#phase === "head") return !this.#socket.writableNeedDrain;
    return this.#phase === "exchange" && this.#call.wantsRequest;
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#wants()) {
        const event = this.#parser.next();
        if (event.kind === "need") {
          this.#starved();
          break;
        }
        this.#told(event);
      }
    } catch (error) {
      this.#broken(error);
    }
    this.#pumping = false;
    this.#thread.outbox.flush();
    this.#regulate();
  }

  #broken(error: unknown): void {
    if (this.#phase === "exchange") {
      this.#call.broken(error);
      return;
    }
    this.#thread.problem(error);
    this.#socket.destroy();
  }

  #told(event: Exclude<RequestEvent, { kind: "need" }>): void {
    switch (event.kind) {
      case "head":
        this.#phase = "exchange";
        this.#keepAlive = event.keepAlive;
        this.#response.begin(event.head.method, event.minor, event.takesTrailers === true);
        this.#call.begin(event);
        if (event.head.body.kind !== "none" && this.#phase === "exchange") this.#expectBody();
        return;
      case "body":
        this.#times.bodyCame(this.#thread.clock.now(), event.bytes.length, this.#listener.settings);
        this.#call.requestBody(event.bytes);
        return;
      case "end":
        this.#times.bodyEnded();
        this.#call.requestEnd(event.trailers);
        return;
      case "error":
        this.#refuse(event.error);
        return;
      default:
        unreachable(event);
    }
  }

  #expectBody(): void {
    this.#times.bodyExpected(this.#thread.clock.now(), this.#listener.settings);
    this.schedule();
  }

  /** All bytes are used up: an unfinished head gets its deadline. */
  #starved(): void {
    if (this.#phase !== "head" || this.#parser.idle || this.#times.headerMs !== NEVER) return;
    this.#times.headerMs = this.#thread.clock.now() + this.#listener.settings.headerTimeoutMs;
    this.schedule();
  }

  /** Reads on or stops reading, as there is use for more. A finished request alone does not stop it: that would cost two system calls per request. */
  #regulate(): void {
    if (this.#wants()) {
      if (this.#paused) this.#resume();
    } else if (this.#phase === "exchange" && !this.#call.requestDone) {
      this.#pause();
    }
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#times.bodyHeld(this.#thread.clock.now());
    this.#socket.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#times.bodyReleased(this.#thread.clock.now());
    this.#socket.resume();
    this.schedule();
  }

  #drained(): void {
    if (this.#phase !== "exchange") this.#times.clientDrained(this.#thread.clock.now());
    if (this.#phase === "tunnel") this.#tunnel?.clientDrained();
    if (this.#phase === "exchange") this.#call.drained();
    if (this.#phase === "head") this.#pump();
  }

  /** The bytes make no request, or no end of this one. */
  #refuse(error: ProtocolError): void {
    const text = `${error.code}: ${error.message}`;
    if (this.#phase === "exchange") this.#call.refuse(error.status, text);
    else this.#refuseHead(error.status, text);
  }

  /** There is no request, so there is no call to answer it. */
  #refuseHead(status: number, text: string): void {
    this.#listener.refused(this.#info, status, text);
    const { head, body } = plainAnswer(status, text, this.#thread.clock.unixMs());
    this.#response.begin("", 1, false);
    this.#response.head(head, false);
    this.#response.body(body);
    this.#response.end(undefined);
    this.#linger();
    this.schedule();
  }

  // --- the way back (Downstream)

  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  get responseBytes(): number {
    return this.#response.bytes;
  }

  goAhead(): void {
    this.#response.goAhead();
  }

  interim(head: ResponseHead): void {
    this.#response.interim(head);
  }

  head(head: ResponseHead, close: boolean): void {
    const { draining, settings } = this.#listener;
    const mayLiveOn = this.#keepAlive && !close && !draining && !this.#times.isUsedUp(settings, this.#thread.clock);
    this.#keepAlive = this.#response.head(head, mayLiveOn);
  }

  body(bytes: Uint8Array): void {
    this.#response.body(bytes);
  }

  end(trailers: readonly string[] | undefined): boolean {
    this.#response.end(trailers);
    return this.#keepAlive;
  }

  /** Whatever the parser still holds may be wanted now. */
  wanted(): void {
    if (this.#paused || !this.#parser.idle) this.#pump();
  }

  over(): void {
    if (this.#keepAlive && this.#call.requestDone) this.#phase = "head";
    else this.#linger();
    this.schedule();
  }

  /**
   * RFC 9112 9.6: the writing side closes first. Closing both at once while the client is still sending would reset the connection and
   * could take the answer away from under the client.
   */
  #linger(): void {
    this.#phase = "linger";
    this.#thread.outbox.flush();
    this.#socket.end();
    this.#resume();
  }

  cut(_outcome: ExchangeEnd["outcome"]): void {
    this.#phase = "closed";
    // Without a length or chunks an orderly close would be the end of the body.
    if (this.#response.endsByClosing) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  // --- the tunnel (TunnelOwner)

  tunnel(step: TunnelStep): void {
    this.#phase = "tunnel";
    this.#pause();
    this.#tunnel = new Tunnel(this.#socket, this.#thread, step, this.#listener.settings, this);
  }

  tunnelDialled(head: ResponseHead): void {
    this.#response.head(head, true);
    this.#thread.outbox.flush();
    const early = this.#parser.rest();
    if (early.length > 0) this.#tunnel?.clientBytes(early);
    this.#resume();
  }

  tunnelFailed(failure: UpstreamFailure): void {
    this.#tunnel = undefined;
    this.#phase = "exchange";
    this.#call.tunnelFailed(failure);
  }

  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number, responseBytes: number): void {
    this.#response.bytes = responseBytes;
    this.#tunnel = undefined;
    this.#phase = "closed";
    this.#call.tunnelEnded(outcome, requestBytes);
  }

  // --- time and the end

  schedule(): void {
    this.#thread.deadlines.set(this, this.#nextDeadlineMs());
  }

  #nextDeadlineMs(): number {
    return this.#times.nextMs(this.#phase, this.#listener.settings, this.#listener.draining);
  }

  expired(nowMs: number): void {
    if (this.#phase === "linger" && !(this.#socket.writableLength > 0 && this.#times.lingersOn(nowMs, this.#listener.settings))) {
      this.#socket.destroy();
      return;
    }
    // Activity moves deadlines without filing them anew.
    if (this.#nextDeadlineMs() <= nowMs) {
      if (this.#phase === "head") this.#expiredHead();
      else if (this.#phase === "exchange") this.#call.expired(nowMs);
      this.#thread.outbox.flush();
    }
    this.schedule();
  }

  #expiredHead(): void {
    if (this.#times.headerMs === NEVER) {
      this.#linger();
      return;
    }
    this.#times.headerMs = NEVER;
    this.#refuseHead(408, "request_timeout: the request's head did not come in time");
  }

  #clientEnded(): void {
    switch (this.#phase) {
      case "tunnel":
        this.#tunnel?.clientEnded();
        return;
      case "exchange":
        // Whoever stops sending while waiting for an answer has gone: nothing else tells before the answer is written.
        this.#call.clientGone();
        return;
      default:
        this.#socket.end();
    }
  }

  #closed(): void {
    this.#thread.deadlines.remove(this);
    if (this.#phase === "tunnel") this.#tunnel?.clientClosed();
    this.#phase = "closed";
    this.#call.clientGone();
    this.#listener.closed(this);
  }
}
