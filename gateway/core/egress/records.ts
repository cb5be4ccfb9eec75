/** What is told about a request afterwards: its decision, once, and the request itself when it is over. */
import type { RequestHead } from "../http/message.ts";
import type { RequestRecord } from "../ports.ts";
import { ERROR_FACES } from "../respond.ts";
import type { ExchangeEnd } from "../step.ts";
import type { CheckedAddress, EgressAllow, EgressRequest } from "./decide.ts";
import type { HelloProblem } from "./hello.ts";
import type { EgressDecisionRecord, EgressPorts, EgressSnapshot, Learned } from "./ports.ts";
import type { Refusal } from "./refusal.ts";

/** What a request was, whoever asks. */
export interface Told {
  readonly snapshot: EgressSnapshot;
  readonly ports: EgressPorts;
  readonly request: {
    readonly head: RequestHead;
    readonly form: string;
    readonly protocol: string;
    readonly listener: string;
    readonly peer: EgressDecisionRecord["peer"];
  };
  readonly user: string | undefined;
  readonly service: string | undefined;
  readonly dialled: CheckedAddress | undefined;
  readonly status: number;
}

export interface Outcome {
  readonly verdict: EgressDecisionRecord["verdict"];
  readonly code: string;
  readonly rule: string | undefined;
  readonly reason: string;
  readonly wouldDeny?: EgressDecisionRecord["wouldDeny"];
  readonly learned?: Learned | undefined;
}

/** What passed: by a rule, or because its policy only watches. */
export function passedOutcome(allow: EgressAllow, target: EgressRequest, problem: HelloProblem | undefined): Outcome {
  const { rule, mode } = allow;
  const would = problem === undefined ? allow.reported : { code: problem.code, rule, reason: problem.reason };
  if (would === undefined) return { verdict: "allow", code: "allowed", rule, reason: "allowed by this rule" };
  const wouldDeny = { code: would.code, rule: would.rule, reason: would.reason };
  const learns = mode === "learn";
  return {
    verdict: learns ? "learn" : "report",
    code: "allowed",
    rule: rule ?? allow.policy,
    reason: learns ? "allowed because its policy learns" : "allowed because its policy only reports",
    wouldDeny,
    learned: learns && rule === undefined ? learnedOf(target, allow.port) : undefined,
  };
}

function learnedOf({ host, kind, method, path }: EgressRequest, port: number): Learned {
  const seen = kind === "tunnel" ? { method: undefined, path: undefined } : { method, path };
  return { host: host.text, port, protocol: kind, ...seen };
}

export function decisionRecord(told: Told, outcome: Outcome): EgressDecisionRecord {
  const { snapshot, ports, request, dialled } = told;
  return {
    unixMs: ports.clock.unixMs(),
    snapshotVersion: snapshot.version,
    listener: request.listener,
    peer: request.peer,
    user: told.user,
    service: told.service,
    kind: request.form === "authority" ? "connect" : "http",
    method: request.head.method,
    authority: request.head.authority,
    verdict: outcome.verdict,
    code: outcome.code,
    rule: outcome.rule,
    reason: outcome.reason,
    wouldDeny: outcome.wouldDeny,
    learned: outcome.learned,
    address: endpointText(dialled),
    openedBy: dialled?.openedBy,
    status: told.status,
  };
}

export interface Finished {
  readonly host: string;
  readonly rule: string | undefined;
  readonly refusal: Refusal | undefined;
  readonly attempts: number;
  readonly startedMs: number;
  readonly upstreamMs: number | undefined;
  readonly end: ExchangeEnd;
}

export function requestRecord(told: Told, finished: Finished): RequestRecord {
  const { snapshot, ports, request, dialled } = told;
  const { head } = request;
  const { refusal, end } = finished;
  return {
    snapshotVersion: snapshot.version,
    listener: request.listener,
    method: head.method,
    authority: head.authority,
    target: head.target,
    scheme: head.scheme,
    protocol: request.protocol,
    peer: request.peer,
    fields: head.fields,
    routeId: finished.rule,
    clusterName: dialled === undefined ? undefined : `outbound|${dialled.port}||${finished.host}`,
    endpoint: endpointText(dialled),
    status: told.status,
    flags: (refusal && ERROR_FACES[refusal.error].flag) ?? "-",
    rule: refusal?.rule ?? finished.rule,
    reason: refusal?.reason,
    attempts: finished.attempts,
    startedMs: finished.startedMs,
    requestBytes: end.requestBytes,
    responseBytes: end.responseBytes,
    durationMs: ports.clock.now() - finished.startedMs,
    upstreamMs: finished.upstreamMs,
  };
}

function endpointText(dialled: CheckedAddress | undefined): string | undefined {
  if (dialled?.address === undefined) return undefined;
  return dialled.address.family === 6 ? `[${dialled.text}]:${dialled.port}` : `${dialled.text}:${dialled.port}`;
}

/** Why a tunnel that was dialled never came to a decision. */
export const UNFINISHED: { readonly [outcome in ExchangeEnd["outcome"]]: string } = {
  complete: "the client closed the tunnel before its ClientHello",
  client_gone: "the client left before it was decided",
  upstream_cut: "the host closed the connection before it was decided",
  timeout: "no decision in time: the ClientHello did not come",
  protocol_error: "the request broke off before it was decided",
};
