/**
 * One HTTP/1.1 client connection: its bytes become exchanges, one at a time and in order, and the exchanges' steps become bytes.
 *
 *     head ──► exchange ──► head ──► …          keep-alive; a pipelined request waits in the parser
 *                  ├──────► linger ──► closed    the last answer is on its way, the rest of the request is read and dropped
 *                  └──────► tunnel ──► closed    CONNECT: the bytes belong to somebody else
 *
 * The plain path has no promise, no timer and no closure in it, and one write each way.
 */
import type { Socket } from "node:net";
import {
  type Exchange,
  type ExchangeEnd,
  MeshError,
  type PeerInfo,
  type RelayStep,
  type RequestHead,
  type RespondStep,
  type ResponseHead,
  type SendStep,
  type Step,
  type WaitStep,
} from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import {
  type HeadEvent,
  type ProtocolError,
  type RequestEvent,
  RequestParser,
  type RequestParserSettings,
} from "../wire/index.ts";
import { ConnectionTimes, NEVER, type Phase } from "./connection-times.ts";
import type { Timed } from "./deadlines.ts";
import { readInto } from "./direct-read.ts";
import type { ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import type { Outbox } from "./outbox.ts";
import { ResponseWriter } from "./response-writer.ts";
import { hasBody, RequestSender } from "./sender.ts";
import { Tunnel } from "./tunnel.ts";
import type { UpstreamConnection } from "./upstream/connection.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure, UpstreamUser } from "./upstream/user.ts";

/** What all connections of one thread share. */
export interface HttpThread extends UpstreamThread {
  readonly outbox: Outbox;
  /** Told of what should never happen. */
  problem(error: unknown): void;
}

/** What the connections of one listener share. Its settings may change between two requests. */
export interface HttpListener {
  readonly factory: ExchangeFactory;
  readonly parser: RequestParserSettings;
  readonly settings: HttpSettings;
  /** Answers say `Connection: close`. */
  readonly draining: boolean;
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  /** A connection is gone. */
  closed(connection: ServerConnection): void;
}

/** An answered request's unread body is read up to this, so that the connection can live on. */
const MAX_DISCARD_BYTES = 64 * 1024;

export class ServerConnection implements UpstreamUser, Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;

  readonly #socket: Socket;
  readonly #thread: HttpThread;
  readonly #info: ConnectionInfo;
  readonly #parser: RequestParser;
  readonly #sender: RequestSender;
  readonly #response: ResponseWriter;
  readonly #end = { outcome: "complete" as ExchangeEnd["outcome"], requestBytes: 0, responseBytes: 0 };
  readonly #listener: HttpListener;
  #phase: Phase = "head";
  #exchange: Exchange | undefined;
  #tunnel: Tunnel | undefined;
  #pumping = false;
  #paused = false;

  // The current request.
  /** The client lets the connection live on, and so do we. */
  #keepAlive = true;
  #expectContinue = false;
  #requestDone = false;
  /** What comes of the request's body is dropped. */
  #discarding = false;
  /** Content-Length of the request; 0 when it has none. */
  #declaredBytes = 0;

  readonly #times: ConnectionTimes;

  /** @param accepted in this very turn */
  constructor(accepted: Socket, listener: HttpListener, thread: HttpThread, info: ConnectionInfo) {
    this.#socket = readInto(accepted, (bytes) => this.#read(bytes));
    this.#listener = listener;
    this.#thread = thread;
    this.#info = info;
    this.#parser = new RequestParser(listener.parser);
    const socket = this.#socket;
    this.#response = new ResponseWriter(socket, thread.outbox);
    this.#sender = new RequestSender(thread, thread.outbox, this);
    this.#times = new ConnectionTimes(thread.clock.now());
    socket.on("drain", () => this.#drained());
    socket.on("end", () => this.#clientEnded());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed());
    this.#schedule();
  }

  get peer(): PeerInfo {
    return this.#info.peer;
  }

  /** Ends as soon as that loses nothing: a request in flight is answered first, an idle connection gets a moment to send one more. */
  drain(): void {
    if (this.#phase === "head" && this.#parser.idle) this.#schedule();
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
    if (this.#phase !== "exchange" || this.#requestDone) return false;
    return this.#discarding || this.#sender.open;
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

  #told(event: Exclude<RequestEvent, { kind: "need" }>): void {
    switch (event.kind) {
      case "head":
        this.#begin(event);
        return;
      case "body":
        this.#requestBody(event.bytes);
        return;
      case "end":
        this.#requestEnd(event.trailers);
        return;
      case "error":
        this.#refuse(event.error);
        return;
      default:
        unreachable(event);
    }
  }

  /** All bytes are used up: an unfinished head gets its deadline. */
  #starved(): void {
    if (this.#phase !== "head" || this.#parser.idle || this.#times.headerMs !== NEVER) return;
    this.#times.headerMs = this.#thread.clock.now() + this.#listener.settings.headerTimeoutMs;
    this.#schedule();
  }

  /** Reads on or stops reading, as there is use for more. A finished request alone does not stop it: that would cost two system calls per request. */
  #regulate(): void {
    if (this.#wants()) {
      if (this.#paused) this.#resume();
    } else if (this.#phase === "exchange" && !this.#requestDone) {
      this.#pause();
    }
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#socket.resume();
  }

  #drained(): void {
    if (this.#phase === "tunnel") this.#tunnel?.clientDrained();
    if (this.#phase === "exchange" && this.#response.started) this.#sender.connection?.socket.resume();
    if (this.#phase === "head") this.#pump();
  }

  // --- the request

  #begin(event: HeadEvent<RequestHead>): void {
    const { head } = event;
    const { settings } = this.#listener;
    const now = this.#thread.clock.now();
    this.#phase = "exchange";
    this.#times.begin(now, settings.requestTimeoutMs);
    this.#keepAlive = event.keepAlive;
    this.#expectContinue = event.expectContinue;
    this.#requestDone = false;
    this.#response.begin(head.method, event.minor);
    this.#end.requestBytes = 0;
    this.#sender.reset(hasBody(head), settings.maxReplayBytes);
    this.#declaredBytes = head.body.kind === "length" ? head.body.bytes : 0;
    // Without content only its end is to come, and nobody has to have room for that.
    this.#discarding = !hasBody(head);
    this.#exchange = this.#listener.factory.open(event, this.#info);
    this.#carry(this.#exchange.start());
    this.#schedule();
  }

  #requestBody(bytes: Uint8Array): void {
    this.#end.requestBytes += bytes.length;
    this.#times.activeMs = this.#thread.clock.now();
    if (!this.#discarding) this.#sender.body(bytes);
    else if (this.#response.done && this.#end.requestBytes > MAX_DISCARD_BYTES) this.#finish("complete");
  }

  #requestEnd(trailers: readonly string[] | undefined): void {
    this.#requestDone = true;
    this.#times.requestMs = NEVER;
    this.#sender.end(trailers);
    if (this.#response.done) this.#finish("complete");
  }

  /** The bytes make no request, or no end of this one. */
  #refuse(error: ProtocolError): void {
    if (this.#response.started) {
      this.#abort("protocol_error");
      return;
    }
    this.#answerPlainly(error.status, `${error.code}: ${error.message}`, "protocol_error");
  }

  // --- steps

  #carry(first: Step): void {
    let step: Step | undefined = first;
    while (step !== undefined) step = this.#carryOne(step);
  }

  #carryOne(step: Step): Step | undefined {
    switch (step.kind) {
      case "send":
        return this.#send(step);
      case "relay":
        this.#relay(step);
        return undefined;
      case "respond":
        this.#respond(step);
        return undefined;
      case "sleep":
        this.#times.exchangeMs = step.deadlineMs;
        return undefined;
      case "wait":
        this.#wait(step);
        return undefined;
      case "tunnel":
        this.#phase = "tunnel";
        this.#pause();
        this.#tunnel = new Tunnel(this.#socket, this.#thread, step, this.#listener.settings, this);
        return undefined;
      case "drop":
        this.#abort("protocol_error");
        return undefined;
      default:
        return unreachable(step);
    }
  }

  #send(step: SendStep): Step | undefined {
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    // RFC 9110 10.1.1: whoever answers for the origin may give the go-ahead itself; the origin never sees the expectation.
    if (this.#expectContinue) dropField(step.head.fields, "expect");
    const failure = this.#sender.send(step);
    if (failure !== undefined) return this.#exchange?.failed(this.#sender.failureOf(failure));
    if (this.#expectContinue) {
      this.#expectContinue = false;
      this.#response.goAhead();
    }
    return undefined;
  }

  #wait(step: WaitStep): void {
    const exchange = this.#exchange;
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    const settled = (): void => {
      if (exchange === undefined || this.#exchange !== exchange || this.#phase !== "exchange") return;
      this.#times.exchangeMs = NEVER;
      this.#proceed(() => exchange.resumed());
    };
    step.until.then(settled, settled);
  }

  /** Takes a step outside of the pump. */
  #proceed(next: () => Step): void {
    try {
      this.#carry(next());
    } catch (error) {
      this.#broken(error);
    }
    this.#thread.outbox.flush();
    this.#schedule();
    this.#continue();
  }

  /** After something outside of the pump: whatever the parser still holds may be wanted now. */
  #continue(): void {
    if (this.#paused || !this.#parser.idle) this.#pump();
  }

  #respond(step: RespondStep): void {
    const { head, body } = step;
    this.#times.exchangeMs = NEVER;
    if (!this.#requestDone) {
      // A short rest of the body is read and dropped; a client that waits for a go-ahead, or has much to send, loses the connection.
      if (this.#expectContinue || this.#declaredBytes - this.#end.requestBytes > MAX_DISCARD_BYTES) this.#keepAlive = false;
      this.#discarding = true;
    }
    if (step.close) this.#keepAlive = false;
    this.#startResponse(head);
    this.#response.body(typeof body === "string" ? Buffer.from(body) : body);
    this.#responseOver(undefined);
  }

  #relay(step: RelayStep): void {
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    this.#startResponse(step.head);
  }

  // --- the response

  #startResponse(head: ResponseHead): void {
    this.#keepAlive = this.#response.head(head, this.#keepAlive && !this.#listener.draining);
  }

  #responseOver(trailers: readonly string[] | undefined): void {
    this.#response.end(trailers);
    if (this.#requestDone || !this.#keepAlive) this.#finish("complete");
    else this.#discarding = true;
  }

  /** Both messages are over as far as they will be. */
  #finish(outcome: ExchangeEnd["outcome"]): void {
    this.#tellFinished(outcome);
    this.#times.over(this.#thread.clock.now());
    if (this.#keepAlive && this.#requestDone) this.#phase = "head";
    else this.#linger();
    this.#schedule();
  }

  #tellFinished(outcome: ExchangeEnd["outcome"]): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#end.outcome = outcome;
    this.#end.responseBytes = this.#response.bytes;
    exchange?.finished(this.#end);
  }

  /**
   * RFC 9112 9.6: the writing side closes first. Closing both at once while the client is still sending would reset the connection and
   * could take the answer away from under the client.
   */
  #linger(): void {
    this.#phase = "linger";
    this.#sender.abort();
    this.#thread.outbox.flush();
    this.#socket.end();
    this.#resume();
  }

  /** Neither message can be made whole: the connection goes, so that nobody takes a part for the whole. */
  #abort(outcome: ExchangeEnd["outcome"]): void {
    this.#phase = "closed";
    this.#sender.abort();
    this.#tellFinished(outcome);
    this.#thread.outbox.flush();
    // Without a length or chunks an orderly close would be the end of the body.
    if (this.#response.endsByClosing) this.#socket.resetAndDestroy();
    else this.#socket.destroy();
  }

  /** An answer about bytes that no exchange could decide about. */
  #answerPlainly(status: number, text: string, outcome: ExchangeEnd["outcome"]): void {
    this.#sender.abort();
    if (this.#phase === "head") {
      this.#response.begin("", 1);
      this.#requestDone = false;
      this.#listener.refused(this.#info, status, text);
    }
    this.#phase = "exchange";
    this.#keepAlive = false;
    const body = Buffer.from(`${text}\n`);
    this.#startResponse({
      status,
      fields: ["content-type", "text/plain", "date", new Date(this.#thread.clock.unixMs()).toUTCString()],
      body: { kind: "length", bytes: body.length },
    });
    this.#response.body(body);
    this.#response.end(undefined);
    this.#finish(outcome);
  }

  /** Something threw: a bug, or a field that must not be written. This request fails; nothing else does. */
  #broken(error: unknown): void {
    this.#thread.problem(error);
    try {
      if (this.#phase === "exchange" && !this.#response.started) {
        this.#answerPlainly(500, error instanceof MeshError ? error.message : "internal error", "protocol_error");
      } else {
        this.#abort("protocol_error");
      }
    } catch (second) {
      this.#thread.problem(second);
      this.#phase = "closed";
      this.#socket.destroy();
    }
  }

  // --- the attempt (UpstreamUser)

  connectionReady(connection: UpstreamConnection): void {
    this.#sender.connected(connection);
    this.#continue();
  }

  responseInterim(head: ResponseHead): void {
    this.#response.interim(head);
  }

  responseHead(event: HeadEvent<ResponseHead>): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    try {
      const step = exchange.responded(event.head, event.connectionOptions);
      if (step.kind !== "relay") this.#sender.cancel();
      this.#carry(step);
    } catch (error) {
      this.#broken(error);
    }
    this.#schedule();
  }

  responseBody(bytes: Uint8Array): void {
    if (this.#phase === "exchange") this.#response.body(bytes);
  }

  responseFlush(): void {
    this.#times.activeMs = this.#thread.clock.now();
    this.#thread.outbox.flush();
    if (this.#socket.writableNeedDrain) this.#sender.connection?.socket.pause();
  }

  responseEnd(trailers: readonly string[] | undefined): void {
    this.#sender.released();
    if (this.#phase !== "exchange") return;
    try {
      this.#responseOver(trailers);
    } catch (error) {
      this.#broken(error);
    }
    this.#thread.outbox.flush();
    this.#continue();
  }

  requestDrained(): void {
    this.#pump();
  }

  upstreamFailed(failure: UpstreamFailure): void {
    if (this.#response.started) {
      this.#sender.released();
      this.#abort("upstream_cut");
      return;
    }
    if (this.#sender.again(failure)) return;
    this.#sender.released();
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#proceed(() => exchange.failed(this.#sender.failureOf(failure)));
  }

  // --- the tunnel (TunnelOwner)

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
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#proceed(() => exchange.failed(this.#sender.failureOf(failure)));
  }

  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number, responseBytes: number): void {
    this.#end.requestBytes = requestBytes;
    this.#response.bytes = responseBytes;
    this.#tunnel = undefined;
    this.#phase = "closed";
    this.#tellFinished(outcome);
  }

  // --- time and the end

  #schedule(): void {
    this.#thread.deadlines.set(this, this.#nextDeadlineMs());
  }

  #nextDeadlineMs(): number {
    return this.#times.nextMs(this.#phase, this.#listener.settings, this.#listener.draining);
  }

  expired(nowMs: number): void {
    if (this.#phase === "linger") {
      this.#socket.destroy();
      return;
    }
    // Activity moves deadlines without filing them anew.
    if (this.#nextDeadlineMs() <= nowMs) {
      if (this.#phase === "head") this.#expiredHead();
      else if (this.#phase === "exchange") this.#expiredExchange(nowMs);
      this.#thread.outbox.flush();
    }
    this.#schedule();
  }

  #expiredHead(): void {
    if (this.#times.headerMs === NEVER) {
      this.#linger();
      return;
    }
    this.#times.headerMs = NEVER;
    this.#answerPlainly(408, "request_timeout: the request's head did not come in time", "timeout");
  }

  #expiredExchange(nowMs: number): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && this.#times.exchangeMs <= nowMs) {
      this.#times.exchangeMs = NEVER;
      if (this.#response.started) {
        this.#abort("timeout");
        return;
      }
      this.#sender.cancel();
      this.#proceed(() => exchange.timer());
      return;
    }
    if (this.#response.started) this.#abort("timeout");
    else if (this.#requestDone) this.#answerPlainly(504, "upstream_timeout: nothing moved for too long", "timeout");
    else this.#answerPlainly(408, "request_timeout: the request's body did not come in time", "timeout");
  }

  #clientEnded(): void {
    switch (this.#phase) {
      case "tunnel":
        this.#tunnel?.clientEnded();
        return;
      case "exchange":
        // Whoever stops sending while waiting for an answer has gone: nothing else tells before the answer is written.
        this.#abort("client_gone");
        return;
      default:
        this.#socket.end();
    }
  }

  #closed(): void {
    this.#thread.deadlines.remove(this);
    if (this.#phase === "tunnel") this.#tunnel?.clientClosed();
    this.#phase = "closed";
    this.#sender.abort();
    this.#tellFinished("client_gone");
    this.#listener.closed(this);
  }
}

function dropField(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === name) fields.splice(i, 2);
}
