/** Destinations → clusters: only those that the pool's routes name, with the DestinationRule's policy and the subset's endpoints. */

import type { ClientTls, Cluster, ClusterEndpoints, Endpoint, PoolSettings, TcpKeepAlive } from "../../gateway/core/ir/index.ts";
import type { ConnectionPool, Destination, HealthCheckSpec } from "../config/index.ts";
import {
  compareText,
  type Declaration,
  isIpLiteral,
  isWildcard,
  type Registry,
  resolveShortName,
  type Service,
  type ServicePort,
} from "../registry/index.ts";
import { type Balancing, balancing, labelsToCarry, neverAsked, neverEjects, neverFailsOver } from "./balancing.ts";
import { type DestinationRules, effectivePolicy, type MergedRule, type PolicyBlocks } from "./destination-rules.ts";
import { edgeCluster, hostAtEdge, type MadeCluster, tellIgnoredPolicy } from "./edge.ts";
import type { VirtualServiceResource } from "./objects.ts";
import { selects, virtualServiceHosts } from "./scope.ts";
import { objectKey, type Status } from "./status.ts";
import { clientTls, whyNotUsable } from "./tls.ts";
import type { LocatedPool, WantedService } from "./types.ts";
import { upstreamProtocol } from "./upstream-protocol.ts";

/** Where a route wants to go. The name stands even when nothing is behind it: such requests are answered with 503 and flag NC. */
export interface Target {
  readonly cluster: string;
  /** The service's whole name. */
  readonly host: string;
}

/** The part of a route that names a destination. */
export interface Asker {
  readonly owner: VirtualServiceResource;
  /** Path of the destination: `spec.http[0].route[1].destination`. */
  readonly path: string;
  readonly servicePort: number;
  /** What the request's authority is rewritten to. Undefined: it stays the client's. */
  readonly authority: string | undefined;
  /** What goes there. `tls`: connections in TLS of the client's own, which is not to be wrapped unless somebody says so. Absent: requests. */
  readonly carries?: "connections" | "tls";
}

/** Why there is no cluster behind a name. */
interface Missing {
  readonly severity: "warning" | "unsupported";
  readonly message: string;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
/** The most that the IR takes, and more than a gateway can reach: as good as no limit. */
const UNLIMITED = 1_000_000_000;
const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000;
/** The longest delay a timer keeps: what "never" comes down to. */
const NEVER_MS = 2_147_483_647;
const TLS_PROTOCOLS: readonly string[] = ["HTTPS", "TLS"];

export class Clusters {
  readonly #made = new Map<string, MadeCluster>();
  /** Names that were asked for before → why there is no cluster behind them, where that has to be told. */
  readonly #asked = new Map<string, Missing | undefined>();
  /** Clusters whose port speaks TLS and that are sent plain text. */
  readonly #plain = new Map<string, { readonly declaration: Declaration; readonly message: string }>();
  readonly #registry: Registry;
  readonly #rules: DestinationRules;
  readonly #pool: LocatedPool;
  readonly #status: Status;
  readonly #checks: readonly HealthCheckSpec[];

  /** @param checks of MeshConfig */
  constructor(
    registry: Registry,
    rules: DestinationRules,
    pool: LocatedPool,
    status: Status,
    checks: readonly HealthCheckSpec[],
  ) {
    this.#checks = checks;
    this.#registry = registry;
    this.#rules = rules;
    this.#pool = pool;
    this.#status = status;
  }

  /**
   * The cluster for a destination; short names mean services in the rule's namespace. Without a port it is the service's only one, or the one
   * that the request came in by.
   */
  target(destination: Destination, asker: Asker): Target {
    const { owner, path, servicePort } = asker;
    const host = resolveShortName(destination.host, owner.metadata.namespace);
    const service = this.#registry.find(host, this.#pool.namespace);
    const only = service?.ports.length === 1 ? service.ports[0]?.number : undefined;
    const port = destination.port?.number ?? only ?? servicePort;
    const missing = this.#ask({ host, port, subset: destination.subset }, service);
    const answered = asker.carries === undefined ? ANSWERED : CLOSED;
    if (missing !== undefined) this.#status.report(missing.severity, owner, path, `${missing.message}; ${answered}`);
    const name = clusterName("outbound", { host, port, subset: destination.subset });
    if (asker.carries !== "tls") this.#tellPlain(name);
    const cluster = this.#keepsHost(name, asker) ? name : clusterName("refused", { host, port, subset: destination.subset });
    return { cluster, host };
  }

  /** Makes a cluster that no route of this pool needs to name. Answers why there is none. */
  want({ host, port, subset }: WantedService): string | undefined {
    const missing = this.#ask({ host, port, subset }, this.#registry.find(host, this.#pool.namespace))?.message;
    this.#tellPlain(clusterName("outbound", { host, port, subset }));
    return missing;
  }

  /** Clusters of all ports and subsets of a service, under the names that a ClientHello can have; the client's TLS goes through as it is. */
  named(service: Service): void {
    if (service.resolution === "none" || isWildcard(service.host)) return;
    const rule = this.#rules.find(service.host, service.namespace);
    for (const port of service.ports) {
      for (const subset of [undefined, ...(rule?.subsets.keys() ?? [])]) {
        const name = `outbound_.${port.number}_.${subset ?? ""}_.${service.host}`.toLowerCase();
        if (this.#made.has(name)) continue;
        const policy = effectivePolicy(rule, subset, port.number);
        // What is in the client's TLS is between the client and the service.
        const { tls: _t, protocol: _p, http2: _h, grpcWeb: _g, ...cluster } = this.#cluster(name, service, port, subset, policy);
        const labels = subset === undefined ? {} : (rule?.subsets.get(subset)?.value.labels ?? {});
        const made = {
          cluster,
          endpoints: { cluster: name, endpoints: endpointsOf(port, labels, labelsToCarry(cluster.loadBalancer)) },
        };
        this.#made.set(name, made);
        this.#tell(service, policy, rule, made);
      }
    }
  }

  /** A port of TLS that is sent plain text. */
  #tellPlain(name: string): void {
    const plain = this.#plain.get(name);
    if (plain !== undefined) this.#status.reportOn("warning", plain.declaration, "spec.ports", plain.message);
  }

  /** Whether the request gets there with the Host that it is to have; only at the edge it may not. */
  #keepsHost(name: string, { owner, path, authority }: Asker): boolean {
    const made = this.#made.get(name);
    if (this.#pool.site === undefined || made === undefined) return true;
    const verdict = hostAtEdge(this.#pool.site, made, authority, virtualServiceHosts(owner));
    if (verdict.kind === "replaced") this.#status.report("warning", owner, path, verdict.message);
    if (verdict.kind === "refused") this.#status.report("unsupported", owner, path, `${verdict.message}; ${ANSWERED}`);
    return verdict.kind !== "refused";
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

  #ask(asked: Asked, service: Service | undefined): Missing | undefined {
    const name = clusterName("outbound", asked);
    if (!this.#asked.has(name)) this.#asked.set(name, this.#make(name, asked, service));
    return this.#asked.get(name);
  }

  /** Makes the cluster, or says why there can be none, unless config's check of references says so. */
  #make(name: string, { host, port: portNumber, subset }: Asked, service: Service | undefined): Missing | undefined {
    if (service === undefined)
      return this.#registry.knows(host) ? warning(`${host} is not exported to namespace ${this.#pool.namespace}`) : undefined;
    const port = service.ports.find(({ number }) => number === portNumber);
    if (port === undefined) {
      const known = service.ports.map(({ number }) => number).join(", ");
      return warning(`${host} has no port ${portNumber}; its ports are ${known || "none"}`);
    }
    if (service.resolution === "none")
      return warning(`${host} has resolution NONE, so there is no address to send to; use STATIC or DNS`);
    const rule = this.#rules.find(host, service.namespace);
    const labels = subset === undefined ? {} : rule?.subsets.get(subset)?.value.labels;
    if (labels === undefined)
      return rule && warning(`the DestinationRule that applies to ${host} (${describeRule(rule)}) has no subset ${subset}`);
    const policy = effectivePolicy(rule, subset, portNumber);
    const unusable = unusableCredential(policy);
    if (unusable !== undefined) return unusable;
    const cluster = this.#cluster(name, service, port, subset, policy);
    const direct: MadeCluster = {
      cluster,
      endpoints: { cluster: name, endpoints: endpointsOf(port, labels, labelsToCarry(cluster.loadBalancer)) },
    };
    const made = this.#pool.site === undefined ? direct : edgeCluster(this.#pool.site, service, port.protocol, direct, policy);
    if ("refused" in made) return { severity: "unsupported", message: made.refused };
    this.#tell(service, policy, rule, made);
    if (TLS_PROTOCOLS.includes(port.protocol) && policy.tls === undefined && made.cluster.via === undefined)
      this.#notePlain(name, service, port);
    this.#made.set(name, made);
    return undefined;
  }

  #cluster(name: string, service: Service, port: ServicePort, subset: string | undefined, policy: PolicyBlocks): Cluster {
    const [declaration] = service.declarations;
    const tls = tlsTowards(policy, service);
    const budget = policy.retryBudget?.value;
    const proxyProtocol = policy.proxyProtocol?.value;
    return {
      name,
      host: service.host,
      port: port.number,
      ...(subset === undefined ? {} : { subset }),
      origin: declaration?.ref ?? { kind: "Service", namespace: service.namespace, name: service.host },
      discovery: discoveryOf(service, port),
      ...this.#balancing(service, port, policy),
      pool: poolSettings(policy.connectionPool?.value),
      ...(tls === undefined ? {} : { tls }),
      retryBudget: { percent: budget?.percent ?? 20, minConcurrent: budget?.minRetryConcurrency ?? 3 },
      ...upstreamProtocol(port.protocol, policy.connectionPool?.value),
      ...(proxyProtocol === undefined ? {} : { proxyProtocol: proxyProtocol.version === "V1" ? "v1" : "v2" }),
    };
  }

  #balancing(service: Service, port: ServicePort, policy: PolicyBlocks): Balancing {
    return balancing(policy, service.host, port, this.#pool, this.#checks);
  }

  #tell(service: Service, policy: PolicyBlocks, rule: MergedRule | undefined, made: MadeCluster): void {
    const { via } = made.cluster;
    for (const resource of rule?.rules ?? []) this.#status.programmed(resource);
    for (const { ref } of service.declarations) this.#status.programmedRef(ref);
    // What is behind a cluster's ingress is that cluster's to tell.
    if (via !== undefined) return;
    if (service.subjectAltNames.length > 0 && tlsTowards(policy, service) === undefined)
      this.#tellUnverified(service, made.cluster.port);
    if (this.#pool.site !== undefined) tellIgnoredPolicy(this.#pool.site, policy, this.#status);
    const balancer = policy.loadBalancer;
    const unmoved = balancer && neverFailsOver(balancer.value, made.cluster);
    if (balancer && unmoved !== undefined)
      this.#status.report("warning", balancer.rule, balancer.path, `${service.host}: ${unmoved}`);
    const unasked = neverAsked(policy, service.host, this.#checks);
    if (unasked !== undefined)
      this.#status.report("unsupported", unasked.rule, unasked.path, `${service.host}: ${unasked.message}`);
    const outlier = policy.outlierDetection;
    const idle = outlier && neverEjects(outlier.value, made.cluster.discovery === "dns" ? 0 : made.endpoints.endpoints.length);
    if (outlier && idle !== undefined) this.#status.report("warning", outlier.rule, outlier.path, `${service.host}: ${idle}`);
  }

  /** Names that nobody looks for: there is no TLS of the gateway's own. */
  #tellUnverified({ host, declarations }: Service, port: number): void {
    const [declaration] = declarations;
    const message = `port ${port} of ${host}: subjectAltNames are looked for where the gateway makes TLS, and no DestinationRule has tls.mode SIMPLE or MUTUAL for it`;
    if (declaration !== undefined) this.#status.reportOn("warning", declaration, "spec.subjectAltNames", message);
  }

  #notePlain(name: string, { host, declarations }: Service, { number, protocol }: ServicePort): void {
    const [declaration] = declarations;
    const message = `port ${number} of ${host} is ${protocol}, but no DestinationRule has tls.mode SIMPLE or MUTUAL for it: plain text is sent`;
    if (declaration !== undefined) this.#plain.set(name, { declaration, message });
  }
}

const ANSWERED = "requests are answered with 503";
const CLOSED = "connections are closed";

interface Asked {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
}

/** `refused`: a name that nothing is ever behind, for a destination whose cluster serves other routes. */
function clusterName(direction: "outbound" | "refused", { host, port, subset }: Asked): string {
  return `${direction}|${port}|${subset ?? ""}|${host}`;
}

function warning(message: string): Missing {
  return { severity: "warning", message };
}

function describeRule({ rules }: MergedRule): string {
  return rules.map(objectKey).join(", ");
}

/** Endpoints that carry the subset's labels, in an order of their own, each once. @param told labels that go with them */
function endpointsOf(port: ServicePort, labels: Readonly<Record<string, string>>, told: readonly string[]): readonly Endpoint[] {
  const byPlace = new Map<string, Endpoint>();
  for (const { address, port: number, weight, locality, labels: carried } of port.endpoints) {
    const place = `${address} ${number}`;
    if (!selects(labels, carried) || byPlace.has(place)) continue;
    const known = told.flatMap((name) => (carried[name] === undefined ? [] : [[name, carried[name]] as const]));
    byPlace.set(place, {
      address,
      port: number,
      weight,
      ...(locality === undefined ? {} : { locality }),
      ...(known.length === 0 ? {} : { labels: known }),
    });
  }
  return [...byPlace.entries()].sort(([a], [b]) => compareText(a, b)).map(([, endpoint]) => endpoint);
}

/** Where every endpoint is an address there is nothing to look up. */
function discoveryOf({ resolution }: Service, port: ServicePort): Cluster["discovery"] {
  if (port.endpoints.every(({ address }) => isIpLiteral(address))) return "static";
  return resolution === "dns-round-robin" ? "logical-dns" : "dns";
}

/** 0 stands for the default in limits, and for "never" in the idle timeout. */
function poolSettings(pool: ConnectionPool | undefined): PoolSettings {
  const tcpIdle = pool?.tcp?.idleTimeout ?? DEFAULT_IDLE_TIMEOUT_MS;
  const idle = pool?.http?.idleTimeout ?? tcpIdle;
  return {
    connectTimeoutMs: pool?.tcp?.connectTimeout ?? DEFAULT_CONNECT_TIMEOUT_MS,
    idleTimeoutMs: idle === 0 ? NEVER_MS : idle,
    maxConnections: limitOf(pool?.tcp?.maxConnections),
    maxPendingRequests: limitOf(pool?.http?.http1MaxPendingRequests),
    maxRequestsPerConnection: Math.min(pool?.http?.maxRequestsPerConnection ?? 0, UNLIMITED),
    ...(pool?.tcp?.maxConnectionDuration === undefined ? {} : { maxConnectionMs: pool.tcp.maxConnectionDuration }),
    ...(pool?.tcp?.tcpKeepalive === undefined ? {} : { keepAlive: keepAlive(pool.tcp.tcpKeepalive) }),
    ...(tcpIdle === idle ? {} : { tcpIdleTimeoutMs: tcpIdle === 0 ? NEVER_MS : tcpIdle }),
  };
}

/** What is left out is as Linux has it. */
function keepAlive({ time, interval, probes }: NonNullable<NonNullable<ConnectionPool["tcp"]>["tcpKeepalive"]>): TcpKeepAlive {
  return {
    idleMs: time ?? DEFAULT_KEEPALIVE_MS,
    ...(interval === undefined ? {} : { intervalMs: interval }),
    ...(probes === undefined || probes === 0 ? {} : { probes: Math.min(probes, MAX_KEEPALIVE_PROBES) }),
  };
}

const DEFAULT_KEEPALIVE_MS = 7_200_000;
/** Linux: tcp(7), TCP_KEEPCNT. */
const MAX_KEEPALIVE_PROBES = 127;

function limitOf(limit: number | undefined): number {
  return Math.min(limit || UNLIMITED, UNLIMITED);
}

/** SNI and the name in the certificate come from the service's host when the rule does not say. */
function tlsTowards({ tls }: PolicyBlocks, service: Service): ClientTls | undefined {
  if (tls?.value.mode !== "SIMPLE" && tls?.value.mode !== "MUTUAL") return undefined;
  const made = clientTls(tls.value, tls.rule.metadata.namespace, isWildcard(service.host) ? undefined : service.host);
  return made.subjectAltNames.length > 0 ? made : { ...made, subjectAltNames: service.subjectAltNames };
}

/** Plain text, or TLS without the certificate, is not what the rule asks for: nothing is sent. */
function unusableCredential({ tls }: PolicyBlocks): Missing | undefined {
  if (tls?.value.credentialName === undefined || tls.value.mode === "DISABLE") return undefined;
  const why = whyNotUsable(tls.value.credentialName, tls.rule.metadata.namespace);
  return why === undefined ? undefined : { severity: "unsupported", message: `${describeRuleTls(tls)}.credentialName: ${why}` };
}

function describeRuleTls({ rule, path }: NonNullable<PolicyBlocks["tls"]>): string {
  return `DestinationRule ${objectKey(rule)} ${path}`;
}
