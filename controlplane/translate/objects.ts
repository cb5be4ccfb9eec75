/** The set of objects, by kind, in order of precedence, and the names that translation has for their parts. */
import type { AnyResource, KindName, ResourceOf } from "../config/kinds/index.ts";
import { MESH_GATEWAY } from "../config/kinds/istio/virtual-service.ts";
import type { Resource } from "../config/resource.ts";
import { comparePrecedence } from "../registry/index.ts";

export { MESH_GATEWAY };

export type GatewayResource = ResourceOf<"Gateway">;
export type VirtualServiceResource = ResourceOf<"VirtualService">;
export type DestinationRuleResource = ResourceOf<"DestinationRule">;
export type QuotaResource = ResourceOf<"Quota">;
export type EgressPolicyResource = ResourceOf<"EgressPolicy">;
export type MeshConfigSpec = ResourceOf<"MeshConfig">["spec"];

export type GatewayServer = GatewayResource["spec"]["servers"][number];
export type GatewayServerTls = NonNullable<GatewayServer["tls"]>;

export type HttpRoute = VirtualServiceResource["spec"]["http"][number];
export type HttpMatch = HttpRoute["match"][number];
export type HttpRedirect = NonNullable<HttpRoute["redirect"]>;
export type HttpRetries = NonNullable<HttpRoute["retries"]>;
export type RetryOn = NonNullable<HttpRetries["retryOn"]>[number];
export type HttpFault = NonNullable<HttpRoute["fault"]>;
export type HttpCorsPolicy = NonNullable<HttpRoute["corsPolicy"]>;
export type HttpHeaders = NonNullable<HttpRoute["headers"]>;
export type Destination = HttpRoute["route"][number]["destination"];

export type TrafficPolicy = NonNullable<DestinationRuleResource["spec"]["trafficPolicy"]>;
export type PortTrafficPolicy = TrafficPolicy["portLevelSettings"][number];
export type DestinationSubset = DestinationRuleResource["spec"]["subsets"][number];
export type ConnectionPool = NonNullable<TrafficPolicy["connectionPool"]>;
export type ClientTlsSettings = NonNullable<TrafficPolicy["tls"]>;

export type QuotaTarget = QuotaResource["spec"]["targets"][number];
export type Limit = QuotaResource["spec"]["limits"][number];
export type EgressAllowRule = EgressPolicyResource["spec"]["allow"][number];

export interface ObjectSet {
  readonly gateways: readonly GatewayResource[];
  readonly virtualServices: readonly VirtualServiceResource[];
  readonly destinationRules: readonly DestinationRuleResource[];
  readonly quotas: readonly QuotaResource[];
  readonly egressPolicies: readonly EgressPolicyResource[];
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
  };
}

/** Precedence: creation time, then name, then namespace. */
export function compareObjects(a: Resource, b: Resource): number {
  return comparePrecedence(a.metadata, b.metadata);
}
