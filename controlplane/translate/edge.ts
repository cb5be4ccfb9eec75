/**
 * What a gateway at the edge cannot do, in one place. A Worker sends by `fetch()`: the URL says host, SNI and certificate name at once, the
 * public authorities alone are trusted, and connections are the platform's. What would be sent otherwise than configured is refused for
 * that site and told with the remedy; the rest of the site stays in force.
 */
import type { ClientTls, Cluster, ClusterEndpoints, Endpoint } from "../../gateway/core/ir/index.ts";
import { asksClients, type ConnectionPool, type EdgeCluster, type GatewayServerTls } from "../config/index.ts";
import { isIpLiteral, type Service } from "../registry/index.ts";
import type { PolicyBlocks } from "./destination-rules.ts";
import type { BoundServer } from "./listeners.ts";
import type { DestinationRuleResource, EdgeSiteResource } from "./objects.ts";
import { describe, type Status } from "./status.ts";
import { whyNotSpoken } from "./upstream-protocol.ts";

/** A cluster with its endpoints, as the snapshot has them. */
export interface MadeCluster {
  readonly cluster: Cluster;
  readonly endpoints: ClusterEndpoints;
}

/** Why a site does not send there, and what would help. */
export interface Refusal {
  readonly refused: string;
}

/** Names of services inside a cluster, wherever they are declared. */
const CLUSTER_DOMAIN = ".svc.cluster.local";
/** Never resolves (RFC 6761 6.4): nobody dials the endpoint of a tunnel by mistake. */
const TUNNEL_DOMAIN = "tunnel.invalid";

/** The cluster as the site reaches it: through the ingress of the cluster that has the service, or by itself. */
export function edgeCluster(
  site: EdgeSiteResource,
  service: Service,
  port: string,
  direct: MadeCluster,
  policy: PolicyBlocks,
): MadeCluster | Refusal {
  const made = madeAtEdge(site, service, direct, policy);
  if ("refused" in made) return made;
  const why = whyNotSpoken(port, made.cluster);
  if (why !== undefined) return { refused: inSite(site, why) };
  // What is spoken over TLS is the platform's choice.
  const { protocol: _protocol, http2: _http2, grpcWeb: _grpcWeb, ...cluster } = made.cluster;
  return { ...made, cluster };
}

function madeAtEdge(site: EdgeSiteResource, service: Service, direct: MadeCluster, policy: PolicyBlocks): MadeCluster | Refusal {
  if (service.location === "mesh-internal" || service.host.endsWith(CLUSTER_DOMAIN)) return throughCluster(site, direct);
  const why = whyNotFetched(site, direct, policy);
  return why === undefined ? withoutChecks(direct) : { refused: inSite(site, why) };
}

/** A Worker runs for requests only: it asks nobody how they are. Nor does it know where it runs. */
function withoutChecks({ cluster, endpoints }: MadeCluster): MadeCluster {
  const { healthCheck: _h, ...rest } = cluster;
  const { locality: _l, ...loadBalancer } = cluster.loadBalancer;
  return { cluster: { ...rest, loadBalancer }, endpoints };
}

function inSite({ metadata }: EdgeSiteResource, message: string): string {
  return `site ${metadata.name}: ${message}`;
}

// ── services inside the mesh ─────────────────────────────────────────────────

function throughCluster(site: EdgeSiteResource, { cluster }: MadeCluster): MadeCluster | Refusal {
  const [through] = site.spec.clusters;
  if (through === undefined) {
    const remedy = `add clusters: [{ name: main, ingress: https://…, via: passport }] (or via: tunnel) to ${describe(site)}`;
    return {
      refused: inSite(site, `${cluster.host} is inside the mesh, and the site has no cluster to reach it through; ${remedy}`),
    };
  }
  const { endpoint, tls } = ingressOf(through);
  // Which endpoint takes it, and how they are, is the other gateway's to know.
  const { tls: _theService, outlier: _o, healthCheck: _h, circuit: _c, proxyProtocol: _p, ...rest } = cluster;
  const { policy, hash } = cluster.loadBalancer;
  const loadBalancer = { policy: hash === undefined ? policy : "least-request" };
  const via = { kind: through.via, cluster: through.name, destination: cluster.name };
  const discovery = isIpLiteral(endpoint.address) ? "static" : "dns";
  return {
    cluster: { ...rest, discovery, loadBalancer, ...(tls === undefined ? {} : { tls }), via },
    endpoints: { cluster: cluster.name, endpoints: [endpoint] },
  };
}

function ingressOf({ name, ingress }: EdgeCluster): { readonly endpoint: Endpoint; readonly tls: ClientTls | undefined } {
  const url = new URL(ingress ?? `https://${name}.${TUNNEL_DOMAIN}`);
  const secure = url.protocol === "https:";
  // Brackets belong to the URL's spelling of an IPv6 address.
  const address = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
  return {
    endpoint: { address, port, weight: 1 },
    tls: secure
      ? { mode: "simple", serverName: address, subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false }
      : undefined,
  };
}

// ── services outside ─────────────────────────────────────────────────────────

function whyNotFetched(site: EdgeSiteResource, { cluster, endpoints }: MadeCluster, policy: PolicyBlocks): string | undefined {
  const addresses = endpoints.endpoints.map(({ address }) => address);
  const literal = addresses.find(isIpLiteral);
  if (site.spec.runtime === "cloudflare" && literal !== undefined) {
    return `${cluster.host} has the endpoint ${literal}, and fetch on Cloudflare goes to names, not to IP addresses; use resolution DNS with a name, or runtime: workerd in ${describe(site)}`;
  }
  const { proxyProtocol } = policy;
  if (proxyProtocol !== undefined) {
    const place = `${describe(proxyProtocol.rule)} ${proxyProtocol.path}`;
    return `${cluster.host}: ${place}: fetch writes requests, and nothing before them; remove the field, or reach the service through a cluster (location: MESH_INTERNAL)`;
  }
  const { tls } = cluster;
  if (tls === undefined || policy.tls === undefined) return undefined;
  const found = whyNotTrusted(site, tls, addresses);
  if (found === undefined) return undefined;
  const isEntrys = found.startsWith("subjectAltNames") && policy.tls.value.subjectAltNames.length === 0;
  const place = isEntrys ? "its ServiceEntry's spec" : `${describe(policy.tls.rule)} ${policy.tls.path}`;
  return `${cluster.host}: ${place}.${found}`;
}

/** `field: why; remedy`. */
function whyNotTrusted(site: EdgeSiteResource, tls: ClientTls, addresses: readonly string[]): string | undefined {
  const { serverName, subjectAltNames } = tls;
  const instead = "use a certificate of a public authority, or reach the service through a cluster (location: MESH_INTERNAL)";
  if (tls.mode === "mutual")
    return `mode: fetch shows no certificate of its own; use SIMPLE, or reach the service through a cluster (location: MESH_INTERNAL)`;
  if (tls.crlFile !== undefined) return `caCrl: fetch looks at no revocation list of ours; ${instead}`;
  if (tls.caFile !== undefined) return `caCertificates: fetch trusts the public authorities alone; ${instead}`;
  if (tls.insecureSkipVerify) return `insecureSkipVerify: fetch always checks certificates; ${instead}`;
  const unpinned = subjectAltNames.length === 0 ? undefined : addresses.find((address) => !subjectAltNames.includes(address));
  if (unpinned !== undefined) {
    return `subjectAltNames: fetch checks the certificate for the endpoint's name ${unpinned} alone; list that name, or remove the field`;
  }
  const other = addresses.find((address) => serverName !== undefined && address !== serverName);
  if (site.spec.runtime === "cloudflare" && other !== undefined) {
    return `sni: fetch asks for the endpoint's name ${other}, not for ${serverName}; write sni: ${other}, or runtime: workerd in ${describe(site)}`;
  }
  return undefined;
}

/** What becomes of the Host that a request is to have. */
export type HostVerdict =
  | { readonly kind: "kept" }
  /** The endpoint sees its own name. */
  | { readonly kind: "replaced"; readonly message: string }
  | { readonly kind: "refused"; readonly message: string };

/** `authority`: what the route makes of it; undefined: the client's own, which is one of `hosts`. */
export function hostAtEdge(
  site: EdgeSiteResource,
  { cluster, endpoints }: MadeCluster,
  authority: string | undefined,
  hosts: readonly string[],
): HostVerdict {
  // A passport carries the authority; what runs in workerd may be bound to a server of its own.
  if (cluster.via !== undefined || site.spec.runtime === "workerd") return { kind: "kept" };
  const wanted = authority === undefined ? hosts : [authority.toLowerCase()];
  const sent = endpoints.endpoints.map((endpoint) => urlHost(endpoint, cluster.tls !== undefined));
  const other = sent.find((host) => wanted.some((name) => name !== host));
  if (other === undefined) return { kind: "kept" };
  if (authority !== undefined) {
    const why = `Host ${authority} is not the endpoint's, and fetch on Cloudflare takes Host from the URL, which is ${other}`;
    const remedy = `write ${other}, reach the service through a cluster (location: MESH_INTERNAL), or set runtime: workerd in ${describe(site)}`;
    return { kind: "refused", message: inSite(site, `${why}; ${remedy}`) };
  }
  const message = `${cluster.host} gets its own name as Host, not the client's, because fetch on Cloudflare takes it from the URL; write rewrite: { authority: ${other} } to have it so everywhere`;
  return { kind: "replaced", message: inSite(site, message) };
}

/** Host as a URL to this endpoint has it: the scheme's own port is not written (RFC 9110 4.2.3). */
function urlHost({ address, port }: Endpoint, secure: boolean): string {
  return port === (secure ? 443 : 80) ? address : `${address}:${port}`;
}

// ── what has no effect ───────────────────────────────────────────────────────

/** Settings of connections that are not the gateway's own, of places, and of what isolates do not know of one another. */
export function tellIgnoredPolicy(site: EdgeSiteResource, policy: PolicyBlocks, status: Status): void {
  const { connectionPool, loadBalancer, outlierDetection } = policy;
  const warn = ({ rule, path }: { rule: DestinationRuleResource; path: string }, message: string): void =>
    status.report("warning", rule, path, inSite(site, message));
  if (connectionPool !== undefined) {
    const fields = poolFields(connectionPool.value);
    if (fields.length > 0) warn(connectionPool, `fetch keeps connections of its own; without effect there: ${fields.join(", ")}`);
    const counted = circuitFields(connectionPool.value);
    if (counted.length > 0) warn(connectionPool, `each isolate counts for itself there: ${counted.join(", ")}`);
  }
  if (loadBalancer?.value.localityLbSetting !== undefined)
    warn(loadBalancer, "a Worker does not know where it runs; without effect there: localityLbSetting");
  if (outlierDetection !== undefined) warn(outlierDetection, "each isolate judges by the requests that it has sent itself");
}

function circuitFields({ http }: ConnectionPool): readonly string[] {
  return (["http2MaxRequests", "maxRetries"] as const).filter((name) => http?.[name] !== undefined).map((name) => `http.${name}`);
}

function poolFields({ tcp, http }: ConnectionPool): readonly string[] {
  const given: Readonly<Record<string, unknown>> = {
    "tcp.maxConnections": tcp?.maxConnections,
    "tcp.idleTimeout": tcp?.idleTimeout,
    "tcp.tcpKeepalive": tcp?.tcpKeepalive,
    "tcp.maxConnectionDuration": tcp?.maxConnectionDuration,
    "http.http1MaxPendingRequests": http?.http1MaxPendingRequests,
    "http.maxRequestsPerConnection": http?.maxRequestsPerConnection,
    "http.idleTimeout": http?.idleTimeout,
    "http.maxConcurrentStreams": http?.maxConcurrentStreams || undefined,
    "http.h2UpgradePolicy": http?.h2UpgradePolicy === "UPGRADE" ? http.h2UpgradePolicy : undefined,
    "http.useClientProtocol": http?.useClientProtocol || undefined,
  };
  return Object.keys(given).filter((name) => given[name] !== undefined);
}

/** Ports at which Cloudflare's network takes requests. */
const CLOUDFLARE_PORTS = {
  http: [80, 8080, 8880, 2052, 2082, 2086, 2095],
  https: [443, 2053, 2083, 2087, 2096, 8443],
} as const;

/** A Worker is given requests, never a connection or its ClientHello. */
export function whyNotServed(
  site: EdgeSiteResource,
  { protocol, spec }: BoundServer,
): { readonly field: string; readonly message: string } | undefined {
  if (spec.port.protocol === "GRPC-WEB")
    return {
      field: "port.protocol",
      message: inSite(site, "protocol GRPC-WEB takes trailers to translate, and Workers get none; use a gateway on Node"),
    };
  if (protocol === "http" || protocol === "https") return undefined;
  const goesThrough = protocol === "passthrough" || protocol === "auto-passthrough";
  const what = goesThrough ? `TLS that goes through (mode ${spec.tls?.mode ?? "PASSTHROUGH"})` : `protocol ${spec.port.protocol}`;
  return {
    field: goesThrough ? "tls.mode" : "port.protocol",
    message: inSite(site, `${what} needs the bytes of connections, and a Worker is given requests only; use a gateway on Node`),
  };
}

/** The platform asks nobody for a certificate, so a server that does would let everybody in. */
export function whyNotTerminated(
  site: EdgeSiteResource,
  { mode }: GatewayServerTls,
): { readonly field: string; readonly message: string } | undefined {
  if (!asksClients(mode)) return undefined;
  const remedy = "use mode SIMPLE there, or a gateway on Node";
  return {
    field: "mode",
    message: inSite(site, `${mode} needs clients' certificates, which the platform does not ask for; ${remedy}`),
  };
}

/** What the platform decides about a server: where it is reached, and how TLS is terminated. */
export function tellServer(site: EdgeSiteResource, server: BoundServer, status: Status): void {
  const { gateway, spec, path, protocol, port } = server;
  if (protocol !== "http" && protocol !== "https") return;
  const ports: readonly number[] = CLOUDFLARE_PORTS[protocol];
  if (site.spec.runtime === "cloudflare" && !ports.includes(port)) {
    const message = `nothing reaches port ${port} there: Cloudflare takes ${protocol} at ${ports.join(", ")} only; use one of them`;
    status.report("warning", gateway, `${path}.port.number`, inSite(site, message));
  }
  const { tls } = spec;
  if (tls === undefined) return;
  const fields = [
    ...(tls.minProtocolVersion === "TLS_AUTO" ? [] : ["minProtocolVersion"]),
    ...(tls.maxProtocolVersion === "TLS_AUTO" ? [] : ["maxProtocolVersion"]),
    ...(tls.cipherSuites.length === 0 ? [] : ["cipherSuites"]),
  ];
  if (fields.length === 0) return;
  const message = `the platform terminates TLS by settings of its own; without effect there: ${fields.join(", ")}`;
  status.report("warning", gateway, `${path}.tls`, inSite(site, message));
}
