/** How a cluster's endpoints are chosen and judged. */
import type {
  HashPolicy,
  HashSource,
  HealthCheck,
  HealthProbe,
  LoadBalancer,
  LocalityPolicy,
  OutlierDetection,
  PriorityLabel,
  Warmup,
} from "../cluster.ts";
import { array, boolean, integer, number, oneOf, pair } from "./check.ts";
import { anyText, durationMs, fieldName, fieldValue, hostPattern, name, percent, port, someText, weight } from "./common.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { object, optional, refined, variants } from "./object.ts";

const COUNT = integer(0, 1_000_000_000);
const THRESHOLD = integer(1, 1_000);

const hashSource = variants<HashSource, "kind">("kind", {
  header: { name: fieldName },
  cookie: {
    name,
    path: optional(fieldValue),
    ttlMs: optional(durationMs),
    attributes: optional(array(fieldValue, LIMITS.listLength)),
  },
  "source-ip": {},
  query: { name },
});

const localities = array(pair(name, name), LIMITS.listLength);
type DistributeRule = Extract<LocalityPolicy, { kind: "distribute" }>["rules"][number];

const locality = variants<LocalityPolicy, "kind">("kind", {
  distribute: {
    rules: array(object<DistributeRule>({ from: name, to: array(pair(name, weight), LIMITS.listLength, 1) }), LIMITS.listLength),
  },
  failover: { regions: localities },
  "failover-priority": {
    labels: array(object<PriorityLabel>({ name, value: optional(anyText) }), LIMITS.listLength, 1),
  },
});

const loadBalancerFields = object<LoadBalancer>({
  policy: oneOf("round-robin", "random", "least-request", "ring-hash", "maglev"),
  hash: optional(object<HashPolicy>({ on: hashSource, tableSize: integer(0, LIMITS.hashTableSize) })),
  locality: optional(locality),
  warmup: optional(
    object<Warmup>({ durationMs: integer(1, LIMITS.durationMs), minimumPercent: percent, aggression: number(1, 1_000) }),
  ),
  panicPercent: optional(percent),
});

/** As the field's doc says: `hash` comes with ring-hash and maglev and with nothing else. */
export const loadBalancer = refined(loadBalancerFields, ({ policy, hash }, issues) => {
  const hashes = policy === "ring-hash" || policy === "maglev";
  if (hashes !== (hash !== undefined)) issues.add("hash", hashes ? `required with ${policy}` : `not allowed with ${policy}`);
  if (policy === "ring-hash" && hash?.tableSize === 0) issues.add("hash.tableSize", "must be at least 1");
  if (policy === "maglev" && hash !== undefined && !isPrime(hash.tableSize)) issues.add("hash.tableSize", "must be a prime");
});

/** Steps through a maglev table reach every place only if its size is a prime. */
function isPrime(size: number): boolean {
  if (size < 2) return false;
  for (let divisor = 2; divisor * divisor <= size; divisor++) if (size % divisor === 0) return false;
  return true;
}

export const outlier = object<OutlierDetection>({
  consecutive5xx: COUNT,
  consecutiveGatewayErrors: COUNT,
  splitLocalOrigin: boolean,
  consecutiveLocalOriginFailures: COUNT,
  intervalMs: integer(1, LIMITS.durationMs),
  baseEjectionMs: durationMs,
  maxEjectionPercent: percent,
});

const status = integer(100, 599);
const probe = variants<HealthProbe, "kind">("kind", {
  http: { path: someText, host: optional(fieldValue), statuses: array(pair(status, status), LIMITS.listLength, 1) },
  tcp: {},
  grpc: { service: anyText, authority: optional(hostPattern) },
});

export const healthCheck = object<HealthCheck>({
  probe,
  intervalMs: integer(1, LIMITS.durationMs),
  timeoutMs: integer(1, LIMITS.durationMs),
  jitterPercent: percent,
  unhealthyThreshold: THRESHOLD,
  healthyThreshold: THRESHOLD,
  port: optional(port),
});
