/** Which endpoint of a cluster takes the next attempt. */
import type { Random } from "../ports.ts";
import type { UpstreamEndpoint, UpstreamTarget } from "../step.ts";

export interface Balancer {
  /** One choice. Asked again, it may answer otherwise. */
  next(random: Random): UpstreamTarget;
}

/** An endpoint with its weight in the snapshot at hand (the endpoint itself outlives snapshots). */
export interface Weighted {
  readonly target: UpstreamTarget;
  readonly weight: number;
}

/** How often a retry asks again to get away from endpoints that were tried already (Istio's default). */
export const MAX_REPICKS = 5;

/** A choice that avoids `tried` as far as MAX_REPICKS tries allow: a cluster of one endpoint is retried on it. */
export function pickUntried(balancer: Balancer, random: Random, tried: readonly UpstreamEndpoint[]): UpstreamTarget {
  let target = balancer.next(random);
  for (let i = 0; i < MAX_REPICKS && tried.includes(target.endpoint); i++) target = balancer.next(random);
  return target;
}

/** All weights are the same, so that they need not be looked at. */
export function equalWeights(members: readonly Weighted[]): boolean {
  const first = members[0]?.weight;
  return members.every((member) => member.weight === first);
}
