/**
 * Gateways → listeners. Servers of all Gateways that select a pool are merged in the order of precedence of their Gateways: plain HTTP
 * servers share a port and its route table, HTTPS servers share a port and are told apart by SNI, and whoever comes later and does not fit
 * is left out, with a conflict on both objects.
 */

import { DECODE_LIMITS, type HttpsRedirect, type Listener, type ListenerServer } from "../../gateway/core/ir/index.ts";
import { unreachable } from "../../gateway/core/result.ts";
import type { GatewayServer } from "../config/index.ts";
import { compareHosts, compareText, covers, isWildcard } from "../registry/index.ts";
import { type ConnectionContext, connectionRoutes } from "./connections.ts";
import { tellServer, whyNotServed, whyNotTerminated } from "./edge.ts";
import type { EdgeSiteResource, GatewayResource } from "./objects.ts";
import { objectKey, type Status } from "./status.ts";
import { serverTls, unusableSecret } from "./tls.ts";
import type { LocatedPool } from "./types.ts";

/** One server of one Gateway, with its place on the pool. */
export interface BoundServer {
  readonly gateway: GatewayResource;
  readonly spec: GatewayServer;
  /** `spec.servers[i]`. */
  readonly path: string;
  readonly bind: string;
  readonly port: number;
  readonly protocol: ServerProtocol;
}

/** `https`: TLS ends here, HTTP is in it. `tls`: TLS ends here, anything is in it. The last two: TLS goes through. */
export type ServerProtocol = "http" | "https" | "tcp" | "tls" | "passthrough" | "auto-passthrough";

/** Servers that share a bind address and port. */
export interface PlannedListener {
  readonly name: string;
  readonly bind: string;
  readonly port: number;
  readonly servicePort: number;
  /** Servers in TLS are told apart by name, whatever each makes of it. */
  readonly family: "http" | "tcp" | "tls";
  readonly servers: readonly BoundServer[];
}

/** Servers that share a route table. */
export interface PlannedTable {
  readonly name: string;
  readonly servicePort: number;
  readonly servers: readonly BoundServer[];
}

/** Gateways in order of precedence → listeners, by name. */
export function planListeners(
  gateways: readonly GatewayResource[],
  pool: LocatedPool,
  status: Status,
): readonly PlannedListener[] {
  const planned = new Map<string, Draft>();
  for (const gateway of gateways) {
    gateway.spec.servers.forEach((spec, index) => {
      const server = bindServer(gateway, spec, `spec.servers[${index}]`, pool);
      if (isOutOfReach(server, pool, status)) return;
      if (meetsForwardProxy(server, pool, status) || cannotEndTls(server, pool, status)) return;
      place(server, planned, pool.site, status);
    });
  }
  return [...planned.values()].sort((a, b) => compareText(a.name, b.name));
}

interface Draft extends PlannedListener {
  readonly servers: BoundServer[];
  /** TLS only: which server answers to a name. */
  readonly names: Map<string, BoundServer>;
}

/** Config takes out servers that do not work yet, and says so on the object. */
function bindServer(gateway: GatewayResource, spec: GatewayServer, path: string, pool: LocatedPool): BoundServer {
  const { number } = spec.port;
  return {
    gateway,
    spec,
    path,
    // Addresses of machines mean nothing at the edge.
    bind: pool.site === undefined ? (spec.bind ?? pool.bind) : pool.bind,
    port: pool.ports[number] ?? number,
    protocol: protocolOf(spec),
  };
}

function protocolOf({ port, tls }: GatewayServer): ServerProtocol {
  switch (port.protocol) {
    // In clear HTTP/1.1 and HTTP/2 are taken alike.
    case "HTTP":
    case "HTTP2":
    case "GRPC":
    case "GRPC-WEB":
      return "http";
    case "TCP":
    case "MONGO":
      return "tcp";
    case "HTTPS":
    case "TLS":
      // PASSTHROUGH is what Istio reads where there is no mode.
      if (tls?.mode === undefined || tls.mode === "PASSTHROUGH") return "passthrough";
      if (tls.mode === "AUTO_PASSTHROUGH") return "auto-passthrough";
      return port.protocol === "HTTPS" ? "https" : "tls";
    default:
      return unreachable(port.protocol);
  }
}

/** What a port has to offer is the same for all its servers. */
function familyOf(protocol: ServerProtocol): PlannedListener["family"] {
  return protocol === "http" || protocol === "tcp" ? protocol : "tls";
}

/** Only a gateway on Node gets at the bytes of a connection. */
function isOutOfReach(server: BoundServer, { site }: LocatedPool, status: Status): boolean {
  if (site === undefined) return false;
  const why = whyNotServed(site, server);
  if (why === undefined) return false;
  status.report("unsupported", server.gateway, `${server.path}.${why.field}`, `${why.message}; the server is left out`);
  return true;
}

/** The forward proxy's port is the pool's own. */
function meetsForwardProxy(server: BoundServer, pool: LocatedPool, status: Status): boolean {
  if (pool.role !== "egress" || server.port !== pool.forwardProxyPort) return false;
  if (server.bind !== pool.bind && !isAny(server.bind) && !isAny(pool.bind)) return false;
  status.report(
    "conflict",
    server.gateway,
    server.path,
    `port ${server.port} is the forward proxy's in pool ${pool.name}; use another port`,
  );
  return true;
}

/** What the gateway can show clients, and ask of them, is not what the server says: it is left out. */
function cannotEndTls(server: BoundServer, pool: LocatedPool, status: Status): boolean {
  const { gateway, spec, path } = server;
  if ((server.protocol !== "https" && server.protocol !== "tls") || spec.tls === undefined) return false;
  const why =
    pool.site === undefined ? unusableSecret(spec.tls, gateway.metadata.namespace) : whyNotTerminated(pool.site, spec.tls);
  if (why === undefined) return false;
  status.report("unsupported", gateway, `${path}.tls.${why.field}`, `${why.message}; the server is left out`);
  return true;
}

function place(server: BoundServer, planned: Map<string, Draft>, site: EdgeSiteResource | undefined, status: Status): void {
  const name = `${server.bind}:${server.port}`;
  const draft = planned.get(name);
  const rival = draft ?? [...planned.values()].find((other) => overlaps(other, server));
  const clash = rival === undefined ? undefined : whyNotTogether(rival, server, draft !== undefined);
  if (rival !== undefined && clash !== undefined) {
    const first = rival.servers[0];
    if (first !== undefined) status.conflict(first.gateway, first.path, server.gateway, server.path, clash);
    return;
  }
  const { bind, port, protocol } = server;
  const family = familyOf(protocol);
  const target: Draft = draft ?? {
    name,
    bind,
    port,
    family,
    servicePort: server.spec.port.number,
    servers: [],
    names: new Map(),
  };
  if (family === "tls" && !claimNames(target, server, status)) return;
  if (site !== undefined) tellServer(site, server, status);
  target.servers.push(server);
  status.programmed(server.gateway);
  planned.set(name, target);
}

/** All addresses and one address of the same port cannot both be bound. */
function overlaps(other: Draft, server: BoundServer): boolean {
  return other.port === server.port && isAny(other.bind) !== isAny(server.bind);
}

function whyNotTogether(rival: Draft, server: BoundServer, sameBind: boolean): string | undefined {
  const declared = server.spec.port.number;
  if (!sameBind) return `port ${server.port} on ${rival.bind}, which overlaps ${server.bind},`;
  const family = familyOf(server.protocol);
  if (rival.family !== family)
    return `port ${declared} with protocol ${spoken(rival)}, not ${spoken({ family, servers: [server] })},`;
  if (family === "tcp") return `port ${declared} for TCP, which has no names to tell servers apart by,`;
  if (rival.servicePort !== declared) return `bound port ${server.port}, for ${rival.servicePort} and for ${declared},`;
  return undefined;
}

/** What a person calls it. */
function spoken({ family, servers }: Pick<PlannedListener, "family" | "servers">): string {
  return family === "tls" && servers[0]?.protocol === "https" ? "https" : family;
}

function isAny(bind: string): boolean {
  return bind === "0.0.0.0" || bind === "::";
}

/** TLS is picked by name before anything is read, so one name can have only one server on a port: the later server is left out. */
function claimNames(draft: Draft, server: BoundServer, status: Status): boolean {
  const names = serverNames(server);
  const taken = names.find((name) => draft.names.has(name));
  const owner = taken === undefined ? undefined : draft.names.get(taken);
  if (owner !== undefined) {
    status.conflict(
      owner.gateway,
      owner.path,
      server.gateway,
      server.path,
      `host ${taken} for TLS on port ${server.spec.port.number}`,
    );
    return false;
  }
  for (const name of names) draft.names.set(name, server);
  return true;
}

function serverNames(server: BoundServer): readonly string[] {
  return [...new Set(server.spec.hosts.map(({ host }) => sniName(host, server.protocol)))].sort(compareHosts);
}

/** A ClientHello that names a cluster names its service below `outbound_.<port>_.<subset>_.`. */
function sniName(host: string, protocol: ServerProtocol): string {
  return protocol === "auto-passthrough" && !isWildcard(host) ? `*.${host}` : host;
}

/** Plain HTTP: one table for the port. HTTPS: one for each server. Nothing else has any. */
export function tablesOf(listener: PlannedListener): readonly PlannedTable[] {
  const { name, servicePort, servers } = listener;
  if (listener.family === "http") return [{ name, servicePort, servers }];
  return servers
    .filter(({ protocol }) => protocol === "https")
    .map((server) => ({ name: serverName(listener, server), servicePort, servers: [server] }));
}

/** Of an HTTPS server's route table, too. */
function serverName(listener: PlannedListener, server: BoundServer): string {
  return `${listener.name}/${objectKey(server.gateway)}/${serverLabel(server)}`;
}

/** The server's or its port's name where there is one: stable when servers before it come and go. */
function serverLabel({ spec, path }: BoundServer): string {
  return spec.name || spec.port.name || path.slice("spec.servers[".length, -1);
}

export function listenerOf(listener: PlannedListener, pool: LocatedPool, context: ConnectionContext): Listener {
  const { name, bind, port, servicePort, family } = listener;
  // A reader takes so many and no more; who else is in force is told by the objects' statuses.
  const origins = listener.servers.slice(0, DECODE_LIMITS.listLength).map(({ gateway, path }) => ({
    kind: gateway.kind,
    namespace: gateway.metadata.namespace,
    name: gateway.metadata.name,
    path,
  }));
  const servers =
    family === "http" ? [plainServer(listener)] : listener.servers.map((server) => ownServer(listener, server, pool, context));
  const isHttps = family === "tls" && listener.servers.every(({ protocol }) => protocol === "https");
  return {
    name,
    bind,
    port,
    servicePort,
    protocol: isHttps ? "https" : family,
    servers,
    origins,
    ...(pool.proxyProtocol === true ? { proxyProtocol: "accept" } : {}),
  };
}

function plainServer({ name, servers }: PlannedListener): ListenerServer {
  // Servers in clear are one on the wire, as they share their routes.
  const grpcWeb = servers.some(({ spec }) => spec.port.protocol === "GRPC-WEB");
  return { name, serverNames: [ANY_HOST], routeTable: name, ...(grpcWeb ? { grpcWeb } : {}) };
}

const ANY_HOST = "*";

function ownServer(
  listener: PlannedListener,
  server: BoundServer,
  pool: LocatedPool,
  context: ConnectionContext,
): ListenerServer {
  const name = serverName(listener, server);
  const { gateway, spec } = server;
  const base = { name, serverNames: serverNames(server) };
  switch (server.protocol) {
    case "http":
    case "tcp":
      return { name, serverNames: [ANY_HOST], connections: connectionRoutes(listener, server, context) };
    case "passthrough":
      return { ...base, tls: { mode: "passthrough" }, connections: connectionRoutes(listener, server, context) };
    case "auto-passthrough":
      return { ...base, tls: { mode: "auto-passthrough", hosts: hostsOf(server) } };
    case "tls": {
      const connections = connectionRoutes(listener, server, context);
      return {
        ...base,
        ...(spec.tls === undefined ? {} : { tls: serverTls(spec.tls, gateway.metadata.namespace) }),
        connections,
      };
    }
    case "https":
      if (pool.site !== undefined) return { ...base, routeTable: name, tls: { mode: "platform" } };
      return {
        ...base,
        routeTable: name,
        ...(spec.tls === undefined ? {} : { tls: serverTls(spec.tls, gateway.metadata.namespace) }),
      };
    default:
      return unreachable(server.protocol);
  }
}

function hostsOf({ spec }: BoundServer): readonly string[] {
  return [...new Set(spec.hosts.map(({ host }) => host))].sort(compareHosts);
}

/** HTTPS servers by Gateway: where `httpsRedirect` of the same Gateway leads. */
export type RedirectTargets = ReadonlyMap<GatewayResource, readonly BoundServer[]>;

export function redirectTargets(listeners: readonly PlannedListener[]): RedirectTargets {
  const servers = listeners.flatMap((listener) => listener.servers).filter(({ protocol }) => protocol === "https");
  return Map.groupBy(servers, ({ gateway }) => gateway);
}

/**
 * Where plain HTTP for `host` is sent by `httpsRedirect`: to the same Gateway's HTTPS server, the one for that host if there is one. The port
 * is the one clients can reach, so it is the bound one, and 443 is not written.
 */
export function httpsRedirect(server: BoundServer, host: string, targets: RedirectTargets): HttpsRedirect | undefined {
  if (server.spec.tls?.httpsRedirect !== true) return undefined;
  const own = targets.get(server.gateway) ?? [];
  const target = own.find((other) => other.spec.hosts.some((item) => covers(item.host, host))) ?? own[0];
  return target === undefined || target.port === 443 ? { status: 301 } : { status: 301, port: target.port };
}
