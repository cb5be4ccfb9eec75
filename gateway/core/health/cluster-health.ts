/**
 * The health of one cluster's endpoints, over snapshots, as one thread sees it. What happens to endpoints is told here; balancers look at `version`
 * and build anew when it has moved on. There is no timer: what time alone changes is looked at when `dueMs` has passed and somebody asks.
 */
import type { OutlierDetection, Warmup } from "../ir/index.ts";
import type { UpstreamEndpoint } from "../step.ts";
import { type EjectionReason, type EndpointState, type HealthEvent, transition } from "./endpoint.ts";
import { ejectionMs, mayEject, newCounts, type Outcome, type OutlierCounts, observe } from "./outlier.ts";

/** Kept with the endpoint. */
export interface EndpointHealth {
  state: EndpointState;
  /** Monotonic ms at which that state began. */
  sinceMs: number;
  readonly counts: OutlierCounts;
}

/** How endpoints of a cluster are judged, by the snapshot in force. */
export interface HealthRules {
  readonly outlier: OutlierDetection | undefined;
  readonly warmup: Warmup | undefined;
}

export type HealthChange =
  | {
      readonly kind: "changed";
      readonly cluster: string;
      readonly endpoint: UpstreamEndpoint;
      readonly state: EndpointState;
      /** This thread's own judgement; false: it was told. */
      readonly own: boolean;
    }
  /** It would have been ejected, but too many of the cluster are. */
  | {
      readonly kind: "spared";
      readonly cluster: string;
      readonly endpoint: UpstreamEndpoint;
      readonly reason: EjectionReason;
    };
export type HealthListener = (change: HealthChange) => void;

/** While endpoints warm up, their weights are looked at so often. */
const WARM_STEP_MS = 1_000;
const NEVER = Number.POSITIVE_INFINITY;
const HEALTHY: EndpointState = { kind: "healthy" };

export class ClusterHealth {
  /** Grows with each change of who may be sent requests, or how many. */
  version = 0;
  /** Monotonic ms at which `advance` has something to do. */
  dueMs = NEVER;
  readonly #cluster: string;
  readonly #tell: HealthListener | undefined;
  #endpoints: readonly UpstreamEndpoint[] = [];
  #rules: HealthRules = { outlier: undefined, warmup: undefined };
  #sweptMs = 0;

  constructor(cluster: string, tell: HealthListener | undefined) {
    this.#cluster = cluster;
    this.#tell = tell;
  }

  /** The endpoints as they are from now on. Those that come to others that were here before warm up. */
  follow(endpoints: readonly UpstreamEndpoint[], rules: HealthRules, nowMs: number): void {
    const before = this.#endpoints;
    const staying = new Set(endpoints);
    const known = new Set(before);
    this.#endpoints = endpoints;
    this.#rules = rules;
    this.version++;
    for (const endpoint of before) if (!staying.has(endpoint)) this.apply(endpoint, { kind: "left" }, nowMs);
    for (const endpoint of endpoints) {
      if (known.has(endpoint)) continue;
      if (before.length > 0 && rules.warmup !== undefined) this.#warm(endpoint, nowMs);
      else this.apply(endpoint, { kind: "came" }, nowMs);
    }
    this.#schedule(nowMs);
  }

  /** What an attempt at an endpoint came to. */
  observe(endpoint: UpstreamEndpoint, outcome: Outcome, nowMs: number): void {
    const { outlier } = this.#rules;
    if (outlier === undefined) return;
    const health = healthOf(endpoint, nowMs);
    const reason = observe(health.counts, outcome, outlier);
    if (reason !== undefined && (health.state.kind === "healthy" || health.state.kind === "warming"))
      this.#eject(endpoint, health, reason, outlier, nowMs);
  }

  /** @param own false: another thread or the checker says so */
  apply(endpoint: UpstreamEndpoint, event: HealthEvent, nowMs: number, own = true): void {
    if (endpoint.health === undefined && (event.kind === "came" || event.kind === "check-passed")) return;
    const health = healthOf(endpoint, nowMs);
    const next = transition(health.state, event, nowMs, this.#rules.warmup !== undefined);
    if (next === health.state) return;
    if (event.kind === "ejected") health.counts.ejections++;
    health.state = next;
    health.sinceMs = nowMs;
    this.version++;
    this.#schedule(nowMs);
    this.#tell?.({ kind: "changed", cluster: this.#cluster, endpoint, state: next, own });
  }

  /** What time has changed: ejections that are over, endpoints that are warm, old ejections that count no more. */
  advance(nowMs: number): void {
    const { outlier, warmup } = this.#rules;
    const intervals = outlier === undefined ? 0 : Math.floor((nowMs - this.#sweptMs) / outlier.intervalMs);
    if (outlier !== undefined) this.#sweptMs += intervals * outlier.intervalMs;
    for (const endpoint of this.#endpoints) {
      const { health } = endpoint;
      if (health === undefined) continue;
      const { state, counts } = health;
      if (state.kind === "ejected") {
        if (outlier === undefined || (intervals > 0 && state.untilMs <= nowMs))
          this.apply(endpoint, { kind: "ejection-over" }, nowMs);
      } else if (counts.ejections > 0) counts.ejections = Math.max(0, counts.ejections - intervals);
      if (state.kind === "warming") {
        if (warmup === undefined || nowMs - state.sinceMs >= warmup.durationMs) this.apply(endpoint, { kind: "warm" }, nowMs);
        else this.version++;
      }
    }
    this.#schedule(nowMs);
  }

  #eject(
    endpoint: UpstreamEndpoint,
    health: EndpointHealth,
    reason: EjectionReason,
    outlier: OutlierDetection,
    nowMs: number,
  ): void {
    const ejected = this.#endpoints.filter((other) => other.health?.state.kind === "ejected").length;
    if (!mayEject(ejected, this.#endpoints.length, outlier.maxEjectionPercent)) {
      this.#tell?.({ kind: "spared", cluster: this.#cluster, endpoint, reason });
      return;
    }
    const untilMs = nowMs + ejectionMs(outlier, health.counts.ejections + 1);
    this.apply(endpoint, { kind: "ejected", untilMs, reason }, nowMs);
  }

  #warm(endpoint: UpstreamEndpoint, nowMs: number): void {
    const health = healthOf(endpoint, nowMs);
    if (health.state.kind !== "healthy" && health.state.kind !== "draining") return;
    health.state = { kind: "warming", sinceMs: nowMs };
    health.sinceMs = nowMs;
    this.#tell?.({ kind: "changed", cluster: this.#cluster, endpoint, state: health.state, own: true });
  }

  #schedule(nowMs: number): void {
    const { outlier } = this.#rules;
    let dueMs = NEVER;
    for (const { health } of this.#endpoints) {
      if (health === undefined) continue;
      if (health.state.kind === "warming") dueMs = Math.min(dueMs, nowMs + WARM_STEP_MS);
      else if (health.state.kind === "ejected" || health.counts.ejections > 0) {
        if (dueMs === NEVER && this.dueMs === NEVER) this.#sweptMs = nowMs;
        dueMs = Math.min(dueMs, outlier === undefined ? nowMs : this.#sweptMs + outlier.intervalMs);
      }
    }
    this.dueMs = dueMs;
  }
}

function healthOf(endpoint: UpstreamEndpoint, nowMs: number): EndpointHealth {
  endpoint.health ??= { state: HEALTHY, sinceMs: nowMs, counts: newCounts() };
  return endpoint.health;
}

/** The state that balancers and operators see: healthy, unless something is known against it. */
export function stateOf({ health }: UpstreamEndpoint): EndpointState {
  return health?.state ?? HEALTHY;
}
