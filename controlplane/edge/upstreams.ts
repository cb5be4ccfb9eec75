/**
 * Servers that a self-hosted site cannot reach by their URL: those that are told another Host than their own name. Each is bound to the
 * ingress Worker as a server of its own, by which its address no longer depends on the URL. The address is looked up when workerd
 * starts, so servers that a URL can reach are left to it.
 */
import { type Cluster, type Endpoint, type ForwardAction, type Snapshot, upstreamBinding } from "../../gateway/core/ir/index.ts";

export interface SiteUpstream {
  /** Under which the Worker looks for it. */
  readonly binding: string;
  /** `host:port`. */
  readonly address: string;
  /** Name that its certificate is for; undefined: plain HTTP. */
  readonly certificateHost: string | undefined;
}

/** Each server once. Services inside a cluster are reached through its ingress, which is told the Host in the passport. */
export function siteUpstreams({ clusters, endpoints, routeTables }: SnapshotParts): readonly SiteUpstream[] {
  const outside = new Map(clusters.filter(({ via }) => via === undefined).map((cluster) => [cluster.name, cluster]));
  const placed = new Map(endpoints.map((one) => [one.cluster, one.endpoints]));
  const found = new Map<string, SiteUpstream>();
  for (const { cluster: name, hosts } of routeTables.flatMap(sends)) {
    const cluster = outside.get(name);
    if (cluster === undefined) continue;
    for (const endpoint of placed.get(name) ?? []) {
      const own = urlHost(cluster, endpoint);
      if (hosts.every((host) => host === own)) continue;
      const upstream = upstreamOf(cluster, endpoint);
      found.set(upstream.binding, upstream);
    }
  }
  return [...found.values()].sort((a, b) => (a.binding < b.binding ? -1 : 1));
}

type SnapshotParts = Pick<Snapshot, "clusters" | "endpoints" | "routeTables">;

interface Send {
  readonly cluster: string;
  /** What Host may be: the route's, or the client's own, which is one of the virtual host's. */
  readonly hosts: readonly string[];
}

function sends({ virtualHosts }: Snapshot["routeTables"][number]): readonly Send[] {
  return virtualHosts.flatMap(({ domains, routes }) =>
    routes.flatMap(({ action }) => (action.kind === "forward" ? destinations(action, domains) : [])),
  );
}

function destinations({ destinations: all, mirrors, rewrite }: ForwardAction, domains: readonly string[]): readonly Send[] {
  return [...all, ...mirrors].map((destination) => {
    const authority = rewrite?.authority ?? ("authority" in destination ? destination.authority : undefined);
    return { cluster: destination.cluster, hosts: authority === undefined ? domains : [authority.toLowerCase()] };
  });
}

function upstreamOf({ tls }: Cluster, { address, port }: Endpoint): SiteUpstream {
  return {
    binding: upstreamBinding(address, port),
    address: `${bracketed(address)}:${port}`,
    certificateHost: tls === undefined ? undefined : (tls.serverName ?? address),
  };
}

/** Host as a URL to the endpoint has it: the scheme's own port is not written (RFC 9110 4.2.3). */
function urlHost({ tls }: Cluster, { address, port }: Endpoint): string {
  return port === (tls === undefined ? 80 : 443) ? bracketed(address) : `${bracketed(address)}:${port}`;
}

function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
