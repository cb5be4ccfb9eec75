import type { Random } from "../ports.ts";
import type { UpstreamTarget } from "../step.ts";
import type { Balancer, Weighted } from "./balancer.ts";
import { RandomBalancer } from "./random.ts";

/**
 * The less busy of two random choices. Both choices follow the weights, and so does the idle cluster; under load requests in flight
 * are compared as they are, because the weight was already in the throw.
 */
export class LeastRequestBalancer implements Balancer {
  readonly #dice: RandomBalancer;

  /** @param members at least one */
  constructor(members: readonly Weighted[]) {
    this.#dice = new RandomBalancer(members);
  }

  next(random: Random): UpstreamTarget {
    const one = this.#dice.next(random);
    const other = this.#dice.next(random);
    return other.endpoint.active < one.endpoint.active ? other : one;
  }
}
