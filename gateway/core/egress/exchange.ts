/**
 * One request through the forward proxy, absolute-form or CONNECT:
 *
 *     target ─► credentials ─► decide ─► resolve ─► every address ─► quotas ─► dial ─► relay
 *                  (wait)                 (wait)                     (wait)     └────► tunnel ─► ClientHello
 *
 * Each request is decided afresh, the second one of a kept-alive connection like the first. Redirects are relayed, never followed.
 */
import type { RequestHead, ResponseHead } from "../http/message.ts";
import { NO_BODY } from "../http/message.ts";
import type { PeerInfo } from "../ports.ts";
import { ERROR_FACES } from "../respond.ts";
import { unreachable } from "../result.ts";
import type { AttemptFailure, Exchange, ExchangeEnd, RespondStep, Step, TunnelVerdict, WaitStep } from "../step.ts";
import { formatAddress } from "./address.ts";
import { takeCredentials } from "./credentials.ts";
import {
  type CheckedAddress,
  callerAt,
  decide,
  decideAddresses,
  type EgressAllow,
  type EgressDenial,
  type EgressRequest,
} from "./decide.ts";
import type { EndpointTable } from "./endpoints.ts";
import { requestFields, responseFields } from "./forward.ts";
import { type HelloProblem, helloProblem, isInspected, MAX_HELLO_BYTES } from "./hello.ts";
import { parseConnectAuthority, parseHostPort } from "./name.ts";
import { pathOf } from "./path.ts";
import type { CredentialVerdict, EgressDecisionRecord, EgressPorts, EgressSnapshot, Resolution } from "./ports.ts";
import {
  CREDENTIALS_OVERLOAD,
  CREDENTIALS_THROTTLED,
  HTTPS_IN_THE_CLEAR,
  INTERNAL,
  NOT_A_PROXY_REQUEST,
  notCanonical,
  type Refusal,
  refusalStep,
  resolvedTooLate,
  TOO_MANY_TUNNELS,
  unreached,
  unresolved,
} from "./refusal.ts";

/** A request as the listener hands it over. */
export interface ProxyRequest {
  /** Belongs to the exchange from here on. */
  readonly head: RequestHead;
  /** The target's form as it came (RFC 9112 3.2). */
  readonly form: "origin" | "absolute" | "authority" | "asterisk";
  readonly connectionOptions: readonly string[] | undefined;
  readonly protocol: string;
  readonly listener: string;
  readonly peer: PeerInfo;
}

type Waiting = "nothing" | "credentials" | "resolution";

export class EgressExchange implements Exchange {
  readonly #snapshot: EgressSnapshot;
  readonly #ports: EgressPorts;
  readonly #endpoints: EndpointTable;
  readonly #request: ProxyRequest;
  readonly #startedMs: number;
  readonly #isConnect: boolean;

  #waiting: Waiting = "nothing";
  #target: EgressRequest | undefined;
  #user: string | undefined;
  #verdict: CredentialVerdict | "absent" | "malformed" = "absent";
  #resolution: Resolution | undefined;
  #allow: EgressAllow | undefined;
  #addresses: readonly CheckedAddress[] = [];
  #dialled = -1;
  #endpointActive: { active: number } | undefined;
  #holdsTunnel = false;
  #recorded = false;
  #refusal: Refusal | undefined;
  #status = 0;
  #sentMs: number | undefined;
  #upstreamMs: number | undefined;

  constructor(snapshot: EgressSnapshot, ports: EgressPorts, endpoints: EndpointTable, request: ProxyRequest) {
    this.#snapshot = snapshot;
    this.#ports = ports;
    this.#endpoints = endpoints;
    this.#request = request;
    this.#startedMs = ports.clock.now();
    this.#isConnect = request.form === "authority";
  }

  start(): Step {
    const { head, peer } = this.#request;
    // First of all, so that whatever happens next cannot log or forward a password.
    const presented = takeCredentials(head.fields);
    const problem = this.#readTarget();
    if (problem !== undefined) return this.#refuse(problem);
    const { tables } = this.#snapshot;
    if (presented.kind === "malformed") this.#verdict = "malformed";
    if (presented.kind !== "basic" || !tables.wantsUsers) return this.#decide();
    const { user, password } = presented;
    const answer = this.#ports.credentials.check({ peer: peer.address, user, password, known: tables.users.get(user) });
    if (typeof answer === "string") {
      this.#credentialsChecked(answer, user);
      return this.#decide();
    }
    const until = answer.then((verdict) => this.#credentialsChecked(verdict, user));
    return this.#wait("credentials", until, this.#ports.limits.credentialTimeoutMs);
  }

  resumed(): Step {
    const waiting = this.#waiting;
    this.#waiting = "nothing";
    switch (waiting) {
      case "credentials":
        return this.#decide();
      case "resolution":
        return this.#resolved();
      case "nothing":
        return this.#refuse(INTERNAL);
      default:
        return unreachable(waiting);
    }
  }

  timer(): Step {
    const waiting = this.#waiting;
    this.#waiting = "nothing";
    switch (waiting) {
      case "credentials":
        return this.#refuse(CREDENTIALS_OVERLOAD);
      case "resolution":
        return this.#refuse(resolvedTooLate(this.#hostText()));
      case "nothing":
        return this.#refuse(unreached(this.#hostText(), NO_ANSWER));
      default:
        return unreachable(waiting);
    }
  }

  responded(head: ResponseHead): Step {
    this.#upstreamMs = this.#sentMs === undefined ? undefined : this.#ports.clock.now() - this.#sentMs;
    if (head.status === 407) {
      return this.#refuse(unreached(this.#hostText(), PROXY_STATUS));
    }
    this.#status = head.status;
    return {
      kind: "relay",
      head: { status: head.status, fields: responseFields(head.fields), body: head.body },
      deadlineMs: undefined,
    };
  }

  /** A connection that never came about is tried at the next checked address; anything later is the client's to repeat. */
  failed(failure: AttemptFailure): Step {
    if (failure.neverSent && failure.replayable && this.#dialled + 1 < this.#addresses.length) return this.#dial();
    return this.#refuse(unreached(this.#hostText(), failure));
  }

  finished(end: ExchangeEnd): void {
    if (this.#endpointActive !== undefined) this.#endpointActive.active -= 1;
    this.#endpointActive = undefined;
    if (this.#holdsTunnel) this.#ports.tunnels.release(this.#request.peer);
    this.#holdsTunnel = false;
    if (!this.#recorded) this.#record("deny", "unfinished", undefined, UNFINISHED[end.outcome]);
    this.#report(end);
  }

  /** What is asked for, or why it cannot be told. Host against target was compared by the codec (RFC 9112 3.2.2). */
  #readTarget(): Refusal | undefined {
    const { head, form } = this.#request;
    if (form === "authority") {
      const parsed = parseConnectAuthority(head.authority);
      if (!parsed.ok) return notCanonical(parsed.error);
      const { host, port } = parsed.value;
      this.#target = { host, port, kind: "tunnel", method: head.method, path: "" };
      return undefined;
    }
    if (form !== "absolute") return NOT_A_PROXY_REQUEST;
    if (head.scheme !== "http") return HTTPS_IN_THE_CLEAR;
    const parsed = parseHostPort(head.authority);
    if (!parsed.ok) return notCanonical(parsed.error);
    const { host, port = 80 } = parsed.value;
    this.#target = { host, port, kind: "http", method: head.method, path: pathOf(head.target) };
    return undefined;
  }

  #credentialsChecked(verdict: CredentialVerdict, user: string): void {
    this.#verdict = verdict;
    if (verdict === "valid") this.#user = user;
  }

  #decide(): Step {
    const target = this.#target;
    if (target === undefined) return this.#refuse(INTERNAL);
    const decision = decide(this.#snapshot.tables, callerAt(this.#request.peer.address, this.#user), target);
    if (decision.kind === "deny") return this.#refuse(this.#denied(decision));
    this.#allow = decision;
    if (target.kind === "tunnel") {
      this.#holdsTunnel = this.#ports.tunnels.acquire(this.#request.peer);
      if (!this.#holdsTunnel) return this.#refuse(TOO_MANY_TUNNELS);
    }
    return this.#resolve(target);
  }

  /** Whether a better credential would change anything decides between 403 and 407. */
  #denied(denial: EgressDenial): Refusal {
    const { code, rule, reason } = denial;
    if (!denial.credentialsMayHelp) return { error: "denied", code, rule, reason };
    switch (this.#verdict) {
      case "throttled":
        return CREDENTIALS_THROTTLED;
      case "overloaded":
        return CREDENTIALS_OVERLOAD;
      case "wrong":
      case "malformed":
        return {
          error: "proxy_auth_required",
          code: "credentials_wrong",
          rule,
          reason: `the proxy credential is wrong; without it: ${reason}`,
        };
      case "absent":
      case "valid":
        return {
          error: "proxy_auth_required",
          code: "credentials_missing",
          rule,
          reason: `a proxy credential is needed: ${reason}`,
        };
      default:
        return unreachable(this.#verdict);
    }
  }

  /** An address is itself, a name with addresses of its own has those, and every other name is looked up, once. */
  #resolve(target: EgressRequest): Step {
    const { host } = target;
    if (host.kind === "address") return this.#check([{ address: formatAddress(host.address), port: target.port }]);
    const fixed = this.#snapshot.tables.staticHosts.get(host.text);
    if (fixed !== undefined) return this.#check(fixed.map(({ address, port }) => ({ address, port: port ?? target.port })));
    const answer = this.#ports.resolver.resolve(host.text);
    if (!(answer instanceof Promise)) {
      this.#resolution = answer;
      return this.#resolved();
    }
    const until = answer.then((resolution) => {
      this.#resolution = resolution;
    });
    return this.#wait("resolution", until, this.#ports.limits.resolveTimeoutMs);
  }

  #resolved(): Step {
    const resolution = this.#resolution;
    const port = this.#target?.port ?? 0;
    if (resolution?.kind === "found") return this.#check(resolution.addresses.map((address) => ({ address, port })));
    return this.#refuse(unresolved(this.#hostText(), resolution?.reason));
  }

  #check(answers: readonly { readonly address: string; readonly port: number }[]): Step {
    const allow = this.#allow;
    const target = this.#target;
    if (allow === undefined || target === undefined) return this.#refuse(INTERNAL);
    const checked = decideAddresses(allow.openings, target.host, answers);
    if (checked.kind === "deny") {
      if (checked.code === "no_address") return this.#refuse(unresolved(this.#hostText(), "it has no address"));
      return this.#refuse({ error: "denied", code: checked.code, rule: allow.rule ?? allow.policy, reason: checked.reason });
    }
    this.#addresses = checked.addresses;
    return this.#dial();
  }

  /** Dials a checked address as it stands; the name goes on in Host or SNI only. */
  #dial(): Step {
    this.#dialled += 1;
    const checked = this.#addresses[this.#dialled];
    const allow = this.#allow;
    if (checked === undefined || allow === undefined) return this.#refuse(INTERNAL);
    const endpoint = this.#endpoints.get(checked.text, checked.port);
    if (this.#endpointActive !== undefined) this.#endpointActive.active -= 1;
    endpoint.active += 1;
    this.#endpointActive = endpoint;
    const { limits, clock } = this.#ports;
    const target = { endpoint, pool: limits.pool, tls: undefined };
    this.#sentMs = clock.now();
    if (this.#isConnect) return this.#tunnel(target, allow);
    this.#recordAllow(allow, undefined);
    const keepBody = this.#dialled + 1 < this.#addresses.length;
    return { kind: "send", target, head: this.#outgoing(), deadlineMs: undefined, keepBody, mirrors: [] };
  }

  #outgoing(): RequestHead {
    const { head, connectionOptions } = this.#request;
    return {
      method: head.method,
      scheme: "http",
      authority: head.authority,
      target: head.target,
      fields: requestFields(head.fields, connectionOptions),
      body: head.body,
    };
  }

  #tunnel(
    target: {
      readonly endpoint: ReturnType<EndpointTable["get"]>;
      readonly pool: EgressPorts["limits"]["pool"];
      readonly tls: undefined;
    },
    allow: EgressAllow,
  ): Step {
    const opaque = !isInspected(allow.protocol);
    this.#status = 200;
    if (opaque) this.#recordAllow(allow, undefined);
    return {
      kind: "tunnel",
      target,
      head: { status: 200, fields: [], body: NO_BODY },
      opaque,
      inspect: (bytes) => this.#inspect(bytes, allow),
      inspectDeadlineMs: opaque ? undefined : this.#ports.clock.now() + this.#ports.limits.helloTimeoutMs,
    };
  }

  /** `bytes`: everything that the client has sent into the tunnel so far. */
  #inspect(bytes: Uint8Array, allow: EgressAllow): TunnelVerdict {
    const reading = this.#ports.readClientHello(bytes);
    if (reading.kind === "need" && bytes.length <= MAX_HELLO_BYTES) return MORE;
    const host = this.#target?.host;
    if (host === undefined) return { kind: "deny", reason: INTERNAL.reason };
    const problem = helloProblem(host, reading.kind === "need" ? HELLO_TOO_LONG : reading);
    if (problem === undefined || allow.mode === "report") {
      this.#recordAllow(allow, problem);
      return ALLOW;
    }
    this.#refusal = { error: "denied", code: problem.code, rule: allow.rule, reason: problem.reason };
    this.#record("deny", problem.code, allow.rule, problem.reason);
    return { kind: "deny", reason: problem.reason, farewell: problem.alert };
  }

  #wait(what: Waiting, until: Promise<void>, timeoutMs: number): WaitStep {
    this.#waiting = what;
    return { kind: "wait", until, deadlineMs: this.#ports.clock.now() + timeoutMs };
  }

  #refuse(refusal: Refusal): RespondStep {
    const { tables, version, explainHeaders } = this.#snapshot;
    const { head } = this.#request;
    const challenge = refusal.error === "proxy_auth_required";
    // What follows a refused CONNECT may already be meant for the tunnel; only a challenge is answered on the same connection.
    const close = this.#isConnect ? !challenge : head.body.kind !== "none";
    const shown = explainHeaders ? version : undefined;
    const step = refusalStep(refusal, head.fields, { realm: tables.realm, version: shown, close });
    this.#refusal = refusal;
    this.#status = step.head.status;
    this.#record("deny", refusal.code, refusal.rule, refusal.reason);
    return step;
  }

  #recordAllow(allow: EgressAllow, problem: HelloProblem | undefined): void {
    const would = problem === undefined ? allow.reported : { code: problem.code, rule: allow.rule, reason: problem.reason };
    if (would === undefined) this.#record("allow", "allowed", allow.rule, "allowed by this rule");
    else this.#record("report", "allowed", allow.rule ?? allow.policy, "allowed because its policy only reports", would);
  }

  #record(
    verdict: EgressDecisionRecord["verdict"],
    code: string,
    rule: string | undefined,
    reason: string,
    would?: { readonly code: string; readonly rule: string | undefined; readonly reason: string },
  ): void {
    if (this.#recorded) return;
    this.#recorded = true;
    const { head, peer, listener } = this.#request;
    const dialled = this.#addresses[this.#dialled];
    this.#ports.decisions.decided({
      unixMs: this.#ports.clock.unixMs(),
      snapshotVersion: this.#snapshot.version,
      listener,
      client: peer.address,
      user: this.#user,
      kind: this.#isConnect ? "connect" : "http",
      method: head.method,
      authority: head.authority,
      verdict,
      code,
      rule,
      reason,
      wouldDeny: would === undefined ? undefined : { code: would.code, rule: would.rule, reason: would.reason },
      address:
        dialled === undefined
          ? undefined
          : `${dialled.address.family === 6 ? `[${dialled.text}]` : dialled.text}:${dialled.port}`,
      openedBy: dialled?.openedBy,
      status: this.#status,
    });
  }

  #report(end: ExchangeEnd): void {
    const { head, peer, listener, protocol } = this.#request;
    const dialled = this.#addresses[this.#dialled];
    this.#ports.reporter.request({
      snapshotVersion: this.#snapshot.version,
      listener,
      method: head.method,
      authority: head.authority,
      target: head.target,
      scheme: head.scheme,
      protocol,
      peer,
      fields: head.fields,
      routeId: this.#allow?.rule,
      clusterName: dialled === undefined ? undefined : `outbound|${dialled.port}||${this.#hostText()}`,
      endpoint: dialled === undefined ? undefined : `${dialled.text}:${dialled.port}`,
      status: this.#status,
      flags: (this.#refusal && ERROR_FACES[this.#refusal.error].flag) ?? "-",
      rule: this.#refusal?.rule ?? this.#allow?.rule,
      reason: this.#refusal?.reason,
      attempts: this.#dialled + 1,
      startedMs: this.#startedMs,
      requestBytes: end.requestBytes,
      responseBytes: end.responseBytes,
      durationMs: this.#ports.clock.now() - this.#startedMs,
      upstreamMs: this.#upstreamMs,
    });
  }

  #hostText(): string {
    return this.#target?.host.text ?? "the host";
  }
}

const MORE: TunnelVerdict = { kind: "more" };
const ALLOW: TunnelVerdict = { kind: "allow" };
const HELLO_TOO_LONG = { kind: "bad", reason: "no whole ClientHello within the limit" } as const;

const NO_ANSWER: AttemptFailure = { code: "upstream_timeout", reason: "no answer in time", neverSent: false, replayable: false };
/** RFC 9110 15.5.8 is about the next hop: relayed, it would have clients send their proxy password for an origin. */
const PROXY_STATUS: AttemptFailure = {
  code: "upstream_protocol",
  reason: "it answered 407, which only a proxy may",
  neverSent: false,
  replayable: false,
};

const UNFINISHED: { readonly [outcome in ExchangeEnd["outcome"]]: string } = {
  complete: "the client closed the tunnel before its ClientHello",
  client_gone: "the client left before it was decided",
  upstream_cut: "the host closed the connection before it was decided",
  timeout: "no decision in time: the ClientHello did not come",
  protocol_error: "the request broke off before it was decided",
};
