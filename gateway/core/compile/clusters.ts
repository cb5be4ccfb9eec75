/** Clusters with their endpoints. What lives longer than a snapshot (endpoints, counts, health) is taken over from the tables before. */
import type { Balancer } from "../balance/balancer.ts";
import { HashTables, MAX_HASH_TABLE_BYTES } from "../balance/hash-table.ts";
import { leafBalancer } from "../balance/leaf.ts";
import { ManagedBalancer, type ManagedState } from "../balance/managed.ts";
import { type KnownEndpoints, type MemberSource, membersOf, type Names } from "../balance/members.ts";
import { ClusterHealth, type HealthListener } from "../health/cluster-health.ts";
import type { CircuitLimits, Cluster, ClusterEndpoints, Endpoint, HashSource, PoolSettings, Snapshot } from "../ir/index.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import type { Issue } from "../result.ts";
import type { UpstreamEndpoint } from "../step.ts";

export interface CompiledCluster {
  readonly source: Cluster;
  /** As configured: of a name that is resolved, there is none. `managed` has those. */
  readonly endpoints: readonly UpstreamEndpoint[];
  readonly state: ClusterState;
  /** Undefined: there is no endpoint. */
  readonly balancer: Balancer | undefined;
  /** The same balancer, where endpoints are not all alike: some may be unwell, far away, or found out by name. */
  readonly managed: ManagedBalancer | undefined;
  /** What attempts came to is to be told to `state.health`. */
  readonly watched: boolean;
  /** What of a request decides where it goes. */
  readonly hash: HashSource | undefined;
  /** Of this thread, for opaque connections. */
  readonly maxConnections: number;
  /** Of this thread. Undefined: no limits. */
  readonly circuit: CircuitLimits | undefined;
  /** Of this thread. */
  readonly retryBudget: Cluster["retryBudget"];
  /** Of the service itself. */
  readonly quotas: readonly CompiledQuota[];
  /** What the endpoints were compiled from. */
  readonly endpointSource: readonly Endpoint[];
  /** Of the gateway, as the endpoints were placed by. */
  readonly locality: string | undefined;
}

/** What a cluster counts and knows, by name and over snapshots. */
export interface ClusterState extends ManagedState {
  /** Requests with an attempt in flight or about to be repeated. */
  active: number;
  /** Those of them that are in a retry or waiting for one. */
  retrying: number;
  /** Opaque connections, those that are being dialled included. */
  connections: number;
  cursor: number;
}

export type ClusterMap = ReadonlyMap<string, CompiledCluster>;

/** What the runtime adds. */
export interface ClusterOptions {
  readonly threads?: number;
  /** Where the gateway is; undefined: as `Settings` say. */
  readonly locality?: string;
  /** The runtime resolves names itself; undefined: names are its endpoints. */
  readonly names?: Names;
  /** Told when an endpoint's health changes. */
  readonly health?: HealthListener;
}

export interface CompiledClusters {
  readonly clusters: ClusterMap;
  readonly hashTables: HashTables;
}

export function compileClusters(
  { clusters, endpoints, settings }: Pick<Snapshot, "clusters" | "endpoints" | "settings">,
  quotas: ReadonlyMap<string, CompiledQuota>,
  previous: CompiledClusters | undefined,
  options: ClusterOptions,
  issues: Issue[],
): CompiledClusters {
  const byCluster = endpointLists(endpoints, issues);
  const hashTables = new HashTables(previous?.hashTables);
  const compiler = new ClusterCompiler(hashTables, options.locality ?? settings.locality, options);
  const compiled = new Map<string, CompiledCluster>();
  for (const [i, cluster] of clusters.entries()) {
    if (compiled.has(cluster.name))
      issues.push({ path: `clusters[${i}].name`, problem: `a second cluster ${cluster.name}; names are unique` });
    const charged = quotasOf(cluster, `clusters[${i}].quotas`, quotas, issues);
    const list = byCluster.get(cluster.name) ?? [];
    compiled.set(cluster.name, compiler.compile(cluster, list, charged, previous?.clusters.get(cluster.name)));
    if (hashTables.bytes > MAX_HASH_TABLE_BYTES) {
      const problem = `with this cluster's, hash tables take more than ${MAX_HASH_TABLE_BYTES} bytes: make tables smaller`;
      issues.push({ path: `clusters[${i}].loadBalancer.hash.tableSize`, problem });
      break;
    }
  }
  // What is refused is not worth building.
  if (issues.length === 0) hashTables.settle();
  return { clusters: compiled, hashTables };
}

function endpointLists(endpoints: readonly ClusterEndpoints[], issues: Issue[]): ReadonlyMap<string, readonly Endpoint[]> {
  const byCluster = new Map<string, readonly Endpoint[]>();
  for (const [i, entry] of endpoints.entries()) {
    if (byCluster.has(entry.cluster))
      issues.push({ path: `endpoints[${i}].cluster`, problem: `a second list for ${entry.cluster}; one per cluster is allowed` });
    byCluster.set(entry.cluster, entry.endpoints);
  }
  return byCluster;
}

function quotasOf(
  { quotas: ids = NO_IDS }: Cluster,
  path: string,
  quotas: ReadonlyMap<string, CompiledQuota>,
  issues: Issue[],
): readonly CompiledQuota[] {
  if (ids.length === 0) return NO_QUOTAS;
  return ids.flatMap((id, i) => {
    const quota = quotas.get(id);
    if (quota === undefined) issues.push({ path: `${path}[${i}]`, problem: `there is no quota ${id} in this snapshot` });
    return quota ?? [];
  });
}

const NO_IDS: readonly string[] = [];
const NO_QUOTAS: readonly CompiledQuota[] = [];

class ClusterCompiler {
  readonly #hashTables: HashTables;
  readonly #locality: string | undefined;
  readonly #options: ClusterOptions;

  constructor(hashTables: HashTables, locality: string | undefined, options: ClusterOptions) {
    this.#hashTables = hashTables;
    this.#locality = locality;
    this.#options = options;
  }

  compile(
    source: Cluster,
    endpointSource: readonly Endpoint[],
    quotas: readonly CompiledQuota[],
    previous: CompiledCluster | undefined,
  ): CompiledCluster {
    const isSame =
      previous !== undefined &&
      previous.source === source &&
      previous.endpointSource === endpointSource &&
      previous.locality === this.#locality;
    // Quotas are compiled anew with every snapshot, and tables by hash are this snapshot's to count.
    if (isSame && quotas.length === 0 && previous.quotas.length === 0 && source.loadBalancer.hash === undefined) return previous;
    const state = previous?.state ?? newState(source.name, this.#options.health);
    const known: KnownEndpoints | undefined =
      previous === undefined ? undefined : new Map(previous.endpoints.map((endpoint) => [endpoint.key, endpoint]));
    const threads = this.#options.threads ?? 1;
    const pool = poolShare(source.pool, threads);
    const from: MemberSource = { cluster: source, endpoints: endpointSource, pool, locality: this.#locality };
    const managed = this.#isManaged(source)
      ? new ManagedBalancer(from, known, state, this.#hashTables, this.#options.names)
      : undefined;
    const members = managed !== undefined && managed.members.length > 0 ? managed.members : membersOf(from, known);
    return {
      source,
      endpointSource,
      quotas,
      state,
      endpoints: members.map((member) => member.target.endpoint),
      managed,
      balancer: endpointSource.length === 0 ? undefined : (managed ?? this.#plain(source, members, state)),
      watched: source.outlier !== undefined,
      hash: source.loadBalancer.hash?.on,
      maxConnections: pool.maxConnections,
      circuit: circuitOf(source.circuit, threads),
      retryBudget: budgetShare(source.retryBudget, threads),
      locality: this.#locality,
    };
  }

  #isManaged({ outlier, healthCheck, loadBalancer, discovery }: Cluster): boolean {
    const { locality, warmup } = loadBalancer;
    const judged = outlier !== undefined || healthCheck !== undefined || warmup !== undefined || locality !== undefined;
    return judged || (discovery !== "static" && this.#options.names !== undefined);
  }

  #plain({ loadBalancer }: Cluster, members: ReturnType<typeof membersOf>, state: ClusterState): Balancer {
    return leafBalancer(loadBalancer, members, state, (kind, size, list) => this.#hashTables.of(kind, size, list));
  }
}

function newState(name: string, health: HealthListener | undefined): ClusterState {
  return {
    active: 0,
    retrying: 0,
    connections: 0,
    cursor: 0,
    health: new ClusterHealth(name, health),
    resolved: new Map(),
    owner: undefined,
    cursors: new Map(),
  };
}

/** Limits are the gateway's; a thread has its share, rounded up. */
function poolShare(pool: PoolSettings, threads: number): PoolSettings {
  if (threads === 1) return pool;
  const { maxConnections, maxPendingRequests } = pool;
  return {
    ...pool,
    maxConnections: Math.ceil(maxConnections / threads),
    maxPendingRequests: Math.ceil(maxPendingRequests / threads),
  };
}

/** The same of what is counted for the service as a whole. */
function circuitOf(limits: CircuitLimits | undefined, threads: number): CircuitLimits | undefined {
  if (limits === undefined) return undefined;
  const { maxRequests, maxRetries } = limits;
  return {
    ...(maxRequests === undefined ? {} : { maxRequests: Math.ceil(maxRequests / threads) }),
    ...(maxRetries === undefined ? {} : { maxRetries: Math.ceil(maxRetries / threads) }),
  };
}

function budgetShare(budget: Cluster["retryBudget"], threads: number): Cluster["retryBudget"] {
  return threads === 1 ? budget : { ...budget, minConcurrent: Math.ceil(budget.minConcurrent / threads) };
}
