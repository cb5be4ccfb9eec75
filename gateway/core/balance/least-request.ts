import type { Random } from "../ports.ts";
import type { UpstreamTarget } from "../step.ts";
import { type Balancer, equalWeights, type Weighted } from "./balancer.ts";
import { RandomBalancer } from "./random.ts";

/**
 * The less busy of two random choices. Both choices follow the weights, and so does the idle cluster; with unequal weights an endpoint
 * counts as busy as its requests in flight are for its weight, so that the shares hold under load.
 */
export class LeastRequestBalancer implements Balancer {
  readonly #dice: RandomBalancer;
  /** Undefined: all are equal. */
  readonly #weights: ReadonlyMap<UpstreamTarget, number> | undefined;

  /** @param members at least one */
  constructor(members: readonly Weighted[]) {
    this.#dice = new RandomBalancer(members);
    this.#weights = equalWeights(members) ? undefined : new Map(members.map(({ target, weight }) => [target, weight]));
  }

  next(random: Random): UpstreamTarget {
    const one = this.#dice.next(random);
    const other = this.#dice.next(random);
    const weights = this.#weights;
    if (weights === undefined) return other.endpoint.active < one.endpoint.active ? other : one;
    const otherLoad = other.endpoint.active * (weights.get(one) ?? 1);
    return otherLoad < one.endpoint.active * (weights.get(other) ?? 1) ? other : one;
  }
}
