/** The balancer of endpoints that are all to be chosen from. */
import type { LoadBalancer } from "../ir/index.ts";
import { unreachable } from "../result.ts";
import type { Balancer, Weighted } from "./balancer.ts";
import { HashBalancer, hashMember } from "./hash-balancer.ts";
import type { HashKind, HashMember, HashTable } from "./hash-table.ts";
import { LeastRequestBalancer } from "./least-request.ts";
import { RandomBalancer } from "./random.ts";
import { type RoundCursor, RoundRobinBalancer } from "./round-robin.ts";

export type TableSource = (kind: HashKind, size: number, members: readonly HashMember[]) => HashTable;

/** @param members at least one */
export function leafBalancer(
  { policy, hash }: LoadBalancer,
  members: readonly Weighted[],
  cursor: RoundCursor,
  tables: TableSource,
): Balancer {
  switch (policy) {
    case "round-robin":
      return new RoundRobinBalancer(members, cursor);
    case "random":
      return new RandomBalancer(members);
    case "least-request":
      return new LeastRequestBalancer(members);
    case "ring-hash":
    case "maglev":
      return new HashBalancer(members, tables(policy, hash?.tableSize ?? DEFAULT_PLACES[policy], members.map(hashMember)));
    default:
      return unreachable(policy);
  }
}

/** Istio's defaults; a snapshot that was decoded says the size itself. */
const DEFAULT_PLACES: { readonly [kind in HashKind]: number } = { "ring-hash": 1024, maglev: 65_537 };
