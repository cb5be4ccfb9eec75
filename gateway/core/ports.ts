/**
 * What core asks of a runtime. Narrow on purpose: a runtime hands over readers, never stores.
 */
import type { QuotaFilter } from "./filter/quota.ts";
import type { FieldList, ReadonlyFieldList } from "./http/message.ts";
import type { PeerCertificate } from "./identity/xfcc.ts";

/** Time. `now` is monotonic milliseconds (fractions allowed); `unixMs` is wall-clock time for calendars, logs and expiry only. */
export interface Clock {
  now(): number;
  unixMs(): number;
}

/** Dice: uniform in [0, 1). */
export type Random = () => number;

/** What an exchange asks of its runtime. Made once, used by every exchange. */
export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly quotas: QuotaFilter;
  readonly reporter: Reporter;
  /** The runtime gets trailers from origins and can change content from gRPC-Web to gRPC and back. Absent: gRPC-Web goes through as it is. */
  readonly translatesGrpcWeb?: boolean;
}

/** Who is on the other end of the accepted connection, established before the first request byte. */
export interface PeerInfo {
  /** Remote address in canonical text form (no zone, no brackets). */
  readonly address: string;
  readonly port: number;
  /** The client behind the peer, as a passport vouches for it: no field of the request counts beside it. */
  readonly clientAddress?: string;
  /** SPIFFE id from a verified client certificate. */
  readonly principal?: string;
  /** The client's, if it has shown one that passes. */
  readonly certificate?: PeerCertificate;
  readonly tls?: { readonly serverName: string | undefined; readonly version: string };
  /** What the access log says of it: made with its first line, and kept. */
  logged?: string;
}

/** One counter store, shared by whoever must agree: threads by shared memory, sites by a lease bank. */
export interface QuotaBank {
  /**
   * Checks all charges together and applies all of them or none (design: a refused request is not charged).
   * A synchronous answer is required of local scope; a promise is allowed for global scope. The charges are the bank's to read until it settles.
   */
  take(charges: readonly QuotaCharge[], nowUs: number): QuotaAnswer | Promise<QuotaAnswer>;
  /**
   * Gives back what was taken for something that has ended (unit `concurrent`) or corrects an estimate (unit `bytes`): each charge's cost is
   * given back; a negative cost is charged, room or not.
   */
  settle(charges: readonly QuotaCharge[], nowUs: number): void;
}

/** A bank that is at hand: it answers at once, and only for limits that are counted here. */
export interface LocalBank extends QuotaBank {
  take(charges: readonly QuotaCharge[], nowUs: number): QuotaAnswer;
}

/** One limit of one quota for one key. `limit` indexes the compiled limit that says window, amount and algorithm. */
export interface QuotaCharge {
  /** Compiled limit (see quota/): algorithm, amount, window. */
  readonly limit: unknown;
  readonly key: string;
  cost: number;
  /** When it was taken, for `settle`: what has left its window since gives nothing back. Undefined: now. */
  readonly takenUs?: number;
}

export interface QuotaAnswer {
  readonly admitted: boolean;
  /** Per charge, in order: what is left (and, in `resetMs`, when more comes back). An answer is valid until the bank is asked again. */
  readonly remaining: readonly number[];
  /** Refused: until all limits have room again if nobody else takes it; Infinity when the cost is more than a limit. */
  readonly retryAfterMs: number;
  /** 0 where nothing is used, where nobody can know (`concurrent`), and where the limit's headers do not tell. */
  readonly resetMs: readonly number[];
  /** Index into the charges of the limit that refused (of several, the one that takes longest to come back), or -1. */
  readonly refusedBy: number;
  /** True when the store could not answer or has no room and the rule's `onStoreFailure` decided. */
  readonly storeFailed: boolean;
}

/** One finished request as told to telemetry. Filled once, read by the access log and the metrics, then dropped. */
export interface Reporter {
  request(record: RequestRecord): void;
  /** Asked first. True: what is wanted of a request that has ended so has been counted, and no record is made. Absent: every record is wanted. */
  counted?(status: number, flags: string): boolean;
}

export interface RequestRecord {
  readonly snapshotVersion: string;
  readonly listener: string;
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  readonly scheme: string;
  readonly protocol: string;
  readonly peer: PeerInfo;
  readonly fields: ReadonlyFieldList;
  readonly routeId: string | undefined;
  readonly clusterName: string | undefined;
  readonly endpoint: string | undefined;
  readonly status: number;
  /** Envoy response flags, comma separated, or "-". */
  readonly flags: string;
  /** Rule that decided against or altered the request (quota, egress rule, fault…), or undefined. */
  readonly rule: string | undefined;
  readonly reason: string | undefined;
  /** The edge site that handed the request on, and the id of its passport. */
  readonly passport?: { readonly site: string; readonly id: string } | undefined;
  readonly attempts: number;
  readonly startedMs: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly durationMs: number;
  /** How a gRPC call ended, as its client understands it; undefined: the request was none. */
  readonly grpcStatus?: number | undefined;
  /** Time from the first byte sent upstream to the response head; undefined when nothing was sent. */
  readonly upstreamMs: number | undefined;
  readonly responseFields?: FieldList;
}

/** What all reports about one opaque connection say. */
export interface ConnectionFacts {
  readonly listener: string;
  readonly peer: PeerInfo;
  /** SNI name of a ClientHello. */
  readonly serverName: string | undefined;
  readonly clusterName: string | undefined;
}

/** One opaque connection that is over. */
export interface ConnectionRecord extends ConnectionFacts {
  readonly snapshotVersion: string;
  readonly routeId: string | undefined;
  readonly endpoint: string | undefined;
  /** Envoy response flags, comma separated, or "-". */
  readonly flags: string;
  readonly reason: string | undefined;
  /** Endpoints that it was tried at. */
  readonly attempts: number;
  readonly startedMs: number;
  /** From the client. */
  readonly receivedBytes: number;
  /** To the client. */
  readonly sentBytes: number;
  readonly durationMs: number;
  /** From the accept to the connection upstream; undefined: there was none. */
  readonly connectMs: number | undefined;
}

/** Told of opaque connections. */
export interface ConnectionReporter {
  opened(facts: ConnectionFacts): void;
  /** Bytes since it was told last. */
  moved(facts: ConnectionFacts, receivedBytes: number, sentBytes: number): void;
  closed(record: ConnectionRecord): void;
}
