/**
 * Configuration: text and objects in, one validated set out. Every problem is told at once with file, line, column and remedy; a bad object is
 * refused by name and its last good generation stays in force; what does not work yet is named, never ignored. This room knows no cluster, no
 * gateway and no network, and must never act on what it has not validated.
 */
export { type FieldPath, type Json, PARSE_LIMITS, type ParseLimits } from "./documents.ts";
export type { FileReader } from "./files.ts";
export { type AnyResource, KINDS, type KindName, type ResourceOf, type SpecOf } from "./kinds/index.ts";
export type {
  ClientTlsSettings,
  ConnectionPool,
  DestinationRuleSpec,
  DestinationSubset,
  OutlierSettings,
  PortTrafficPolicy,
  TrafficPolicy,
} from "./kinds/istio/destination-rule.ts";
export type { GatewayServer, GatewayServerTls, GatewaySpec } from "./kinds/istio/gateway.ts";
export type { LoadBalancerSettings } from "./kinds/istio/load-balancer.ts";
export { asksClients, authoritiesOf } from "./kinds/istio/server-tls.ts";
export type { ServiceEntryPort, ServiceEntrySpec } from "./kinds/istio/service-entry.ts";
export { CIPHER_SUITES, parseSecretName } from "./kinds/istio/tls.ts";
export {
  type Destination,
  type HttpCorsPolicy,
  type HttpFault,
  type HttpHeaders,
  type HttpMatch,
  type HttpRedirect,
  type HttpRetries,
  type HttpRoute,
  type HttpRouteDestination,
  MESH_GATEWAY,
  type RetryOn,
  type TcpRoute,
  type TlsRoute,
  type VirtualServiceSpec,
} from "./kinds/istio/virtual-service-schema.ts";
export type { WorkloadEntrySpec } from "./kinds/istio/workload-entry.ts";
export type { KindDefinition } from "./kinds/kind.ts";
export type { CalendarUnit, Limit } from "./kinds/native/common.ts";
export { type EdgeCluster, type EdgeSiteSpec, siteNames } from "./kinds/native/edge-site.ts";
export type { EgressAllowRule, EgressDenyRule, EgressPolicySpec, EgressPrincipal } from "./kinds/native/egress-policy.ts";
export type { HealthCheckSpec } from "./kinds/native/health-check.ts";
export { DEFAULT_MESH_CONFIG, type GatewayPool, type MeshConfigSpec } from "./kinds/native/mesh-config.ts";
export {
  keyPartName,
  type QuotaKeyPart,
  type QuotaOverride,
  type QuotaSpec,
  type QuotaTarget,
  quotaAccuracy,
} from "./kinds/native/quota.ts";
export { type Merged, type MergedObject, mergeSources, type SourceObjects } from "./merge.ts";
export { checkReferences, type ReferenceOptions, refOf } from "./references.ts";
export {
  formatProblem,
  type Metadata,
  type ObjectRef,
  type Problem,
  type Resource,
  refKey,
  type Severity,
  type SourceLocation,
} from "./resource.ts";
export { crdManifest, type JsonSchema, objectSchema } from "./schema.ts";
export { DirectorySource, type DirectorySourceOptions } from "./sources/directory.ts";
export { type Change, type HistoryEntry, IN_MEMORY, SqliteStore, type StoredObject } from "./sqlite.ts";
export { type ObjectStatus, type Programmed, type ProgrammedSource, statusesOf } from "./status.ts";
export {
  API_ORIGIN,
  type ApplyOptions,
  type ApplyOutcome,
  type ConfigSet,
  ConfigStore,
  DIRECTORY_ORIGIN,
  type FieldChange,
  type ObjectDiff,
  type ObjectOutcome,
} from "./store.ts";
export {
  type CheckedObject,
  formatPath,
  type Manifest,
  problemsOf,
  type ValidateOptions,
  type Validation,
  validateText,
} from "./validate.ts";
