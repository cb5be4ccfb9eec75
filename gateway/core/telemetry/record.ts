/** What is told about a request once it is over. */
import type { CompiledDestination, CompiledListener, CompiledRoute, Tables } from "../compile/tables.ts";
import type { HandedOn } from "../handed-on.ts";
import { addressAndPort } from "../http/address.ts";
import { type GrpcKind, GrpcStatus, grpcStatusIn, grpcStatusOfHttp } from "../http/grpc-status.ts";
import type { HttpVersion, ReadonlyFieldList, RequestHead } from "../http/message.ts";
import type { PeerInfo, Ports, RequestRecord } from "../ports.ts";
import type { Attempts } from "../retry/attempts.ts";
import type { ExchangeEnd, UpstreamEndpoint } from "../step.ts";
import { type ResponseFlag, responseFlags } from "./flags.ts";

/** An exchange, as far as its record goes. */
export interface Told {
  readonly tables: Tables;
  readonly listener: CompiledListener;
  readonly head: RequestHead;
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly version: HttpVersion;
  readonly peer: PeerInfo;
  readonly fields: ReadonlyFieldList;
  readonly ports: Ports;
  readonly handedOn: HandedOn | undefined;
  readonly route: CompiledRoute | undefined;
  readonly destination: CompiledDestination | undefined;
  readonly attempts: Attempts | undefined;
  readonly startedMs: number;
  /** From the last attempt's beginning to its head. */
  readonly upstreamMs: number | undefined;
  /** A head has been said, by the origin or by the gateway. */
  readonly isAnswered: boolean;
  /** The head was the origin's. */
  readonly isRelaying: boolean;
  readonly isDelayed: boolean;
  readonly status: number;
  readonly flag: ResponseFlag | undefined;
  readonly rule: string | undefined;
  readonly reason: string | undefined;
  readonly grpc: GrpcKind | undefined;
  readonly grpcStatus: number | undefined;
}

export const PROTOCOLS: { readonly [version in HttpVersion]: string } = { "1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2" };

/** Tells the exchange's reporter. */
export function report(told: Told, end: ExchangeEnd): void {
  const { reporter } = told.ports;
  // No response: nobody was there to get one.
  const status = end.outcome === "client_gone" && !told.isAnswered ? 0 : told.status;
  const flags = flagsOf(told, end);
  if (reporter.counted?.(status, flags) !== true) reporter.request(recordOf(told, end, status, flags));
}

function recordOf(told: Told, end: ExchangeEnd, status: number, flags: string): RequestRecord {
  const { attempts } = told;
  const endpoint = attempts?.endpoint;
  return {
    snapshotVersion: told.tables.version,
    listener: told.listener.source.name,
    method: told.method,
    authority: told.authority,
    target: told.head.target,
    scheme: told.scheme,
    protocol: PROTOCOLS[told.version],
    peer: told.peer,
    fields: told.fields,
    routeId: told.route?.source.id,
    clusterName: told.destination?.name,
    endpoint: endpoint === undefined ? undefined : labelOf(endpoint),
    status,
    flags,
    rule: told.rule,
    passport: told.handedOn?.passport,
    reason: told.reason ?? (end.outcome === "complete" ? undefined : end.outcome),
    attempts: attempts?.count ?? 0,
    startedMs: told.startedMs,
    requestBytes: end.requestBytes,
    responseBytes: end.responseBytes,
    durationMs: told.ports.clock.now() - told.startedMs,
    upstreamMs: told.upstreamMs,
    grpcStatus: told.grpc === undefined ? undefined : grpcEnd(told, end),
  };
}

function labelOf(endpoint: UpstreamEndpoint): string {
  endpoint.label ??= addressAndPort(endpoint.address, endpoint.port);
  return endpoint.label;
}

/** As its client sees it: by what was said, or by how it was cut short. */
function grpcEnd({ status, grpcStatus }: Told, { outcome, trailers }: ExchangeEnd): number {
  const said = (trailers === undefined ? undefined : grpcStatusIn(trailers)) ?? grpcStatus;
  if (said !== undefined) return said;
  switch (outcome) {
    case "complete":
      return grpcStatusOfHttp(status);
    case "client_gone":
      return GrpcStatus.cancelled;
    case "timeout":
      return GrpcStatus.deadlineExceeded;
    default:
      return GrpcStatus.unavailable;
  }
}

function flagsOf(told: Told, { outcome }: ExchangeEnd): string {
  const { attempts, flag, isDelayed } = told;
  const usedUp = attempts?.usedUp === true;
  if (flag === undefined && outcome === "complete" && !isDelayed && !usedUp) return "-";
  return responseFlags(outcome, {
    decided: flag,
    isDelayed,
    usedUp,
    isRelaying: told.isRelaying,
    isLate: told.ports.clock.now() >= (attempts?.deadlineMs ?? Number.POSITIVE_INFINITY),
  });
}
