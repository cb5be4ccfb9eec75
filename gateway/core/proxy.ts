/**
 * One request end to end: match → filters → pick → send → retry → respond.
 *
 * An exchange is held against the tables it was made with to its end, whatever is swapped meanwhile. It does nothing itself: each method takes
 * one outcome and returns the next step (see step.ts).
 */
import { pickUntried } from "./balance/balancer.ts";
import type { CompiledCluster } from "./compile/clusters.ts";
import type { HeaderEdit } from "./compile/headers.ts";
import type { MatchTest } from "./compile/match.ts";
import type {
  CompiledDestination,
  CompiledForward,
  CompiledListener,
  CompiledRetry,
  CompiledRoute,
  CompiledServer,
  CompiledVirtualHost,
  Tables,
} from "./compile/tables.ts";
import type { ErrorCode } from "./error.ts";
import { type FilterContext, runChain, STAGE, type Stage } from "./filter/chain.ts";
import { addCorsFields } from "./filter/cors.ts";
import { editFields } from "./filter/headers.ts";
import { mirrorSends } from "./filter/mirror.ts";
import type { HeldQuota, QuotaVerdict } from "./filter/quota.ts";
import { rewritePath } from "./filter/rewrite.ts";
import type { FieldList, ReadonlyFieldList, RequestHead, ResponseHead } from "./http/message.ts";
import { downstreamFields, httpDate } from "./http/response-fields.ts";
import { PSEUDONYM, upstreamFields } from "./http/upstream-head.ts";
import { findHost, hostOf } from "./match/host.ts";
import { normalizePath } from "./match/path.ts";
import { findRoute } from "./match/route.ts";
import type { PeerInfo, Ports, Random, RequestRecord } from "./ports.ts";
import type { CompiledQuota } from "./quota/plan.ts";
import { ERROR_FACES, respondError, respondRefusal } from "./respond.ts";
import { unreachable } from "./result.ts";
import { backoffMs } from "./retry/backoff.ts";
import { affordsRetry } from "./retry/budget.ts";
import { earlier } from "./retry/deadline.ts";
import { mayRepeatSent, retriesFailure, retriesResponse, retriesTimeout } from "./retry/policy.ts";
import type { AttemptFailure, Exchange, ExchangeEnd, MirrorSend, RespondStep, Step, UpstreamEndpoint } from "./step.ts";
import type { ResponseFlag } from "./telemetry/flags.ts";

/** A request as its codec hands it over. */
export interface IncomingRequest {
  /** The exchange's own from here on. */
  readonly head: RequestHead;
  readonly minor: 0 | 1;
  readonly connectionOptions: readonly string[] | undefined;
}

/**
 * @param listener where the request came in, out of `tables.listeners`
 * @param server which of its servers the connection is for: the one under `*` for plain HTTP, else `findHost(listener.servers, sni)`
 */
export function createExchange(
  tables: Tables,
  listener: CompiledListener,
  server: CompiledServer,
  request: IncomingRequest,
  peer: PeerInfo,
  ports: Ports,
): Exchange {
  return new HttpExchange(tables, listener, server, request, peer, ports);
}

/** Where an exchange stands: what it is waiting for. */
type Phase = "new" | "held" | "attempt" | "backoff" | "answered" | "relaying" | "over";

class HttpExchange implements Exchange, FilterContext {
  // The request as conditions see it.
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  path = "";
  query = "";
  readonly fields: FieldList;
  readonly servicePort: number;
  readonly minor: 0 | 1;
  readonly connectionOptions: readonly string[] | undefined;

  // What it matched.
  virtualHost: CompiledVirtualHost | undefined = undefined;
  route: CompiledRoute | undefined = undefined;
  match: MatchTest | undefined = undefined;

  readonly random: Random;
  private readonly tables: Tables;
  private readonly listener: CompiledListener;
  private readonly server: CompiledServer;
  private readonly head: RequestHead;
  private readonly peer: PeerInfo;
  private readonly ports: Ports;

  private phase: Phase = "new";
  private resumeAt: Stage = STAGE.https;
  private isDelayed = false;
  private startedMs = 0;
  /** Of the whole request; undefined: none. */
  private deadlineMs: number | undefined = undefined;

  /** What a bank that took its time has said. */
  private verdict: QuotaVerdict | undefined = undefined;
  private quotaFields: ReadonlyFieldList = NO_FIELDS;
  private held: HeldQuota | undefined = undefined;

  // The attempt in flight and those before it.
  private action: CompiledForward | undefined = undefined;
  private destination: CompiledDestination | undefined = undefined;
  private cluster: CompiledCluster | undefined = undefined;
  private upstreamHead: RequestHead | undefined = undefined;
  /** Counted as active on it. */
  private endpoint: UpstreamEndpoint | undefined = undefined;
  private tried: UpstreamEndpoint[] | undefined = undefined;
  /** Of the last attempt, when it is over. */
  private lastEndpoint: UpstreamEndpoint | undefined = undefined;
  private attempts = 0;
  private isRetrying = false;
  /** The deadline of the attempt is its own, not the request's. */
  private isPerTry = false;
  private attemptStartedMs = 0;
  private upstreamMs: number | undefined = undefined;

  // What is told in the end.
  private status = 0;
  private flag: ResponseFlag | undefined = undefined;
  private retriesUsedUp = false;
  private rule: string | undefined = undefined;
  private reason: string | undefined = undefined;

  constructor(
    tables: Tables,
    listener: CompiledListener,
    server: CompiledServer,
    request: IncomingRequest,
    peer: PeerInfo,
    ports: Ports,
  ) {
    const head = request.head;
    this.method = head.method;
    this.scheme = head.scheme;
    this.authority = head.authority;
    this.fields = head.fields;
    this.servicePort = listener.source.servicePort;
    this.minor = request.minor;
    this.connectionOptions = request.connectionOptions;
    this.random = ports.random;
    this.tables = tables;
    this.listener = listener;
    this.server = server;
    this.head = head;
    this.peer = peer;
    this.ports = ports;
  }

  start(): Step {
    this.startedMs = this.ports.clock.now();
    if (this.method === "CONNECT") return this.refuse("not_supported", "this listener is no forward proxy");
    if (!this.readTarget()) return this.refuse("bad_request", "a path that origins would read differently");
    this.virtualHost = findHost(this.server.routes.hosts, hostOf(this.authority));
    if (this.virtualHost !== undefined) {
      const found = findRoute(this.virtualHost.index, this);
      this.route = found?.route;
      this.match = found?.match;
    }
    return this.pass(STAGE.https);
  }

  responded(head: ResponseHead, connectionOptions?: readonly string[]): Step {
    this.upstreamMs = this.ports.clock.now() - this.attemptStartedMs;
    const policy = this.retryPolicy();
    if (policy !== undefined && retriesResponse(policy, this.method, head, this.canReplay())) {
      const step = this.retry(policy);
      if (step !== undefined) return step;
    }
    return this.relay(head, connectionOptions);
  }

  failed(failure: AttemptFailure): Step {
    const policy = this.retryPolicy();
    if (policy !== undefined && retriesFailure(policy, this.method, failure)) {
      const step = this.retry(policy);
      if (step !== undefined) return step;
    }
    return this.refuse(failure.code, undefined, failure.reason);
  }

  timer(): Step {
    switch (this.phase) {
      case "held":
        return this.pass(this.resumeAt);
      case "backoff":
        return this.send();
      case "attempt":
        return this.attemptTimedOut();
      default:
        // The head is out already: all that is left is to cut the message short.
        return { kind: "drop", code: "upstream_timeout" };
    }
  }

  resumed(): Step {
    const verdict = this.verdict;
    if (verdict === undefined) return this.refuse("quota_unavailable");
    const refusal = this.charged(verdict);
    return refusal === undefined ? this.pass(STAGE.fault) : this.answer(refusal);
  }

  finished(end: ExchangeEnd): void {
    this.releaseEndpoint();
    if (this.cluster !== undefined) {
      this.cluster.state.active--;
      if (this.isRetrying) this.cluster.state.retrying--;
    }
    this.held?.settle(end.requestBytes, end.responseBytes);
    this.ports.reporter.request(this.record(end));
  }

  // What filters may ask for.

  reject(code: ErrorCode, rule?: string, detail?: string, status?: number): RespondStep {
    this.flag = ERROR_FACES[code].flag;
    this.rule = rule ?? this.rule;
    this.reason = code;
    return respondError(code, this.fields, detail, status);
  }

  get quotas(): readonly CompiledQuota[] {
    return (this.route ?? this.virtualHost ?? this.server.routes).quotas;
  }

  charge(): Step | undefined {
    const { body } = this.head;
    const bytes = body.kind === "length" ? body.bytes : body.kind === "none" ? 0 : undefined;
    const verdict = this.ports.quotas.charge(this.quotas, this, this.peer, bytes);
    return verdict instanceof Promise ? this.await(verdict) : this.charged(verdict);
  }

  hold(ms: number, then: Stage): Step {
    this.phase = "held";
    this.resumeAt = then;
    return { kind: "sleep", deadlineMs: this.ports.clock.now() + ms };
  }

  delayed(): void {
    this.isDelayed = true;
  }

  private async decide(pending: Promise<QuotaVerdict>): Promise<void> {
    this.verdict = await pending;
  }

  private await(pending: Promise<QuotaVerdict>): Step {
    this.phase = "held";
    // A bank that throws leaves no verdict, and that is an answer too.
    return { kind: "wait", until: this.decide(pending).catch(() => undefined), deadlineMs: undefined };
  }

  private charged(verdict: QuotaVerdict): RespondStep | undefined {
    if (verdict.kind === "admitted") {
      this.quotaFields = verdict.fields;
      this.held = verdict.held;
      if (verdict.shadow !== undefined) {
        this.rule = verdict.shadow;
        this.reason = "shadow_quota_exceeded";
      }
      return undefined;
    }
    this.flag = ERROR_FACES[verdict.code].flag;
    this.rule = verdict.rule;
    this.reason = verdict.reason;
    return respondRefusal(verdict, this.fields);
  }

  // Match and filters.

  private readTarget(): boolean {
    const target = this.head.target;
    const mark = target.indexOf("?");
    const path = normalizePath(mark === -1 ? target : target.slice(0, mark));
    if (path === undefined) return false;
    this.path = path;
    if (mark !== -1) this.query = target.slice(mark + 1);
    return true;
  }

  private pass(from: Stage): Step {
    const step = runChain(this, from);
    if (step === undefined) return this.forward();
    return step.kind === "respond" ? this.answer(step) : step;
  }

  // Pick and send.

  private forward(): Step {
    const route = this.route;
    if (route?.action.kind !== "forward") return this.refuse("no_route");
    const action = route.action;
    const destination = pickDestination(action.destinations, this.random);
    const cluster = destination.cluster;
    this.action = action;
    this.destination = destination;
    if (cluster === undefined) return this.refuse("no_cluster");
    if (cluster.balancer === undefined) return this.refuse("no_healthy_upstream");
    this.cluster = cluster;
    cluster.state.active++;
    if (action.timeoutMs !== undefined && !this.isDelayed) this.deadlineMs = this.startedMs + action.timeoutMs;
    this.upstreamHead = this.buildUpstreamHead(action, destination);
    return this.send();
  }

  private buildUpstreamHead(action: CompiledForward, destination: CompiledDestination): RequestHead {
    const fields = upstreamFields(this, this.peer.address, this.tables.settings.numTrustedProxies, this.random);
    if (destination.requestEdit !== undefined) editFields(fields, destination.requestEdit);
    const path = action.rewrite === undefined ? this.path : rewritePath(action.rewrite, this.match, this.path);
    return {
      method: this.method,
      scheme: this.head.scheme,
      authority: destination.authority ?? this.authority,
      target: withQueryOf(this.head.target, path),
      fields,
      body: this.head.body,
    };
  }

  private send(): Step {
    const { action, cluster, upstreamHead } = this;
    if (action === undefined || cluster?.balancer === undefined || upstreamHead === undefined) return this.refuse("internal");
    const first = this.attempts === 0;
    const target =
      this.tried === undefined ? cluster.balancer.next(this.random) : pickUntried(cluster.balancer, this.random, this.tried);
    const nowMs = first && this.phase === "new" ? this.startedMs : this.ports.clock.now();
    target.endpoint.active++;
    this.endpoint = target.endpoint;
    this.attempts++;
    this.attemptStartedMs = nowMs;
    this.phase = "attempt";
    const policy = this.retryPolicy();
    const perTryMs = policy?.perTryTimeoutMs === undefined ? undefined : nowMs + policy.perTryTimeoutMs;
    const deadlineMs = earlier(this.deadlineMs, perTryMs);
    this.isPerTry = deadlineMs !== undefined && deadlineMs !== this.deadlineMs;
    return {
      kind: "send",
      target,
      head: upstreamHead,
      deadlineMs,
      keepBody: policy !== undefined && this.attempts <= policy.attempts && this.needsReplay(policy),
      mirrors: first ? mirrorSends(action.mirrors, upstreamHead, this.random) : NO_MIRRORS,
    };
  }

  // Retry.

  private retryPolicy(): CompiledRetry | undefined {
    return this.isDelayed ? undefined : this.action?.retry;
  }

  /** The step that leads to another attempt; undefined: there will be none. */
  private retry(policy: CompiledRetry): Step | undefined {
    const cluster = this.cluster;
    if (cluster === undefined) return undefined;
    if (this.attempts > policy.attempts || !(this.isRetrying || affordsRetry(cluster.source.retryBudget, cluster.state))) {
      this.retriesUsedUp = true;
      return undefined;
    }
    const wait = backoffMs(this.attempts, policy.backoffBaseMs, policy.backoffMaxMs, this.random);
    const deadlineMs = this.ports.clock.now() + wait;
    if (this.deadlineMs !== undefined && deadlineMs >= this.deadlineMs) return undefined;
    if (!this.isRetrying) {
      this.isRetrying = true;
      cluster.state.retrying++;
    }
    if (this.endpoint !== undefined) {
      this.tried ??= [];
      this.tried.push(this.endpoint);
    }
    this.releaseEndpoint();
    this.phase = "backoff";
    return { kind: "sleep", deadlineMs };
  }

  private attemptTimedOut(): Step {
    const policy = this.retryPolicy();
    if (this.isPerTry && policy !== undefined && retriesTimeout(policy, this.method, this.canReplay())) {
      const step = this.retry(policy);
      if (step !== undefined) return step;
    }
    return this.refuse("upstream_timeout", undefined, this.isPerTry ? "per_try_timeout" : "request_timeout");
  }

  private needsReplay(policy: CompiledRetry): boolean {
    return this.head.body.kind !== "none" && mayRepeatSent(policy, this.method);
  }

  /** After bytes were sent and something came of it: only a body known to fit was kept in full. */
  private canReplay(): boolean {
    const body = this.head.body;
    return body.kind === "none" || (body.kind === "length" && body.bytes <= this.tables.settings.http.maxReplayBytes);
  }

  private releaseEndpoint(): void {
    if (this.endpoint === undefined) return;
    this.endpoint.active--;
    this.lastEndpoint = this.endpoint;
    this.endpoint = undefined;
  }

  // Respond.

  private relay(head: ResponseHead, connectionOptions: readonly string[] | undefined): Step {
    this.phase = "relaying";
    this.status = head.status;
    const fields = downstreamFields(head.fields, connectionOptions);
    const edit = this.destination?.responseEdit;
    if (edit !== undefined) editFields(fields, edit);
    if (this.route?.cors !== undefined) addCorsFields(this.route.cors, this.fields, fields);
    for (const part of this.quotaFields) fields.push(part);
    if (this.tables.settings.explainHeaders) this.explain(fields);
    return { kind: "relay", head: { status: head.status, fields, body: head.body }, deadlineMs: this.deadlineMs };
  }

  /** @param reason for logs and explain headers, where the code says too little */
  private refuse(code: ErrorCode, detail?: string, reason?: string): Step {
    const step = this.reject(code, undefined, detail);
    this.reason = reason ?? code;
    return this.answer(step);
  }

  private answer(step: RespondStep): Step {
    this.phase = "answered";
    const { status, fields, body } = step.head;
    this.status = status;
    fields.push("server", PSEUDONYM, "date", httpDate(this.ports.clock.unixMs()));
    // A preflight that is answered here has its fields.
    if (this.route?.cors !== undefined && this.method !== "OPTIONS") addCorsFields(this.route.cors, this.fields, fields);
    for (const part of this.quotaFields) fields.push(part);
    if (this.tables.settings.explainHeaders) this.explain(fields);
    return {
      kind: "respond",
      head: { status, fields, body },
      body: this.method === "HEAD" ? "" : step.body,
      close: step.close || !this.canReplay(),
    };
  }

  private explain(fields: FieldList): void {
    editFields(fields, EXPLAIN_EDIT);
    fields.push("x-tidegate-snapshot", this.tables.version);
    const rule = this.rule ?? this.route?.source.id;
    if (rule !== undefined) fields.push("x-tidegate-rule", printable(rule));
    if (this.reason !== undefined) fields.push("x-tidegate-reason", printable(this.reason));
  }

  private record(end: ExchangeEnd): RequestRecord {
    const gone = end.outcome === "client_gone" && this.phase !== "answered" && this.phase !== "relaying";
    return {
      snapshotVersion: this.tables.version,
      listener: this.listener.source.name,
      method: this.method,
      authority: this.authority,
      target: this.head.target,
      scheme: this.scheme,
      protocol: this.minor === 1 ? "HTTP/1.1" : "HTTP/1.0",
      peer: this.peer,
      fields: this.fields,
      routeId: this.route?.source.id,
      clusterName: this.destination?.name,
      endpoint: this.lastEndpoint === undefined ? undefined : `${this.lastEndpoint.address}:${this.lastEndpoint.port}`,
      // No response: nobody was there to get one.
      status: gone ? 0 : this.status,
      flags: this.flags(end),
      rule: this.rule,
      reason: this.reason ?? (end.outcome === "complete" ? undefined : end.outcome),
      attempts: this.attempts,
      startedMs: this.startedMs,
      requestBytes: end.requestBytes,
      responseBytes: end.responseBytes,
      durationMs: this.ports.clock.now() - this.startedMs,
      upstreamMs: this.upstreamMs,
    };
  }

  private flags(end: ExchangeEnd): string {
    if (this.flag === undefined && end.outcome === "complete" && !this.isDelayed && !this.retriesUsedUp) return "-";
    const flags: ResponseFlag[] = [];
    if (this.isDelayed) flags.push("DI");
    if (this.flag !== undefined) flags.push(this.flag);
    if (this.retriesUsedUp) flags.push("URX");
    const ended = this.endFlag(end);
    if (ended !== undefined) flags.push(ended);
    return flags.length === 0 ? "-" : flags.join(",");
  }

  private endFlag(end: ExchangeEnd): ResponseFlag | undefined {
    switch (end.outcome) {
      case "complete":
        return undefined;
      case "client_gone":
        return "DC";
      case "upstream_cut":
        return "UC";
      case "timeout":
        return this.phase === "relaying" && this.deadlineMs !== undefined && this.ports.clock.now() >= this.deadlineMs
          ? "UT"
          : "SI";
      case "protocol_error":
        return this.phase === "relaying" ? "UPE" : "DPE";
      default:
        return unreachable(end.outcome);
    }
  }
}

function pickDestination(destinations: readonly CompiledDestination[], random: Random): CompiledDestination {
  const only = destinations[0] as CompiledDestination;
  if (destinations.length === 1) return only;
  const thrown = random();
  for (const destination of destinations) if (thrown < destination.upTo) return destination;
  return only;
}

/** `path` with the query of `target`; `target` itself when the path is its own. */
function withQueryOf(target: string, path: string): string {
  const mark = target.indexOf("?");
  if (mark === -1) return path;
  return target.startsWith(path) && path.length === mark ? target : path + target.slice(mark);
}

/** The origin's own say about snapshots would be somebody else's. */
const EXPLAIN_EDIT: HeaderEdit = { drop: new Set(["x-tidegate-snapshot", "x-tidegate-rule", "x-tidegate-reason"]), append: [] };
const NO_FIELDS: ReadonlyFieldList = [];
const NO_MIRRORS: readonly MirrorSend[] = [];

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?");
}
