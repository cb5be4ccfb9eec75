/** The gateway's own metrics, as one thread counts them. */
import type { PassportMeter } from "../core/identity/index.ts";
import type { EjectionReason, EndpointView, MetricDefinition, QuotaMeter, QuotaOutcome } from "../core/index.ts";
import type { LeasesUsage } from "./leases.ts";
import type { Counter, Gauge, MetricsBlock } from "./metrics.ts";
import type { Overload, ShedReason } from "./overload.ts";
import type { QuotaUsage } from "./quota.ts";
import type { UpstreamCounts } from "./upstream/pool.ts";

function gauge(name: string, help: string): MetricDefinition {
  return { name, kind: "gauge", help, labels: [] };
}

function total(name: string, help: string): MetricDefinition {
  return { name, kind: "counter", help, labels: [] };
}

const DOWNSTREAM_CONNECTIONS = gauge("tidegate_downstream_connections", "Client connections now.");
const UPSTREAM_CONNECTIONS = gauge("tidegate_upstream_connections", "Connections to origins now, idle ones included.");
const UPSTREAM_WAITING = gauge("tidegate_upstream_requests_waiting", "Requests that wait for a connection to an origin now.");
const QUOTA_COUNTERS = gauge("tidegate_quota_counters", "Quota counters in use.");
const QUOTA_CAPACITY = gauge("tidegate_quota_counters_capacity", "Quota counters that there can be.");
const LEASES = gauge("tidegate_quota_leases", "Leases of global quotas held.");
const LEASED_KEYS = gauge("tidegate_quota_leased_keys", "Keys of global quotas that something is held or remembered of.");
const BREAKER_OPEN = gauge("tidegate_quota_bank_unreachable", "Threads that have given up asking the quota bank, for now.");
const LEASES_ASKED = total("tidegate_quota_lease_asks_total", "Leases that the quota bank was asked for.");
const LEASES_DENIED = total("tidegate_quota_lease_denials_total", "Asks that found too little left.");
const LEASES_FAILED = total(
  "tidegate_quota_lease_failures_total",
  "Asks that the quota bank did not answer, or could not count.",
);
const UNITS_RETURNED = total("tidegate_quota_lease_unused_total", "Units of leases that were not used.");
const UPSTREAM_OPENED = total("tidegate_upstream_connections_opened_total", "Connections to origins that were opened or tried.");
const UPSTREAM_OVERFLOW = total(
  "tidegate_upstream_overflow_total",
  "Requests refused because too many were waiting for a connection.",
);
const ENDPOINTS: MetricDefinition = {
  name: "tidegate_cluster_endpoints",
  kind: "gauge",
  help: "Endpoints of services that are watched, resolved or placed, by state; `total` is all of them.",
  labels: ["cluster", "state"],
};
const EJECTIONS: MetricDefinition = {
  name: "tidegate_endpoint_ejections_total",
  kind: "counter",
  help: "Endpoints that were ejected by outlier detection.",
  labels: ["cluster", "reason"],
};
const SPARED: MetricDefinition = {
  name: "tidegate_endpoint_ejections_spared_total",
  kind: "counter",
  help: "Ejections that did not come to be, because too many of the service's endpoints are ejected.",
  labels: ["cluster", "reason"],
};
const CHECKS: MetricDefinition = {
  name: "tidegate_health_checks_total",
  kind: "counter",
  help: "Answers of endpoints to active checks.",
  labels: ["cluster", "outcome"],
};
const LOG_DROPPED = total("tidegate_access_log_dropped_total", "Log lines that could not be written fast enough.");
const QUOTA_FULL = total("tidegate_quota_full_total", "Charges that found no room for a counter; onStoreFailure decided.");
const QUOTA_DECISIONS: MetricDefinition = {
  name: "tidegate_quota_decisions_total",
  kind: "counter",
  help: "What became of requests at quotas.",
  labels: ["quota", "outcome"],
};
const PASSPORTS: MetricDefinition = {
  name: "tidegate_passports_total",
  kind: "counter",
  help: "Requests that came with a passport, by what became of it: taken, or the reason of its refusal.",
  labels: ["outcome"],
};
const CERTIFICATE_EXPIRY: MetricDefinition = {
  name: "tidegate_certificate_expiry_timestamp_seconds",
  kind: "gauge",
  help: "Unix time at which a certificate ends that this gateway shows to others; 0: it is not shown any more.",
  labels: ["certificate"],
};
const HANDSHAKES_REFUSED: MetricDefinition = {
  name: "tidegate_tls_handshakes_refused_total",
  kind: "counter",
  help: "TLS handshakes of clients that came to nothing, by the reason.",
  labels: ["reason"],
};
const REFUSED: MetricDefinition = {
  name: "tidegate_malformed_requests_total",
  kind: "counter",
  help: "Connections whose bytes made no request, by the status they were answered with.",
  labels: ["response_code"],
};

const SHED: MetricDefinition = {
  name: "tidegate_overload_requests_total",
  kind: "counter",
  help: "Requests refused because the gateway had enough to do, by what there was too much of.",
  labels: ["reason"],
};
const CONNECTIONS_REFUSED = total(
  "tidegate_overload_connections_total",
  "Client connections closed unheard because there were too many.",
);
const REQUESTS_NOW = gauge("tidegate_downstream_requests", "Requests now, tunnels included.");
const SHEDDING = gauge("tidegate_overload_threads", "Threads that take on less than they could, for want of memory or time.");
const ENDPOINT_STATES = ["healthy", "warming", "ejected", "unhealthy", "total"] as const;

export class GatewayMeters {
  readonly #block: MetricsBlock;
  readonly #connections: Gauge;
  readonly #upstream: Gauge;
  readonly #waiting: Gauge;
  readonly #opened: Gauge;
  readonly #overflow: Gauge;
  readonly #dropped: Gauge;
  /** Clusters whose endpoints have been told. */
  #told: ReadonlySet<string> = new Set();

  constructor(block: MetricsBlock) {
    this.#block = block;
    this.#connections = block.gauge(DOWNSTREAM_CONNECTIONS);
    this.#upstream = block.gauge(UPSTREAM_CONNECTIONS);
    this.#waiting = block.gauge(UPSTREAM_WAITING);
    this.#opened = block.gauge(UPSTREAM_OPENED);
    this.#overflow = block.gauge(UPSTREAM_OVERFLOW);
    this.#dropped = block.gauge(LOG_DROPPED);
  }

  ejected(cluster: string, reason: EjectionReason): void {
    this.#block.counter(EJECTIONS, [cluster, reason]).add(1);
  }

  spared(cluster: string, reason: EjectionReason): void {
    this.#block.counter(SPARED, [cluster, reason]).add(1);
  }

  /** Clusters about which nothing can be known besides their snapshot have no series. */
  endpoints(views: readonly EndpointView[]): void {
    const counts = new Map<string, Map<EndpointView["state"] | "total", number>>();
    for (const { cluster, state, isWatched } of views) {
      if (!isWatched) continue;
      const states = counts.get(cluster) ?? new Map();
      counts.set(cluster, states);
      states.set(state, (states.get(state) ?? 0) + 1);
      states.set("total", (states.get("total") ?? 0) + 1);
    }
    for (const cluster of new Set([...this.#told, ...counts.keys()]))
      for (const state of ENDPOINT_STATES)
        this.#block.gauge(ENDPOINTS, [cluster, state]).set(counts.get(cluster)?.get(state) ?? 0);
    this.#told = new Set(counts.keys());
  }

  shed(reason: ShedReason): void {
    this.#block.counter(SHED, [reason]).add(1);
  }

  refusedConnection(): void {
    this.#block.counter(CONNECTIONS_REFUSED).add(1);
  }

  overload({ requests, isShedding }: Overload): void {
    this.#block.gauge(REQUESTS_NOW).set(requests);
    this.#block.gauge(SHEDDING).set(isShedding ? 1 : 0);
  }

  refused(status: number): void {
    this.#block.counter(REFUSED, [String(status)]).add(1);
  }

  certificateExpires(file: string, unixSeconds: number): void {
    this.#block.gauge(CERTIFICATE_EXPIRY, [file]).set(unixSeconds);
  }

  handshakeRefused(reason: string): void {
    this.#block.counter(HANDSHAKES_REFUSED, [reason]).add(1);
  }

  passports(): PassportMeter {
    return { count: (outcome) => this.#block.counter(PASSPORTS, [outcome]).add(1) };
  }

  quota(id: string): QuotaMeter {
    return new CountedOutcomes(this.#block, id);
  }

  /** @param quotas undefined where another thread tells it */
  sample(connections: number, upstream: UpstreamCounts, logDropped: number, quotas: QuotaUsage | undefined): void {
    this.#connections.set(connections);
    this.#upstream.set(upstream.connections);
    this.#waiting.set(upstream.waiting);
    this.#opened.set(upstream.connectionsTotal);
    this.#overflow.set(upstream.overflowTotal);
    this.#dropped.set(logDropped);
    if (quotas === undefined) return;
    this.#block.gauge(QUOTA_COUNTERS).set(quotas.counters);
    this.#block.gauge(QUOTA_CAPACITY).set(quotas.capacity);
    this.#block.gauge(QUOTA_FULL).set(quotas.full);
  }

  leases({ keys, leases, asked, denied, failed, returned, breaker }: LeasesUsage): void {
    if (asked === 0) return;
    this.#block.gauge(LEASES).set(leases);
    this.#block.gauge(LEASED_KEYS).set(keys);
    this.#block.gauge(BREAKER_OPEN).set(breaker === "closed" ? 0 : 1);
    this.#block.gauge(LEASES_ASKED).set(asked);
    this.#block.gauge(LEASES_DENIED).set(denied);
    this.#block.gauge(LEASES_FAILED).set(failed);
    this.#block.gauge(UNITS_RETURNED).set(returned);
  }
}

/** @returns a counter of active checks, kept where they are made */
export function checkMeter(block: MetricsBlock): (cluster: string, isWell: boolean) => void {
  return (cluster, isWell) => block.counter(CHECKS, [cluster, isWell ? "success" : "failure"]).add(1);
}

class CountedOutcomes implements QuotaMeter {
  readonly #block: MetricsBlock;
  readonly #id: string;
  readonly #counters = new Map<QuotaOutcome, Counter>();

  constructor(block: MetricsBlock, id: string) {
    this.#block = block;
    this.#id = id;
  }

  count(outcome: QuotaOutcome): void {
    let counter = this.#counters.get(outcome);
    if (counter === undefined) {
      counter = this.#block.counter(QUOTA_DECISIONS, [this.#id, outcome]);
      this.#counters.set(outcome, counter);
    }
    counter.add(1);
  }
}
