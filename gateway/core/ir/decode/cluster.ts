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
import type { ConnectionDestination, ConnectionMatch, ConnectionRoute } from "../connection.ts";
import type { Listener, ListenerServer } from "../listener.ts";
import type { ForwardClientCert, HttpSettings, PassportIssuer, PassportSettings, Settings } from "../settings.ts";
import { healthCheck, loadBalancer, outlier } from "./balance.ts";
import { array, boolean, integer, oneOf, pair, text, unique } from "./check.ts";
import {
  address,
  anyText,
  cidr,
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
import type { Issues } from "./issues.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { object, optional, refined } from "./object.ts";
import { clientTls, serverTls } from "./tls.ts";

const COUNT = integer(0, 1_000_000_000);

const connectionRoute = object<ConnectionRoute>({
  id: name,
  origin,
  matches: array(
    object<ConnectionMatch>({
      serverNames: optional(array(hostPattern, LIMITS.domainsPerVirtualHost, 1)),
      destinationSubnets: optional(array(cidr, LIMITS.listLength, 1)),
      sourceSubnets: optional(array(cidr, LIMITS.listLength, 1)),
    }),
    LIMITS.matchesPerRoute,
  ),
  destinations: array(object<ConnectionDestination>({ cluster: name, weight }), LIMITS.destinationsPerRoute, 1),
});

const listenerFields = object<Listener>({
  name,
  bind: address,
  port,
  servicePort: port,
  protocol: oneOf("http", "https", "tls", "tcp", "forward-proxy"),
  servers: array(
    object<ListenerServer>({
      name,
      serverNames: array(hostPattern, LIMITS.listLength),
      routeTable: optional(name),
      tls: optional(serverTls),
      connections: optional(array(connectionRoute, LIMITS.connectionRoutes)),
      grpcWeb: optional(boolean),
    }),
    LIMITS.serversPerListener,
  ),
  origins,
  proxyProtocol: optional(oneOf("accept")),
});

/** As the fields' docs say. */
export const listener = refined(listenerFields, ({ protocol, servers, proxyProtocol }, issues) => {
  unique(servers, (server) => server.name, "servers", issues);
  if ((protocol === "http" || protocol === "tcp") && servers.length !== 1)
    issues.add("servers", `a listener of protocol ${protocol} has exactly one server`);
  if ((protocol === "https" || protocol === "tls") && servers.length === 0)
    issues.add("servers", `a listener of protocol ${protocol} needs a server`);
  if (protocol === "forward-proxy" && servers.length !== 0) issues.add("servers", "a forward-proxy listener has no servers");
  if (protocol === "forward-proxy" && proxyProtocol !== undefined)
    issues.add("proxyProtocol", "not allowed on a listener of protocol forward-proxy");
  for (let i = 0; i < servers.length; i++) checkServer(protocol, servers[i] as ListenerServer, `servers[${i}]`, issues);
});

function checkServer(protocol: Listener["protocol"], server: ListenerServer, at: string, issues: Issues): void {
  const { tls, routeTable, connections } = server;
  const wantsTls = protocol === "https" || protocol === "tls";
  if ((tls !== undefined) !== wantsTls) {
    issues.add(
      `${at}.tls`,
      wantsTls ? `required on a listener of protocol ${protocol}` : `not allowed on a listener of protocol ${protocol}`,
    );
  }
  const mode = tls?.mode ?? "none";
  const through = mode === "passthrough" || mode === "auto-passthrough";
  if (through && protocol === "https") issues.add(`${at}.tls`, "what passes TLS through stands on a listener of protocol tls");
  const speaksHttp = protocol === "http" || protocol === "https" || (!through && connections === undefined && protocol !== "tcp");
  if (speaksHttp !== (routeTable !== undefined))
    issues.add(`${at}.routeTable`, speaksHttp ? "required where HTTP is spoken" : "not allowed where no HTTP is spoken");
  const opaque = protocol === "tcp" || mode === "passthrough" || (protocol === "tls" && !through && routeTable === undefined);
  if (opaque !== (connections !== undefined))
    issues.add(`${at}.connections`, opaque ? "required where no HTTP is spoken" : "not allowed here");
  unique(connections ?? [], (route) => route.id, `${at}.connections`, issues);
}

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
  tcpIdleTimeoutMs: optional(durationMs),
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
  proxyProtocol: optional(oneOf("v1", "v2")),
});

const endpoint = object<Endpoint>(
  { address, port, weight, locality: optional(name), labels: optional(array(pair(name, anyText), LIMITS.listLength)) },
  (address, port, weight, locality, labels) => ({ address, port, weight, locality, labels }),
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
