/**
 * One request end to end: match → filters → pick → send → retry → respond.
 *
 * An exchange is held against the tables it was made with to its end, whatever is swapped meanwhile. It does nothing itself: each method takes
 * one outcome and returns the next step (see step.ts).
 */
import { hashRequest } from "./balance/hash-source.ts";
import type { MatchTest } from "./compile/match.ts";
import type {
  CompiledDestination,
  CompiledForward,
  CompiledListener,
  CompiledRoute,
  CompiledServer,
  CompiledVirtualHost,
  Tables,
} from "./compile/tables.ts";
import type { ErrorCode } from "./error.ts";
import { type FilterContext, runChain, STAGE, type Stage } from "./filter/chain.ts";
import { addCorsFields } from "./filter/cors.ts";
import { type ForwardContext, upstreamHead } from "./filter/forward.ts";
import { fromGrpc, type GrpcWeb, grpcWebOf, toGrpc } from "./filter/grpc-web.ts";
import { editFields } from "./filter/headers.ts";
import type { HeldQuota, QuotaVerdict } from "./filter/quota.ts";
import type { HandedOn } from "./handed-on.ts";
import { clientAddress } from "./http/forwarded.ts";
import { type GrpcKind, grpcKind, grpcStatusIn, grpcTimeoutAt, grpcTimeoutOf } from "./http/grpc-status.ts";
import {
  type FieldList,
  field,
  type HttpVersion,
  type ReadonlyFieldList,
  type RequestHead,
  type ResponseHead,
} from "./http/message.ts";
import { downstreamFields, httpDate } from "./http/response-fields.ts";
import { isLoop, PSEUDONYM } from "./http/via.ts";
import type { Cluster, HashSource } from "./ir/index.ts";
import { endsHere } from "./last-recipient.ts";
import { findHost, hostOf } from "./match/host.ts";
import { normalizePath } from "./match/path.ts";
import { findRoute } from "./match/route.ts";
import { pickDestination } from "./match/weighted.ts";
import type { PeerInfo, Ports, Random } from "./ports.ts";
import type { CompiledQuota } from "./quota/plan.ts";
import { ERROR_FACES, respondError, respondRefusal } from "./respond.ts";
import { Attempts } from "./retry/attempts.ts";
import { earlier } from "./retry/deadline.ts";
import type { AttemptFailure, Established, Exchange, ExchangeEnd, RespondStep, SendStep, Step, Upgrade } from "./step.ts";
import { addExplainFields } from "./telemetry/explain-fields.ts";
import type { ResponseFlag } from "./telemetry/flags.ts";
import { PROTOCOLS, report, type Told } from "./telemetry/record.ts";

/** A request as its codec hands it over. */
export interface IncomingRequest {
  /** The exchange's own from here on. */
  readonly head: RequestHead;
  readonly version: HttpVersion;
  readonly connectionOptions: readonly string[] | undefined;
  /** The client wants another protocol on this connection (RFC 9110 7.8), and the runtime can carry it. Undefined: no, or it cannot. */
  readonly switchTo?: Upgrade | undefined;
}

/**
 * @param listener where the request came in, out of `tables.listeners`
 * @param server which of its servers the connection is for: the one under `*` for plain HTTP, else `findHost(listener.servers, sni)`
 * @param handedOn undefined: it is matched and filtered here, as requests of clients are
 */
export function createExchange(
  tables: Tables,
  listener: CompiledListener,
  server: CompiledServer,
  request: IncomingRequest,
  peer: PeerInfo,
  ports: Ports,
  handedOn?: HandedOn,
): Exchange {
  return new HttpExchange(tables, listener, server, request, peer, ports, handedOn);
}

/** Where an exchange stands: what it is waiting for. */
type Phase = "new" | "held" | "attempt" | "backoff" | "answered" | "relaying" | "over";

class HttpExchange implements Exchange, FilterContext, ForwardContext, Told {
  // The request as conditions see it.
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  path = "";
  query = "";
  readonly fields: FieldList;
  readonly servicePort: number;
  readonly version: HttpVersion;
  readonly connectionOptions: readonly string[] | undefined;
  private readonly switchTo: Upgrade | undefined;

  // What it matched.
  virtualHost: CompiledVirtualHost | undefined = undefined;
  route: CompiledRoute | undefined = undefined;
  match: MatchTest | undefined = undefined;

  readonly random: Random;
  readonly tables: Tables;
  readonly listener: CompiledListener;
  private readonly server: CompiledServer;
  readonly head: RequestHead;
  readonly peer: PeerInfo;
  readonly ports: Ports;
  readonly handedOn: HandedOn | undefined;

  private phase: Phase = "new";
  private resumeAt: Stage = STAGE.https;
  isDelayed = false;
  startedMs = 0;

  /** What a bank that took its time has said. */
  private verdict: QuotaVerdict | undefined = undefined;
  private quotaFields: ReadonlyFieldList = NO_FIELDS;
  private held: HeldQuota | undefined = undefined;
  /** Ids of what was charged, where somebody behind this gateway wants to know. */
  private chargedIds: string[] | undefined = undefined;

  readonly grpc: GrpcKind | undefined;
  private grpcWeb: GrpcWeb | undefined = undefined;
  grpcStatus: number | undefined = undefined;

  destination: CompiledDestination | undefined = undefined;
  attempts: Attempts | undefined = undefined;
  /** Makes the client come back to the endpoint that this request goes to. */
  private setCookie: string | undefined = undefined;

  // What is told in the end.
  status = 0;
  upstreamMs: number | undefined = undefined;
  flag: ResponseFlag | undefined = undefined;
  rule: string | undefined = undefined;
  reason: string | undefined = undefined;

  constructor(
    tables: Tables,
    listener: CompiledListener,
    server: CompiledServer,
    request: IncomingRequest,
    peer: PeerInfo,
    ports: Ports,
    handedOn: HandedOn | undefined,
  ) {
    const head = request.head;
    this.method = head.method;
    this.scheme = head.scheme;
    this.authority = head.authority;
    this.fields = head.fields;
    this.servicePort = listener.source.servicePort;
    this.version = request.version;
    this.connectionOptions = request.connectionOptions;
    this.switchTo = request.switchTo;
    // PROTOCOL-HTTP2.md: every call is a POST.
    this.grpc = head.method === "POST" ? grpcKind(head.fields) : undefined;
    this.random = ports.random;
    this.tables = tables;
    this.listener = listener;
    this.server = server;
    this.head = head;
    this.peer = peer;
    this.ports = ports;
    this.handedOn = handedOn;
  }

  start(): Step {
    this.startedMs = this.ports.clock.now();
    if (this.tables.closed !== undefined) return this.refuse("snapshot_expired", undefined, this.tables.closed);
    if (this.method === "CONNECT") return this.refuse("not_supported", "this listener is no forward proxy");
    const last = endsHere(this.head, PROTOCOLS[this.version]);
    if (typeof last === "string") return this.refuse("bad_request", last);
    if (last !== undefined) return this.answer(last);
    if (this.handedOn !== undefined) return this.goOn(this.handedOn);
    if (!this.readTarget()) return this.refuse("bad_request", "a path that origins would read differently");
    this.virtualHost = findHost(this.server.routes.hosts, hostOf(this.authority));
    if (this.virtualHost !== undefined) {
      const found = findRoute(this.virtualHost.index, this);
      this.route = found?.route;
      this.match = found?.match;
    }
    return this.pass(STAGE.https);
  }

  interim(head: ResponseHead, connectionOptions?: readonly string[]): ResponseHead {
    return { ...head, fields: downstreamFields(head, connectionOptions, this.ports.clock) };
  }

  responded(head: ResponseHead, connectionOptions?: readonly string[], replayable?: boolean): Step {
    if (head.status === SWITCHING_PROTOCOLS && !isWanted(head, this.switchTo)) return this.failed(UNASKED_SWITCH);
    if (this.attempts !== undefined) this.upstreamMs = this.ports.clock.now() - this.attempts.sentMs;
    const step = this.attempts?.afterResponse(head, replayable);
    return step === undefined ? this.relay(head, connectionOptions) : this.backOff(step);
  }

  failed(failure: AttemptFailure): Step {
    const step = this.attempts?.afterFailure(failure);
    return step === undefined ? this.refuse(failure.code, undefined, failure.reason) : this.backOff(step);
  }

  timer(replayable?: boolean): Step {
    switch (this.phase) {
      case "held":
        return this.pass(this.resumeAt);
      case "backoff":
        return this.send(this.ports.clock.now());
      case "attempt":
        return this.timedOut(replayable);
      default:
        // The head is out already: all that is left is to cut the message short.
        return { kind: "drop", code: "upstream_timeout" };
    }
  }

  resumed(): Step {
    const verdict = this.verdict;
    if (verdict === undefined) return this.refuse("quota_unavailable");
    const refusal = this.charged(verdict);
    if (refusal !== undefined) return this.answer(refusal);
    return this.handedOn === undefined ? this.pass(STAGE.fault) : this.forward();
  }

  presumeGone(): void {
    this.attempts?.uncount();
  }

  finished(end: ExchangeEnd): void {
    this.attempts?.finish(end);
    this.held?.settle(end.requestBytes, end.responseBytes);
    report(this, end);
    this.phase = "over";
  }

  // What filters may ask for.

  reject(code: ErrorCode, rule?: string, detail?: string, status?: number, grpc?: number): RespondStep {
    this.flag = ERROR_FACES[code].flag;
    this.rule = rule ?? this.rule;
    this.reason = code;
    return respondError(code, this.fields, detail, status, false, grpc);
  }

  get quotas(): readonly CompiledQuota[] {
    if (this.handedOn?.kind === "taken") return this.handedOn.quotas;
    return (this.route ?? this.virtualHost ?? this.server.routes).quotas;
  }

  charge(): Step | undefined {
    const { body } = this.head;
    const bytes = body.kind === "length" ? body.bytes : body.kind === "none" ? 0 : undefined;
    if (this.action?.handsOn === true) this.chargedIds = [];
    const verdict = this.ports.quotas.charge(this.quotas, this, this.peer, bytes, this.chargedIds);
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
    const verdict = await pending;
    // Nobody is left to use what was taken.
    if (this.phase === "over" && verdict.kind === "admitted") verdict.held?.settle(0, 0);
    this.verdict = verdict;
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

  /** Where the request goes: its route's action, or what the gateway before this one has decided. */
  private get action(): CompiledForward | undefined {
    if (this.handedOn !== undefined) return this.handedOn.kind === "taken" ? this.handedOn.action : undefined;
    return this.route?.action.kind === "forward" ? this.route.action : undefined;
  }

  /** Not matched, and neither changed nor held up a second time: only what nobody has charged is charged. */
  private goOn(handedOn: HandedOn): Step {
    if (handedOn.kind === "refused") return this.refuse(handedOn.code, undefined, handedOn.reason);
    // Normalised and rewritten already: it goes on as it came.
    this.splitTarget((path) => path);
    if (handedOn.quotas.length === 0) return this.forward();
    const step = this.charge();
    if (step === undefined) return this.forward();
    return step.kind === "respond" ? this.answer(step) : step;
  }

  private readTarget(): boolean {
    return this.splitTarget(normalizePath);
  }

  private splitTarget(read: (path: string) => string | undefined): boolean {
    const target = this.head.target;
    const mark = target.indexOf("?");
    const path = read(mark === -1 ? target : target.slice(0, mark));
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

  // Pick, send, retry.

  private forward(): Step {
    const { action } = this;
    if (action === undefined) return this.refuse("no_route");
    const destination = pickDestination(action.destinations, this.random);
    const cluster = destination.cluster;
    this.destination = destination;
    if (cluster === undefined) return this.refuse("no_cluster");
    const timeoutMs = this.isDelayed ? undefined : action.timeoutMs;
    if (isLoop(this.fields)) return this.refuse("loop_detected");
    const hash = cluster.hash === undefined ? undefined : this.hashFor(cluster.hash);
    const head = upstreamHead(this, action, destination, this.tables.settings);
    const grpcMs = this.grpc === undefined ? undefined : grpcTimeoutOf(this.fields);
    if (Number.isNaN(grpcMs)) return this.refuse("bad_request", "grpc-timeout is not at most eight digits and a unit");
    const wholeMs = earlier(timeoutMs, grpcMs);
    if (this.grpc !== undefined && this.ports.translatesGrpcWeb === true) this.translate(head, this.grpc, cluster.source);
    this.attempts = new Attempts(action, cluster, head, this.ports, {
      deadlineMs: wholeMs === undefined ? undefined : this.startedMs + wholeMs,
      grpcTimeoutAt: grpcMs === undefined ? undefined : grpcTimeoutAt(head.fields),
      grpcWeb: this.grpcWeb?.request,
      policy: this.isDelayed ? undefined : action.retry,
      maxReplayBytes: this.tables.settings.http.maxReplayBytes,
      switchTo: this.switchTo,
      hash,
      holds: this.held !== undefined,
    });
    return this.send(this.phase === "new" ? this.startedMs : this.ports.clock.now());
  }

  private translate(head: RequestHead, grpc: GrpcKind, { grpcWeb, protocol }: Cluster): void {
    if (grpcWeb !== true && !(this.server.source.grpcWeb === true && protocol === "http2")) return;
    this.grpcWeb = grpcWebOf(grpc, this.head);
    if (this.grpcWeb !== undefined) toGrpc(head, this.grpcWeb);
  }

  private send(nowMs: number): Step {
    this.phase = "attempt";
    const step = this.attempts?.send(nowMs);
    if (step === undefined) return this.refuse("no_healthy_upstream");
    if (step.kind === "none") return this.refuse(step.code, undefined, step.reason);
    return this.action?.handsOn === true ? this.withEstablished(step) : step;
  }

  private hashFor(source: HashSource): number | undefined {
    const { fields, query, random, peer, tables } = this;
    const from = source.kind !== "source-ip" ? "" : clientAddressOf(peer, fields, tables.settings.numTrustedProxies);
    const { hash, setCookie } = hashRequest(source, { fields, query, random, clientAddress: from });
    this.setCookie = setCookie;
    return hash;
  }

  private withEstablished(step: SendStep): SendStep {
    if (step.target.via === undefined && step.mirrors.every(({ target }) => target.via === undefined)) return step;
    const { peer, fields, tables } = this;
    const established: Established = {
      clientAddress: clientAddressOf(peer, fields, tables.settings.numTrustedProxies),
      charged: this.chargedIds ?? [],
      traceparent: field(step.head.fields, "traceparent"),
    };
    return { ...step, established };
  }

  private backOff(step: Step): Step {
    this.phase = "backoff";
    return step;
  }

  private timedOut(replayable: boolean | undefined): Step {
    const step = this.attempts?.afterTimeout(replayable);
    return step === undefined ? this.refuse("upstream_timeout", undefined, this.attempts?.timeoutReason) : this.backOff(step);
  }

  // Respond.

  private relay(head: ResponseHead, connectionOptions: readonly string[] | undefined): Step {
    this.phase = "relaying";
    this.status = head.status;
    const fields = downstreamFields(head, connectionOptions, this.ports.clock);
    // RFC 9110 7.8: a 101 says to what.
    if (head.status === SWITCHING_PROTOCOLS && this.switchTo !== undefined) fields.push("upgrade", this.switchTo);
    const edit = this.destination?.responseEdit ?? this.route?.responseEdit;
    if (edit !== undefined) editFields(fields, edit);
    if (this.route?.cors !== undefined) addCorsFields(this.route.cors, this.fields, fields);
    for (const part of this.quotaFields) fields.push(part);
    if (this.setCookie !== undefined) fields.push("set-cookie", this.setCookie);
    if (this.tables.settings.explainHeaders) this.explain(fields);
    // Another protocol speaks for as long as it likes.
    const deadlineMs = head.status === SWITCHING_PROTOCOLS ? undefined : this.attempts?.deadlineMs;
    const relayed = { status: head.status, fields, body: head.body };
    if (this.grpc !== undefined) this.grpcStatus = grpcStatusIn(head.fields);
    const isAwaited = this.attempts?.isAwaited === true;
    if (this.grpcWeb === undefined) return { kind: "relay", head: relayed, deadlineMs, isAwaited };
    return { kind: "relay", grpcWeb: fromGrpc(relayed, this.grpcWeb), head: relayed, deadlineMs, isAwaited };
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
    if (this.grpc !== undefined) this.grpcStatus = grpcStatusIn(fields);
    fields.push("server", PSEUDONYM, "date", httpDate(this.ports.clock.unixMs()));
    // A preflight that is answered here has its fields.
    if (this.route?.cors !== undefined && this.method !== "OPTIONS") addCorsFields(this.route.cors, this.fields, fields);
    for (const part of this.quotaFields) fields.push(part);
    if (this.tables.settings.explainHeaders) this.explain(fields);
    return {
      kind: "respond",
      head: { status, fields, body },
      body: this.method === "HEAD" ? "" : step.body,
      close: step.close || !this.isShort(),
    };
  }

  /** What is left of the request is little enough to be read and thrown away. */
  private isShort(): boolean {
    const { body } = this.head;
    return body.kind === "none" || (body.kind === "length" && body.bytes <= MAX_DISCARD_BYTES);
  }

  private explain(fields: FieldList): void {
    addExplainFields(fields, this.tables.version, this.rule ?? this.route?.source.id, this.reason);
  }

  // What is told in the end.

  get isAnswered(): boolean {
    return this.phase === "answered" || this.phase === "relaying";
  }
  get isRelaying(): boolean {
    return this.phase === "relaying";
  }
}

/** An unread request body longer than this costs the connection instead. */
const MAX_DISCARD_BYTES = 64 * 1024;
const SWITCHING_PROTOCOLS = 101;
/** RFC 9110 7.8: nobody switches to what was not asked for. */
const UNASKED_SWITCH: AttemptFailure = {
  code: "upstream_protocol",
  reason: "it switched to a protocol that nobody asked for",
  neverSent: false,
  replayable: false,
};
const NO_FIELDS: ReadonlyFieldList = [];

/** A 101 to what was asked for; one that does not say to what is taken for that. */
function isWanted(head: ResponseHead, asked: Upgrade | undefined): boolean {
  return asked !== undefined && (field(head.fields, "upgrade") ?? asked).toLowerCase() === asked;
}

/** By a passport, or by the trusted hops in front. */
function clientAddressOf(peer: PeerInfo, fields: ReadonlyFieldList, trustedProxies: number): string {
  return peer.clientAddress ?? clientAddress(fields, peer.address, trustedProxies);
}
