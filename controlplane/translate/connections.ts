/** Routes of opaque connections: `tcp` of VirtualServices where bytes are plain or TLS has ended here, `tls` where TLS goes through. */

import type { ConnectionDestination, ConnectionMatch, ConnectionRoute } from "../../gateway/core/ir/index.ts";
import type { TcpRoute, TlsRoute } from "../config/index.ts";
import { compareHosts, covers, visibleIn } from "../registry/index.ts";
import type { Clusters } from "./clusters.ts";
import type { BoundServer, PlannedListener } from "./listeners.ts";
import type { VirtualServiceResource } from "./objects.ts";
import { type Bindings, gatewayKeys, ServerHosts, virtualServiceHosts } from "./scope.ts";
import { objectKey, type Status } from "./status.ts";

export interface ConnectionContext {
  readonly clusters: Clusters;
  readonly bindings: Bindings;
  readonly status: Status;
}

/** A route that still knows its object. */
interface Owner {
  readonly virtualService: VirtualServiceResource;
  /** `spec.tcp[0]`. */
  readonly path: string;
}

/** Names that a server's connections are picked by: none where there is no TLS. */
const ANY_NAME = "*";

/** The routes of one server. VirtualServices in order of precedence; what an earlier route has taken whole is left out of later ones. */
export function connectionRoutes(
  listener: PlannedListener,
  server: BoundServer,
  context: ConnectionContext,
): readonly ConnectionRoute[] {
  const section = server.protocol === "passthrough" ? "tls" : "tcp";
  const found = new ServerRoutes(listener, server, section, context);
  for (const virtualService of context.bindings.get(objectKey(server.gateway)) ?? []) found.add(virtualService);
  if (found.routes.length === 0) {
    const message = `no VirtualService has a ${section} route for it, so connections are closed; add one with gateways: [${objectKey(server.gateway)}] and a host that both have`;
    context.status.report("warning", server.gateway, server.path, message);
  }
  return found.routes;
}

class ServerRoutes {
  readonly routes: ConnectionRoute[] = [];
  readonly #listener: PlannedListener;
  readonly #server: BoundServer;
  readonly #section: "tls" | "tcp";
  readonly #context: ConnectionContext;
  readonly #hosts: ServerHosts;
  /** What every connection that fits goes to, by name and addresses. */
  readonly #taken = new Map<string, Owner>();

  constructor(listener: PlannedListener, server: BoundServer, section: "tls" | "tcp", context: ConnectionContext) {
    this.#listener = listener;
    this.#server = server;
    this.#section = section;
    this.#context = context;
    this.#hosts = new ServerHosts(server);
  }

  add(virtualService: VirtualServiceResource): void {
    const { spec, metadata } = virtualService;
    const common = this.#hosts.intersect(virtualServiceHosts(virtualService), metadata.namespace);
    if (common.size === 0) return;
    const list: readonly (TlsRoute | TcpRoute)[] = spec[this.#section];
    for (const [index, route] of list.entries()) this.#addRoute(route, index, virtualService, common);
  }

  #addRoute(
    route: TlsRoute | TcpRoute,
    index: number,
    virtualService: VirtualServiceResource,
    common: ReadonlySet<string>,
  ): void {
    const path = `spec.${this.#section}[${index}]`;
    const owner: Owner = { virtualService, path };
    const wanted = route.match.length === 0 ? [this.#match({}, common)] : this.#matches(route, virtualService, common);
    const matches = wanted.flatMap((match) => this.#claim(match, owner));
    if (matches.length === 0) return;
    const { namespace, name } = virtualService.metadata;
    this.routes.push({
      id: `${namespace}/${name}/${this.#section}/${index}`,
      origin: { kind: virtualService.kind, namespace, name, path },
      matches: matches.some((match) => Object.keys(match).length === 0) ? [] : matches,
      destinations: this.#destinations(route, owner),
    });
    this.#context.status.programmed(virtualService);
  }

  /** Port and `gateways` are settled here: they say where an alternative applies. */
  #matches(route: TlsRoute | TcpRoute, virtualService: VirtualServiceResource, common: ReadonlySet<string>): ConnectionMatch[] {
    const found: ConnectionMatch[] = [];
    for (const match of route.match) {
      if (match.port !== undefined && match.port !== this.#listener.servicePort) continue;
      const gateways = gatewayKeys(match.gateways, virtualService);
      if (gateways.size > 0 && !gateways.has(objectKey(this.#server.gateway))) continue;
      const names = "sniHosts" in match ? this.#hosts.intersect(match.sniHosts, virtualService.metadata.namespace) : common;
      if (names.size > 0) found.push(this.#match(match, names));
    }
    return found;
  }

  #match(match: Partial<TlsRoute["match"][number] & TcpRoute["match"][number]>, names: ReadonlySet<string>): ConnectionMatch {
    const destinationSubnets = (match.destinationSubnets ?? []).map(block);
    // Without TLS there is no name to tell connections apart by.
    const isNamed = this.#server.protocol !== "tcp" && !names.has(ANY_NAME);
    return {
      ...(isNamed ? { serverNames: [...names].sort(compareHosts) } : {}),
      ...(destinationSubnets.length === 0 ? {} : { destinationSubnets }),
      ...(match.sourceSubnet === undefined ? {} : { sourceSubnets: [block(match.sourceSubnet)] }),
    };
  }

  /** Leaves out names for which an earlier route takes every connection that this one would take. */
  #claim(match: ConnectionMatch, owner: Owner): readonly ConnectionMatch[] {
    const { serverNames, ...addresses } = match;
    const left = (serverNames ?? [ANY_NAME]).filter((name) => {
      const key = claimKey(name, addresses);
      const holder = this.#taken.get(claimKey(name, {})) ?? this.#taken.get(key);
      if (holder === undefined) this.#taken.set(key, owner);
      else if (holder.virtualService !== owner.virtualService || holder.path !== owner.path) this.#tellTaken(name, holder, owner);
      return holder === undefined;
    });
    if (left.length === 0) return [];
    return [serverNames === undefined ? match : { ...match, serverNames: left }];
  }

  #tellTaken(name: string, holder: Owner, owner: Owner): void {
    const { status } = this.#context;
    const port = this.#listener.servicePort;
    const about = this.#server.protocol === "tcp" ? `every connection to port ${port}` : `TLS for ${name} on port ${port}`;
    if (holder.virtualService !== owner.virtualService) {
      status.conflict(holder.virtualService, holder.path, owner.virtualService, owner.path, about);
      return;
    }
    const message = `is never reached for ${about}: ${holder.path} takes that; put it before that one`;
    status.report("warning", owner.virtualService, owner.path, message);
  }

  #destinations(route: TlsRoute | TcpRoute, { virtualService, path }: Owner): readonly ConnectionDestination[] {
    return route.route.flatMap(({ destination, weight }, index) => {
      if (weight === 0) return [];
      const target = this.#context.clusters.target(destination, {
        owner: virtualService,
        path: `${path}.route[${index}].destination`,
        servicePort: this.#listener.servicePort,
        authority: undefined,
        carries: this.#section === "tls" ? "tls" : "connections",
      });
      return [{ cluster: target.cluster, weight }];
    });
  }
}

function claimKey(name: string, addresses: Omit<ConnectionMatch, "serverNames">): string {
  return JSON.stringify([name, addresses]);
}

/** One address is a block of its own. */
function block(text: string): string {
  if (text.includes("/")) return text;
  return `${text}/${text.includes(":") ? 128 : 32}`;
}

/** AUTO_PASSTHROUGH: a cluster for every port and subset of every service that the server's hosts cover, under the names that ClientHellos have. */
export function addNamedClusters(server: BoundServer, context: ConnectionContext, services: NamedServices): void {
  for (const service of services.all) {
    if (!visibleIn(service.exportTo, services.namespace)) continue;
    if (server.spec.hosts.some(({ host }) => covers(host, service.host) || host === service.host))
      context.clusters.named(service);
  }
}

interface NamedServices {
  readonly all: readonly Parameters<Clusters["named"]>[0][];
  /** Of the pool. */
  readonly namespace: string;
}
