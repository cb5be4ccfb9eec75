/** Sites at the edge as pools: which EdgeSite objects are in force, and what they ask of gateways on Node. */
import { type Cluster, DECODE_LIMITS, type PassportIssuer, type Snapshot } from "../../gateway/core/ir/index.ts";
import { type AnyResource, type MeshConfigSpec, refOf, siteNames } from "../config/index.ts";
import { type Problem, refKey } from "../config/resource.ts";
import { compareText } from "../registry/index.ts";
import { type EdgeSiteResource, groupObjects, type ObjectSet } from "./objects.ts";
import { describe, Status } from "./status.ts";
import type { BankSite, Pool, SiteDemands, SiteKey, WantedService } from "./types.ts";

/** Sites whose passports one pool takes: what a reader of its settings takes at most. */
export const MAX_PASSPORT_ISSUERS = DECODE_LIMITS.listLength;
/** Where a site answers the bank's clients. */
const BANK_PATH = "/.tidegate/bank";

export type SitePool = Pool & { readonly site: EdgeSiteResource };

export interface PlannedSites {
  /** By name. */
  readonly pools: readonly SitePool[];
  readonly problems: readonly Problem[];
}

/**
 * One pool for each site. A site's name, audience and address are its own in the whole mesh: whoever comes later in the order of precedence
 * is left out, with a conflict on both objects.
 */
export function planSites(config: readonly AnyResource[], mesh: MeshConfigSpec): PlannedSites {
  const status = new Status();
  const objects = groupObjects(config);
  const claims = new Map<string, Claim>();
  claimPools(objects, mesh, claims);
  const pools = objects.edgeSites.filter((site) => claimAll(site, claims, status)).map(poolOf);
  return { pools: pools.sort((a, b) => compareText(a.site.metadata.name, b.site.metadata.name)), problems: status.problems() };
}

/** Servers of a site listen wherever the platform takes requests, at the ports that their Gateways declare. */
function poolOf(site: EdgeSiteResource): SitePool {
  return { name: siteNames(site).audience, labels: {}, role: "ingress", bind: "0.0.0.0", ports: {}, site };
}

interface Claim {
  /** Undefined: the mesh's own default. */
  readonly owner: AnyResource | undefined;
  readonly path: string;
}

function claimPools(objects: ObjectSet, mesh: MeshConfigSpec, claims: Map<string, Claim>): void {
  mesh.gatewayPools.forEach(({ name }, index) => {
    claims.set(`audience ${name}`, { owner: objects.meshConfigs[0], path: `spec.gatewayPools[${index}].name` });
  });
}

function claimAll(site: EdgeSiteResource, claims: Map<string, Claim>, status: Status): boolean {
  const wanted: readonly (readonly [string, string])[] = [
    [`site ${site.metadata.name}`, "metadata.name"],
    [`audience ${siteNames(site).audience}`, "spec.audience"],
    [`address ${site.spec.url}`, "spec.url"],
  ];
  const taken = wanted.flatMap(([what, path]) => {
    const claim = claims.get(what);
    return claim === undefined ? [] : [{ what, path, claim }];
  });
  for (const { what, path, claim } of taken) {
    if (claim.owner === undefined) {
      status.report("conflict", site, path, `${what} is a gateway pool's; write another audience. The site gets no snapshot`);
    } else {
      status.conflict(claim.owner, claim.path, site, path, what);
    }
  }
  if (taken.length > 0) return false;
  for (const [what, path] of wanted) claims.set(what, { owner: site, path });
  return true;
}

/** The site that says so, or the first by name. Undefined: there is no site, or no quota counts globally. */
export function bankSite(pools: readonly SitePool[], config: readonly AnyResource[]): BankSite | undefined {
  const { site } = pools.find((pool) => pool.site.spec.quotaBank) ?? pools[0] ?? {};
  if (site === undefined || globalQuotas(config).length === 0) return undefined;
  return { site, url: `${site.spec.url}${BANK_PATH}` };
}

function globalQuotas(config: readonly AnyResource[]): readonly AnyResource[] {
  return config.filter((resource) => resource.kind === "Quota" && resource.spec.scope === "global");
}

export interface TranslatedSite {
  readonly pool: SitePool;
  readonly snapshot: Snapshot;
}

/** What the sites ask of this control plane's gateways, with their public keys by object (`refKey`). */
export function siteDemands(
  sites: readonly TranslatedSite[],
  keys: ReadonlyMap<string, SiteKey>,
  config: readonly AnyResource[],
  mesh: MeshConfigSpec,
): { readonly demands: SiteDemands; readonly problems: readonly Problem[] } {
  const status = new Status();
  const issuers = issuersOf(sites, keys, mesh.clusterName, status);
  if (sites.length === 0) {
    const message =
      "scope global counts at an edge site, and there is none; add an EdgeSite, or onStoreFailure holds for every request";
    for (const quota of globalQuotas(config)) status.report("warning", quota, "spec.scope", message);
  }
  const banks = sites.map(({ pool }) => pool.site).filter(({ spec }) => spec.quotaBank);
  banks.forEach((site, index) => {
    const [first] = banks;
    if (index === 0 || first === undefined) return;
    status.report(
      "warning",
      site,
      "spec.quotaBank",
      `${describe(first)} counts global quotas already; remove quotaBank here or there`,
    );
  });
  const demands: SiteDemands = {
    passports: issuers.length === 0 ? undefined : { audience: mesh.clusterName, issuers },
    services: wantedServices(sites, mesh.clusterName),
  };
  return { demands, problems: status.problems() };
}

/** Only the cluster that a site sends to has a reason to trust it. */
function issuersOf(
  sites: readonly TranslatedSite[],
  keys: ReadonlyMap<string, SiteKey>,
  clusterName: string,
  status: Status,
): readonly PassportIssuer[] {
  const senders = sites.map(({ pool }) => pool.site).filter(({ spec }) => spec.clusters[0]?.name === clusterName);
  for (const site of senders.slice(MAX_PASSPORT_ISSUERS)) {
    const message = `cluster ${clusterName} takes passports of ${MAX_PASSPORT_ISSUERS} sites, and ${describe(site)} is beyond; remove sites that are not used`;
    status.report("warning", site, "spec.clusters[0]", message);
  }
  return senders.slice(0, MAX_PASSPORT_ISSUERS).flatMap((site) => {
    const key = keys.get(refKey(refOf(site)));
    return key === undefined ? [] : [{ site: site.metadata.name, kid: key.kid, x: key.x }];
  });
}

/** Each service once, with the first site that sends there. */
function wantedServices(sites: readonly TranslatedSite[], clusterName: string): readonly WantedService[] {
  const found = new Map<string, WantedService>();
  for (const { pool, snapshot } of sites) {
    for (const cluster of snapshot.clusters) {
      if (cluster.via?.cluster !== clusterName || found.has(cluster.name)) continue;
      found.set(cluster.name, wantedService(cluster, pool.site));
    }
  }
  return [...found].sort(([a], [b]) => compareText(a, b)).map(([, wanted]) => wanted);
}

function wantedService({ host, port, subset }: Cluster, site: EdgeSiteResource): WantedService {
  return { host, port, subset, site };
}
