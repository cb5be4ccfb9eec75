/** Which endpoint of a cluster takes the next attempt. */
import type { Random } from "../ports.ts";
import type { UpstreamEndpoint, UpstreamTarget } from "../step.ts";

export interface Balancer {
  /**
   * One choice; undefined: there is nobody to choose. Asked again, it may answer otherwise.
   *
   * @param nowMs monotonic
   * @param hash 32 bits of the request (hash.ts); undefined: it goes anywhere. Only balancers by hash look at it.
   */
  next(random: Random, nowMs: number, hash: number | undefined): UpstreamTarget | undefined;
  /** A choice where none of `tried` was found, as far as the cluster has such a place. Absent: its endpoints are all in one place. */
  elsewhere?(
    random: Random,
    nowMs: number,
    hash: number | undefined,
    tried: readonly UpstreamEndpoint[],
  ): UpstreamTarget | undefined;
}

/** An endpoint with its weight in the snapshot at hand (the endpoint itself outlives snapshots). */
export interface Weighted {
  readonly target: UpstreamTarget;
  readonly weight: number;
}

/** How often a retry asks again to get away from endpoints that were tried already (Istio's default). */
export const MAX_REPICKS = 5;

/** A choice that avoids `tried` as far as MAX_REPICKS tries allow: a cluster of one endpoint is retried on it. By hash there is only one choice. */
export function pickUntried(
  balancer: Balancer,
  random: Random,
  nowMs: number,
  hash: number | undefined,
  tried: readonly UpstreamEndpoint[],
): UpstreamTarget | undefined {
  let target = balancer.next(random, nowMs, hash);
  for (let i = 0; i < MAX_REPICKS && target !== undefined && tried.includes(target.endpoint); i++) {
    target = balancer.next(random, nowMs, hash);
  }
  return target;
}

/** All weights are the same, so that they need not be looked at. */
export function equalWeights(members: readonly Weighted[]): boolean {
  const first = members[0]?.weight;
  return members.every((member) => member.weight === first);
}
