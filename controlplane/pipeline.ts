/** From the configuration in force to the snapshots of every pool: one pure pass, with everything there is to say about it. */
import type { EgressUser, Snapshot } from "../gateway/core/ir/index.ts";
import {
  type AnyResource,
  type ConfigSet,
  checkReferences,
  DEFAULT_MESH_CONFIG,
  type GatewayPool,
  type MeshConfigSpec,
} from "./config/index.ts";
import { type ObjectRef, type Problem, refKey } from "./config/resource.ts";
import { buildRegistry } from "./registry/index.ts";
import type { SectionAges } from "./snapshot/index.ts";
import { type Pool, translate } from "./translate/index.ts";

export interface PoolTranslation {
  readonly pool: GatewayPool;
  readonly snapshot: Snapshot;
  /** Objects that some part of the snapshot comes from. */
  readonly programmed: readonly ObjectRef[];
}

export interface PipelineOutput {
  readonly mesh: MeshConfigSpec;
  readonly pools: readonly PoolTranslation[];
  /** Problems between objects and of translation, each once however many pools found it. */
  readonly problems: readonly Problem[];
}

export function runPipeline(set: Pick<ConfigSet, "resources" | "locate">, proxyUsers: readonly EgressUser[]): PipelineOutput {
  const { resources } = set;
  const mesh = meshOf(resources);
  const { registry, problems: services } = buildRegistry(resources);
  const references = checkReferences(resources, { locate: set.locate, proxyUsers: new Set(proxyUsers.map((user) => user.name)) });
  const problems = [...references, ...services];
  const pools = mesh.gatewayPools.map((pool): PoolTranslation => {
    const done = translate({ config: resources, registry, pool: toPool(pool), mesh, proxyUsers });
    problems.push(...done.problems);
    return { pool, snapshot: done.snapshot, programmed: done.programmed };
  });
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

function toPool({ name, labels, role, bind, ports, forwardProxyPort }: GatewayPool): Pool {
  const bound = Object.fromEntries(Object.entries(ports).map(([declared, port]) => [Number(declared), port]));
  return { name, labels, role, bind, ports: bound, ...(forwardProxyPort !== undefined && { forwardProxyPort }) };
}

function once(problems: readonly Problem[]): readonly Problem[] {
  const byText = new Map(problems.map((p) => [`${p.severity}\n${p.ref ? refKey(p.ref) : ""}\n${p.path}\n${p.message}`, p]));
  return [...byText.values()];
}
