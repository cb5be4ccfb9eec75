/** Configuration and registry → the snapshot of one gateway pool. */

import type { Cluster, RouteTable, Snapshot } from "../../gateway/core/ir/index.ts";
import { Clusters } from "./clusters.ts";
import { addNamedClusters } from "./connections.ts";
import { DestinationRules } from "./destination-rules.ts";
import { egressConfig, forwardProxyListener } from "./egress.ts";
import { listenerOf, planListeners, redirectTargets, tablesOf } from "./listeners.ts";
import { groupObjects } from "./objects.ts";
import { QuotaTargets } from "./quota-targets.ts";
import { bindVirtualServices, selectGateways } from "./scope.ts";
import { settingsOf } from "./settings.ts";
import { Status } from "./status.ts";
import { routeTable } from "./tables.ts";
import type { LocatedPool, TranslateInput, Translation, WantedService } from "./types.ts";

/** Pure: the same input, in any order of objects, gives the same bytes as JSON. It never throws on accepted objects. */
export function translate(input: TranslateInput): Translation {
  const { registry, mesh } = input;
  const status = new Status();
  const { site } = input.pool;
  const pool: LocatedPool = {
    ...input.pool,
    namespace: input.pool.namespace ?? site?.metadata.namespace ?? mesh.rootNamespace,
  };
  const objects = groupObjects(input.config);
  for (const meshConfig of objects.meshConfigs) status.programmed(meshConfig);
  if (site !== undefined) status.programmed(site);
  if (site !== undefined && mesh.healthChecks.length > 0) {
    const message = `site ${site.metadata.name}: a Worker runs for requests only, so endpoints are not asked from there`;
    for (const meshConfig of objects.meshConfigs) status.report("warning", meshConfig, "spec.healthChecks", message);
  }
  const quotas = new QuotaTargets(objects, registry, mesh, status);
  const rules = new DestinationRules(objects.destinationRules, pool, mesh.rootNamespace, status);
  const clusters = new Clusters(registry, rules, pool, status, mesh.healthChecks);
  const gateways = selectGateways(objects.gateways, pool);
  const listeners = planListeners(gateways, pool, status);
  const bindings = bindVirtualServices(objects.virtualServices, gateways, pool, status);
  const context = { clusters, quotas, pool, status, bindings, redirects: redirectTargets(listeners) };
  const routeTables: RouteTable[] = listeners.flatMap(tablesOf).map((table) => routeTable(table, context));
  for (const wanted of input.sites?.services ?? []) addWanted(wanted, clusters, pool, status);
  const named = listeners.flatMap((listener) => listener.servers).filter(({ protocol }) => protocol === "auto-passthrough");
  for (const server of named) addNamedClusters(server, context, { all: registry.services, namespace: pool.namespace });
  const routed = listeners.map((listener) => listenerOf(listener, pool, context));
  const proxyPort = pool.role === "egress" ? pool.forwardProxyPort : undefined;
  const egress =
    pool.role === "egress" || site?.spec.egress === true
      ? egressConfig(objects.egressPolicies, {
          mesh,
          namespace: pool.namespace,
          registry,
          quotas,
          users: input.proxyUsers ?? [],
          status,
          site: site && { name: site.metadata.name, runtime: site.spec.runtime },
        })
      : undefined;
  const keepsBank = site !== undefined && site === input.bank?.site;
  if (keepsBank) quotas.addGlobal();
  const snapshot: Snapshot = {
    settings: settingsOf(mesh, input.sites, keepsBank ? undefined : input.bank, pool.locality),
    listeners: [...routed, ...(proxyPort === undefined ? [] : [forwardProxyListener(pool.bind, proxyPort)])],
    routeTables,
    clusters: input.sites?.passports === undefined ? clusters.list() : clusters.list().map((cluster) => limited(cluster, quotas)),
    endpoints: clusters.endpoints(),
    quotas: quotas.used(),
    egress,
  };
  return { snapshot, problems: status.problems(), programmed: status.programmedRefs() };
}

/** A request with a passport meets no route, so the service's own quotas go with its cluster. */
function limited(cluster: Cluster, targets: QuotaTargets): Cluster {
  const quotas = targets.ofService(cluster.host);
  return quotas.length === 0 ? cluster : { ...cluster, quotas };
}

/** A service that a site reaches through this pool's gateways. */
function addWanted(wanted: WantedService, clusters: Clusters, pool: LocatedPool, status: Status): void {
  status.programmed(wanted.site);
  const missing = clusters.want(wanted);
  if (missing === undefined) return;
  status.report(
    "warning",
    wanted.site,
    "spec.clusters",
    `pool ${pool.name}: ${missing}; the site's requests are answered with 503`,
  );
}
