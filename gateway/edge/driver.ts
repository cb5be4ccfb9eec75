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
  type Established,
  type Exchange,
  type ExchangeEnd,
  type IncomingRequest,
  MeshError,
  type MirrorSend,
  type RelayStep,
  type RespondStep,
  type SendStep,
  type SleepStep,
  type Step,
  type WaitStep,
} from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import { failureOf } from "./fetch-failure.ts";
import type { ArmTimer } from "./isolate.ts";
import { PassedBody } from "./passed-body.ts";
import { MAX_MIRROR_BODY_BYTES, RequestBody } from "./request-body.ts";
import { hasNoContent, headersOf, relayedResponse, responseHead, responseOf } from "./response.ts";
import type { UpstreamCall } from "./upstream.ts";

export interface DriverPorts {
  readonly clock: Clock;
  readonly arm: ArmTimer;
  /** Where an attempt or a mirror's copy goes, and how. */
  readonly call: (send: Pick<SendStep, "target" | "head" | "switchTo">, established: Established | undefined) => UpstreamCall;
}

/** What of the request's context outlives its response. */
export interface DriverContext {
  waitUntil(work: Promise<unknown>): void;
}

/** A copy that nobody waits for gets no longer than the platform gives what is left behind after a response. */
const MIRROR_TIMEOUT_MS = 25_000;

export function drive(
  exchange: Exchange,
  request: Request,
  incoming: IncomingRequest,
  http: HttpSettings,
  ports: DriverPorts,
  context: DriverContext,
): Promise<Response> {
  const response = new Drive(exchange, request, incoming, http, ports, context).run();
  // Where the client leaves, the platform would stop at the next wait, and what the exchange holds would be held for good.
  context.waitUntil(response.catch(() => undefined));
  return response;
}

class Drive {
  readonly #exchange: Exchange;
  readonly #request: Request;
  readonly #http: HttpSettings;
  readonly #ports: DriverPorts;
  readonly #context: DriverContext;
  readonly #body: RequestBody;
  /** Of the attempt at hand; aborting it ends the response's body too. */
  #attempt: AbortController | undefined;
  #response: Response | undefined;
  #isGone = false;
  #isOver = false;
  /** Called when the client is gone while nothing is in flight. */
  #wake: () => void = () => undefined;
  readonly #onGone = (): void => {
    this.#isGone = true;
    this.#attempt?.abort();
    this.#wake();
  };

  constructor(
    exchange: Exchange,
    request: Request,
    { head }: IncomingRequest,
    http: HttpSettings,
    ports: DriverPorts,
    context: DriverContext,
  ) {
    this.#exchange = exchange;
    this.#request = request;
    this.#http = http;
    this.#ports = ports;
    this.#context = context;
    this.#body = new RequestBody(request.body, head.body, http.maxRequestBodyBytes, () => this.#attempt?.abort());
  }

  async run(): Promise<Response> {
    this.#request.signal.addEventListener("abort", this.#onGone);
    try {
      return await this.#steps();
    } catch (error) {
      this.#finish("protocol_error", 0);
      throw error;
    }
  }

  async #steps(): Promise<Response> {
    const exchange = this.#exchange;
    for (let step = exchange.start(); ; ) {
      if (this.#isGone) return this.#abandoned();
      switch (step.kind) {
        case "send":
          step = await this.#send(step);
          break;
        case "sleep":
          step = await this.#sleep(step);
          break;
        case "wait":
          step = await this.#wait(step);
          break;
        case "tunnel":
          step = exchange.failed(this.#cannot("the runtime opens no tunnels"));
          break;
        case "respond":
          return this.#respond(step);
        case "relay":
          return await this.#relay(step);
        case "drop":
          this.#finish("timeout", 0);
          throw new MeshError(step.code, "local", "the connection is to be closed without an answer");
        default:
          return unreachable(step);
      }
    }
  }

  // ── attempts ───────────────────────────────────────────────────────────────

  async #send(step: SendStep): Promise<Step> {
    this.#release();
    const call = this.#ports.call(step, step.established);
    if (call.kind === "refused") return this.#exchange.failed(this.#cannot(call.reason));
    const attempt = new AbortController();
    this.#attempt = attempt;
    let isLate = false;
    const cancel = this.#at(step.deadlineMs, () => {
      isLate = true;
      attempt.abort();
    });
    try {
      const response = await this.#fetch(step, call, attempt.signal);
      this.#response = response;
    } catch (error) {
      // Where the client is gone the next step is not carried out any more.
      this.#isGone ||= this.#body.isBroken;
      if (this.#isGone) return step;
      return isLate ? this.#exchange.timer() : this.#exchange.failed(this.#failure(error));
    } finally {
      cancel();
    }
    const head = responseHead(this.#response, this.#request.method);
    if (head === undefined) {
      return this.#exchange.failed({
        code: "upstream_protocol",
        reason: "status_out_of_range",
        neverSent: false,
        replayable: false,
      });
    }
    return this.#exchange.responded(head);
  }

  async #fetch(step: SendStep, call: Extract<UpstreamCall, { kind: "call" }>, signal: AbortSignal): Promise<Response> {
    const { head } = step;
    const headers = headersOf(head.fields);
    // RFC 9110 10.1.1: the platform has given the go-ahead itself.
    headers.delete("expect");
    // RFC 9110 6.5.1: `fetch` has no trailer fields to pass on.
    headers.delete("te");
    if (step.switchTo !== undefined) headers.set("upgrade", step.switchTo);
    const init: RequestInit = { method: head.method, headers, redirect: "manual", signal, encodeResponseBody: "manual" };
    if (!this.#body.isEmpty && takesNoContent(head.method)) {
      // `fetch` refuses to give such a method content, but passes on what a request has.
      this.#mirror(step);
      this.#body.handOver();
      const { method: _, ...rest } = init;
      return await call.fetcher.fetch(new Request(call.url, this.#request), rest);
    }
    const keepBytes = Math.max(
      step.keepBody ? this.#http.maxReplayBytes : 0,
      step.mirrors.length > 0 ? MAX_MIRROR_BODY_BYTES : 0,
    );
    const body = this.#body.isEmpty ? null : await Promise.race([this.#body.content(keepBytes), aborted(signal)]);
    this.#mirror(step);
    if (body !== null) init.body = body;
    return await call.fetcher.fetch(call.url, init);
  }

  #failure(error: unknown): AttemptFailure {
    if (this.#body.isTooLarge)
      return { code: "body_too_large", reason: "maxRequestBodyBytes", neverSent: false, replayable: false };
    const failure = failureOf(error);
    if (failure.neverSent) this.#body.giveBack();
    return { ...failure, replayable: this.#body.isReplayable };
  }

  #cannot(reason: string): AttemptFailure {
    return { code: "not_supported", reason, neverSent: true, replayable: this.#body.isReplayable };
  }

  /** The response of an attempt that is to be repeated. */
  #release(): void {
    if (this.#response === undefined) return;
    this.#response = undefined;
    this.#attempt?.abort();
  }

  /** Copies go their own way. A body that could not be kept leaves them out. */
  #mirror({ mirrors, established }: SendStep): void {
    const content = this.#body.isEmpty ? null : this.#body.kept;
    if (content === undefined) return;
    for (const mirror of mirrors) this.#context.waitUntil(this.#copy(mirror, established, content));
  }

  async #copy(mirror: MirrorSend, established: Established | undefined, body: Uint8Array | null): Promise<void> {
    const call = this.#ports.call(mirror, established);
    if (call.kind === "refused") return;
    const { head } = mirror;
    const attempt = new AbortController();
    const cancel = this.#ports.arm(MIRROR_TIMEOUT_MS, () => attempt.abort());
    try {
      const headers = headersOf(head.fields);
      const { signal } = attempt;
      const response = await call.fetcher.fetch(call.url, { method: head.method, headers, body, redirect: "manual", signal });
      await response.body?.cancel();
    } catch {
      // Nobody hears how a copy fared.
    } finally {
      cancel();
    }
  }

  // ── waiting ────────────────────────────────────────────────────────────────

  async #sleep({ deadlineMs }: SleepStep): Promise<Step> {
    await new Promise<void>((resolve) => {
      const cancel = this.#at(deadlineMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    return this.#exchange.timer();
  }

  async #wait({ until, deadlineMs }: WaitStep): Promise<Step> {
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
      this.#wake = settled;
      until.then(settled, settled);
    });
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
    const { response, bytes } = responseOf(step, this.#request.method);
    this.#finish("complete", bytes);
    return response;
  }

  async #relay({ head, deadlineMs }: RelayStep): Promise<Response> {
    const response = this.#response;
    if (response === undefined) throw new Error("core relays a response that never came");
    const body = hasNoContent(head.status, this.#request.method) ? null : response.body;
    if (body === null) {
      this.#finish("complete", 0);
      return relayedResponse(head, null, response.webSocket);
    }
    let isLate = false;
    const cancel = this.#at(deadlineMs, () => {
      isLate = true;
      this.#attempt?.abort();
    });
    const passing = new PassedBody(body, head.body.kind === "length" ? head.body.bytes : undefined);
    const ended = (outcome: ExchangeEnd["outcome"]): void => {
      cancel();
      this.#finish(outcome, passing.bytes);
    };
    const whole = await passing.whole();
    if (whole !== undefined) {
      ended("complete");
      return relayedResponse(head, whole, null);
    }
    const [readable, moved] = passing.stream();
    this.#context.waitUntil(
      moved.then(
        () => ended("complete"),
        () => ended(this.#isGone ? "client_gone" : isLate ? "timeout" : "upstream_cut"),
      ),
    );
    return relayedResponse(head, readable, null);
  }

  /** Nobody is there to hear it. */
  #abandoned(): Response {
    this.#finish("client_gone", 0);
    return new Response(null, { status: 499 });
  }

  #finish(outcome: ExchangeEnd["outcome"], responseBytes: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#request.signal.removeEventListener("abort", this.#onGone);
    this.#exchange.finished({ outcome, requestBytes: this.#body.bytes, responseBytes });
  }
}

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
