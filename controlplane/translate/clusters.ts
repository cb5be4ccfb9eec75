/** Destinations → clusters: only those that the pool's routes name, with the DestinationRule's policy and the subset's endpoints. */

import type { ClientTls, Cluster, ClusterEndpoints, Endpoint, PoolSettings } from "../../gateway/core/ir/index.ts";
import type { ClientTlsSettings, ConnectionPool, Destination } from "../config/index.ts";
import {
  compareText,
  isIpLiteral,
  isWildcard,
  type Registry,
  resolveShortName,
  type Service,
  type ServicePort,
} from "../registry/index.ts";
import { type DestinationRules, effectivePolicy, type MergedRule, type PolicyBlocks } from "./destination-rules.ts";
import type { VirtualServiceResource } from "./objects.ts";
import { selects } from "./scope.ts";
import { objectKey, type Status } from "./status.ts";
import type { LocatedPool } from "./types.ts";

/** Where a route wants to go. The name stands even when nothing is behind it: such requests are answered with 503 and flag NC. */
export interface Target {
  readonly cluster: string;
  /** The service's whole name. */
  readonly host: string;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** The most that the IR takes, and more than a gateway can reach: as good as no limit. */
const UNLIMITED = 1_000_000_000;
const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000;
/** The longest delay a timer keeps: what "never" comes down to. */
const NEVER_MS = 2_147_483_647;
const TLS_PROTOCOLS: readonly string[] = ["HTTPS", "TLS"];

export class Clusters {
  readonly #made = new Map<string, { readonly cluster: Cluster; readonly endpoints: ClusterEndpoints }>();
  /** Names that were asked for before → why there is no cluster behind them, where that has to be told. */
  readonly #asked = new Map<string, string | undefined>();
  readonly #registry: Registry;
  readonly #rules: DestinationRules;
  readonly #pool: LocatedPool;
  readonly #status: Status;

  constructor(registry: Registry, rules: DestinationRules, pool: LocatedPool, status: Status) {
    this.#registry = registry;
    this.#rules = rules;
    this.#pool = pool;
    this.#status = status;
  }

  /**
   * The cluster for a destination; short names mean services in the rule's namespace. Without a port it is the service's only one, or the one
   * that the request came in by.
   */
  target(destination: Destination, owner: VirtualServiceResource, path: string, servicePort: number): Target {
    const host = resolveShortName(destination.host, owner.metadata.namespace);
    const service = this.#registry.find(host, this.#pool.namespace);
    const only = service?.ports.length === 1 ? service.ports[0]?.number : undefined;
    const port = destination.port?.number ?? only ?? servicePort;
    const cluster = `outbound|${port}|${destination.subset ?? ""}|${host}`;
    if (!this.#asked.has(cluster)) this.#asked.set(cluster, this.#make(cluster, host, service, port, destination.subset));
    const missing = this.#asked.get(cluster);
    if (missing !== undefined) this.#status.report("warning", owner, path, `${missing}; requests are answered with 503`);
    return { cluster, host };
  }

  list(): readonly Cluster[] {
    return this.#sorted().map(({ cluster }) => cluster);
  }

  endpoints(): readonly ClusterEndpoints[] {
    return this.#sorted().map(({ endpoints }) => endpoints);
  }

  #sorted() {
    return [...this.#made.values()].sort((a, b) => compareText(a.cluster.name, b.cluster.name));
  }

  /** Makes the cluster, or says why there can be none, unless config's check of references says so. */
  #make(
    name: string,
    host: string,
    service: Service | undefined,
    portNumber: number,
    subset: string | undefined,
  ): string | undefined {
    if (service === undefined)
      return this.#registry.knows(host) ? `${host} is not exported to namespace ${this.#pool.namespace}` : undefined;
    const port = service.ports.find(({ number }) => number === portNumber);
    if (port === undefined) {
      const known = service.ports.map(({ number }) => number).join(", ");
      return `${host} has no port ${portNumber}; its ports are ${known || "none"}`;
    }
    if (service.resolution === "none") return `${host} has resolution NONE, so there is no address to send to; use STATIC or DNS`;
    const rule = this.#rules.find(host, service.namespace);
    const labels = subset === undefined ? {} : rule?.subsets.get(subset)?.value.labels;
    if (labels === undefined)
      return rule && `the DestinationRule that applies to ${host} (${describeRule(rule)}) has no subset ${subset}`;
    const policy = effectivePolicy(rule, subset, portNumber);
    const cluster = this.#cluster(name, service, port, subset, policy);
    this.#tell(service, port, policy, rule);
    this.#made.set(name, { cluster, endpoints: { cluster: name, endpoints: endpointsOf(port, labels) } });
    return undefined;
  }

  #cluster(name: string, service: Service, port: ServicePort, subset: string | undefined, policy: PolicyBlocks): Cluster {
    const [declaration] = service.declarations;
    const tls = policy.tls?.value.mode === "SIMPLE" ? clientTls(policy.tls.value, service) : undefined;
    const budget = policy.retryBudget?.value;
    return {
      name,
      host: service.host,
      port: port.number,
      ...(subset === undefined ? {} : { subset }),
      origin: declaration?.ref ?? { kind: "Service", namespace: service.namespace, name: service.host },
      // Where every endpoint is an address there is nothing to look up.
      discovery: port.endpoints.every(({ address }) => isIpLiteral(address)) ? "static" : "dns",
      loadBalancer: { policy: balancerPolicy(policy) },
      pool: poolSettings(policy.connectionPool?.value),
      ...(tls === undefined ? {} : { tls }),
      retryBudget: { percent: budget?.percent ?? 20, minConcurrent: budget?.minRetryConcurrency ?? 3 },
    };
  }

  #tell(service: Service, port: ServicePort, policy: PolicyBlocks, rule: MergedRule | undefined): void {
    for (const resource of rule?.rules ?? []) this.#status.programmed(resource);
    for (const { ref } of service.declarations) this.#status.programmedRef(ref);
    if (TLS_PROTOCOLS.includes(port.protocol) && policy.tls === undefined) {
      const message = `port ${port.number} of ${service.host} is ${port.protocol}, but no DestinationRule has tls.mode SIMPLE for it: plain text is sent`;
      const [declaration] = service.declarations;
      if (declaration !== undefined) this.#status.reportOn("warning", declaration, "spec.ports", message);
    }
  }
}

function describeRule({ rules }: MergedRule): string {
  return rules.map(objectKey).join(", ");
}

/** Endpoints that carry the subset's labels, in an order of their own, each once. */
function endpointsOf(port: ServicePort, labels: Readonly<Record<string, string>>): readonly Endpoint[] {
  const byPlace = new Map<string, Endpoint>();
  for (const { address, port: number, weight, locality, labels: carried } of port.endpoints) {
    const place = `${address} ${number}`;
    if (!selects(labels, carried) || byPlace.has(place)) continue;
    byPlace.set(place, { address, port: number, weight, ...(locality === undefined ? {} : { locality }) });
  }
  return [...byPlace.entries()].sort(([a], [b]) => compareText(a, b)).map(([, endpoint]) => endpoint);
}

function balancerPolicy(policy: PolicyBlocks): Cluster["loadBalancer"]["policy"] {
  const simple = policy.loadBalancer?.value.simple;
  if (simple === "ROUND_ROBIN") return "round-robin";
  return simple === "RANDOM" ? "random" : "least-request";
}

/** 0 stands for the default in limits, and for "never" in the idle timeout. */
function poolSettings(pool: ConnectionPool | undefined): PoolSettings {
  const idle = pool?.http?.idleTimeout ?? pool?.tcp?.idleTimeout ?? DEFAULT_IDLE_TIMEOUT_MS;
  return {
    connectTimeoutMs: pool?.tcp?.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT_MS,
    idleTimeoutMs: idle === 0 ? NEVER_MS : idle,
    maxConnections: limitOf(pool?.tcp?.maxConnections),
    maxPendingRequests: limitOf(pool?.http?.http1MaxPendingRequests),
    maxRequestsPerConnection: Math.min(pool?.http?.maxRequestsPerConnection ?? 0, UNLIMITED),
  };
}

function limitOf(limit: number | undefined): number {
  return Math.min(limit || UNLIMITED, UNLIMITED);
}

/** SNI and the name in the certificate come from the service's host when the rule does not say. */
function clientTls(tls: ClientTlsSettings, service: Service): ClientTls {
  const serverName = tls.sni ?? (isWildcard(service.host) ? undefined : service.host);
  return {
    mode: "simple",
    ...(serverName === undefined ? {} : { serverName }),
    subjectAltNames: tls.subjectAltNames,
    ...(tls.caCertificates === undefined ? {} : { caFile: tls.caCertificates }),
    minVersion: "TLSv1.2",
    insecureSkipVerify: tls.insecureSkipVerify,
  };
}
