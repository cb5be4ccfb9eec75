/** How a cluster's endpoints are chosen, judged and spared: traffic policy and MeshConfig → the cluster's parts in the IR. */
import type {
  CircuitLimits,
  Cluster,
  HashPolicy,
  HashSource,
  HealthCheck,
  HealthProbe,
  LoadBalancer,
  LocalityPolicy,
  OutlierDetection,
  PriorityLabel,
} from "../../gateway/core/ir/index.ts";
import type { ConnectionPool, HealthCheckSpec, LoadBalancerSettings, OutlierSettings } from "../config/index.ts";
import { compareText, covers, type ServicePort } from "../registry/index.ts";
import type { PolicyBlocks } from "./destination-rules.ts";
import type { Pool } from "./types.ts";

/** The parts that this file makes. */
export type Balancing = Pick<Cluster, "loadBalancer" | "outlier" | "healthCheck" | "circuit">;

const DEFAULT_RING_PLACES = 1024;
const DEFAULT_MAGLEV_PLACES = 65_537;
const DEFAULT_WARM_PERCENT = 10;

/** @param checks of MeshConfig */
export function balancing(
  policy: PolicyBlocks,
  host: string,
  port: ServicePort,
  pool: Pick<Pool, "labels">,
  checks: readonly HealthCheckSpec[],
): Balancing {
  const settings = policy.loadBalancer?.value;
  const outlier = policy.outlierDetection?.value;
  const check = neverAsked(policy, host, checks) === undefined ? checkFor(host, checks) : undefined;
  const panicPercent = outlier?.minHealthPercent ?? check?.panicThreshold;
  const isJudged = outlier !== undefined || check !== undefined;
  const locality = localityPolicy(settings?.localityLbSetting, isJudged, port, pool);
  const warmup = warmupOf(settings);
  const circuit = circuitLimits(policy.connectionPool?.value.http);
  const loadBalancer: LoadBalancer = {
    ...choice(settings),
    ...(locality === undefined ? {} : { locality }),
    ...(warmup === undefined ? {} : { warmup }),
    ...(panicPercent === undefined ? {} : { panicPercent }),
  };
  return {
    loadBalancer,
    ...(outlier === undefined ? {} : { outlier: outlierDetection(outlier) }),
    ...(check === undefined ? {} : { healthCheck: healthCheck(check) }),
    ...(circuit === undefined ? {} : { circuit }),
  };
}

function checkFor(host: string, checks: readonly HealthCheckSpec[]): HealthCheckSpec | undefined {
  return checks.find(({ hosts }) => hosts.some((pattern) => covers(pattern, host)));
}

function choice(settings: LoadBalancerSettings | undefined): Pick<LoadBalancer, "policy" | "hash"> {
  const hash = settings?.consistentHash;
  const on = hash && hashSource(hash);
  if (hash !== undefined && on !== undefined) {
    const table: HashPolicy = hash.maglev
      ? { on, tableSize: hash.maglev.tableSize || DEFAULT_MAGLEV_PLACES }
      : { on, tableSize: (hash.ringHash?.minimumRingSize ?? hash.minimumRingSize) || DEFAULT_RING_PLACES };
    return { policy: hash.maglev ? "maglev" : "ring-hash", hash: table };
  }
  switch (settings?.simple) {
    case "ROUND_ROBIN":
      return { policy: "round-robin" };
    case "RANDOM":
      return { policy: "random" };
    default:
      return { policy: "least-request" };
  }
}

function hashSource(hash: NonNullable<LoadBalancerSettings["consistentHash"]>): HashSource | undefined {
  const { httpHeaderName, httpCookie, httpQueryParameterName, useSourceIp } = hash;
  if (httpHeaderName !== undefined) return { kind: "header", name: httpHeaderName.toLowerCase() };
  if (httpQueryParameterName !== undefined) return { kind: "query", name: httpQueryParameterName };
  if (useSourceIp === true) return { kind: "source-ip" };
  if (httpCookie === undefined) return undefined;
  const { name, path, ttl, attributes } = httpCookie;
  return {
    kind: "cookie",
    name,
    ...(path === undefined ? {} : { path }),
    ...(ttl === undefined ? {} : { ttlMs: ttl }),
    ...(attributes.length === 0
      ? {}
      : {
          attributes: attributes.map(({ name: attribute, value }) => (value === undefined ? attribute : `${attribute}=${value}`)),
        }),
  };
}

/** Failing over needs somebody who finds out that endpoints fail: without that, all endpoints share, as in Istio. */
function localityPolicy(
  settings: LoadBalancerSettings["localityLbSetting"],
  isJudged: boolean,
  port: ServicePort,
  pool: Pick<Pool, "labels">,
): LocalityPolicy | undefined {
  if (settings?.enabled === false) return undefined;
  const { distribute = [], failover = [], failoverPriority = [] } = settings ?? {};
  if (distribute.length > 0) {
    const rules = distribute.map(({ from, to }) => ({ from, to: Object.entries(to).sort(([a], [b]) => compareText(a, b)) }));
    return { kind: "distribute", rules };
  }
  if (!isJudged) return undefined;
  if (failoverPriority.length > 0)
    return { kind: "failover-priority", labels: failoverPriority.map((text) => priorityLabel(text, pool)) };
  if (port.endpoints.every(({ locality }) => locality === undefined)) return undefined;
  return { kind: "failover", regions: failover.map(({ from, to }) => [from, to] as const) };
}

/** `name` means the gateway's own label, `name=value` says which. */
function priorityLabel(text: string, { labels }: Pick<Pool, "labels">): PriorityLabel {
  const equals = text.indexOf("=");
  if (equals !== -1) return { name: text.slice(0, equals), value: text.slice(equals + 1) };
  const value = labels[text];
  return { name: text, ...(value === undefined ? {} : { value }) };
}

function warmupOf(settings: LoadBalancerSettings | undefined): LoadBalancer["warmup"] {
  const { warmup, warmupDurationSecs, consistentHash } = settings ?? {};
  if (consistentHash !== undefined) return undefined;
  if (warmup !== undefined)
    return { durationMs: warmup.duration, minimumPercent: warmup.minimumPercent, aggression: warmup.aggression };
  if (!warmupDurationSecs) return undefined;
  return { durationMs: warmupDurationSecs, minimumPercent: DEFAULT_WARM_PERCENT, aggression: 1 };
}

function outlierDetection(outlier: OutlierSettings): OutlierDetection {
  return {
    consecutive5xx: Math.min(outlier.consecutive5xxErrors, UNREACHABLE),
    consecutiveGatewayErrors: Math.min(outlier.consecutiveGatewayErrors || (outlier.consecutiveErrors ?? 0), UNREACHABLE),
    splitLocalOrigin: outlier.splitExternalLocalOriginErrors,
    consecutiveLocalOriginFailures: Math.min(outlier.consecutiveLocalOriginFailures, UNREACHABLE),
    intervalMs: outlier.interval,
    baseEjectionMs: outlier.baseEjectionTime,
    maxEjectionPercent: outlier.maxEjectionPercent,
  };
}

/** The most that the IR takes, and more than anybody counts to. */
const UNREACHABLE = 1_000_000_000;

/** Why nobody is ever ejected, if that is so: the rule does not do what its owner thinks. */
export function neverEjects({ maxEjectionPercent }: OutlierSettings, endpoints: number): string | undefined {
  if (endpoints === 0 || maxEjectionPercent * endpoints >= 100) return undefined;
  return `maxEjectionPercent ${maxEjectionPercent} of ${endpoints} endpoint${endpoints === 1 ? "" : "s"} is less than one, so none is ever ejected; write ${Math.ceil(100 / endpoints)} or more`;
}

/** Why a service is not asked how it is, though MeshConfig says so: whoever asks in gRPC writes nothing before that. */
export function neverAsked(
  { proxyProtocol }: PolicyBlocks,
  host: string,
  checks: readonly HealthCheckSpec[],
): (PolicyBlocks["proxyProtocol"] & { readonly message: string }) | undefined {
  if (proxyProtocol === undefined || checkFor(host, checks)?.grpc === undefined) return undefined;
  return {
    ...proxyProtocol,
    message: "its gRPC health check cannot begin with a PROXY header and is left out; check by http or tcp in MeshConfig",
  };
}

/** Why failover is left out, if it was asked for. */
export function neverFailsOver(
  { localityLbSetting }: LoadBalancerSettings,
  { outlier, healthCheck: check }: Cluster,
): string | undefined {
  const { enabled, failover = [], failoverPriority = [] } = localityLbSetting ?? {};
  if (enabled === false || failover.length + failoverPriority.length === 0) return undefined;
  if (outlier !== undefined || check !== undefined) return undefined;
  return "failover has no effect, because nobody finds out that endpoints fail; add outlierDetection, or healthChecks to MeshConfig";
}

function healthCheck(check: HealthCheckSpec): HealthCheck {
  return {
    probe: probeOf(check),
    intervalMs: check.interval,
    timeoutMs: check.timeout,
    jitterPercent: check.jitterPercent,
    unhealthyThreshold: check.unhealthyThreshold,
    healthyThreshold: check.healthyThreshold,
    ...(check.port === undefined ? {} : { port: check.port }),
  };
}

function probeOf({ http, grpc }: HealthCheckSpec): HealthProbe {
  if (http !== undefined)
    return { kind: "http", path: http.path, ...(http.host === undefined ? {} : { host: http.host }), statuses: http.statuses };
  if (grpc !== undefined)
    return { kind: "grpc", service: grpc.service, ...(grpc.authority === undefined ? {} : { authority: grpc.authority }) };
  return { kind: "tcp" };
}

/** 0 stands for the default, which is no limit. */
function circuitLimits(http: ConnectionPool["http"]): CircuitLimits | undefined {
  const { http2MaxRequests, maxRetries } = http ?? {};
  const found: CircuitLimits = {
    ...(http2MaxRequests ? { maxRequests: Math.min(http2MaxRequests, UNREACHABLE) } : {}),
    ...(maxRetries ? { maxRetries: Math.min(maxRetries, UNREACHABLE) } : {}),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

/** Labels of endpoints that a cluster's policy looks at. */
export function labelsToCarry({ locality }: LoadBalancer): readonly string[] {
  return locality?.kind === "failover-priority" ? locality.labels.map(({ name }) => name) : [];
}
