/** The numbers of one site's tunnels. */
import type { MetricDefinition } from "../core/index.ts";
import type { Counter, Gauge, MetricsBlock } from "./metrics.ts";

const CONNECTIONS: MetricDefinition = {
  name: "tidegate_tunnel_connections",
  kind: "gauge",
  help: "Connections to the tunnel hubs of edge sites that are open now.",
  labels: ["site"],
};
const CLOSED: MetricDefinition = {
  name: "tidegate_tunnel_connections_closed_total",
  kind: "counter",
  help: "Connections to tunnel hubs that have ended, or could not be made.",
  labels: ["site"],
};
const IN_FLIGHT: MetricDefinition = {
  name: "tidegate_tunnel_requests",
  kind: "gauge",
  help: "Requests in flight that came by a tunnel.",
  labels: ["site"],
};
const REQUESTS: MetricDefinition = {
  name: "tidegate_tunnel_requests_total",
  kind: "counter",
  help: "Requests that came by a tunnel.",
  labels: ["site"],
};

export class TunnelMeters {
  readonly #connections: Gauge;
  readonly #closed: Counter;
  readonly #inFlight: Gauge;
  readonly #requests: Counter;
  #open = 0;
  #live = 0;

  constructor(metrics: MetricsBlock, site: string) {
    this.#connections = metrics.gauge(CONNECTIONS, [site]);
    this.#closed = metrics.counter(CLOSED, [site]);
    this.#inFlight = metrics.gauge(IN_FLIGHT, [site]);
    this.#requests = metrics.counter(REQUESTS, [site]);
  }

  opened(): void {
    this.#connections.set(++this.#open);
  }

  /** @param wasOpen false: it could not be made */
  closed(wasOpen: boolean): void {
    if (wasOpen) this.#connections.set(--this.#open);
    this.#closed.add(1);
  }

  began(): void {
    this.#requests.add(1);
    this.#inFlight.set(++this.#live);
  }

  ended(): void {
    this.#inFlight.set(--this.#live);
  }
}
