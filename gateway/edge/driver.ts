/**
 * Carries core's steps out over `fetch`: one per request.
 *
 * What the runtime cannot do: open a tunnel (answered as not supported; translation refuses such listeners for a site), close a connection without
 * an answer (`drop` before a head becomes the runtime's own 500; after it, the message is cut short), bound connecting apart from the
 * whole attempt, see or send trailers.
 */
import {
  type AttemptFailure,
  type Clock,
  type Exchange,
  type ExchangeEnd,
  MeshError,
  type RelayStep,
  type RequestHead,
  type RespondStep,
  type SendStep,
  type SleepStep,
  type Step,
  type WaitStep,
} from "../core/index.ts";
import type { HttpSettings, Settings } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { ClientWatch, NO_WATCH, needsWatch, type Served } from "./client-watch.ts";
import { failureOf, KnownFailure } from "./fetch-failure.ts";
import { type CallPorts, sendCopy } from "./mirror.ts";
import { MAX_WHOLE_BODY_BYTES, PassedBody } from "./passed-body.ts";
import { PlainGet } from "./plain-get.ts";
import { MAX_MIRROR_BODY_BYTES, NO_REQUEST_BODY, RequestBody } from "./request-body.ts";
import type { RequestContext } from "./request-context.ts";
import type { EdgeRequest } from "./request-head.ts";
import { handedOnResponse, type OriginResponse, readResponse, relayedResponse, responseOf } from "./response.ts";
import { changedInit, sentInit } from "./sent-fields.ts";
import type { Unwatched, UnwatchedRequests } from "./unwatched.ts";
import type { UpstreamCall } from "./upstream.ts";

export interface DriverPorts extends CallPorts {
  readonly clock: Clock;
  /** Takes exchanges that hold nothing of the runtime's; undefined: every client is watched. */
  readonly unwatched?: UnwatchedRequests | undefined;
  /** Lines that core leaves alone go on as the runtime has them. False: what is sent is made of core's list and nothing else. */
  readonly keepsLines: boolean;
  /** The answer to a request that something was thrown at, which only a bug does. */
  readonly failed: (error: unknown, head: RequestHead) => Response;
}

type PossibleCall = Extract<UpstreamCall, { kind: "call" }>;

/** What of a snapshot's settings a driver goes by. */
export type DriverSettings = Pick<Settings, "http" | "accessLog">;

/** When the attempt at hand is ended. */
interface Deadline {
  /** Monotonic. */
  readonly atMs: number;
  isPast: boolean;
  readonly cancel: () => void;
}

/** Carries out all steps of a request. Never rejects, unless `failed` throws. */
export function drive(
  exchange: Exchange,
  request: Request,
  incoming: EdgeRequest,
  settings: DriverSettings,
  ports: DriverPorts,
  context: RequestContext,
): Promise<Response> {
  return new Drive(exchange, request, incoming, settings, ports, context).run();
}

class Drive implements Served {
  readonly #exchange: Exchange;
  readonly #request: Request;
  readonly #incoming: EdgeRequest;
  readonly #head: RequestHead;
  readonly #http: HttpSettings;
  /** The access log tells how everything ends. */
  readonly #isTold: boolean;
  readonly #ports: DriverPorts;
  readonly #context: RequestContext;
  readonly #body: RequestBody;
  /** `NO_WATCH`: it is not told when the client leaves. */
  #watch = NO_WATCH;
  #unwatched: Unwatched | undefined;
  /** Of the attempt at hand; aborting it ends the response's body too. Undefined: only the client's leaving ends it. */
  #attempt: AbortController | undefined;
  /** What the attempt at hand came to. */
  #origin: OriginResponse | undefined;
  #deadline: Deadline | undefined;
  /** The attempt at hand is the platform's own, and so is what its response's body comes from. */
  #isDirect = true;
  #passing: PassedBody | undefined;
  #isGone = false;
  #isOver = false;

  constructor(
    exchange: Exchange,
    request: Request,
    incoming: EdgeRequest,
    { http, accessLog }: DriverSettings,
    ports: DriverPorts,
    context: RequestContext,
  ) {
    this.#exchange = exchange;
    this.#request = request;
    this.#incoming = incoming;
    this.#head = incoming.head;
    this.#http = http;
    this.#isTold = accessLog.enabled;
    this.#ports = ports;
    this.#context = context;
    this.#body = this.#bodyOf(request);
  }

  /** The platform may stop this code at its next wait, so what the exchange holds is given back now. */
  onGone(): void {
    this.#isGone = true;
    this.#attempt?.abort();
    this.#finish("client_gone", this.#passing?.bytes ?? 0);
  }

  #bodyOf(request: Request): RequestBody {
    // Asked for its body, the runtime makes a stream even of none.
    if (this.#head.body.kind === "none") return NO_REQUEST_BODY;
    return new RequestBody(request.body, this.#head.body, this.#http.maxRequestBodyBytes, () => this.#attempt?.abort());
  }

  async run(): Promise<Response> {
    try {
      for (let step = this.#exchange.start(); ; ) {
        if (this.#isGone) return this.#abandoned();
        switch (step.kind) {
          case "send": {
            let response: Response | undefined;
            let failure: unknown;
            try {
              response = await this.#fetch(step);
            } catch (error) {
              failure = error;
            }
            if (response === undefined) step = this.#lost(step, failure);
            // Where the client is gone no other step is carried out, so none is asked for.
            else if (!this.#isGone) step = this.#came(response);
            break;
          }
          case "sleep":
            step = await this.#sleep(step);
            break;
          case "wait":
            step = await this.#wait(step);
            break;
          case "tunnel":
            step = this.#exchange.failed(this.#failure(NO_TUNNELS));
            break;
          case "respond":
            return this.#respond(step);
          case "relay":
            return this.#endsUnheard(step) ? this.#handOn(step) : await this.#relay(step);
          case "drop":
            this.#finish("timeout", 0);
            throw new MeshError(step.code, "local", "the connection is to be closed without an answer");
          default:
            return unreachable(step);
        }
      }
    } catch (error) {
      this.#finish("protocol_error", 0);
      return this.#ports.failed(error, this.#head);
    }
  }

  // ── the client ─────────────────────────────────────────────────────────────

  /** Nobody needs to know at once that the client has left, and the platform ends what there is to end by itself. */
  #goesUnwatched(step: SendStep): boolean {
    this.#leaveUnwatched();
    if (this.#watch !== NO_WATCH || this.#isTold || this.#context.isKept || !this.#body.isEmpty || needsWatch(step)) return false;
    const { unwatched, clock } = this.#ports;
    this.#unwatched = unwatched?.add(this.#exchange, clock.now());
    return this.#unwatched !== undefined;
  }

  #watchClient(): void {
    if (this.#watch !== NO_WATCH) return;
    this.#leaveUnwatched();
    this.#watch = new ClientWatch(this);
    const { signal } = this.#request;
    // It stays there: to take it away would cost each request as much as to put it there.
    signal.addEventListener("abort", this.#watch);
    if (signal.aborted) this.onGone();
  }

  #leaveUnwatched(): void {
    if (this.#unwatched === undefined) return;
    this.#ports.unwatched?.remove(this.#unwatched);
    this.#unwatched = undefined;
  }

  // ── attempts ───────────────────────────────────────────────────────────────

  #came(response: Response): Step {
    const origin = readResponse(response, this.#head.method);
    this.#origin = origin;
    if (origin !== undefined) return this.#exchange.responded(origin.head, origin.connectionOptions);
    return this.#exchange.failed({
      code: "upstream_protocol",
      reason: "status_out_of_range",
      neverSent: false,
      replayable: false,
    });
  }

  #lost(step: SendStep, error: unknown): Step {
    const isLate = this.#deadline?.isPast === true;
    this.#limit(undefined);
    this.#isGone ||= this.#body.isBroken;
    if (this.#isGone) return step;
    return isLate ? this.#exchange.timer() : this.#exchange.failed(this.#failure(error));
  }

  /** @throws KnownFailure at once, or what `fetch` rejects with */
  #fetch(step: SendStep): Promise<Response> {
    this.#release();
    const { head, deadlineMs, switchTo } = step;
    if (!this.#goesUnwatched(step)) this.#watchClient();
    const call = this.#ports.call(step, step.established);
    if (call.kind === "refused") throw new KnownFailure({ code: "not_supported", reason: call.reason, neverSent: true });
    this.#isDirect = step.target.via === undefined;
    const fields = switchTo === undefined ? head.fields : [...head.fields, "upgrade", switchTo];
    const { method } = head;
    const { fetcher } = call;
    if (fetcher.fetchPlain !== undefined && this.#isPlain(step)) {
      const plain = PLAIN_GET.with(fields);
      if (plain !== undefined) return fetcher.fetchPlain(call.url, plain);
    }
    const headers = this.#ports.keepsLines ? changedInit(this.#request.headers, this.#incoming, fields) : sentInit(fields);
    // One shape for all. Of one that comes now and then, V8 collects the last object, and throws away all code that has met any.
    const init: RequestInit = { method, headers, body: null, signal: null, redirect: "manual", encodeResponseBody: "manual" };
    if (this.#body.isEmpty) {
      this.#mirror(step);
      // A request that nothing else keeps alive is ended by the platform when its client leaves.
      if (deadlineMs !== undefined || this.#context.isKept) init.signal = this.#begin(deadlineMs);
      return call.fetcher.fetch(call.url, init);
    }
    init.signal = this.#begin(deadlineMs);
    return this.#fetchWithBody(step, call, init, init.signal);
  }

  /** There is no content to send or to copy, and nothing here may have to end the attempt. */
  #isPlain({ head, deadlineMs, mirrors }: SendStep): boolean {
    const isBare = head.method === "GET" && this.#body.isEmpty && mirrors.length === 0;
    return isBare && deadlineMs === undefined && !this.#context.isKept;
  }

  async #fetchWithBody(step: SendStep, call: PossibleCall, init: RequestInit, signal: AbortSignal): Promise<Response> {
    if (takesNoContent(step.head.method)) {
      // `fetch` refuses to give such a method content, but passes on what a request has.
      this.#mirror(step);
      this.#body.handOver();
      const { method: _, body: __, ...rest } = init;
      return await call.fetcher.fetch(new Request(call.url, this.#request), rest);
    }
    const keepBytes = Math.max(
      step.keepBody ? this.#http.maxReplayBytes : 0,
      step.mirrors.length > 0 ? MAX_MIRROR_BODY_BYTES : 0,
    );
    const body = await Promise.race([this.#body.content(keepBytes), aborted(signal)]);
    this.#mirror(step);
    if (body !== null) init.body = body;
    return await call.fetcher.fetch(call.url, init);
  }

  /** An attempt that this code may have to end. */
  #begin(deadlineMs: number | undefined): AbortSignal {
    const attempt = new AbortController();
    this.#attempt = attempt;
    this.#limit(deadlineMs);
    return attempt.signal;
  }

  /** Ends the attempt at hand when it is time; a deadline that stays the same keeps its timer. */
  #limit(atMs: number | undefined): void {
    if (this.#deadline?.atMs === atMs) return;
    this.#deadline?.cancel();
    this.#deadline = undefined;
    if (atMs === undefined) return;
    const expire = (): void => {
      deadline.isPast = true;
      this.#attempt?.abort();
    };
    const deadline: Deadline = { atMs, isPast: false, cancel: this.#at(atMs, expire) };
    this.#deadline = deadline;
  }

  #failure(error: unknown): AttemptFailure {
    if (this.#body.isTooLarge)
      return { code: "body_too_large", reason: "maxRequestBodyBytes", neverSent: false, replayable: false };
    const failure = failureOf(error);
    if (failure.neverSent) this.#body.giveBack();
    return { ...failure, replayable: this.#body.isReplayable };
  }

  /** The response of an attempt that is to be repeated. */
  #release(): void {
    this.#limit(undefined);
    const attempt = this.#attempt;
    const origin = this.#origin;
    this.#attempt = undefined;
    this.#origin = undefined;
    if (attempt !== undefined) attempt.abort();
    else origin?.response.body?.cancel().catch(() => undefined);
  }

  /** Copies go their own way. A body that could not be kept leaves them out. */
  #mirror({ mirrors, established }: SendStep): void {
    if (mirrors.length === 0) return;
    const content = this.#body.isEmpty ? null : this.#body.kept;
    if (content === undefined) return;
    for (const mirror of mirrors) this.#context.waitUntil(sendCopy(mirror, established, content, this.#ports));
  }

  // ── waiting ────────────────────────────────────────────────────────────────

  async #sleep(step: SleepStep): Promise<Step> {
    this.#watchClient();
    await new Promise<void>((resolve) => void this.#at(step.deadlineMs, resolve));
    return this.#isGone ? step : this.#exchange.timer();
  }

  async #wait(step: WaitStep): Promise<Step> {
    const { until, deadlineMs } = step;
    this.#watchClient();
    // What is asked for may be taken although nobody is left to use it: the exchange gives it back then.
    this.#context.waitUntil(until);
    let isLate = false;
    await new Promise<void>((resolve) => {
      const cancel = this.#at(deadlineMs, () => {
        isLate = true;
        resolve();
      });
      const settled = (): void => {
        cancel();
        resolve();
      };
      until.then(settled, settled);
    });
    if (this.#isGone) return step;
    return isLate ? this.#exchange.timer() : this.#exchange.resumed();
  }

  /** @returns what calls it off */
  #at(deadlineMs: number | undefined, run: () => void): () => void {
    if (deadlineMs === undefined) return () => undefined;
    return this.#ports.arm(Math.max(0, deadlineMs - this.#ports.clock.now()), run);
  }

  // ── answers ────────────────────────────────────────────────────────────────

  #respond(step: RespondStep): Response {
    this.#release();
    const { response, bytes } = responseOf(step, this.#head.method);
    this.#finish("complete", bytes);
    return response;
  }

  /**
   * Nobody asks how the content ends. It has to be small, because until it has gone its endpoint looks less busy than it is, and of declared length, so
   * that less of it never looks whole to the client.
   */
  #endsUnheard({ head, deadlineMs, isAwaited }: RelayStep): boolean {
    if (isAwaited || this.#isTold || deadlineMs !== undefined || !this.#isDirect || this.#attempt !== undefined) return false;
    return head.body.kind === "length" && head.body.bytes <= MAX_WHOLE_BODY_BYTES;
  }

  /** The origin's body moves without this code, which would cost as much again as all that was done for the request so far. It counts as complete. */
  #handOn({ head }: RelayStep): Response {
    const origin = this.#relayed();
    const response = handedOnResponse(origin, head);
    this.#finish("complete", origin.isEmpty || head.body.kind !== "length" ? 0 : head.body.bytes);
    return response;
  }

  async #relay({ head, deadlineMs }: RelayStep): Promise<Response> {
    this.#watchClient();
    const origin = this.#relayed();
    const body = origin.isEmpty ? null : origin.response.body;
    if (body === null) {
      this.#finish("complete", 0);
      return relayedResponse(origin, head, null);
    }
    this.#limit(deadlineMs);
    const passing = new PassedBody(body, head.body.kind === "length" ? head.body.bytes : undefined);
    this.#passing = passing;
    const whole = await passing.whole();
    if (whole !== undefined) {
      this.#finish("complete", passing.bytes);
      return relayedResponse(origin, head, whole);
    }
    this.#attempt ??= new AbortController();
    const [readable, moved] = passing.stream(this.#attempt.signal);
    this.#context.waitUntil(
      moved.then(
        () => this.#finish("complete", passing.bytes),
        () => this.#finish(this.#cutBy(), passing.bytes),
      ),
    );
    return relayedResponse(origin, head, readable);
  }

  #relayed(): OriginResponse {
    if (this.#origin === undefined) throw new Error("core relays a response that never came");
    return this.#origin;
  }

  #cutBy(): ExchangeEnd["outcome"] {
    if (this.#isGone) return "client_gone";
    return this.#deadline?.isPast === true ? "timeout" : "upstream_cut";
  }

  /** Nobody is there to hear it. */
  #abandoned(): Response {
    this.#finish("client_gone", 0);
    return new Response(null, { status: 499 });
  }

  #finish(outcome: ExchangeEnd["outcome"], responseBytes: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leaveUnwatched();
    this.#watch.end();
    this.#limit(undefined);
    this.#exchange.finished({ outcome, requestBytes: this.#body.bytes, responseBytes });
  }
}

/** It holds nothing but text, and each use of it is over before the next begins. */
const PLAIN_GET = new PlainGet();

const NO_TUNNELS = new KnownFailure({ code: "not_supported", reason: "the runtime opens no tunnels", neverSent: true });

/** Methods to which `fetch` gives no content. */
function takesNoContent(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

/** Rejects when the signal is given; never resolves. */
function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(new Error("the attempt was given up")), { once: true });
  promise.catch(() => undefined);
  return promise;
}
