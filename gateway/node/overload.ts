/**
 * What one thread takes on, and what it refuses so that what it has taken on gets done.
 *
 *     calm ──► tight ──► full       by memory: at `tight` new requests are refused and idle connections go, at `full` new connections are, too
 *
 * Requests are refused by comparing two numbers; everything else happens a few times a second. A handful of requests and connections is taken whatever the
 * signals say, because a process that keeps its memory though nobody uses it would never serve again.
 */
import type { Clock } from "../core/index.ts";

/** Limits of the whole gateway. */
export interface OverloadLimits {
  /** Client connections that requests are taken from. */
  readonly maxConnections: number;
  /** Requests at once. */
  readonly maxRequests: number;
  /** Resident memory of the process, bytes. */
  readonly maxMemoryBytes: number;
  /** How late the event loop may be before less is taken on; 0: any. */
  readonly maxDelayMs: number;
}

/** One thread's look at itself. */
export interface Vitals {
  /** Of the process. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly heapLimitBytes: number;
}

export interface OverloadPorts {
  readonly clock: Clock;
  readonly vitals: () => Vitals;
  /** Throws garbage away: the thread stands still for as long as that takes. */
  readonly collect: () => void;
}

export type Pressure = "calm" | "tight" | "full";
export type ShedReason = "connections" | "requests" | "memory" | "delay";

/** What a gateway keeps to that is told nothing, but for its memory. */
export const DEFAULT_OVERLOAD_LIMITS: OverloadLimits = {
  maxConnections: 50_000,
  maxRequests: 10_000,
  maxMemoryBytes: Number.POSITIVE_INFINITY,
  maxDelayMs: 1000,
};

/** Shares of a limit at which memory is tight, and full. */
export const TIGHT_SHARE = 0.85;
export const FULL_SHARE = 0.95;
/** Connections beyond the limit that still get an answer, as a share of it. */
const SURPLUS_SHARE = 0.25;
/** Taken by a thread whatever the signals say. */
export const LEAST_REQUESTS = 64;
export const LEAST_CONNECTIONS = 64;
/** Garbage looks like memory in use: it is thrown away before anything is refused for it, not more often than this and for a small part of the time. */
export const COLLECT_GAP_MS = 1000;
const COLLECT_SHARE = 20;
/** Late by so many looks in a row, a thread takes on less than it has. */
const LATE_LOOKS = 2;
const LESS = 0.75;
const MORE = 1.25;

export class Overload {
  /** Now, as their owners count them. */
  connections = 0;
  requests = 0;
  readonly #ports: OverloadPorts;
  readonly #limits: OverloadLimits;
  readonly #maxConnections: number;
  readonly #maxRequests: number;
  #requestLimit: number;
  /** What the event loop's delay allows. */
  #delayLimit: number;
  #pressure: Pressure = "calm";
  #lateLooks = 0;
  #collectAfterMs = Number.NEGATIVE_INFINITY;

  /** @param threads among which connections and requests are shared evenly */
  constructor(limits: OverloadLimits, threads: number, ports: OverloadPorts) {
    this.#limits = limits;
    this.#ports = ports;
    this.#maxConnections = Math.ceil(limits.maxConnections / threads);
    this.#maxRequests = Math.ceil(limits.maxRequests / threads);
    this.#requestLimit = this.#delayLimit = this.#maxRequests;
  }

  get pressure(): Pressure {
    return this.#pressure;
  }

  /** Less is taken on than could be. */
  get isShedding(): boolean {
    return this.#requestLimit < this.#maxRequests;
  }

  /** One more request would be more than is taken on. */
  get isFull(): boolean {
    return this.requests >= this.#requestLimit;
  }

  /** Why, when it is. */
  get reason(): ShedReason {
    if (this.requests >= this.#maxRequests) return "requests";
    return this.#pressure === "calm" ? "delay" : "memory";
  }

  /** What becomes of the connection that was counted last. `surplus`: its requests are refused. */
  get connection(): "served" | "surplus" | "closed" {
    if (this.connections > this.mostConnections) return "closed";
    return this.connections > this.#maxConnections ? "surplus" : "served";
  }

  /** Beyond that connections are closed unheard. */
  get mostConnections(): number {
    if (this.#pressure === "full") return Math.min(LEAST_CONNECTIONS, this.#maxConnections);
    return Math.ceil(this.#maxConnections * (1 + SURPLUS_SHARE));
  }

  /** @param lateMs by how much this look comes too late. @returns whether idle connections should go now */
  look(lateMs: number): boolean {
    const before = this.#pressure;
    this.#pressure = this.#judgeMemory();
    this.#judgeDelay(lateMs);
    const least = Math.min(LEAST_REQUESTS, this.#maxRequests);
    this.#requestLimit = this.#pressure === "calm" ? Math.max(least, this.#delayLimit) : least;
    return before === "calm" && this.#pressure !== "calm";
  }

  #judgeMemory(): Pressure {
    const { clock, vitals, collect } = this.#ports;
    const found = this.#pressureOf(vitals());
    if (found === "calm") return found;
    const beganMs = clock.now();
    // What the last look after a collection has found holds, until there may be another one.
    if (beganMs < this.#collectAfterMs) return found === "full" ? found : this.#pressure;
    collect();
    const tookMs = clock.now() - beganMs;
    this.#collectAfterMs = beganMs + Math.max(COLLECT_GAP_MS, COLLECT_SHARE * tookMs);
    return this.#pressureOf(vitals());
  }

  #pressureOf({ residentBytes, heapBytes, heapLimitBytes }: Vitals): Pressure {
    const share = Math.max(residentBytes / this.#limits.maxMemoryBytes, heapBytes / heapLimitBytes);
    return share >= FULL_SHARE ? "full" : share >= TIGHT_SHARE ? "tight" : "calm";
  }

  #judgeDelay(lateMs: number): void {
    const { maxDelayMs } = this.#limits;
    const late = maxDelayMs > 0 && lateMs > maxDelayMs;
    this.#lateLooks = late ? this.#lateLooks + 1 : 0;
    if (this.#lateLooks >= LATE_LOOKS)
      this.#delayLimit = Math.max(LEAST_REQUESTS, Math.floor(Math.min(this.requests, this.#delayLimit) * LESS));
    else if (!late) this.#delayLimit = Math.min(this.#maxRequests, Math.ceil(this.#delayLimit * MORE) + 1);
  }
}
