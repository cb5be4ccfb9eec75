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
import { TLSSocket } from "node:tls";
import type { ExchangeEnd, PeerInfo, RequestHead, ResponseHead, TunnelStep } from "../core/index.ts";
import { unreachable } from "../core/result.ts";
import {
  type HeadEvent,
  type ProtocolError,
  type RequestEvent,
  RequestParser,
  type RequestParserSettings,
} from "../wire/index.ts";
import { Call, type CallListener, type ClientConnection, type HttpThread } from "./call.ts";
import type { ClientSocket, SocketOwner } from "./client-socket.ts";
import { ConnectionTimes, NEVER, type Phase } from "./connection-times.ts";
import type { Timed } from "./deadlines.ts";
import { type Downstream, plainAnswer } from "./downstream.ts";
import type { ConnectionInfo } from "./exchange.ts";
import { PrefaceWatch } from "./preface-watch.ts";
import { ResponseWriter } from "./response-writer.ts";
import type { SocketWriter } from "./socket-writer.ts";
import { ConnectionClient, Tunnel, type TunnelOwner } from "./tunnel.ts";
import { clientLeft } from "./upstream/pools.ts";
import type { UpstreamFailure } from "./upstream/user.ts";

/** What the connections of one listener share. */
export interface HttpListener extends CallListener {
  readonly parser: RequestParserSettings;
  /** Answers say `Connection: close`. */
  readonly draining: boolean;
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  /** A connection is gone. */
  closed(connection: ClientConnection): void;
  /** Whether a connection in clear that begins as HTTP/2 does (RFC 9113 3.3) may be that. */
  readonly http2InClear: boolean;
  /** It is: `early` are its first bytes. */
  becomeHttp2(connection: ServerConnection, client: ClientSocket, info: ConnectionInfo, early: Uint8Array): void;
}

const SWITCHING_PROTOCOLS = 101;
const NOTHING = new Uint8Array(0);

export class ServerConnection implements Downstream, SocketOwner, ClientConnection, TunnelOwner, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;
  seat = -1;

  readonly #client: ClientSocket;
  readonly #socket: Socket;
  readonly #writer: SocketWriter;
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
  /** By its own word the client sends nothing after this request, which has no body. */
  #isLast = false;
  /** After a switch to another protocol: the client's bytes that nobody has room for yet. */
  #early: Uint8Array | undefined;
  /** Until it is known that no HTTP/2 begins. */
  #watch: PrefaceWatch | undefined;

  constructor(client: ClientSocket, listener: HttpListener, thread: HttpThread, info: ConnectionInfo) {
    const { socket, writer } = client;
    this.#client = client;
    this.#socket = socket;
    this.#writer = writer;
    this.#listener = listener;
    this.#thread = thread;
    this.#info = info;
    this.#parser = new RequestParser(listener.parser);
    this.#watch = listener.http2InClear ? new PrefaceWatch() : undefined;
    this.#response = new ResponseWriter(writer, thread.outbox);
    this.#times = new ConnectionTimes(thread.clock.now());
    this.#call = new Call(thread, listener, info, this, this.#times);
    client.ownedBy(this);
    this.schedule();
  }

  get peer(): PeerInfo {
    return this.#info.peer;
  }

  /** An idle connection gets a moment to send one more request. */
  drain(): void {
    if (this.#phase === "head" && this.#parser.idle) this.schedule();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // --- bytes of the client

  read(bytes: Uint8Array): void {
    if (this.#watch !== undefined && this.#isHttp2(this.#watch, bytes)) return;
    if (this.#phase === "linger" || this.#phase === "closed") return;
    if (this.#phase === "tunnel" && this.#response.started) {
      this.#tunnel?.clientBytes(bytes);
      return;
    }
    if (this.#early !== undefined) {
      this.#opaque(bytes);
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

  /** Hands the connection over if it is one of HTTP/2. @returns whether that is so, or not known yet */
  #isHttp2(watch: PrefaceWatch, bytes: Uint8Array): boolean {
    const found = watch.feed(bytes);
    if (found === "more") return true;
    this.#watch = undefined;
    if (found === "http1") {
      if (watch.held.length > 0) this.#parser.feed(watch.held);
      return false;
    }
    this.#phase = "closed";
    this.#thread.deadlines.remove(this);
    this.#listener.becomeHttp2(this, this.#client, this.#info, watch.held);
    return true;
  }

  /** Somebody can do something with the parser's next event. */
  #wants(): boolean {
    if (this.#phase === "head") return !this.#writer.isFull;
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
        this.#begin(event);
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

  #begin(event: HeadEvent<RequestHead>): void {
    const { head, minor, connectionOptions, form, expectContinue } = event;
    this.#phase = "exchange";
    this.#keepAlive = event.keepAlive;
    this.#isLast = !event.keepAlive && head.body.kind === "none";
    this.#response.begin(head.method, minor, event.takesTrailers === true);
    this.#call.begin({
      head,
      version: minor === 1 ? "1.1" : "1.0",
      connectionOptions,
      form,
      expectContinue,
      switchTo: wantsWebSocket(event) ? "websocket" : undefined,
    });
    if (head.body.kind !== "none" && this.#phase === "exchange") this.#expectBody();
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

  /** Bytes of another protocol: they are moved while there is room for them, and not looked at. */
  #opaque(bytes: Uint8Array): void {
    const early = this.#early ?? NOTHING;
    const all = early.length === 0 ? bytes : Buffer.concat([early, bytes]);
    if (this.#call.wantsRequest) {
      this.#early = NOTHING;
      if (all.length > 0) this.#call.requestBody(all);
      this.#thread.outbox.flush();
    } else if (all.length > 0) this.#early = bytes.length === 0 ? early : Uint8Array.prototype.slice.call(all);
    if (this.#call.wantsRequest) this.#resume();
    else if (!this.#call.requestDone) this.#pause();
  }

  /** Reads on or stops reading, as there is use for more. A finished request alone does not stop it: that would cost two system calls per request. */
  #regulate(): void {
    if (this.#wants()) {
      if (this.#paused) this.#resume();
    } else if (this.#phase === "exchange" && !this.#call.requestDone && !this.#call.isSwitching) {
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

  drained(): void {
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
    return this.#writer.isFull;
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
    const mayLiveOn = this.#keepAlive && !close && !draining && !this.#times.lifetime.isOver(settings, this.#thread.clock);
    this.#keepAlive = this.#response.head(head, mayLiveOn);
    if (head.status !== SWITCHING_PROTOCOLS) return;
    this.#response.switched();
    this.#early = this.#parser.rest();
  }

  body(bytes: Uint8Array): void {
    this.#response.body(bytes);
  }

  end(trailers: readonly string[] | undefined): boolean {
    this.#response.end(trailers);
    if (this.#early === undefined) return this.#keepAlive;
    this.#thread.outbox.flush();
    this.#writer.end();
    return true;
  }

  /** Whatever the parser still holds may be wanted now. */
  wanted(): void {
    if (this.#early !== undefined) {
      this.#opaque(NOTHING);
      return;
    }
    if (this.#paused || !this.#parser.idle) this.#pump();
  }

  over(): void {
    if (this.#keepAlive && this.#call.requestDone && this.#early === undefined) this.#phase = "head";
    else if (this.#isLast && this.#early === undefined) this.#leave();
    else this.#linger();
    this.schedule();
  }

  /** RFC 9112 9.6: whoever has asked for the close and has nothing more to send loses nothing by it, so nobody waits for its end. */
  #leave(): void {
    this.#phase = "linger";
    this.#thread.outbox.flush();
    this.#writer.endAndClose();
  }

  /**
   * RFC 9112 9.6: the writing side closes first. Closing both at once while the client is still sending would reset the connection and
   * could take the answer away from under the client.
   */
  #linger(): void {
    this.#phase = "linger";
    this.#thread.outbox.flush();
    this.#writer.end();
    this.#resume();
  }

  cut(_outcome: ExchangeEnd["outcome"]): void {
    this.#phase = "closed";
    // Without a length or chunks an orderly close would be the end of the body. TLS says that it is one by an alert, which is not sent.
    if (this.#response.endsByClosing && !(this.#socket instanceof TLSSocket)) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  // --- the tunnel (TunnelOwner)

  tunnel(step: TunnelStep): void {
    this.#phase = "tunnel";
    this.#pause();
    const client = new ConnectionClient(this.#client, this.#thread.outbox);
    this.#tunnel = new Tunnel(client, this.#thread, step, this.#listener.settings, this);
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
    if (this.#phase === "linger" && !(this.#writer.unsentBytes > 0 && this.#times.lingersOn(nowMs, this.#listener.settings))) {
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

  ended(): void {
    switch (this.#phase) {
      case "tunnel":
        this.#tunnel?.clientEnded();
        return;
      case "exchange":
        // Whoever stops sending while waiting for an answer has gone: nothing else tells before the answer is written.
        this.#call.clientEnded();
        this.#thread.outbox.flush();
        return;
      default:
        this.#writer.end();
    }
  }

  closed(): void {
    this.#thread.deadlines.remove(this);
    if (this.#phase === "tunnel") this.#tunnel?.clientClosed();
    this.#phase = "closed";
    this.#call.clientGone();
    clientLeft(this.#info);
    this.#listener.closed(this);
  }
}

/** RFC 6455 4.1. Any other protocol that a client offers is not taken up. */
function wantsWebSocket({ upgrade, head, minor }: HeadEvent<RequestHead>): boolean {
  return upgrade?.includes("websocket") === true && head.method === "GET" && minor === 1 && head.body.kind === "none";
}
