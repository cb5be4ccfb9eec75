import type { UpstreamTarget } from "../step.ts";
import { type Balancer, equalWeights, type Weighted } from "./balancer.ts";

/** Where a cluster's round stands; carried from snapshot to snapshot, so that a swap does not send everybody to the first endpoint. */
export interface RoundCursor {
  cursor: number;
}

/** Longest round. Weights whose smallest round is longer are rounded to fit, to the nearest of so many parts. */
export const MAX_ROUND = 4096;

/** One after the other; with weights, each as often as its weight says and as evenly spread as can be. */
export class RoundRobinBalancer implements Balancer {
  readonly #round: readonly UpstreamTarget[];
  readonly #state: RoundCursor;

  /** @param members at least one */
  constructor(members: readonly Weighted[], state: RoundCursor) {
    this.#round = equalWeights(members) ? members.map((member) => member.target) : spread(members);
    this.#state = state;
  }

  next(): UpstreamTarget {
    const at = this.#state.cursor % this.#round.length;
    this.#state.cursor = at + 1;
    return this.#round[at] as UpstreamTarget;
  }
}

/** A round in which member i has its k-th turn at (k + ½) / turns. */
function spread(members: readonly Weighted[]): readonly UpstreamTarget[] {
  const counts = turns(members.map((member) => member.weight));
  const slots: { at: number; target: UpstreamTarget }[] = [];
  for (const [i, member] of members.entries()) {
    const count = counts[i] ?? 1;
    for (let k = 0; k < count; k++) slots.push({ at: (k + 0.5) / count, target: member.target });
  }
  return slots.sort((a, b) => a.at - b.at).map((slot) => slot.target);
}

function turns(weights: readonly number[]): readonly number[] {
  const divisor = weights.reduce(greatestCommonDivisor);
  const smallest = weights.map((weight) => weight / divisor);
  const sum = smallest.reduce((a, b) => a + b);
  if (sum <= MAX_ROUND) return smallest;
  // Never to zero: a weight that is positive gets its turn.
  return smallest.map((weight) => Math.max(1, Math.round((weight * MAX_ROUND) / sum)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
