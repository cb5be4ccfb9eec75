import type { ClusterState } from "../compile/clusters.ts";
import type { Cluster } from "../ir/index.ts";

/**
 * Can the cluster take one more retry? Retries are at most `percent` of the requests in flight, so that they cannot multiply the load
 * on a cluster that is failing; `minConcurrent` keeps them possible when there is little traffic.
 */
export function affordsRetry(budget: Cluster["retryBudget"], state: ClusterState): boolean {
  return state.retrying < Math.max(budget.minConcurrent, Math.floor((state.active * budget.percent) / 100));
}
