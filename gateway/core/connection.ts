/**
 * One opaque connection end to end: match → pick → dial → retry elsewhere → open.
 *
 *     new ──► dialling ──► open ──► over
 *              │    ▲               ▲
 *              │    └── another endpoint
 *              └──────► refused ────┘
 *
 * It is held against the tables it was made with to its end, whatever is swapped meanwhile, and does nothing itself: each method takes one outcome
 * and returns the next step. What moves on the connection once it is open is the runtime's alone.
 */
import { pickUntried } from "./balance/balancer.ts";
import { hash32 } from "./balance/hash.ts";
import type { CompiledCluster } from "./compile/clusters.ts";
import type { CompiledConnections } from "./compile/connections.ts";
import type { CompiledServer, Tables } from "./compile/tables.ts";
import type { ErrorCode } from "./error.ts";
import { addressAndPort } from "./http/address.ts";
import { findConnection, namedCluster } from "./match/connection.ts";
import { pickDestination } from "./match/weighted.ts";
import type { Clock, ConnectionReporter, PeerInfo, Random } from "./ports.ts";
import { ERROR_FACES } from "./respond.ts";
import type { UpstreamEndpoint, UpstreamTarget } from "./step.ts";
import { type ResponseFlag, responseFlags } from "./telemetry/flags.ts";

/** Endpoints that one connection is tried at before it is given up. */
export const MAX_CONNECT_ATTEMPTS = 3;

/** What is known of a connection before its first byte is passed on. */
export interface IncomingConnection {
  readonly peer: PeerInfo;
  /** Address and port that the client has connected to. */
  readonly local: { readonly address: string; readonly port: number };
  /** SNI name in lower case; undefined: there is no TLS, or no name in it. */
  readonly serverName: string | undefined;
}

export interface ConnectionPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly connections: ConnectionReporter;
}

/** The runtime calls `start`, carries steps out until one is terminal or the dial has succeeded (`opened`), and calls `finished` exactly once. */
export interface ConnectionExchange {
  start(): ConnectionStep;
  /** The dial failed; nothing was sent. */
  failed(code: ErrorCode, reason: string): ConnectionStep;
  /** Connected: bytes move from here on. */
  opened(): void;
  /** Bytes so far, of a connection that lives on: told to metrics. */
  moved(receivedBytes: number, sentBytes: number): void;
  finished(end: ConnectionEnd): void;
}

export type ConnectionStep = DialStep | RefuseStep;

/** Connect to that endpoint, on a connection of its own. */
export interface DialStep {
  readonly kind: "dial";
  readonly target: UpstreamTarget;
  /** Once open it is closed after this time without a byte either way. */
  readonly idleTimeoutMs: number;
  /** Once open it is closed after this time, whatever moves. Undefined: never. */
  readonly maxConnectionMs: number | undefined;
}

/** Close the client's connection. Terminal. */
export interface RefuseStep {
  readonly kind: "refuse";
  readonly code: ErrorCode;
}

export interface ConnectionEnd {
  /** `complete`: both sides ended in order, or the connection was refused. `timeout`: nothing moved. `expired`: it has lived for as long as it may. */
  readonly outcome: "complete" | "client_gone" | "upstream_cut" | "timeout" | "expired" | "drained";
  /** From the client. */
  readonly receivedBytes: number;
  /** To the client. */
  readonly sentBytes: number;
}

/**
 * @param listener name of the one where it came in
 * @param server which of its servers it is for: `findHost(listener.servers, sni)`, or the one under `*`
 */
export function createConnection(
  tables: Tables,
  listener: string,
  server: CompiledServer,
  incoming: IncomingConnection,
  ports: ConnectionPorts,
): ConnectionExchange {
  return new OpaqueConnection(tables, listener, server, incoming, ports);
}

class OpaqueConnection implements ConnectionExchange {
  private readonly tables: Tables;
  private readonly listener: string;
  private readonly connections: CompiledConnections | undefined;
  private readonly incoming: IncomingConnection;
  private readonly ports: ConnectionPorts;

  private startedMs = 0;
  private connectMs: number | undefined = undefined;
  private routeId: string | undefined = undefined;
  private clusterName: string | undefined = undefined;
  private cluster: CompiledCluster | undefined = undefined;
  private endpoint: UpstreamEndpoint | undefined = undefined;
  private readonly tried: UpstreamEndpoint[] = [];
  /** Counted in `endpoint.active`. */
  private isActive = false;
  private flag: ResponseFlag | undefined = undefined;
  private reason: string | undefined = undefined;
  private toldReceived = 0;
  private toldSent = 0;

  constructor(tables: Tables, listener: string, server: CompiledServer, incoming: IncomingConnection, ports: ConnectionPorts) {
    this.tables = tables;
    this.listener = listener;
    this.connections = server.connections;
    this.incoming = incoming;
    this.ports = ports;
  }

  start(): ConnectionStep {
    this.startedMs = this.ports.clock.now();
    const step = this.begin();
    this.ports.connections.opened(this.facts);
    return step;
  }

  failed(code: ErrorCode, reason: string): ConnectionStep {
    this.observe("local-failure");
    this.releaseEndpoint();
    if (this.tried.length < MAX_CONNECT_ATTEMPTS) {
      const step = this.dial();
      if (step !== undefined) return step;
    }
    return this.refuse(code, reason);
  }

  opened(): void {
    this.connectMs = this.ports.clock.now() - this.startedMs;
    this.observe("success");
  }

  moved(receivedBytes: number, sentBytes: number): void {
    this.ports.connections.moved(this.facts, receivedBytes - this.toldReceived, sentBytes - this.toldSent);
    this.toldReceived = receivedBytes;
    this.toldSent = sentBytes;
  }

  finished(end: ConnectionEnd): void {
    this.releaseEndpoint();
    if (this.cluster !== undefined) this.cluster.state.connections--;
    this.cluster = undefined;
    this.moved(end.receivedBytes, end.sentBytes);
    const { endpoint, startedMs } = this;
    this.ports.connections.closed({
      ...this.facts,
      snapshotVersion: this.tables.version,
      routeId: this.routeId,
      endpoint: endpoint === undefined ? undefined : addressAndPort(endpoint.address, endpoint.port),
      flags: this.flags(end),
      reason: this.reason ?? (end.outcome === "complete" ? undefined : end.outcome),
      attempts: this.tried.length,
      startedMs,
      receivedBytes: end.receivedBytes,
      sentBytes: end.sentBytes,
      durationMs: this.ports.clock.now() - startedMs,
      connectMs: this.connectMs,
    });
  }

  private get facts() {
    const { clusterName, incoming, listener } = this;
    return { listener, peer: incoming.peer, serverName: incoming.serverName, clusterName };
  }

  private begin(): ConnectionStep {
    if (this.tables.closed !== undefined) return this.refuse("snapshot_expired", this.tables.closed);
    const found = this.route();
    if (found === undefined) return this.refuse("no_route", "no route takes the connection");
    const cluster = found.cluster;
    this.clusterName = found.name;
    if (cluster === undefined) return this.refuse("no_cluster", `there is no cluster ${found.name}`);
    if (cluster.state.connections >= cluster.maxConnections)
      return this.refuse("upstream_overflow", `the cluster has ${cluster.maxConnections} connections here, as many as it may`);
    this.cluster = cluster;
    cluster.state.connections++;
    return this.dial() ?? this.nobody(cluster);
  }

  private nobody({ managed }: CompiledCluster): RefuseStep {
    const { code, reason } = managed?.emptiness ?? { code: "no_healthy_upstream", reason: "the cluster has no endpoint" };
    return this.refuse(code, reason);
  }

  private route(): { readonly name: string; readonly cluster: CompiledCluster | undefined } | undefined {
    const { connections, incoming } = this;
    if (connections === undefined) return undefined;
    if (connections.kind === "named") {
      const name = namedCluster(connections, incoming.serverName);
      return name === undefined ? undefined : { name, cluster: connections.clusters.get(name) };
    }
    const match = findConnection(connections.byName, {
      serverName: incoming.serverName,
      source: incoming.peer.address,
      destination: incoming.local.address,
    });
    if (match === undefined) return undefined;
    this.routeId = match.route.source.id;
    return pickDestination(match.route.destinations, this.ports.random);
  }

  /** At an endpoint that was not tried before; undefined: there is none. */
  private dial(): DialStep | undefined {
    const { cluster } = this;
    if (cluster?.balancer === undefined) return undefined;
    const { clock, random } = this.ports;
    const target = pickUntried(cluster.balancer, random, clock.now(), this.hashOf(cluster), this.tried);
    if (target === undefined || this.tried.includes(target.endpoint)) return undefined;
    this.tried.push(target.endpoint);
    this.endpoint = target.endpoint;
    target.endpoint.active++;
    this.isActive = true;
    const { pool } = target;
    return {
      kind: "dial",
      target,
      idleTimeoutMs: pool.tcpIdleTimeoutMs ?? pool.idleTimeoutMs,
      maxConnectionMs: pool.maxConnectionMs,
    };
  }

  /** Of what a cluster may ask for, a connection has its client's address alone. */
  private hashOf({ hash }: CompiledCluster): number | undefined {
    return hash?.kind === "source-ip" ? hash32(this.incoming.peer.address) : undefined;
  }

  private observe(outcome: "success" | "local-failure"): void {
    const { cluster, endpoint } = this;
    if (cluster?.watched !== true || endpoint === undefined) return;
    // Success is no news of an endpoint that nothing is known against.
    if (outcome === "success" && endpoint.health === undefined) return;
    cluster.state.health.observe(endpoint, outcome, this.ports.clock.now());
  }

  private releaseEndpoint(): void {
    if (!this.isActive || this.endpoint === undefined) return;
    this.isActive = false;
    this.endpoint.active--;
  }

  private refuse(code: ErrorCode, reason: string): RefuseStep {
    this.flag = ERROR_FACES[code].flag;
    this.reason = reason;
    return { kind: "refuse", code };
  }

  private flags({ outcome }: ConnectionEnd): string {
    return responseFlags(outcome === "drained" || outcome === "expired" ? "complete" : outcome, {
      decided: this.flag,
      isDelayed: false,
      usedUp: this.flag !== undefined && this.tried.length === MAX_CONNECT_ATTEMPTS,
      isRelaying: true,
      isLate: false,
    });
  }
}
