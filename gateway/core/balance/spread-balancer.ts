import type { Random } from "../ports.ts";
import type { UpstreamTarget } from "../step.ts";
import type { Balancer } from "./balancer.ts";
import { HASH_RANGE, spread } from "./hash.ts";

/** Parts of a cluster (levels, places) by their shares. A request with a hash finds the same part as long as the shares stay. */
export class SpreadBalancer implements Balancer {
  readonly #parts: readonly Balancer[];
  /** Running sums of the shares. */
  readonly #upTo: readonly number[];
  readonly #sum: number;

  /** @param parts at least one, with positive shares */
  constructor(parts: readonly { readonly balancer: Balancer; readonly share: number }[]) {
    let sum = 0;
    this.#parts = parts.map(({ balancer }) => balancer);
    this.#upTo = parts.map(({ share }) => {
      sum += share;
      return sum;
    });
    this.#sum = sum;
  }

  next(random: Random, nowMs: number, hash: number | undefined): UpstreamTarget | undefined {
    // Another number than the one that chooses inside of the part.
    const at = (hash === undefined ? random() : spread(hash ^ PART_SEED) / HASH_RANGE) * this.#sum;
    let part = 0;
    while (part < this.#parts.length - 1 && at >= (this.#upTo[part] as number)) part++;
    return this.#parts[part]?.next(random, nowMs, hash);
  }
}

const PART_SEED = 0x2545f491;
