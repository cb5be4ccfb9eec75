/** The set of objects, by kind, in order of precedence. */
import type { DestinationRuleSpec } from "../config/kinds/istio/destination-rule.ts";
import type { GatewaySpec } from "../config/kinds/istio/gateway.ts";
import type { ServiceEntrySpec } from "../config/kinds/istio/service-entry.ts";
import type { VirtualServiceSpec } from "../config/kinds/istio/virtual-service.ts";
import type { EgressPolicySpec } from "../config/kinds/native/egress-policy.ts";
import type { QuotaSpec } from "../config/kinds/native/quota.ts";
import type { Resource } from "../config/resource.ts";
import { comparePrecedence } from "../registry/index.ts";

export type GatewayResource = Resource<"Gateway", GatewaySpec>;
export type VirtualServiceResource = Resource<"VirtualService", VirtualServiceSpec>;
export type DestinationRuleResource = Resource<"DestinationRule", DestinationRuleSpec>;
export type QuotaResource = Resource<"Quota", QuotaSpec>;
export type EgressPolicyResource = Resource<"EgressPolicy", EgressPolicySpec>;
export type ServiceEntryResource = Resource<"ServiceEntry", ServiceEntrySpec>;

export interface ObjectSet {
  readonly gateways: readonly GatewayResource[];
  readonly virtualServices: readonly VirtualServiceResource[];
  readonly destinationRules: readonly DestinationRuleResource[];
  readonly quotas: readonly QuotaResource[];
  readonly egressPolicies: readonly EgressPolicyResource[];
  readonly serviceEntries: readonly ServiceEntryResource[];
}

/** Accepted objects have the spec of their kind: config has validated them. Order of arrival leaves no trace. */
export function groupObjects(config: readonly Resource[]): ObjectSet {
  const byKind = Map.groupBy([...config].sort(compareObjects), ({ kind }) => kind);
  const of = <T extends Resource>(kind: T["kind"]) => (byKind.get(kind) ?? []) as readonly Resource[] as readonly T[];
  return {
    gateways: of<GatewayResource>("Gateway"),
    virtualServices: of<VirtualServiceResource>("VirtualService"),
    destinationRules: of<DestinationRuleResource>("DestinationRule"),
    quotas: of<QuotaResource>("Quota"),
    egressPolicies: of<EgressPolicyResource>("EgressPolicy"),
    serviceEntries: of<ServiceEntryResource>("ServiceEntry"),
  };
}

/** Precedence: creation time, then name, then namespace. */
export function compareObjects(a: Resource, b: Resource): number {
  return comparePrecedence(a.metadata, b.metadata);
}
