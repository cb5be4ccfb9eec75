/**
 * Keep-alive connections to one endpoint, last in first out, so that as few as the load needs stay warm and the rest age away.
 *
 * Limits are the cluster's: all endpoints of a cluster share its count of connections and its line of waiting requests.
 */
import type { ConnectionOptions } from "node:tls";
import type { Clock, UpstreamEndpoint, UpstreamTarget } from "../../core/index.ts";
import type { ClientTls, PoolSettings } from "../../core/ir/index.ts";
import type { ResponseParserSettings } from "../../wire/index.ts";
import type { Deadlines } from "../deadlines.ts";
import type { Outbox } from "../outbox.ts";
import { Http1UpstreamConnection } from "./http1.ts";
import { originationOptions } from "./tls.ts";
import type { UpstreamFailure, UpstreamStream, UpstreamUser } from "./user.ts";

/** What all pools of one thread share. */
export interface UpstreamThread {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly parser: ResponseParserSettings;
  readonly counts: UpstreamCounts;
  readonly clusters: Map<string, ClusterLoad>;
  readonly outbox: Outbox;
}

/** Told to metrics. */
export interface UpstreamCounts {
  connections: number;
  connectionsTotal: number;
  waiting: number;
  overflowTotal: number;
}

/** What the endpoints of one cluster have in common. */
export interface ClusterLoad {
  connections: number;
  readonly pools: Set<UpstreamPool>;
  readonly waiting: Waiting[];
}

interface Waiting {
  readonly pool: UpstreamPool;
  readonly user: UpstreamUser;
}

/** A stream that is to be started at once, a place in the line, or why neither. */
export type Acquired = UpstreamStream | UpstreamFailure | "waiting";

const OVERFLOW: UpstreamFailure = {
  code: "upstream_overflow",
  reason: "too many requests are waiting for a connection",
  neverSent: true,
  stale: false,
};

export class UpstreamPool {
  readonly thread: UpstreamThread;
  readonly address: string;
  readonly port: number;
  settings: PoolSettings;
  /** Undefined: plain. */
  tls: ConnectionOptions | undefined;
  /** Last TLS session, to resume. */
  session: Buffer | undefined;
  readonly #cluster: ClusterLoad;
  readonly #idle: Http1UpstreamConnection[] = [];
  #tlsSource: ClientTls | undefined;
  #tlsFailure: UpstreamFailure | undefined;
  #connections = 0;

  constructor(thread: UpstreamThread, target: UpstreamTarget) {
    const { endpoint } = target;
    this.thread = thread;
    this.address = endpoint.address;
    this.port = endpoint.port;
    this.settings = target.pool;
    this.#cluster = clusterOf(thread, endpoint);
    this.#retarget(target.tls);
  }

  /** A connection at once, or a place in the line, or why neither. `fresh`: not one that was used before. */
  acquire(target: UpstreamTarget, user: UpstreamUser, fresh = false): Acquired {
    this.settings = target.pool;
    if (target.tls !== this.#tlsSource) this.#retarget(target.tls);
    if (this.#tlsFailure !== undefined) return this.#tlsFailure;
    if (!fresh) {
      for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
        if (last.usable) return last;
        last.destroy();
      }
    }
    if (this.#hasRoom()) return this.#open();
    if (this.#cluster.waiting.length >= this.settings.maxPendingRequests) {
      this.thread.counts.overflowTotal += 1;
      return OVERFLOW;
    }
    this.#cluster.waiting.push({ pool: this, user });
    this.thread.counts.waiting += 1;
    return "waiting";
  }

  /** Leaves the line. */
  cancel(user: UpstreamUser): void {
    const { waiting } = this.#cluster;
    const at = waiting.findIndex((one) => one.user === user);
    if (at === -1) return;
    waiting.splice(at, 1);
    this.thread.counts.waiting -= 1;
  }

  /** A response ended and its connection can carry another request. */
  release(connection: Http1UpstreamConnection): void {
    const max = this.settings.maxRequestsPerConnection;
    if (max !== 0 && connection.requests >= max) {
      connection.destroy();
      return;
    }
    connection.rest(this.thread.clock.now() + this.settings.idleTimeoutMs);
    this.#idle.push(connection);
    if (this.#cluster.waiting.length > 0) this.#serveWaiting();
  }

  /** A connection has closed. */
  forget(connection: Http1UpstreamConnection, wasIdle: boolean): void {
    if (wasIdle) {
      const at = this.#idle.indexOf(connection);
      if (at !== -1) this.#idle.splice(at, 1);
    }
    this.#connections -= 1;
    if (this.#connections === 0) this.#cluster.pools.delete(this);
    this.#cluster.connections -= 1;
    this.thread.counts.connections -= 1;
    if (this.#cluster.waiting.length > 0) this.#serveWaiting();
  }

  /** Closes what is idle. */
  closeIdle(): void {
    for (const connection of [...this.#idle]) connection.destroy();
  }

  #retarget(tls: ClientTls | undefined): void {
    if (JSON.stringify(tls) !== JSON.stringify(this.#tlsSource)) {
      this.closeIdle();
      this.session = undefined;
      this.#readTls(tls);
    }
    this.#tlsSource = tls;
  }

  #readTls(tls: ClientTls | undefined): void {
    this.#tlsFailure = undefined;
    try {
      this.tls = tls === undefined ? undefined : originationOptions(tls, this.address);
    } catch (error) {
      const reason = `TLS settings: ${error instanceof Error ? error.message : String(error)}`;
      this.#tlsFailure = { code: "upstream_tls", reason, neverSent: true, stale: false };
    }
  }

  #open(): Http1UpstreamConnection {
    this.#connections += 1;
    this.#cluster.pools.add(this);
    this.#cluster.connections += 1;
    this.thread.counts.connections += 1;
    this.thread.counts.connectionsTotal += 1;
    return new Http1UpstreamConnection(this);
  }

  /** Below the limit, or below it after an idle connection to another endpoint of the cluster has made room. */
  #hasRoom(): boolean {
    if (this.#cluster.connections < this.settings.maxConnections) return true;
    for (const pool of this.#cluster.pools) {
      const oldest = pool.#idle[0];
      if (oldest === undefined) continue;
      oldest.destroy();
      return this.#cluster.connections < this.settings.maxConnections;
    }
    return false;
  }

  #serveWaiting(): void {
    const first = this.#cluster.waiting[0];
    if (first === undefined) return;
    const { pool } = first;
    const connection = pool.#idle.pop() ?? (pool.#hasRoom() ? pool.#open() : undefined);
    if (connection === undefined) return;
    this.#cluster.waiting.shift();
    this.thread.counts.waiting -= 1;
    first.user.streamReady(connection);
  }
}

/** The pool of an endpoint, made when it is first used and kept with it. */
export function poolOf(thread: UpstreamThread, target: UpstreamTarget): UpstreamPool {
  const { endpoint } = target;
  if (endpoint.runtime instanceof UpstreamPool) return endpoint.runtime;
  const pool = new UpstreamPool(thread, target);
  endpoint.runtime = pool;
  return pool;
}

/** `<cluster>|<address>|<port>`: the cluster's name may have bars of its own. */
function clusterOf(thread: UpstreamThread, endpoint: UpstreamEndpoint): ClusterLoad {
  const name = endpoint.key.slice(0, endpoint.key.lastIndexOf("|", endpoint.key.lastIndexOf("|") - 1));
  let load = thread.clusters.get(name);
  if (load === undefined) {
    load = { connections: 0, pools: new Set(), waiting: [] };
    thread.clusters.set(name, load);
  }
  return load;
}
