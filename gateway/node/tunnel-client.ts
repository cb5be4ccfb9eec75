/**
 * Tunnels to edge sites: connections that this gateway keeps open, because nobody can connect to its cluster, and by which requests come to it.
 *
 * They belong to the main thread. Requests go on to the gateway's own listener over loopback, so the kernel spreads them over the worker threads as it does
 * clients, a thread that dies takes no tunnel with it, and nothing about a request is decided here.
 */
import type { UpstreamTarget } from "../core/index.ts";
import type { Snapshot } from "../core/ir/index.ts";
import { backoffMs } from "./backoff.ts";
import type { Log } from "./log.ts";
import type { MetricsBlock } from "./metrics.ts";
import { createUpstreamThread } from "./thread.ts";
import { ingressTarget } from "./tunnel-ingress.ts";
import { TunnelLink } from "./tunnel-link.ts";
import { TunnelMeters } from "./tunnel-meters.ts";
import type { UpstreamThread } from "./upstream/pool.ts";

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** How often it is looked whether the snapshot in force says which cluster this is. */
const SNAPSHOT_MS = 500;
/** A connection that held this long was a good one: the next try is made soon again. */
const STEADY_MS = 10_000;
/** How long a hub may take to agree that it sends no more requests. */
const QUIET_WITHIN_MS = 3_000;
const NEVER = Number.POSITIVE_INFINITY;

export interface TunnelClientOptions {
  /** `wss://<host of the site>`, one per site. */
  readonly sites: readonly string[];
  /** Connections to each. */
  readonly connections: number;
  /** Read anew for every connection, so that a token may be replaced. A secret; throws what reading throws. */
  readonly readToken: () => string;
  /** In force; undefined: none yet. */
  readonly snapshot: () => Snapshot | undefined;
  readonly metrics: MetricsBlock;
  readonly random: () => number;
  readonly log: Log;
}

export class TunnelClient {
  readonly #thread: UpstreamThread;
  readonly #slots: readonly Slot[];

  constructor(options: TunnelClientOptions) {
    this.#thread = createUpstreamThread();
    const target = new IngressTargets(options.snapshot);
    this.#slots = options.sites.flatMap((site) => {
      const meters = new TunnelMeters(options.metrics, site);
      const slot = () => new Slot(site, options, this.#thread, meters, () => target.now());
      return Array.from({ length: options.connections }, slot);
    });
  }

  /** Connects, as soon as the snapshot in force says which cluster this is, and keeps connected. */
  start(): void {
    for (const slot of this.#slots) slot.connect();
  }

  /** No request comes any more once this has resolved; those in flight go on. */
  async quiet(): Promise<void> {
    const all = Promise.all(this.#slots.map((slot) => slot.drain()));
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, QUIET_WITHIN_MS);
    await Promise.race([all, promise]);
    clearTimeout(timer);
  }

  /** What is left is cut. */
  stop(): void {
    for (const slot of this.#slots) slot.stop();
    for (const { pools } of this.#thread.clusters.values()) for (const pool of [...pools]) pool.closeIdle();
    this.#thread.deadlines.close();
  }
}

/** Where requests go, worked out once per snapshot. */
class IngressTargets {
  readonly #snapshot: () => Snapshot | undefined;
  #of: Snapshot | undefined;
  #target: UpstreamTarget | undefined;

  constructor(snapshot: () => Snapshot | undefined) {
    this.#snapshot = snapshot;
  }

  now(): UpstreamTarget | undefined {
    const snapshot = this.#snapshot();
    if (snapshot !== this.#of) {
      this.#target = snapshot === undefined ? undefined : ingressTarget(snapshot.listeners, this.#target);
      this.#of = snapshot;
    }
    return this.#target;
  }
}

/** One connection to one site, over and over. */
class Slot {
  readonly #site: string;
  readonly #options: TunnelClientOptions;
  readonly #thread: UpstreamThread;
  readonly #meters: TunnelMeters;
  readonly #ingress: () => UpstreamTarget | undefined;
  #link: TunnelLink | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #openedMs = NEVER;
  #told = "";
  #ending = false;

  constructor(
    site: string,
    options: TunnelClientOptions,
    thread: UpstreamThread,
    meters: TunnelMeters,
    ingress: () => UpstreamTarget | undefined,
  ) {
    this.#site = site;
    this.#options = options;
    this.#thread = thread;
    this.#meters = meters;
    this.#ingress = ingress;
  }

  connect(): void {
    this.#timer = undefined;
    const cluster = this.#options.snapshot()?.settings.passports?.audience;
    if (cluster === undefined) {
      this.#again("the snapshot in force names no site whose passports this gateway takes", SNAPSHOT_MS);
      return;
    }
    try {
      this.#link = new TunnelLink({
        url: `${this.#site}/.tidegate/tunnel?cluster=${encodeURIComponent(cluster)}`,
        token: this.#options.readToken(),
        thread: this.#thread,
        ingress: this.#ingress,
        opened: () => this.#opened(cluster),
        meters: this.#meters,
        closed: (reason) => this.#closed(reason),
      });
    } catch (error) {
      this.#again(error instanceof Error ? error.message : String(error), this.#backoffMs());
    }
  }

  async drain(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#timer);
    await this.#link?.drain();
  }

  stop(): void {
    this.#ending = true;
    clearTimeout(this.#timer);
    this.#link?.close("this gateway ends");
  }

  #opened(cluster: string): void {
    this.#openedMs = this.#thread.clock.now();
    this.#meters.opened();
    this.#told = "";
    this.#options.log("info", "tunnel open", { site: this.#site, cluster });
  }

  #closed(reason: string): void {
    this.#link = undefined;
    this.#meters.closed(this.#openedMs !== NEVER);
    if (this.#thread.clock.now() - this.#openedMs >= STEADY_MS) this.#attempt = 0;
    this.#openedMs = NEVER;
    this.#again(reason, this.#backoffMs());
  }

  #backoffMs(): number {
    return backoffMs(this.#attempt++, MIN_BACKOFF_MS, MAX_BACKOFF_MS, this.#options.random);
  }

  #again(reason: string, delayMs: number): void {
    if (this.#ending) return;
    // One line per reason, however often it is tried.
    if (reason !== this.#told) this.#options.log("warn", "no tunnel; trying again", { site: this.#site, reason });
    this.#told = reason;
    this.#timer = setTimeout(() => this.connect(), delayMs);
  }
}
