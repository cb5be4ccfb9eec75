/** Route tables: which virtual hosts a table has, whose routes stand in each, and which quotas. */

import { DECODE_LIMITS, type HttpsRedirect, type Route, type RouteTable, type VirtualHost } from "../../gateway/core/ir/index.ts";
import { compareHosts, isWildcard, patternsOver } from "../registry/index.ts";
import { type BoundServer, httpsRedirect, type PlannedTable, type RedirectTargets } from "./listeners.ts";
import { compareObjects, type VirtualServiceResource } from "./objects.ts";
import { mergeRoutes } from "./precedence.ts";
import { type OwnedRoute, type RouteContext, routesOf } from "./routes.ts";
import { type Bindings, ServerHosts, virtualServiceHosts } from "./scope.ts";
import { objectKey } from "./status.ts";

/** What one domain of a table is made of. */
interface Domain {
  redirect: HttpsRedirect | undefined;
  /** Gateways with a server for it. */
  readonly gateways: Set<string>;
  /** VirtualServices, each with the Gateways that bind it here. */
  readonly virtualServices: Map<VirtualServiceResource, Set<string>>;
}

export interface TableContext extends RouteContext {
  readonly bindings: Bindings;
  readonly redirects: RedirectTargets;
}

export function routeTable(table: PlannedTable, context: TableContext): RouteTable {
  const domains = collectDomains(table, context);
  splitForQuotas(domains, context.quotas.hosts);
  const builder = new TableBuilder(table, context);
  return { name: table.name, virtualHosts: builder.virtualHosts(domains), quotas: builder.tableQuotas };
}

function collectDomains(table: PlannedTable, context: TableContext): Map<string, Domain> {
  const domains = new Map<string, Domain>();
  for (const server of table.servers) {
    const hosts = new ServerHosts(server);
    const gateway = objectKey(server.gateway);
    if (server.spec.tls?.httpsRedirect === true) for (const host of hosts.names) touch(domains, host, server, gateway, context);
    for (const virtualService of context.bindings.get(gateway) ?? []) {
      if (virtualService.spec.http.length === 0) continue;
      for (const host of hosts.intersect(virtualServiceHosts(virtualService), virtualService.metadata.namespace)) {
        const { virtualServices } = touch(domains, host, server, gateway, context);
        const gateways = virtualServices.get(virtualService);
        if (gateways === undefined) virtualServices.set(virtualService, new Set([gateway]));
        else gateways.add(gateway);
      }
    }
  }
  return domains;
}

function touch(domains: Map<string, Domain>, host: string, server: BoundServer, gateway: string, context: TableContext): Domain {
  let domain = domains.get(host);
  if (domain === undefined) {
    domain = { redirect: undefined, gateways: new Set(), virtualServices: new Map() };
    domains.set(host, domain);
  }
  domain.redirect ??= httpsRedirect(server, host, context.redirects);
  domain.gateways.add(gateway);
  return domain;
}

/** A host that a quota names gets a domain of its own where only a wider one would take it. */
function splitForQuotas(domains: Map<string, Domain>, hosts: readonly string[]): void {
  if (![...domains.keys()].some(isWildcard)) return;
  for (const host of hosts) {
    if (domains.has(host)) continue;
    const wider = [...patternsOver(host)].find((pattern) => domains.has(pattern));
    const domain = wider === undefined ? undefined : domains.get(wider);
    if (domain !== undefined) domains.set(host, domain);
  }
}

class TableBuilder {
  /** Quotas for whatever reaches the table: those of its Gateway, where it has one alone. */
  readonly tableQuotas: readonly string[];
  readonly #table: PlannedTable;
  readonly #context: TableContext;
  readonly #routes = new Map<string, readonly OwnedRoute[]>();
  readonly #shared: boolean;

  constructor(table: PlannedTable, context: TableContext) {
    this.#table = table;
    this.#context = context;
    const gateways = new Set(table.servers.map(({ gateway }) => objectKey(gateway)));
    this.#shared = gateways.size > 1;
    this.tableQuotas = this.#shared ? [] : [...gateways].flatMap((gateway) => context.quotas.ofGateway(gateway));
  }

  /** Domains that are made of the same parts are one virtual host. */
  virtualHosts(domains: ReadonlyMap<string, Domain>): readonly VirtualHost[] {
    const groups = new Map<string, { readonly names: string[]; readonly domain: Domain; readonly quotas: readonly string[] }>();
    for (const [name, domain] of domains) {
      const quotas = this.#quotas(name, domain);
      const key = groupKey(domain, quotas);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, { names: [name], domain, quotas });
      else group.names.push(name);
    }
    return [...groups.values()]
      .flatMap(({ names, domain, quotas }) =>
        portions(names.sort(compareHosts)).map((some) => this.#virtualHost(some, domain, quotas)),
      )
      .sort((a, b) => compareHosts(a.name, b.name));
  }

  #virtualHost(domains: readonly string[], domain: Domain, quotas: readonly string[]): VirtualHost {
    const [name = ""] = domains;
    const lists = inOrder(domain).map(([virtualService, gateways]) => this.#routesOf(virtualService, gateways));
    return {
      name,
      domains,
      ...(domain.redirect === undefined ? {} : { httpsRedirect: domain.redirect }),
      quotas,
      routes: chargedOnce(mergeRoutes(lists, name, this.#context.status), new Set([...this.tableQuotas, ...quotas])),
    };
  }

  #routesOf(virtualService: VirtualServiceResource, gateways: ReadonlySet<string>): readonly OwnedRoute[] {
    const key = JSON.stringify(bindingKey(virtualService, gateways));
    let routes = this.#routes.get(key);
    if (routes === undefined) {
      routes = routesOf({ virtualService, gateways, servicePort: this.#table.servicePort }, this.#context);
      this.#routes.set(key, routes);
      this.#context.status.programmed(virtualService);
    }
    return routes;
  }

  /** Of the domain itself, and of its Gateways where the table is not theirs alone. */
  #quotas(name: string, domain: Domain): readonly string[] {
    const { quotas } = this.#context;
    const namespaces = new Set([...domain.virtualServices.keys()].map(({ metadata }) => metadata.namespace));
    for (const gateway of domain.gateways) namespaces.add(gateway.slice(0, gateway.indexOf("/")));
    const own = quotas.ofDomain(name, namespaces).filter((id) => !this.tableQuotas.includes(id));
    if (!this.#shared) return own;
    return [...new Set([...[...domain.gateways].sort().flatMap((gateway) => quotas.ofGateway(gateway)), ...own])];
  }
}

/** No more domains to a virtual host than a reader takes. */
function portions(names: readonly string[]): readonly (readonly string[])[] {
  const size = DECODE_LIMITS.domainsPerVirtualHost;
  return Array.from({ length: Math.ceil(names.length / size) }, (_, index) => names.slice(index * size, (index + 1) * size));
}

/** A quota that stands further out is not charged again by the route. */
function chargedOnce(routes: readonly Route[], outer: ReadonlySet<string>): readonly Route[] {
  if (outer.size === 0) return routes;
  return routes.map((route) => ({ ...route, quotas: route.quotas.filter((id) => !outer.has(id)) }));
}

function inOrder(domain: Domain): readonly (readonly [VirtualServiceResource, ReadonlySet<string>])[] {
  return [...domain.virtualServices].sort(([a], [b]) => compareObjects(a, b));
}

/** By which Gateway a VirtualService is bound shows in its routes only where a match names Gateways. */
function bindingKey(virtualService: VirtualServiceResource, gateways: ReadonlySet<string>): readonly string[] {
  const asks = virtualService.spec.http.some(({ match }) => match.some((alternative) => alternative.gateways.length > 0));
  return [objectKey(virtualService), ...(asks ? [...gateways].sort() : [])];
}

function groupKey(domain: Domain, quotas: readonly string[]): string {
  const parts = inOrder(domain).map(([virtualService, gateways]) => bindingKey(virtualService, gateways));
  return JSON.stringify([domain.redirect ?? null, parts, quotas]);
}
