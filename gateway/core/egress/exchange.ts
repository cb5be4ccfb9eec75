/**
 * One request through the forward proxy, absolute-form or CONNECT:
 *
 *     target ─► credentials ─► decide ─► secrets ─► resolve ─► every address ─► quotas ─► dial ─► relay
 *                 (wait)                            (wait)                      (wait)      └───► tunnel ─► ClientHello
 *
 * Each request is decided afresh, the second one of a kept-alive connection like the first. Redirects are relayed, never followed.
 */
import type { QuotaVerdict } from "../filter/quota.ts";
import type { ReadonlyFieldList, ResponseHead } from "../http/message.ts";
import { NO_BODY } from "../http/message.ts";
import { httpDate } from "../http/response-fields.ts";
import { isLoop } from "../http/via.ts";
import { endsHere } from "../last-recipient.ts";
import { unreachable } from "../result.ts";
import type {
  AttemptFailure,
  Exchange,
  ExchangeEnd,
  RespondStep,
  Step,
  TunnelVerdict,
  UpstreamTarget,
  WaitStep,
} from "../step.ts";
import { chargeQuotas } from "./charge.ts";
import { takeCredentials } from "./credentials.ts";
import { type CheckedAddress, callerAt, decide, type EgressAllow, type EgressRequest } from "./decide.ts";
import type { EndpointTable } from "./endpoints.ts";
import { responseFields } from "./forward.ts";
import { HelloInspection, type HelloProblem, isInspected } from "./hello.ts";
import { readInjections } from "./inject.ts";
import type { Host } from "./name.ts";
import { outgoingHead } from "./outgoing.ts";
import type { CredentialVerdict, EgressPorts, EgressSnapshot, Resolution, Tunnels } from "./ports.ts";
import { type Answer, checkedAddresses, ownAddresses } from "./reach.ts";
import { decisionRecord, type Outcome, passedOutcome, requestRecord, type Told, UNFINISHED } from "./records.ts";
import {
  CREDENTIALS_OVERLOAD,
  type CredentialState,
  deniedTo,
  INTERNAL,
  LOOP,
  NO_ANSWER,
  notInForce,
  overQuota,
  PROXY_STATUS,
  QUOTA_TOO_LATE,
  type Refusal,
  refusalStep,
  resolvedTooLate,
  STATIC_HOST,
  TOO_MANY_TUNNELS,
  UNASKED_SWITCH,
  unreached,
  unresolved,
} from "./refusal.ts";
import { type ProxyRequest, readTarget, tlsTo } from "./target.ts";

type Waiting = "nothing" | "credentials" | "resolution" | "quotas";

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
  #verdict: CredentialState = "absent";
  #resolution: Resolution | undefined;
  #quota: QuotaVerdict | undefined;
  #allow: EgressAllow | undefined;
  #injected: ReadonlyFieldList = [];
  #addresses: readonly CheckedAddress[] = [];
  #dialled = -1;
  #endpointActive: { active: number } | undefined;
  #holdsTunnel = false;
  #recorded = false;
  #over = false;
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
    const { tables, closed } = this.#snapshot;
    if (closed !== undefined) return this.#refuse(notInForce(closed));
    const asked = readTarget(this.#request, this.#ports.tunnels !== undefined);
    if ("error" in asked) return this.#refuse(asked);
    this.#target = asked;
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
      case "quotas":
        return this.#charged();
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
      case "quotas":
        return this.#refuse(QUOTA_TOO_LATE);
      case "nothing":
        return this.#refuse(unreached(this.#hostText(), NO_ANSWER));
      default:
        return unreachable(waiting);
    }
  }

  interim(head: ResponseHead, connectionOptions?: readonly string[]): ResponseHead {
    return { ...head, fields: responseFields(head, connectionOptions, this.#ports.clock) };
  }

  responded(head: ResponseHead, connectionOptions?: readonly string[]): Step {
    this.#upstreamMs = this.#sentMs === undefined ? undefined : this.#ports.clock.now() - this.#sentMs;
    if (head.status === 407) {
      return this.#refuse(unreached(this.#hostText(), PROXY_STATUS));
    }
    if (head.status === 101 && this.#request.switchTo === undefined) {
      return this.#refuse(unreached(this.#hostText(), UNASKED_SWITCH));
    }
    const fields = responseFields(head, connectionOptions, this.#ports.clock);
    // RFC 9110 7.8: a 101 says to what.
    if (head.status === 101 && this.#request.switchTo !== undefined) fields.push("upgrade", this.#request.switchTo);
    this.#status = head.status;
    return {
      kind: "relay",
      head: { status: head.status, fields, body: head.body },
      deadlineMs: undefined,
      // What went through is told, and how it ended.
      isAwaited: true,
    };
  }

  /** A connection that never came about is tried at the next checked address; anything later is the client's to repeat. */
  failed(failure: AttemptFailure): Step {
    if (failure.neverSent && failure.replayable && this.#dialled + 1 < this.#addresses.length) return this.#dial();
    return this.#refuse(unreached(this.#hostText(), failure));
  }

  finished(end: ExchangeEnd): void {
    this.#over = true;
    if (this.#endpointActive !== undefined) this.#endpointActive.active -= 1;
    this.#endpointActive = undefined;
    if (this.#holdsTunnel) this.#ports.tunnels?.gate.release(this.#request.peer);
    this.#holdsTunnel = false;
    if (this.#quota?.kind === "admitted") this.#quota.held?.settle(end.requestBytes, end.responseBytes);
    this.#record({ verdict: "deny", code: "unfinished", rule: undefined, reason: UNFINISHED[end.outcome] });
    this.#report(end);
  }

  #credentialsChecked(verdict: CredentialVerdict, user: string): void {
    this.#verdict = verdict;
    if (verdict === "valid") this.#user = user;
  }

  #decide(): Step {
    const target = this.#target;
    if (target === undefined) return this.#refuse(INTERNAL);
    const { peer, service } = this.#request;
    const { tunnels, secrets } = this.#ports;
    const decision = decide(this.#snapshot.tables, callerAt(peer.address, this.#user, service), target);
    if (decision.kind === "deny") return this.#refuse(deniedTo(this.#verdict, decision));
    this.#allow = decision;
    const ended = this.#endsHere(decision);
    if (ended !== undefined) return ended;
    const injected = readInjections(decision, target.method, secrets);
    if (!injected.ok) return this.#refuse(injected.error);
    this.#injected = injected.value;
    if (target.kind === "tunnel") {
      this.#holdsTunnel = tunnels?.gate.acquire(peer) ?? false;
      if (!this.#holdsTunnel) return this.#refuse(TOO_MANY_TUNNELS);
    }
    return this.#resolve(target.host, decision);
  }

  /** The request goes no further than here, although it is allowed to. */
  #endsHere(allow: EgressAllow): Step | undefined {
    const { head, protocol } = this.#request;
    if (isLoop(head.fields)) return this.#refuse(LOOP);
    const last = endsHere(head, protocol);
    if (last === undefined) return undefined;
    if (typeof last === "string") return this.#refuse({ error: "bad_request", code: "bad_request", reason: last });
    this.#recordAllow(allow, undefined);
    this.#status = last.head.status;
    last.head.fields.push("date", httpDate(this.#ports.clock.unixMs()));
    return last;
  }

  /** An address is itself, a name with addresses of its own has those, and every other name is looked up, once. */
  #resolve(host: Host, allow: EgressAllow): Step {
    const { resolver } = this.#ports;
    const own = ownAddresses(host, allow.port, this.#snapshot.tables);
    if (own !== undefined && (resolver !== undefined || host.kind === "address")) return this.#check(own);
    if (resolver === undefined) {
      if (own !== undefined) return this.#refuse(STATIC_HOST);
      this.#addresses = [{ text: host.text, address: undefined, port: allow.port, openedBy: undefined }];
      return this.#charge(allow);
    }
    const answer = resolver.resolve(host.text);
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
    const port = this.#allow?.port ?? 0;
    if (resolution?.kind === "found") return this.#check(resolution.addresses.map((address) => ({ address, port })));
    return this.#refuse(unresolved(this.#hostText(), resolution?.reason));
  }

  #check(answers: readonly Answer[]): Step {
    const allow = this.#allow;
    const target = this.#target;
    if (allow === undefined || target === undefined) return this.#refuse(INTERNAL);
    const checked = checkedAddresses(allow, target.host, answers);
    if ("error" in checked) return this.#refuse(checked);
    this.#addresses = checked;
    return this.#charge(allow);
  }

  #charge(allow: EgressAllow): Step {
    const target = this.#target;
    if (target === undefined) return this.#refuse(INTERNAL);
    if (allow.quotas.length === 0) return this.#dial();
    const reached = { ...target, port: allow.port };
    const verdict = chargeQuotas(this.#ports.quotas, allow.quotas, this.#request, reached, this.#callerId());
    if (!(verdict instanceof Promise)) {
      this.#quota = verdict;
      return this.#charged();
    }
    const until = verdict.then((settled) => {
      this.#quota = settled;
      // Nobody is left to use what was taken.
      if (this.#over && settled.kind === "admitted") settled.held?.settle(0, 0);
    });
    return this.#wait("quotas", until, this.#ports.limits.quotaTimeoutMs);
  }

  #charged(): Step {
    const verdict = this.#quota;
    const allow = this.#allow;
    if (verdict === undefined || allow === undefined) return this.#refuse(INTERNAL);
    if (verdict.kind === "admitted") return this.#dial();
    const { code, rule, reason } = verdict;
    if (allow.mode === "enforce") return this.#refuse(overQuota(verdict));
    this.#allow = { ...allow, reported: { kind: "deny", code, rule, reason, credentialsMayHelp: false } };
    return this.#dial();
  }

  /** Dials a checked address as it stands; the name goes on in Host or SNI only. */
  #dial(): Step {
    this.#dialled += 1;
    const checked = this.#addresses[this.#dialled];
    const allow = this.#allow;
    const host = this.#target?.host;
    if (checked === undefined || allow === undefined || host === undefined) return this.#refuse(INTERNAL);
    const tls = !this.#isConnect && allow.protocol === "https" ? tlsTo(host) : undefined;
    const endpoint = this.#endpoints.get(checked.text, checked.port, tls && host.text);
    if (this.#endpointActive !== undefined) this.#endpointActive.active -= 1;
    endpoint.active += 1;
    this.#endpointActive = endpoint;
    const { limits, clock } = this.#ports;
    const target = { endpoint, pool: limits.pool, tls };
    this.#sentMs = clock.now();
    const { tunnels } = this.#ports;
    if (this.#isConnect) return tunnels === undefined ? this.#refuse(INTERNAL) : this.#tunnel(tunnels, target, allow, host);
    this.#recordAllow(allow, undefined);
    const keepBody = this.#dialled + 1 < this.#addresses.length;
    const head = outgoingHead(this.#request, this.#injected, host, allow.port, tls !== undefined);
    const { switchTo } = this.#request;
    return { kind: "send", target, head, switchTo, deadlineMs: undefined, keepBody, isAwaited: true, mirrors: [] };
  }

  #tunnel(tunnels: Tunnels, target: UpstreamTarget, allow: EgressAllow, host: Host): Step {
    this.#status = 200;
    const head = { status: 200, fields: [...this.#quotaFields()], body: NO_BODY };
    if (!isInspected(allow.protocol)) {
      this.#recordAllow(allow, undefined);
      return { kind: "tunnel", target, head, opaque: true, inspect: () => ALLOW };
    }
    const inspection = new HelloInspection(tunnels.openHello(), host);
    return {
      kind: "tunnel",
      target,
      head,
      opaque: false,
      inspect: (bytes) => this.#inspected(inspection.look(bytes), allow),
      inspectDeadlineMs: this.#ports.clock.now() + this.#ports.limits.helloTimeoutMs,
    };
  }

  #inspected(seen: HelloProblem | "more" | "fits", allow: EgressAllow): TunnelVerdict {
    if (seen === "more") return MORE;
    const problem = seen === "fits" ? undefined : seen;
    if (problem === undefined || allow.mode !== "enforce") {
      this.#recordAllow(allow, problem);
      return ALLOW;
    }
    const { code, reason, alert } = problem;
    this.#refusal = { error: "denied", code, rule: allow.rule, reason };
    this.#record({ verdict: "deny", code, rule: allow.rule, reason });
    return { kind: "deny", reason, farewell: alert };
  }

  #quotaFields(): ReadonlyFieldList {
    return this.#quota?.kind === "admitted" ? this.#quota.fields : [];
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
    step.head.fields.push("date", httpDate(this.#ports.clock.unixMs()));
    this.#refusal = refusal;
    this.#status = step.head.status;
    this.#record({ verdict: "deny", code: refusal.code, rule: refusal.rule, reason: refusal.reason });
    return step;
  }

  #recordAllow(allow: EgressAllow, problem: HelloProblem | undefined): void {
    const target = this.#target;
    if (target !== undefined) this.#record(passedOutcome(allow, target, problem));
  }

  /** The first outcome is the decision; what comes of it later is the access log's. */
  #record(outcome: Outcome): void {
    if (this.#recorded) return;
    this.#recorded = true;
    this.#ports.decisions.decided(decisionRecord(this.#told(), outcome));
  }

  #report(end: ExchangeEnd): void {
    const record = requestRecord(this.#told(), {
      host: this.#hostText(),
      rule: this.#allow?.rule,
      refusal: this.#refusal,
      attempts: this.#dialled + 1,
      startedMs: this.#startedMs,
      upstreamMs: this.#upstreamMs,
      end,
    });
    this.#ports.reporter.request(record);
  }

  #told(): Told {
    return {
      snapshot: this.#snapshot,
      ports: this.#ports,
      request: this.#request,
      user: this.#user,
      service: this.#request.service,
      dialled: this.#addresses[this.#dialled],
      status: this.#status,
    };
  }

  /** A user's name has no colon (RFC 7617 2), so none is taken for a service. */
  #callerId(): string | undefined {
    const { service } = this.#request;
    return service === undefined ? this.#user : `service:${service}`;
  }

  #hostText(): string {
    return this.#target?.host.text ?? "the host";
  }
}

const MORE: TunnelVerdict = { kind: "more" };
const ALLOW: TunnelVerdict = { kind: "allow" };
