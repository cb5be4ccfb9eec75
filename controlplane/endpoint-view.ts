/** Endpoints as an operator sees them: those of the pool's snapshot, with what each connected gateway has reported about them. */
import type { Cluster, ClusterEndpoints, Snapshot } from "../gateway/core/ir/index.ts";
import type { EndpointFilter, EndpointView } from "./api/index.ts";
import type { GatewayStatus, ReportedEndpoint } from "./distribute/index.ts";

/** Of one pool. Without a connected gateway nobody knows how its endpoints are. */
export function endpointViews(
  pool: string,
  { clusters, endpoints }: Pick<Snapshot, "clusters" | "endpoints">,
  gateways: readonly GatewayStatus[],
  filter: EndpointFilter,
): readonly EndpointView[] {
  if (filter.pool !== undefined && filter.pool !== pool) return [];
  const lists = new Map(endpoints.map((list) => [list.cluster, list]));
  const wanted = clusters.filter(({ host }) => isService(host, filter.service));
  const told = gateways.filter((gateway) => gateway.pool === pool && gateway.connected && isGateway(gateway, filter.gateway));
  if (told.length === 0) {
    if (filter.gateway !== undefined) return [];
    return wanted.flatMap((cluster) => configured(pool, undefined, cluster, lists.get(cluster.name), []));
  }
  return told.flatMap((gateway) => {
    const reported = Map.groupBy(gateway.endpoints, ({ cluster }) => cluster);
    return wanted.flatMap((cluster) =>
      configured(pool, gateway.id, cluster, lists.get(cluster.name), reported.get(cluster.name) ?? []),
    );
  });
}

function isService(host: string, wanted: string | undefined): boolean {
  return wanted === undefined || host === wanted || host.startsWith(`${wanted}.`);
}

function isGateway({ id }: GatewayStatus, wanted: string | undefined): boolean {
  return wanted === undefined || id === wanted;
}

function configured(
  pool: string,
  gateway: string | undefined,
  cluster: Cluster,
  list: ClusterEndpoints | undefined,
  reported: readonly ReportedEndpoint[],
): readonly EndpointView[] {
  const { name, host, port, subset } = cluster;
  const service = { pool, gateway, cluster: name, host, servicePort: port, subset };
  const seen = reported.map(({ cluster: _, ...endpoint }): EndpointView => ({ ...service, ...endpoint }));
  const known = new Set(seen.flatMap((endpoint) => [placeOf(endpoint), `${endpoint.hostname} ${endpoint.port}`]));
  const rest = (list?.endpoints ?? []).filter((endpoint) => !known.has(placeOf(endpoint)));
  const unwatched = rest.map(
    (endpoint): EndpointView => ({
      ...service,
      address: endpoint.address,
      port: endpoint.port,
      hostname: undefined,
      locality: endpoint.locality,
      weight: endpoint.weight,
      state: gateway === undefined ? "unknown" : "healthy",
      reason: undefined,
      sinceMs: undefined,
    }),
  );
  return [...seen, ...unwatched].sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1));
}

function placeOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return `${address} ${port}`;
}
