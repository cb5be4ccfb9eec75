/**
 * One request carried out: the steps of its exchange become attempts at origins, and what comes of them goes back to the client.
 *
 *     begin ──► waiting for a step's outcome ──► answering ──► over
 *                    │        ▲                     │
 *                    └─ retry ┘                     └──► cut     neither message can be made whole
 *
 * What the client speaks is its connection's affair: this knows the way back as a `Downstream`, and tells nothing of framing. An HTTP/1.1 connection has
 * one call for all its requests, one after the other. The plain path has no promise, no timer and no closure in it.
 */
import {
  type Exchange,
  type ExchangeEnd,
  MeshError,
  type ReadonlyFieldList,
  type RelayStep,
  type RespondStep,
  type ResponseHead,
  type SendStep,
  type Step,
  type WaitStep,
} from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { GrpcWebResponse, GrpcWebText } from "../wire/index.ts";
import { type ConnectionTimes, NEVER } from "./connection-times.ts";
import { type Downstream, plainAnswer } from "./downstream.ts";
import type { ClientRequest, ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import type { Seated } from "./roster.ts";
import { hasBody, RequestSender } from "./sender.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure, UpstreamHead, UpstreamStream, UpstreamUser } from "./upstream/user.ts";

/** What all connections of one thread share. */
export interface HttpThread extends UpstreamThread {
  /** Told of what should never happen. */
  problem(error: unknown): void;
}

/** What the calls of one listener share. Its settings may change between two requests. */
export interface CallListener {
  readonly factory: ExchangeFactory;
  readonly settings: HttpSettings;
}

/** A client connection as its listener keeps it. */
export interface ClientConnection extends Seated {
  /** Ends as soon as that loses nothing: requests in flight are answered first. */
  drain(): void;
  /** Closes at once, whatever is in flight. */
  destroy(): void;
}

const NO_WEB_TEXT = "bad_request: the content is not base64, as application/grpc-web-text has it";
const SWITCHING_PROTOCOLS = 101;
/** An answered request's unread body is read up to this, so that the connection can live on. */
const MAX_DISCARD_BYTES = 64 * 1024;

export class Call implements UpstreamUser {
  readonly #thread: HttpThread;
  readonly #listener: CallListener;
  readonly #info: ConnectionInfo;
  readonly #downstream: Downstream;
  readonly #times: ConnectionTimes;
  readonly #sender: RequestSender;
  readonly #end = {
    outcome: "complete" as ExchangeEnd["outcome"],
    requestBytes: 0,
    responseBytes: 0,
    trailers: undefined as readonly string[] | undefined,
  };
  /** A request is being carried out. */
  #open = false;
  #exchange: Exchange | undefined;
  /** Of the request, to look at. */
  #fields: ReadonlyFieldList = [];
  #expectContinue = false;
  #requestDone = false;
  /** What comes of the request's body is dropped. */
  #discarding = false;
  /** Content-Length of the request; 0 when it has none. */
  #declaredBytes = 0;
  /** Set while content has to be changed on its way (step.ts, `grpcWeb`). */
  #webRequest: GrpcWebText | undefined;
  #webResponse: GrpcWebResponse | undefined;
  /** Of the origin's response. */
  #neverIndexed: readonly string[] | undefined;
  /** The final head is out. */
  #answering = false;
  #answered = false;
  /** Another protocol was asked for; it is spoken, and what was the body is bytes that both ends send until each says that it has ended. */
  #switching: "no" | "asked" | "switched" = "no";

  /** @param times the call's deadlines among others of its owner, who calls `expired` when they have passed */
  constructor(thread: HttpThread, listener: CallListener, info: ConnectionInfo, downstream: Downstream, times: ConnectionTimes) {
    this.#thread = thread;
    this.#listener = listener;
    this.#info = info;
    this.#downstream = downstream;
    this.#times = times;
    this.#sender = new RequestSender(thread, this, info);
  }

  /** The request's message is whole. */
  get requestDone(): boolean {
    return this.#requestDone;
  }

  /** Somebody can take the request's next bytes, or has an ear for its end. */
  get wantsRequest(): boolean {
    if (!this.#open || this.#requestDone || this.#switching === "asked") return false;
    return this.#discarding || this.#sender.open;
  }

  /** Waits to be told whether another protocol is going to be spoken: what comes of the client meanwhile belongs to that. */
  get isSwitching(): boolean {
    return this.#open && this.#switching === "asked";
  }

  // --- what comes of the client. What throws in here is for `broken`.

  begin(request: ClientRequest): void {
    const { head } = request;
    const { settings, factory } = this.#listener;
    const content = hasBody(head);
    this.#times.begin(this.#thread.clock.now(), settings.requestTimeoutMs);
    this.#open = true;
    this.#fields = head.fields;
    this.#expectContinue = request.expectContinue;
    this.#requestDone = false;
    this.#answering = false;
    this.#answered = false;
    this.#end.requestBytes = 0;
    this.#end.trailers = undefined;
    this.#webRequest = undefined;
    this.#webResponse = undefined;
    this.#neverIndexed = undefined;
    this.#sender.reset(content, settings.maxReplayBytes, request.version === "2", request.neverIndexed);
    this.#declaredBytes = head.body.kind === "length" ? head.body.bytes : 0;
    // Without content only its end is to come, and nobody has to have room for that.
    this.#switching = request.switchTo === undefined ? "no" : "asked";
    this.#discarding = !content;
    this.#exchange = factory.open(request, this.#info);
    this.#carry(this.#exchange.start());
    this.#downstream.schedule();
  }

  /** @param bytes valid during this call */
  requestBody(bytes: Uint8Array): void {
    this.#end.requestBytes += bytes.length;
    this.#times.activeMs = this.#thread.clock.now();
    if (!this.#discarding) this.#tellBody(bytes);
    else if (this.#answered && this.#end.requestBytes > MAX_DISCARD_BYTES) this.#finish("complete");
  }

  requestEnd(trailers: readonly string[] | undefined): void {
    if (!this.#discarding && this.#webRequest?.isWhole === false) {
      this.refuse(400, NO_WEB_TEXT);
      return;
    }
    this.#requestDone = true;
    this.#times.requestMs = NEVER;
    this.#sender.end(trailers);
    if (this.#answered) this.#finish("complete");
  }

  #tellBody(bytes: Uint8Array): void {
    const content = this.#webRequest === undefined ? bytes : this.#webRequest.content(bytes);
    if (content === undefined) this.refuse(400, NO_WEB_TEXT);
    else this.#sender.body(content);
  }

  /** What came makes no end of this request. */
  refuse(status: number, text: string): void {
    if (this.#answering) this.#cut("protocol_error");
    else this.#answerPlainly(status, text, "protocol_error");
  }

  /** The client takes more of the response again. */
  drained(): void {
    this.#times.clientDrained(this.#thread.clock.now());
    if (this.#answering) this.#sender.resume();
  }

  /** The client sends nothing more: in another protocol that is one direction's end, else nobody waits for the answer any more. */
  clientEnded(): void {
    if (this.#open && this.#switching === "switched") this.requestEnd(undefined);
    else this.clientGone();
  }

  /** The client wants no answer any more, or is not there to get one. */
  clientGone(): void {
    if (this.#open) this.#cut("client_gone");
  }

  /** Something threw: a bug, or a field that must not be written. This request fails; nothing else does. */
  broken(error: unknown): void {
    this.#thread.problem(error);
    if (!this.#open) return;
    try {
      if (this.#answering) this.#cut("protocol_error");
      else this.#answerPlainly(500, error instanceof MeshError ? error.message : "internal error", "protocol_error");
    } catch (second) {
      this.#thread.problem(second);
      if (this.#open) this.#cut("protocol_error");
    }
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
        this.#downstream.tunnel(step);
        return undefined;
      case "drop":
        this.#cut("protocol_error");
        return undefined;
      default:
        return unreachable(step);
    }
  }

  #send(step: SendStep): Step | undefined {
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    // What an attempt before this one was told is kept in gRPC's form.
    if (step.grpcWeb === "text") this.#webRequest ??= new GrpcWebText();
    // RFC 9110 10.1.1: whoever answers for the origin may give the go-ahead itself; the origin never sees the expectation.
    if (this.#expectContinue) dropField(step.head.fields, "expect");
    const failure = this.#sender.send(step);
    if (failure !== undefined) return this.#exchange?.failed(this.#sender.failureOf(failure));
    if (this.#expectContinue) {
      this.#expectContinue = false;
      this.#downstream.goAhead();
    }
    return undefined;
  }

  #wait(step: WaitStep): void {
    const exchange = this.#exchange;
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    const settled = (): void => {
      if (exchange === undefined || this.#exchange !== exchange || this.#answering) return;
      this.#times.exchangeMs = NEVER;
      this.#proceed(() => exchange.resumed());
    };
    step.until.then(settled, settled);
  }

  /** Takes a step when something other than the client has moved. */
  #proceed(next: () => Step): void {
    try {
      this.#carry(next());
    } catch (error) {
      this.broken(error);
    }
    this.#thread.outbox.flush();
    this.#downstream.schedule();
    this.#downstream.wanted();
  }

  #respond(step: RespondStep): void {
    const { head, body } = step;
    this.#times.exchangeMs = NEVER;
    let { close } = step;
    if (!this.#requestDone) {
      // A short rest of the body is read and dropped; a client that waits for a go-ahead, or has much to send, loses the connection.
      if (this.#expectContinue || this.#declaredBytes - this.#end.requestBytes > MAX_DISCARD_BYTES) close = true;
      this.#discarding = true;
    }
    this.#answer(head, close);
    if (body.length > 0) this.#downstream.body(typeof body === "string" ? Buffer.from(body) : body);
    this.#responseOver(undefined);
  }

  #relay(step: RelayStep): void {
    this.#times.exchangeMs = step.deadlineMs ?? NEVER;
    if (step.grpcWeb !== undefined) this.#webResponse = new GrpcWebResponse(step.grpcWeb);
    this.#answer(step.head, false);
  }

  // --- the response

  #answer(head: ResponseHead, close: boolean): void {
    this.#downstream.head(head, close, this.#neverIndexed);
    this.#answering = true;
    if (this.#switching === "no") return;
    this.#switching = head.status === SWITCHING_PROTOCOLS ? "switched" : "no";
    if (this.#switching === "no") return;
    this.#discarding = false;
    this.#times.requestMs = NEVER;
  }

  #responseOver(trailers: readonly string[] | undefined): void {
    const web = this.#webResponse;
    this.#end.trailers = trailers;
    if (web !== undefined) this.#downstream.body(web.trailers(trailers));
    const continues = this.#downstream.end(web === undefined ? trailers : undefined);
    this.#answered = true;
    if (this.#requestDone || !continues) this.#finish("complete");
    else this.#discarding = this.#switching !== "switched";
  }

  #finish(outcome: ExchangeEnd["outcome"]): void {
    this.#open = false;
    if (!this.#requestDone) this.#sender.abort();
    else if (this.#switching === "switched") this.#sender.released();
    this.#tellFinished(outcome);
    this.#times.over(this.#thread.clock.now());
    this.#downstream.over();
  }

  #cut(outcome: ExchangeEnd["outcome"]): void {
    this.#open = false;
    this.#sender.abort();
    this.#tellFinished(outcome);
    this.#thread.outbox.flush();
    this.#downstream.cut(outcome);
  }

  #tellFinished(outcome: ExchangeEnd["outcome"]): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#end.outcome = outcome;
    this.#end.responseBytes = this.#downstream.responseBytes;
    exchange?.finished(this.#end);
  }

  /** An answer that no exchange has decided about. */
  #answerPlainly(status: number, text: string, outcome: ExchangeEnd["outcome"]): void {
    this.#sender.abort();
    const { head, body } = plainAnswer(status, text, this.#thread.clock.unixMs(), this.#fields);
    this.#answer(head, true);
    this.#downstream.body(body);
    this.#downstream.end(undefined);
    this.#finish(outcome);
  }

  // --- the attempt (UpstreamUser)

  streamReady(stream: UpstreamStream): void {
    try {
      this.#sender.ready(stream);
    } catch (error) {
      this.broken(error);
    }
    this.#downstream.wanted();
  }

  responseInterim({ head, connectionOptions }: UpstreamHead): void {
    const passed = this.#answering ? undefined : this.#exchange?.interim?.(head, connectionOptions);
    if (passed !== undefined) this.#downstream.interim(passed);
  }

  responseHead(event: UpstreamHead): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    try {
      this.#neverIndexed = event.neverIndexed;
      const step = exchange.responded(event.head, event.connectionOptions, this.#sender.replayable);
      if (step.kind !== "relay") this.#sender.cancel();
      this.#carry(step);
    } catch (error) {
      this.broken(error);
    }
    this.#downstream.schedule();
    // What came of the client before the switch was not looked at.
    if (this.#switching === "switched") this.#downstream.wanted();
  }

  responseBody(bytes: Uint8Array): void {
    if (this.#open) this.#downstream.body(this.#webResponse === undefined ? bytes : this.#webResponse.content(bytes));
  }

  responseFlush(): void {
    this.#times.activeMs = this.#thread.clock.now();
    this.#thread.outbox.flush();
    if (!this.#downstream.isFull) return;
    this.#sender.pause();
    if (this.#times.clientFull(this.#times.activeMs)) this.#downstream.schedule();
  }

  responseEnd(trailers: readonly string[] | undefined): void {
    if (this.#switching !== "switched") this.#sender.released();
    if (!this.#open) return;
    try {
      this.#responseOver(trailers);
    } catch (error) {
      this.broken(error);
    }
    this.#thread.outbox.flush();
    this.#downstream.wanted();
  }

  requestDrained(): void {
    this.#downstream.wanted();
  }

  upstreamFailed(failure: UpstreamFailure): void {
    if (!this.#open) return;
    if (this.#answering) {
      this.#sender.released();
      this.#cut("upstream_cut");
      return;
    }
    if (this.#sender.again(failure)) return;
    this.#sender.released();
    this.#failed(failure);
  }

  #failed(failure: UpstreamFailure): void {
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#proceed(() => exchange.failed(this.#sender.failureOf(failure)));
  }

  // --- the tunnel, which the connection carries out

  tunnelFailed(failure: UpstreamFailure): void {
    this.#failed(failure);
  }

  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number): void {
    this.#open = false;
    this.#end.requestBytes = requestBytes;
    this.#tellFinished(outcome);
  }

  // --- time

  expired(nowMs: number): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && this.#times.exchangeMs <= nowMs) {
      this.#times.exchangeMs = NEVER;
      if (this.#answering) {
        this.#cut("timeout");
        return;
      }
      this.#sender.cancel();
      this.#proceed(() => exchange.timer(this.#sender.replayable));
      return;
    }
    if (this.#answering) this.#cut("timeout");
    else if (this.#requestDone) this.#answerPlainly(504, "upstream_timeout: nothing moved for too long", "timeout");
    else this.#answerPlainly(408, "request_timeout: the request's body did not come in time", "timeout");
  }
}

function dropField(fields: string[], name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === name) fields.splice(i, 2);
}
