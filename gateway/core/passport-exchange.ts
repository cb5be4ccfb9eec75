/**
 * A request that an edge gateway hands on with a passport:
 *
 *     passport ──► verify ──► taken ────► quotas not charged yet ──► send ──► respond      (an exchange of proxy.ts)
 *                 (wait)  └─► refused ──► 403, or 503 where this gateway cannot tell       (the same)
 *
 * The edge has applied the route, so nothing is matched, injected or rewritten here. A refused passport never falls back to ordinary routing:
 * a request that says it was handed on must not get further than one that was.
 */
import type { CompiledCluster } from "./compile/clusters.ts";
import type { CompiledForward, CompiledListener, CompiledRetry, CompiledServer, Tables } from "./compile/tables.ts";
import type { ErrorCode } from "./error.ts";
import type { HandedOn } from "./handed-on.ts";
import { type FieldList, field, type RequestHead, type ResponseHead } from "./http/message.ts";
import { type Passport, type PassportPorts, type PassportVerdict, verifyPassport } from "./identity/passport.ts";
import { PASSPORT_FIELD } from "./identity/passport-claims.ts";
import { type PassportRefusal, type PassportRefusalCode, refusePassport } from "./identity/passport-refusal.ts";
import { findHost, hostOf } from "./match/host.ts";
import type { PeerInfo, Ports } from "./ports.ts";
import { createExchange, type IncomingRequest } from "./proxy.ts";
import type { CompiledQuota } from "./quota/plan.ts";
import { compileRetry } from "./retry/policy.ts";
import type { AttemptFailure, Exchange, ExchangeEnd, Step } from "./step.ts";

/** Such a request is not for `createExchange`: this gateway takes passports, and it has one (good or not). */
export function carriesPassport(tables: Tables, head: RequestHead): boolean {
  return tables.settings.passports !== undefined && field(head.fields, PASSPORT_FIELD) !== undefined;
}

/** What of the parameters of `createExchange` is the same here; `passports` are the runtime's. */
export function createPassportExchange(
  tables: Tables,
  listener: CompiledListener,
  server: CompiledServer,
  request: IncomingRequest,
  peer: PeerInfo,
  ports: Ports,
  passports: PassportPorts,
): Exchange {
  return new PassportExchange(tables, listener, server, request, peer, ports, passports);
}

class PassportExchange implements Exchange {
  private readonly tables: Tables;
  private readonly listener: CompiledListener;
  private readonly server: CompiledServer;
  private readonly request: IncomingRequest;
  private readonly peer: PeerInfo;
  private readonly ports: Ports;
  private readonly passports: PassportPorts;
  /** Of a verification that took its time. */
  private verdict: PassportVerdict = UNCHECKED;
  /** The request once its passport has been judged. */
  private judged: Exchange | undefined = undefined;

  constructor(
    tables: Tables,
    listener: CompiledListener,
    server: CompiledServer,
    request: IncomingRequest,
    peer: PeerInfo,
    ports: Ports,
    passports: PassportPorts,
  ) {
    this.tables = tables;
    this.listener = listener;
    this.server = server;
    this.request = request;
    this.peer = peer;
    this.ports = ports;
    this.passports = passports;
  }

  start(): Step {
    const verdict = this.verify();
    if (!(verdict instanceof Promise)) return this.judge(verdict);
    const until = verdict.then(
      (settled) => {
        this.verdict = settled;
      },
      // Whatever went wrong, nobody has vouched for the request.
      () => undefined,
    );
    return { kind: "wait", until, deadlineMs: undefined };
  }

  resumed(): Step {
    return this.judged === undefined ? this.judge(this.verdict) : this.judged.resumed();
  }

  interim(head: ResponseHead, connectionOptions?: readonly string[]): ResponseHead {
    return this.settle().interim?.(head, connectionOptions) ?? head;
  }
  responded(head: ResponseHead, connectionOptions?: readonly string[]): Step {
    return this.settle().responded(head, connectionOptions);
  }
  failed(failure: AttemptFailure): Step {
    return this.settle().failed(failure);
  }
  timer(): Step {
    return this.settle().timer();
  }
  finished(end: ExchangeEnd): void {
    this.settle().finished(end);
  }

  /** A client that went away while the passport was being verified is told of like any other. */
  private settle(): Exchange {
    return this.judged ?? this.enter(refused(UNCHECKED.error));
  }

  private verify(): PassportVerdict | Promise<PassportVerdict> {
    const { settings } = this.tables;
    const { head } = this.request;
    const token = takePassport(head.fields);
    if (token === undefined) return refusePassport("passport_repeated", "the request has more than one");
    if (settings.passports === undefined) return UNCHECKED;
    try {
      return verifyPassport(token, head, settings.passports, this.passports, this.ports.clock.unixMs());
    } catch {
      return UNCHECKED;
    }
  }

  private judge(verdict: PassportVerdict): Step {
    this.passports.meter?.count(verdict.ok ? "taken" : verdict.error.code);
    if (!verdict.ok) return this.enter(refused(verdict.error)).start();
    const passport = verdict.value;
    const cluster = this.tables.clusters.get(passport.destination);
    if (cluster === undefined) return this.enter(unknownDestination(passport)).start();
    const { head } = this.request;
    head.authority = passport.authority;
    endForwardedFor(head.fields, passport.clientAddress);
    if (passport.traceparent !== undefined) setField(head.fields, "traceparent", passport.traceparent);
    const action = { kind: "taken", passport, action: straightTo(cluster), quotas: this.quotasOf(passport, cluster) } as const;
    return this.enter(action, passport.clientAddress).start();
  }

  private enter(handedOn: HandedOn, clientAddress?: string): Exchange {
    const peer = clientAddress === undefined ? this.peer : { ...this.peer, clientAddress };
    this.judged = createExchange(this.tables, this.listener, this.server, this.request, peer, this.ports, handedOn);
    return this.judged;
  }

  /**
   * What limits everybody who comes to this gateway, to this host, or to this service: those that the edge does not know, or could not charge.
   * Quotas of routes belong to the gateway that has matched the route.
   */
  private quotasOf({ authority, charged }: Passport, cluster: CompiledCluster): readonly CompiledQuota[] {
    const { routes } = this.server;
    const outer = (findHost(routes.hosts, hostOf(authority)) ?? routes).quotas;
    if (outer.length === 0 && cluster.quotas.length === 0) return cluster.quotas;
    return [...new Set([...outer, ...cluster.quotas])].filter(({ id }) => !charged.includes(id));
  }
}

const UNCHECKED = refusePassport("passport_unchecked", "it could not be verified now");

/** Refusals that say something about this gateway, not about the passport: whoever sent it may try again with another. */
const OWN_FAULT: ReadonlySet<PassportRefusalCode> = new Set(["passport_memory_full", "passport_unchecked"]);

function refused({ code, signed }: PassportRefusal): HandedOn {
  const error: ErrorCode = OWN_FAULT.has(code) ? "overload" : "denied";
  return { kind: "refused", passport: signed, code: error, reason: code };
}

function unknownDestination(passport: Passport): HandedOn {
  return { kind: "refused", passport, code: "no_cluster", reason: "passport_unknown_destination" };
}

/**
 * The edge keeps the route's time and repeats what its policy says by what it sees from there. What it cannot see is an endpoint that never got the
 * request: that is repeated here, as the default policy of a route does.
 */
const NEVER_SENT: CompiledRetry | undefined = compileRetry({
  attempts: 2,
  on: ["connect-failure", "refused-stream"],
  statusCodes: [],
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  nonIdempotent: false,
});

function straightTo(cluster: CompiledCluster): CompiledForward {
  const { name, via } = cluster.source;
  const destination = { name, cluster, upTo: 1, authority: undefined, requestEdit: undefined, responseEdit: undefined };
  return {
    kind: "forward",
    destinations: [destination],
    rewrite: undefined,
    timeoutMs: undefined,
    retry: NEVER_SENT,
    mirrors: [],
    handsOn: via !== undefined,
  };
}

/** Takes the passport out of the fields. @returns undefined when there is more than one */
function takePassport(fields: FieldList): string | undefined {
  const token = field(fields, PASSPORT_FIELD);
  const before = fields.length;
  dropField(fields, PASSPORT_FIELD);
  return before - fields.length === 2 ? token : undefined;
}

/**
 * The client's address is appended on the way upstream: where the edge's chain names it already, it would stand there twice. What stands behind
 * it are proxies between the client and the edge, which whoever counts from the right would take for the client, so the chain ends before it.
 */
function endForwardedFor(fields: FieldList, address: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) {
    if (fields[i] !== "x-forwarded-for") continue;
    const hops = (fields[i + 1] ?? "").split(",").map((hop) => hop.trim());
    const at = hops.lastIndexOf(address);
    if (at === -1) continue;
    for (let later = fields.length - 2; later > i; later -= 2) if (fields[later] === "x-forwarded-for") fields.splice(later, 2);
    if (at === 0) fields.splice(i, 2);
    else fields[i + 1] = hops.slice(0, at).join(", ");
    return;
  }
}

function setField(fields: FieldList, name: string, value: string): void {
  dropField(fields, name);
  fields.push(name, value);
}

function dropField(fields: FieldList, name: string): void {
  for (let i = fields.length - 2; i >= 0; i -= 2) if (fields[i] === name) fields.splice(i, 2);
}
