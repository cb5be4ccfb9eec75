import type {
  CircuitLimits,
  Cluster,
  ClusterEndpoints,
  ClusterHttp2,
  ClusterVia,
  Endpoint,
  PoolSettings,
  TcpKeepAlive,
} from "../cluster.ts";
import type { Listener, ListenerServer } from "../listener.ts";
import type { ForwardClientCert, HttpSettings, PassportIssuer, PassportSettings, Settings } from "../settings.ts";
import { healthCheck, loadBalancer, outlier } from "./balance.ts";
import { array, boolean, integer, oneOf, pair, text, unique } from "./check.ts";
import {
  address,
  anyText,
  durationMs,
  hostPattern,
  name,
  names,
  origin,
  origins,
  percent,
  port,
  someText,
  weight,
} from "./common.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { object, optional, refined } from "./object.ts";
import { clientTls, serverTls } from "./tls.ts";

const COUNT = integer(0, 1_000_000_000);

const listenerFields = object<Listener>({
  name,
  bind: address,
  port,
  servicePort: port,
  protocol: oneOf("http", "https", "forward-proxy"),
  servers: array(
    object<ListenerServer>({
      name,
      serverNames: array(hostPattern, LIMITS.listLength),
      routeTable: name,
      tls: optional(serverTls),
    }),
    LIMITS.serversPerListener,
  ),
  origins,
});

/** As the field's doc says: http has one server in clear, https only servers with TLS, forward-proxy none. */
export const listener = refined(listenerFields, ({ protocol, servers }, issues) => {
  unique(servers, (server) => server.name, "servers", issues);
  if (protocol === "http" && servers.length !== 1) issues.add("servers", "an http listener has exactly one server");
  if (protocol === "https" && servers.length === 0) issues.add("servers", "an https listener needs a server");
  if (protocol === "forward-proxy" && servers.length !== 0) issues.add("servers", "a forward-proxy listener has no servers");
  for (let i = 0; i < servers.length; i++) {
    const hasTls = servers[i]?.tls !== undefined;
    if (hasTls === (protocol === "https")) continue;
    issues.add(
      `servers[${i}].tls`,
      hasTls ? `not allowed on a listener of protocol ${protocol}` : "required on an https listener",
    );
  }
});

const pool = object<PoolSettings>({
  connectTimeoutMs: durationMs,
  idleTimeoutMs: durationMs,
  maxConnections: COUNT,
  maxPendingRequests: COUNT,
  maxRequestsPerConnection: COUNT,
  maxConnectionMs: optional(durationMs),
  keepAlive: optional(
    object<TcpKeepAlive>({ idleMs: durationMs, intervalMs: optional(durationMs), probes: optional(integer(1, 127)) }),
  ),
});

export const cluster = object<Cluster>({
  name,
  host: name,
  port,
  subset: optional(name),
  origin,
  discovery: oneOf("static", "dns", "logical-dns"),
  loadBalancer,
  pool,
  tls: optional(clientTls),
  retryBudget: object<Cluster["retryBudget"]>({ percent, minConcurrent: COUNT }),
  via: optional(object<ClusterVia>({ kind: oneOf("passport", "tunnel"), cluster: name, destination: name })),
  quotas: optional(names),
  protocol: optional(oneOf("http1", "http2", "client")),
  http2: optional(object<ClusterHttp2>({ maxConcurrentStreams: integer(1, 2_147_483_647) })),
  grpcWeb: optional(boolean),
  outlier: optional(outlier),
  healthCheck: optional(healthCheck),
  circuit: optional(object<CircuitLimits>({ maxRequests: optional(COUNT), maxRetries: optional(COUNT) })),
});

const endpoint = object<Endpoint>(
  { address, port, weight, locality: optional(name), labels: optional(array(pair(name, anyText), LIMITS.listLength)) },
  (row) => ({ address: row[0], port: row[1], weight: row[2], locality: row[3], labels: row[4] }),
);

export const clusterEndpoints = object<ClusterEndpoints>({
  cluster: name,
  endpoints: array(endpoint, LIMITS.endpointsPerCluster),
});

const BYTES = integer(0, 1_099_511_627_776);
const http = object<HttpSettings>({
  maxRequestLineBytes: integer(64, 1_048_576),
  maxHeaderBytes: integer(64, 16_777_216),
  maxHeaderCount: integer(1, 100_000),
  maxRequestBodyBytes: BYTES,
  headerTimeoutMs: durationMs,
  idleTimeoutMs: durationMs,
  streamIdleTimeoutMs: durationMs,
  requestTimeoutMs: durationMs,
  drainTimeoutMs: durationMs,
  maxReplayBytes: BYTES,
  minBodyRateBytes: optional(BYTES),
  bodyRateGraceMs: optional(durationMs),
  writeStallTimeoutMs: optional(durationMs),
  maxConnectionDurationMs: optional(durationMs),
  maxRequestsPerConnection: optional(integer(0, 1_000_000_000)),
  maxConcurrentStreams: optional(integer(1, 2_147_483_647)),
});

const passports = object<PassportSettings>({
  audience: name,
  issuers: array(
    object<PassportIssuer>({
      site: name,
      kid: name,
      x: text({ max: 43, min: 43, pattern: /^[A-Za-z0-9_-]+$/, is: "an Ed25519 public key in base64url" }),
    }),
    LIMITS.listLength,
  ),
});

export const settings = object<Settings>({
  http,
  numTrustedProxies: integer(0, 255),
  accessLog: object<Settings["accessLog"]>({ enabled: boolean, path: someText }),
  explainHeaders: boolean,
  passports: optional(passports),
  quotaBank: optional(object<NonNullable<Settings["quotaBank"]>>({ url: someText })),
  forwardClientCert: optional(
    object<ForwardClientCert>({
      mode: oneOf("sanitize", "forward-only", "append-forward", "sanitize-set", "always-forward-only"),
      cert: optional(boolean),
      chain: optional(boolean),
    }),
  ),
  locality: optional(name),
});
