/** The set of objects, by kind, in order of precedence. */
import type { AnyResource, KindName, ResourceOf } from "../config/index.ts";
import type { Resource } from "../config/resource.ts";
import { comparePrecedence } from "../registry/index.ts";

export type GatewayResource = ResourceOf<"Gateway">;
export type VirtualServiceResource = ResourceOf<"VirtualService">;
export type DestinationRuleResource = ResourceOf<"DestinationRule">;
export type QuotaResource = ResourceOf<"Quota">;
export type EgressPolicyResource = ResourceOf<"EgressPolicy">;

export type EdgeSiteResource = ResourceOf<"EdgeSite">;

export interface ObjectSet {
  readonly gateways: readonly GatewayResource[];
  readonly virtualServices: readonly VirtualServiceResource[];
  readonly destinationRules: readonly DestinationRuleResource[];
  readonly quotas: readonly QuotaResource[];
  readonly egressPolicies: readonly EgressPolicyResource[];
  readonly edgeSites: readonly EdgeSiteResource[];
  readonly meshConfigs: readonly ResourceOf<"MeshConfig">[];
}

/** Order of arrival leaves no trace. */
export function groupObjects(config: readonly AnyResource[]): ObjectSet {
  const sorted = [...config].sort(compareObjects);
  const of = <Kind extends KindName>(kind: Kind) =>
    sorted.filter((resource): resource is ResourceOf<Kind> & AnyResource => resource.kind === kind);
  return {
    gateways: of("Gateway"),
    virtualServices: of("VirtualService"),
    destinationRules: of("DestinationRule"),
    quotas: of("Quota"),
    egressPolicies: of("EgressPolicy"),
    edgeSites: of("EdgeSite"),
    meshConfigs: of("MeshConfig"),
  };
}

/** Precedence: creation time, then name, then namespace. */
export function compareObjects(a: Resource, b: Resource): number {
  return comparePrecedence(a.metadata, b.metadata);
}
