/** Every kind that Tidegate knows, by name; the one place where a new kind is added. */
import type { Resource } from "../resource.ts";
import { type DestinationRuleSpec, destinationRule } from "./istio/destination-rule.ts";
import { type GatewaySpec, gateway } from "./istio/gateway.ts";
import { type ServiceEntrySpec, serviceEntry } from "./istio/service-entry.ts";
import { virtualService } from "./istio/virtual-service.ts";
import type { VirtualServiceSpec } from "./istio/virtual-service-schema.ts";
import { type WorkloadEntrySpec, workloadEntry } from "./istio/workload-entry.ts";
import type { KindDefinition } from "./kind.ts";
import { type EdgeSiteSpec, edgeSite } from "./native/edge-site.ts";
import { type EgressPolicySpec, egressPolicy } from "./native/egress-policy.ts";
import { type MeshConfigSpec, meshConfig } from "./native/mesh-config.ts";
import { type QuotaSpec, quota } from "./native/quota.ts";

/** Kind → parsed spec, every default filled in. Durations are milliseconds, sizes bytes, percentages numbers. */
export interface SpecOf {
  readonly Gateway: GatewaySpec;
  readonly VirtualService: VirtualServiceSpec;
  readonly DestinationRule: DestinationRuleSpec;
  readonly ServiceEntry: ServiceEntrySpec;
  readonly WorkloadEntry: WorkloadEntrySpec;
  readonly Quota: QuotaSpec;
  readonly EgressPolicy: EgressPolicySpec;
  readonly EdgeSite: EdgeSiteSpec;
  readonly MeshConfig: MeshConfigSpec;
}
export type KindName = keyof SpecOf;

export type ResourceOf<Kind extends KindName> = Resource<Kind, SpecOf[Kind]>;
/** Any accepted object; narrow it by `kind`. */
export type AnyResource = { readonly [Kind in KindName]: ResourceOf<Kind> }[KindName];

/** In the order in which documents and help list them. */
export const KINDS: readonly KindDefinition[] = [
  gateway,
  virtualService,
  destinationRule,
  serviceEntry,
  workloadEntry,
  quota,
  egressPolicy,
  edgeSite,
  meshConfig,
].map(erase);

/** A definition whose schema's type is no longer known: what code that treats all kinds alike works with. */
function erase<Definition extends { readonly kind: string }>(definition: Definition): KindDefinition {
  return definition as unknown as KindDefinition;
}
