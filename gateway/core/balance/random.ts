import type { Random } from "../ports.ts";
import type { UpstreamTarget } from "../step.ts";
import { type Balancer, equalWeights, type Weighted } from "./balancer.ts";

/** Every attempt a throw of the dice; shares follow the weights. */
export class RandomBalancer implements Balancer {
  readonly #targets: readonly UpstreamTarget[];
  /** Running sums of the weights; undefined when all are equal. */
  readonly #sums: Float64Array | undefined;

  /** @param members at least one */
  constructor(members: readonly Weighted[]) {
    this.#targets = members.map((member) => member.target);
    if (equalWeights(members)) return;
    let sum = 0;
    this.#sums = Float64Array.from(members, (member) => {
      sum += member.weight;
      return sum;
    });
  }

  next(random: Random): UpstreamTarget {
    const index = this.#sums === undefined ? Math.floor(random() * this.#targets.length) : indexInSums(this.#sums, random());
    return this.#targets[index] as UpstreamTarget;
  }
}

/** Where a throw in [0, 1) falls among running sums. */
function indexInSums(sums: Float64Array, thrown: number): number {
  const at = thrown * (sums[sums.length - 1] as number);
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sums[middle] as number) > at) high = middle;
    else low = middle + 1;
  }
  return low;
}
