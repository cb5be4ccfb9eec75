import type { CompiledCluster } from "../compile/clusters.ts";

/**
 * Can the cluster take one more retry? Retries are at most `percent` of the requests in flight, so that they cannot multiply the load
 * on a cluster that is failing; `minConcurrent` keeps them possible when there is little traffic, and `maxRetries` is never exceeded.
 */
export function affordsRetry({
  retryBudget,
  state,
  circuit,
}: Pick<CompiledCluster, "retryBudget" | "state" | "circuit">): boolean {
  const { percent, minConcurrent } = retryBudget;
  const allowed = Math.max(minConcurrent, Math.floor((state.active * percent) / 100));
  return state.retrying < Math.min(allowed, circuit?.maxRetries ?? Number.POSITIVE_INFINITY);
}
