/** The endpoints of a cluster as balancers take them: with target, weight and place. */
import { parseAddress } from "../egress/address.ts";
import type { Cluster, Endpoint, PoolSettings } from "../ir/index.ts";
import type { UpstreamEndpoint, UpstreamTarget } from "../step.ts";
import type { Weighted } from "./balancer.ts";
import { type Place, placesOf } from "./locality.ts";

/** What a name stands for, as a runtime that resolves names has found out. */
export type NameAnswer =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  /** Never resolved so far: once there are addresses, a failure keeps them. */
  | { readonly kind: "failed"; readonly reason: string };

/** A runtime's resolver as the balancers see it. Names without an answer yet are used as they are. */
export interface Names {
  /** Grows with each change of an answer. */
  readonly version: number;
  get(name: string): NameAnswer | undefined;
}

export interface Member extends Weighted {
  readonly place: Place;
  readonly locality: string | undefined;
}

/** Endpoints by key, as they outlive snapshots and answers of the resolver. */
export type KnownEndpoints = ReadonlyMap<string, UpstreamEndpoint>;

export interface MemberSource {
  readonly cluster: Cluster;
  readonly endpoints: readonly Endpoint[];
  /** The thread's share of the cluster's. */
  readonly pool: PoolSettings;
  /** Of the gateway. */
  readonly locality: string | undefined;
}

/** One member per endpoint as the snapshot has it, known ones first; what the place's policy leaves out is not among them. */
export function membersOf(source: MemberSource, known: KnownEndpoints | undefined): readonly Member[] {
  const { cluster, endpoints, locality } = source;
  const places = placesOf(cluster.loadBalancer.locality, endpoints, locality);
  return endpoints.flatMap((endpoint, i) => {
    const place = places[i];
    if (place === undefined) return [];
    return {
      target: targetOf(source, endpoint.address, endpoint, known),
      weight: endpoint.weight,
      place,
      locality: endpoint.locality,
    };
  });
}

/** The same with names in the place of which their addresses stand, each once. */
export function resolvedMembers(source: MemberSource, names: Names, known: KnownEndpoints): readonly Member[] {
  const { cluster, endpoints, locality } = source;
  const places = placesOf(cluster.loadBalancer.locality, endpoints, locality);
  const members = new Map<string, Member>();
  for (const [i, endpoint] of endpoints.entries()) {
    const place = places[i];
    if (place === undefined) continue;
    for (const address of addressesOf(cluster, endpoint.address, names)) {
      const target = targetOf(source, address, endpoint, known);
      if (members.has(target.endpoint.key)) continue;
      members.set(target.endpoint.key, { target, weight: endpoint.weight, place, locality: endpoint.locality });
    }
  }
  return [...members.values()];
}

function addressesOf({ discovery }: Cluster, address: string, names: Names): readonly string[] {
  const found = parseAddress(address) !== undefined ? undefined : names.get(address);
  if (found === undefined) return [address];
  if (found.kind === "failed") return [];
  return discovery === "logical-dns" ? found.addresses.slice(0, 1) : found.addresses;
}

/** @param endpoint as configured: a name that `address` is one of, or that address itself */
function targetOf(
  { cluster, pool }: MemberSource,
  address: string,
  endpoint: Endpoint,
  known: KnownEndpoints | undefined,
): UpstreamTarget {
  const key = `${cluster.name}|${address}|${endpoint.port}`;
  const { tls, via, protocol, http2, proxyProtocol } = cluster;
  const kept = known?.get(key) ?? {
    key,
    address,
    port: endpoint.port,
    weight: endpoint.weight,
    active: 0,
    runtime: undefined,
    hostname: address === endpoint.address ? undefined : endpoint.address,
    health: undefined,
  };
  return { endpoint: kept, pool, tls, ...(via === undefined ? {} : { via }), protocol, http2, proxyProtocol };
}
