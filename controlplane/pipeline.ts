/** From the configuration in force to the snapshots of every pool: one pure pass, with everything there is to say about it. */
import type { EgressUser, Snapshot } from "../gateway/core/ir/index.ts";
import {
  type AnyResource,
  type ConfigSet,
  checkReferences,
  DEFAULT_MESH_CONFIG,
  type GatewayPool,
  type MeshConfigSpec,
  type ResourceOf,
} from "./config/index.ts";
import { type ObjectRef, type Problem, refKey } from "./config/resource.ts";
import { buildRegistry } from "./registry/index.ts";
import { EDGE_SIZE_LIMITS, type SectionAges, type SizeLimits } from "./snapshot/index.ts";
import { bankSite, type Pool, planSites, type SiteKey, siteDemands, translate } from "./translate/index.ts";

/** A pool by its name; `site`: the EdgeSite that it is. */
export interface TranslatedPool {
  readonly name: string;
  readonly site: ResourceOf<"EdgeSite"> | undefined;
}

export interface PoolTranslation {
  readonly pool: TranslatedPool;
  readonly snapshot: Snapshot;
  /** Objects that some part of the snapshot comes from. */
  readonly programmed: readonly ObjectRef[];
}

export interface PipelineOutput {
  readonly mesh: MeshConfigSpec;
  /** Gateway pools in the mesh's order, then sites by name. */
  readonly pools: readonly PoolTranslation[];
  /** Problems between objects and of translation, each once however many pools found it. */
  readonly problems: readonly Problem[];
}

/** `siteKeys`: public keys of EdgeSite objects by `refKey`. */
export function runPipeline(
  set: Pick<ConfigSet, "resources" | "locate">,
  proxyUsers: readonly EgressUser[],
  siteKeys: ReadonlyMap<string, SiteKey> = new Map(),
): PipelineOutput {
  const { resources } = set;
  const mesh = meshOf(resources);
  const { registry, problems: services } = buildRegistry(resources);
  const references = checkReferences(resources, { locate: set.locate, proxyUsers: new Set(proxyUsers.map((user) => user.name)) });
  const planned = planSites(resources, mesh);
  const problems = [...references, ...services, ...planned.problems];
  const input = { config: resources, registry, mesh, proxyUsers, bank: bankSite(planned.pools, resources) };
  const done = <P extends Pool>(pool: P, translation: ReturnType<typeof translate>) => {
    problems.push(...translation.problems);
    return { pool, snapshot: translation.snapshot, programmed: translation.programmed };
  };
  const sites = planned.pools.map((pool) => done(pool, translate({ ...input, pool })));
  const asked = siteDemands(sites, siteKeys, resources, mesh);
  problems.push(...asked.problems);
  const gateways = mesh.gatewayPools.map(toPool).map((pool) => {
    const demands = pool.role === "ingress" ? asked.demands : { ...asked.demands, passports: undefined, services: [] };
    return done(pool, translate({ ...input, pool, sites: demands }));
  });
  const pools = [...gateways, ...sites].map(({ pool: { name, site }, ...rest }) => ({ pool: { name, site }, ...rest }));
  return { mesh, pools, problems: once(problems) };
}

export function meshOf(resources: readonly AnyResource[]): MeshConfigSpec {
  return resources.find((resource) => resource.kind === "MeshConfig")?.spec ?? DEFAULT_MESH_CONFIG;
}

export function agesOf(mesh: MeshConfigSpec): SectionAges {
  const age = ({ soft, hard, failMode }: MeshConfigSpec["snapshots"]["routes"]) => ({
    softS: Math.ceil(soft / 1000),
    hardS: Math.ceil(hard / 1000),
    failMode,
  });
  const { routes, egress, quota } = mesh.snapshots;
  return { routes: age(routes), egress: age(egress), quota: age(quota) };
}

/** Seconds after signing at which the pool takes a change; 0: at once. */
export function rolloutAfterS({ rollout }: MeshConfigSpec, { site }: TranslatedPool): number {
  const cohort = rollout.cohorts.find(({ name }) => name === site?.spec.cohort);
  return Math.ceil((cohort?.after ?? 0) / 1000);
}

/** Room is short at the edge: what a site's snapshots may have. */
export function siteSizes({ pools }: PipelineOutput): ReadonlyMap<string, SizeLimits> {
  return new Map(pools.flatMap(({ pool }) => (pool.site === undefined ? [] : [[pool.name, EDGE_SIZE_LIMITS]])));
}

function toPool({ ports, forwardProxyPort, ...pool }: GatewayPool): Pool {
  const bound = Object.fromEntries(Object.entries(ports).map(([declared, port]) => [Number(declared), port]));
  return { ...pool, ports: bound, ...(forwardProxyPort !== undefined && { forwardProxyPort }) };
}

function once(problems: readonly Problem[]): readonly Problem[] {
  const byText = new Map(problems.map((p) => [`${p.severity}\n${p.ref ? refKey(p.ref) : ""}\n${p.path}\n${p.message}`, p]));
  return [...byText.values()];
}
