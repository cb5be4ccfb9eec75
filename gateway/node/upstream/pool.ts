/**
 * Connections to one endpoint in one protocol, and the line of those who wait for one.
 *
 * Limits are the cluster's: all endpoints of a cluster share its count of connections and its line of waiting requests.
 */
import type { ConnectionOptions } from "node:tls";
import type { Clock, UpstreamEndpoint, UpstreamTarget } from "../../core/index.ts";
import type { ClientTls, PoolSettings, TcpKeepAlive } from "../../core/ir/index.ts";
import type { ResponseParserSettings } from "../../wire/index.ts";
import type { Deadlines } from "../deadlines.ts";
import type { Outbox } from "../outbox.ts";
import type { TurnEnd } from "../turn-end.ts";
import type { DialTarget } from "./dial.ts";
import type { OriginContexts, OriginTls } from "./tls.ts";
import type { UpstreamFailure, UpstreamStream, UpstreamUser } from "./user.ts";

/** What all pools of one thread share. */
export interface UpstreamThread {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly parser: ResponseParserSettings;
  readonly counts: UpstreamCounts;
  readonly clusters: Map<string, ClusterLoad>;
  readonly outbox: Outbox;
  readonly turnEnd: TurnEnd;
  readonly origins: OriginContexts;
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
  /** A connection is being closed for somebody who knows already what to do with its place. */
  isMakingRoom: boolean;
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
  resend: "no",
};

export abstract class UpstreamPool implements DialTarget {
  readonly thread: UpstreamThread;
  readonly address: string;
  readonly port: number;
  /** Of one client, whose connections these are alone. Undefined: nothing is told, and all clients share. */
  readonly header: Uint8Array | undefined;
  /** What TLS asks for where nobody says otherwise. */
  readonly #hostname: string;
  settings: PoolSettings;
  tls: ConnectionOptions | undefined;
  readonly #cluster: ClusterLoad;
  /** What is said to speak in a TLS handshake (ALPN). */
  readonly #speaks: string;
  #tlsSource: ClientTls | undefined;
  /** Undefined: plain. */
  #origin: OriginTls | undefined;
  #connections = 0;

  constructor(thread: UpstreamThread, target: UpstreamTarget, speaks: string, header: Uint8Array | undefined) {
    const { endpoint } = target;
    this.thread = thread;
    this.address = endpoint.address;
    this.port = endpoint.port;
    this.header = header;
    this.#hostname = endpoint.hostname ?? endpoint.address;
    this.settings = target.pool;
    this.#speaks = speaks;
    this.#cluster = clusterOf(thread, endpoint);
    this.#tlsSource = target.tls;
    this.#origin = target.tls && thread.origins.towards(target.tls, this.#hostname, speaks);
  }

  /** Probes on its connections. */
  get keepAlive(): TcpKeepAlive | undefined {
    return this.settings.keepAlive;
  }

  /** `fresh`: not over a connection that was used before. */
  acquire(target: UpstreamTarget, user: UpstreamUser, fresh = false): Acquired {
    this.settings = target.pool;
    if (target.tls !== this.#tlsSource) this.#retarget(target.tls);
    const ready = fresh ? undefined : this.reuse();
    if (ready !== undefined) return ready;
    const failure = this.#readTls();
    if (failure !== undefined) return failure;
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

  /** Closes what is idle. */
  abstract closeIdle(): void;
  /** Its connections are used for what they are at, and no longer. */
  abstract retire(): void;

  /** A stream over a connection that is there. */
  protected abstract reuse(): UpstreamStream | undefined;
  /** A stream over a connection that is opened for it. */
  protected abstract connect(): UpstreamStream;
  /** Closes the connection that has been idle for longest. @returns whether there was one */
  protected abstract closeOldest(): boolean;

  /** A connection has closed. */
  protected closed(): void {
    this.#connections -= 1;
    if (this.#connections === 0) this.#cluster.pools.delete(this);
    this.#cluster.connections -= 1;
    this.thread.counts.connections -= 1;
    if (!this.#cluster.isMakingRoom) this.serveWaiting();
  }

  /** Somebody may get what he waits for: to be called when a stream or a connection's place has become free. */
  protected serveWaiting(): void {
    const { waiting } = this.#cluster;
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const { pool, user } = first;
      const stream = pool.reuse() ?? (pool.#hasRoom() ? pool.#open() : undefined);
      if (stream === undefined) return;
      waiting.shift();
      this.thread.counts.waiting -= 1;
      user.streamReady(stream);
    }
  }

  /** Last TLS session, to resume. */
  get session(): Buffer | undefined {
    return this.#origin?.session;
  }
  set session(fresh: Buffer | undefined) {
    if (this.#origin !== undefined) this.#origin.session = fresh;
  }

  #retarget(tls: ClientTls | undefined): void {
    if (JSON.stringify(tls) !== JSON.stringify(this.#tlsSource)) {
      this.retire();
      this.#origin = tls && this.thread.origins.towards(tls, this.#hostname, this.#speaks);
    }
    this.#tlsSource = tls;
  }

  /** What a new connection is made with: files may have changed. */
  #readTls(): UpstreamFailure | undefined {
    const read = this.#origin?.options();
    if (read?.ok === false) return { code: "upstream_tls", reason: read.error, neverSent: true, resend: "no" };
    this.tls = read?.value;
    return undefined;
  }

  #open(): UpstreamStream {
    this.#connections += 1;
    this.#cluster.pools.add(this);
    this.#cluster.connections += 1;
    this.thread.counts.connections += 1;
    this.thread.counts.connectionsTotal += 1;
    return this.connect();
  }

  /** Below the limit, or below it after an idle connection to another endpoint of the cluster has made room. */
  #hasRoom(): boolean {
    const cluster = this.#cluster;
    if (cluster.connections < this.settings.maxConnections) return true;
    cluster.isMakingRoom = true;
    for (const pool of cluster.pools) if (pool.closeOldest()) break;
    cluster.isMakingRoom = false;
    return cluster.connections < this.settings.maxConnections;
  }
}

/** `<cluster>|<address>|<port>`: the cluster's name may have bars of its own. */
function clusterOf(thread: UpstreamThread, endpoint: UpstreamEndpoint): ClusterLoad {
  const name = endpoint.key.slice(0, endpoint.key.lastIndexOf("|", endpoint.key.lastIndexOf("|") - 1));
  let load = thread.clusters.get(name);
  if (load === undefined) {
    load = { connections: 0, pools: new Set(), waiting: [], isMakingRoom: false };
    thread.clusters.set(name, load);
  }
  return load;
}
