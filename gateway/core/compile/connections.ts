/** Connection routes: by SNI name, with weights and address ranges worked out. */
import { type Cidr, parseCidr } from "../egress/address.ts";
import type { ConnectionDestination, ConnectionMatch, ConnectionRoute, ListenerServer } from "../ir/index.ts";
import type { HostTable } from "../match/host.ts";
import type { Issue } from "../result.ts";
import type { ClusterMap, CompiledCluster } from "./clusters.ts";
import { HostNames } from "./routes.ts";

/** How a server finds where a connection goes. */
export type CompiledConnections =
  | { readonly kind: "routes"; readonly byName: HostTable<readonly CompiledConnectionMatch[]> }
  /** The name in the ClientHello is the cluster's; `hosts`: services that it may be for. */
  | { readonly kind: "named"; readonly hosts: HostTable<true>; readonly clusters: ClusterMap };

/** One alternative of one route. */
export interface CompiledConnectionMatch {
  readonly route: CompiledConnectionRoute;
  /** Undefined: any address. */
  readonly destinationSubnets: readonly Cidr[] | undefined;
  readonly sourceSubnets: readonly Cidr[] | undefined;
}

export interface CompiledConnectionRoute {
  readonly source: ConnectionRoute;
  readonly destinations: readonly CompiledConnectionDestination[];
}

export interface CompiledConnectionDestination {
  /** Name in the configuration; it may be missing from the snapshot. */
  readonly name: string;
  readonly cluster: CompiledCluster | undefined;
  /** Share of this destination and those before it, in (0, 1]; the last one's is 1. */
  readonly upTo: number;
}

/** Undefined: the server speaks HTTP. */
export function compileConnections(
  server: ListenerServer,
  path: string,
  clusters: ClusterMap,
  issues: Issue[],
): CompiledConnections | undefined {
  const { tls, connections } = server;
  if (tls?.mode === "auto-passthrough") {
    const hosts = new HostNames<true>();
    for (const [i, host] of tls.hosts.entries()) hosts.add(host, true, `${path}.tls.hosts[${i}]`, issues);
    return { kind: "named", hosts, clusters };
  }
  if (connections === undefined) return undefined;
  const byName = new Map<string, CompiledConnectionMatch[]>();
  for (const [i, route] of connections.entries()) addRoute(route, `${path}.connections[${i}]`, byName, clusters, issues);
  const table = new HostNames<readonly CompiledConnectionMatch[]>();
  for (const [name, matches] of byName) table.add(name, matches, `${path}.connections`, issues);
  return { kind: "routes", byName: table };
}

function addRoute(
  source: ConnectionRoute,
  path: string,
  byName: Map<string, CompiledConnectionMatch[]>,
  clusters: ClusterMap,
  issues: Issue[],
): void {
  const route = { source, destinations: compileDestinations(source.destinations, clusters) };
  const matches: readonly ConnectionMatch[] = source.matches.length === 0 ? [{}] : source.matches;
  for (const [i, match] of matches.entries()) {
    const at = `${path}.matches[${i}]`;
    const compiled: CompiledConnectionMatch = {
      route,
      destinationSubnets: compileSubnets(match.destinationSubnets, `${at}.destinationSubnets`, issues),
      sourceSubnets: compileSubnets(match.sourceSubnets, `${at}.sourceSubnets`, issues),
    };
    for (const name of new Set(match.serverNames ?? ["*"])) {
      const known = byName.get(name);
      if (known === undefined) byName.set(name, [compiled]);
      else known.push(compiled);
    }
  }
}

function compileDestinations(
  destinations: readonly ConnectionDestination[],
  clusters: ClusterMap,
): readonly CompiledConnectionDestination[] {
  const total = destinations.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  return destinations.map(({ cluster: name, weight }, i) => {
    sum += weight;
    return { name, cluster: clusters.get(name), upTo: i === destinations.length - 1 ? 1 : sum / total };
  });
}

function compileSubnets(subnets: readonly string[] | undefined, path: string, issues: Issue[]): readonly Cidr[] | undefined {
  return subnets?.flatMap((text, i) => {
    const cidr = parseCidr(text);
    if (cidr === undefined)
      issues.push({ path: `${path}[${i}]`, problem: `${text} is not an address range with no bits set behind the prefix` });
    return cidr ?? [];
  });
}
