/** Clusters with their endpoints. What lives longer than a snapshot (endpoints, counts) is taken over from the tables before. */
import type { Balancer, Weighted } from "../balance/balancer.ts";
import { LeastRequestBalancer } from "../balance/least-request.ts";
import { RandomBalancer } from "../balance/random.ts";
import { RoundRobinBalancer } from "../balance/round-robin.ts";
import type { Cluster, ClusterEndpoints, Endpoint } from "../ir/index.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { type Issue, unreachable } from "../result.ts";
import type { UpstreamEndpoint } from "../step.ts";

export interface CompiledCluster {
  readonly source: Cluster;
  readonly endpoints: readonly UpstreamEndpoint[];
  readonly state: ClusterState;
  /** Undefined: there is no endpoint. */
  readonly balancer: Balancer | undefined;
  /** Of the service itself. */
  readonly quotas: readonly CompiledQuota[];
  /** What the endpoints were compiled from. */
  readonly endpointSource: readonly Endpoint[];
}

/** What a cluster counts, by name and over snapshots. */
export interface ClusterState {
  /** Requests with an attempt in flight or about to be repeated. */
  active: number;
  /** Those of them that are in a retry or waiting for one. */
  retrying: number;
  cursor: number;
}

export type ClusterMap = ReadonlyMap<string, CompiledCluster>;

export function compileClusters(
  clusters: readonly Cluster[],
  endpoints: readonly ClusterEndpoints[],
  quotas: ReadonlyMap<string, CompiledQuota>,
  previous: ClusterMap | undefined,
  issues: Issue[],
): ClusterMap {
  const byCluster = new Map<string, readonly Endpoint[]>();
  for (const [i, entry] of endpoints.entries()) {
    if (byCluster.has(entry.cluster))
      issues.push({ path: `endpoints[${i}].cluster`, problem: `a second list for ${entry.cluster}; one per cluster is allowed` });
    byCluster.set(entry.cluster, entry.endpoints);
  }
  const compiled = new Map<string, CompiledCluster>();
  for (const [i, cluster] of clusters.entries()) {
    if (compiled.has(cluster.name))
      issues.push({ path: `clusters[${i}].name`, problem: `a second cluster ${cluster.name}; names are unique` });
    const charged = quotasOf(cluster, `clusters[${i}].quotas`, quotas, issues);
    compiled.set(cluster.name, compileCluster(cluster, byCluster.get(cluster.name) ?? [], charged, previous?.get(cluster.name)));
  }
  return compiled;
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

function compileCluster(
  source: Cluster,
  endpointSource: readonly Endpoint[],
  quotas: readonly CompiledQuota[],
  previous: CompiledCluster | undefined,
): CompiledCluster {
  const isSame = previous !== undefined && previous.source === source && previous.endpointSource === endpointSource;
  // Quotas are compiled anew with every snapshot.
  if (isSame && quotas.length === 0 && previous.quotas.length === 0) return previous;
  const state = previous?.state ?? { active: 0, retrying: 0, cursor: 0 };
  const known = previous === undefined ? undefined : new Map(previous.endpoints.map((endpoint) => [endpoint.key, endpoint]));
  const members: Weighted[] = endpointSource.map((endpoint) => {
    const key = `${source.name}|${endpoint.address}|${endpoint.port}`;
    const kept = known?.get(key) ?? {
      key,
      address: endpoint.address,
      port: endpoint.port,
      weight: endpoint.weight,
      active: 0,
      runtime: undefined,
    };
    const { pool, tls, via, protocol, http2 } = source;
    const target = { endpoint: kept, pool, tls, ...(via === undefined ? {} : { via }), protocol, http2 };
    return { target, weight: endpoint.weight };
  });
  return {
    source,
    endpointSource,
    quotas,
    state,
    endpoints: members.map((member) => member.target.endpoint),
    balancer: members.length === 0 ? undefined : balancerFor(source.loadBalancer.policy, members, state),
  };
}

function balancerFor(policy: Cluster["loadBalancer"]["policy"], members: readonly Weighted[], state: ClusterState): Balancer {
  switch (policy) {
    case "round-robin":
      return new RoundRobinBalancer(members, state);
    case "random":
      return new RandomBalancer(members);
    case "least-request":
      return new LeastRequestBalancer(members);
    default:
      return unreachable(policy);
  }
}
