/**
 * One request on its way upstream: its attempts, one after the other, and what they keep counted.
 *
 *     send ──► responded / failed / timed out ──► undefined   what came stands
 *      ▲                    │
 *      └────── back-off ◄───┘                     policy, budget and deadline allow another
 */
import { pickUntried } from "../balance/balancer.ts";
import type { CompiledCluster } from "../compile/clusters.ts";
import type { CompiledForward, CompiledRetry } from "../compile/tables.ts";
import type { ErrorCode } from "../error.ts";
import type { GrpcWebForm } from "../filter/grpc-web.ts";
import { mirrorSends } from "../filter/mirror.ts";
import { grpcOutcome, type Outcome, outcomeOf } from "../health/outlier.ts";
import { grpcTimeout } from "../http/grpc-status.ts";
import type { ReadonlyFieldList, RequestHead, ResponseHead } from "../http/message.ts";
import type { Ports } from "../ports.ts";
import type {
  AttemptFailure,
  ExchangeEnd,
  MirrorSend,
  SendStep,
  Step,
  Upgrade,
  UpstreamEndpoint,
  UpstreamTarget,
} from "../step.ts";
import { backoffMs } from "./backoff.ts";
import { affordsRetry } from "./budget.ts";
import { earlier } from "./deadline.ts";
import { mayRepeatSent, retriesFailure, retriesResponse, retriesTimeout } from "./policy.ts";

export interface AttemptsOptions {
  /** Of the whole request, monotonic; undefined: none. */
  readonly deadlineMs: number | undefined;
  /** Undefined: one attempt only. */
  readonly policy: CompiledRetry | undefined;
  readonly maxReplayBytes: number;
  /** To ask for with every attempt. */
  readonly switchTo?: Upgrade | undefined;
  /** Where `grpc-timeout` is among the head's fields, which says with every attempt how long is left; undefined: it has none. */
  readonly grpcTimeoutAt?: number | undefined;
  readonly grpcWeb?: GrpcWebForm | undefined;
  /** Of the request, where its cluster asks. */
  readonly hash?: number | undefined;
  /** A quota holds something until the request is over. */
  readonly holds: boolean;
}

/** Why there is no attempt. */
export interface NoAttempt {
  readonly kind: "none";
  readonly code: ErrorCode;
  readonly reason: string;
}

export class Attempts {
  /** So far. */
  count = 0;
  /** More would have been made, had there been any left or had the budget allowed it. */
  usedUp = false;
  /** Monotonic ms at which the attempt at hand was sent. */
  sentMs = 0;
  /** Of the attempt at hand or the last one. */
  endpoint: UpstreamEndpoint | undefined = undefined;
  readonly deadlineMs: number | undefined;

  private readonly action: CompiledForward;
  private readonly cluster: CompiledCluster;
  private readonly head: RequestHead;
  private readonly policy: CompiledRetry | undefined;
  private readonly maxReplayBytes: number;
  private readonly switchTo: Upgrade | undefined;
  private readonly grpcTimeoutAt: number | undefined;
  private readonly grpcWeb: GrpcWebForm | undefined;
  private readonly hash: number | undefined;
  private readonly holds: boolean;
  private readonly ports: Ports;
  private tried: UpstreamEndpoint[] | undefined = undefined;
  /** Only the end of the response will say whether the attempt was a success. */
  private isOpen = false;
  /** Counted in the cluster's `active`. */
  private isCounted = true;
  /** Counted in `endpoint.active`. */
  private isActive = false;
  /** Counted in the cluster's `retrying`. */
  private isRetrying = false;
  /** The deadline of the attempt at hand is its own, not the request's. */
  private isPerTry = false;

  constructor(action: CompiledForward, cluster: CompiledCluster, head: RequestHead, ports: Ports, options: AttemptsOptions) {
    this.action = action;
    this.cluster = cluster;
    this.head = head;
    this.ports = ports;
    this.deadlineMs = options.deadlineMs;
    this.policy = options.policy;
    this.maxReplayBytes = options.maxReplayBytes;
    this.switchTo = options.switchTo;
    this.grpcTimeoutAt = options.grpcTimeoutAt;
    this.grpcWeb = options.grpcWeb;
    this.hash = options.hash;
    this.holds = options.holds;
    cluster.state.active++;
  }

  /** The next attempt. */
  send(nowMs: number): SendStep | NoAttempt {
    const { circuit } = this.cluster;
    // This request is among them.
    if (circuit?.maxRequests !== undefined && this.count === 0 && this.cluster.state.active > circuit.maxRequests) {
      return { kind: "none", code: "upstream_overflow", reason: `more than ${circuit.maxRequests} requests to the service` };
    }
    const target = this.pick(nowMs);
    if (target === undefined) return this.nobody();
    const { policy, head } = this;
    const { random } = this.ports;
    target.endpoint.active++;
    this.endpoint = target.endpoint;
    this.isActive = true;
    this.count++;
    this.sentMs = nowMs;
    const perTryMs = policy?.perTryTimeoutMs === undefined ? undefined : nowMs + policy.perTryTimeoutMs;
    const deadlineMs = earlier(this.deadlineMs, perTryMs);
    this.isPerTry = deadlineMs !== this.deadlineMs;
    if (this.grpcTimeoutAt !== undefined && deadlineMs !== undefined) {
      head.fields[this.grpcTimeoutAt + 1] = grpcTimeout(deadlineMs - nowMs);
    }
    return {
      kind: "send",
      target,
      head,
      deadlineMs,
      keepBody:
        policy !== undefined && this.count <= policy.attempts && head.body.kind !== "none" && mayRepeatSent(policy, head.method),
      grpcWeb: this.grpcWeb,
      switchTo: this.switchTo,
      isAwaited: this.isAwaited,
      // A copy that nobody reads cannot speak another protocol.
      mirrors:
        this.count === 1 && this.switchTo === undefined ? mirrorSends(this.action.mirrors, head, random, nowMs) : NO_MIRRORS,
    };
  }

  private pick(nowMs: number): UpstreamTarget | undefined {
    const { balancer } = this.cluster;
    if (balancer === undefined) return undefined;
    const { random } = this.ports;
    if (this.tried === undefined || this.policy?.sameHosts === true) return balancer.next(random, nowMs, this.hash);
    if (this.policy?.remoteLocalities === true && balancer.elsewhere !== undefined)
      return balancer.elsewhere(random, nowMs, this.hash, this.tried);
    return pickUntried(balancer, random, nowMs, this.hash, this.tried);
  }

  private nobody(): NoAttempt {
    const { managed } = this.cluster;
    return { kind: "none", ...(managed?.emptiness ?? { code: "no_healthy_upstream", reason: "no_healthy_upstream" }) };
  }

  /** The wait before another attempt, or undefined when the response stands. */
  afterResponse(head: ResponseHead, replayable = this.isKept()): Step | undefined {
    const { policy } = this;
    if (this.cluster.watched) this.observeHead(head);
    return policy !== undefined && retriesResponse(policy, this.head.method, head, replayable) ? this.again(policy) : undefined;
  }

  afterFailure(failure: AttemptFailure): Step | undefined {
    const { policy } = this;
    // A full pool is this gateway's own doing.
    if (this.cluster.watched && failure.code !== "upstream_overflow") this.observe("local-failure");
    return policy !== undefined && retriesFailure(policy, this.head.method, failure) ? this.again(policy) : undefined;
  }

  /** The last step's deadline has passed. */
  afterTimeout(replayable = this.isKept()): Step | undefined {
    const { policy } = this;
    if (this.cluster.watched) this.observe("local-failure");
    const may = this.isPerTry && policy !== undefined && retriesTimeout(policy, this.head.method, replayable);
    return may ? this.again(policy) : undefined;
  }

  /** How the request ends says something about its endpoint, or makes room for another one. */
  get isAwaited(): boolean {
    return this.holds || this.cluster.watched || this.cluster.circuit?.maxRequests !== undefined;
  }

  /** Which deadline it was that passed. */
  get timeoutReason(): string {
    return this.isPerTry ? "per_try_timeout" : "request_timeout";
  }

  /** Another attempt would be counted anew. */
  uncount(): void {
    this.releaseEndpoint();
    if (this.isCounted) this.cluster.state.active--;
    this.isCounted = false;
  }

  /** Over; nothing is counted any more. */
  finish(end: ExchangeEnd): void {
    if (this.cluster.watched) this.observeEnd(end);
    this.uncount();
    if (this.isRetrying) this.cluster.state.retrying--;
  }

  private again(policy: CompiledRetry): Step | undefined {
    const { state } = this.cluster;
    if (this.count > policy.attempts || !(this.isRetrying || affordsRetry(this.cluster))) {
      this.usedUp = true;
      return undefined;
    }
    const { clock, random } = this.ports;
    const deadlineMs = clock.now() + backoffMs(this.count, policy.backoffBaseMs, policy.backoffMaxMs, random);
    if (this.deadlineMs !== undefined && deadlineMs >= this.deadlineMs) return undefined;
    if (!this.isRetrying) {
      this.isRetrying = true;
      state.retrying++;
    }
    if (this.endpoint !== undefined) {
      this.tried ??= [];
      this.tried.push(this.endpoint);
    }
    this.releaseEndpoint();
    return { kind: "sleep", deadlineMs };
  }

  /** Bytes went out and something came of it: only a body known to fit was kept in full. */
  private isKept(): boolean {
    const { body } = this.head;
    return body.kind === "none" || (body.kind === "length" && body.bytes <= this.maxReplayBytes);
  }

  private observeHead(head: ResponseHead): void {
    const outcome = outcomeOf(head);
    this.isOpen = outcome === undefined;
    if (outcome !== undefined) this.observe(outcome);
  }

  private observeEnd({ outcome, trailers }: ExchangeEnd): void {
    if (outcome === "upstream_cut") this.observe("local-failure");
    else if (this.isOpen && outcome === "complete") this.observe(grpcOutcome(trailers ?? NO_FIELDS));
  }

  private observe(outcome: Outcome): void {
    const { endpoint } = this;
    // Most endpoints never fail: nothing is known against them, and success is no news.
    if (endpoint === undefined || (outcome === "success" && endpoint.health === undefined)) return;
    this.cluster.state.health.observe(endpoint, outcome, this.ports.clock.now());
  }

  private releaseEndpoint(): void {
    if (!this.isActive || this.endpoint === undefined) return;
    this.isActive = false;
    this.endpoint.active--;
  }
}

const NO_MIRRORS: readonly MirrorSend[] = [];
const NO_FIELDS: ReadonlyFieldList = [];
