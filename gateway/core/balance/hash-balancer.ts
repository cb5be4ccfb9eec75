import type { Random } from "../ports.ts";
import type { UpstreamTarget } from "../step.ts";
import type { Balancer, Weighted } from "./balancer.ts";
import { HASH_RANGE } from "./hash.ts";
import type { HashMember, HashTable } from "./hash-table.ts";

/** Requests with one hash go to one endpoint; those without go anywhere. */
export class HashBalancer implements Balancer {
  readonly #targets: readonly UpstreamTarget[];
  readonly #table: HashTable;

  /** @param members those that `table` was built from, in that order */
  constructor(members: readonly Weighted[], table: HashTable) {
    this.#targets = members.map((member) => member.target);
    this.#table = table;
  }

  next(random: Random, _nowMs: number, hash: number | undefined): UpstreamTarget {
    const at = this.#table.memberAt(hash ?? Math.floor(random() * HASH_RANGE));
    return this.#targets[at] as UpstreamTarget;
  }
}

export function hashMember({ target, weight }: Weighted): HashMember {
  return { name: `${target.endpoint.address}:${target.endpoint.port}`, weight };
}
