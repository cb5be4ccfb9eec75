/** Who meets whom: Gateways and pools by labels, VirtualServices and Gateways by name, visibility, and the hosts they have in common. */

import { MESH_GATEWAY } from "../config/index.ts";
import { covers, isWildcard, patternsOver, resolveShortName, visibility, visibleIn } from "../registry/index.ts";
import type { BoundServer } from "./listeners.ts";
import type { EdgeSiteResource, GatewayResource, VirtualServiceResource } from "./objects.ts";
import { objectKey, type Status } from "./status.ts";
import type { LocatedPool } from "./types.ts";

type Labels = Readonly<Record<string, string>>;

/** Whether an object with these wanted labels selects something that carries those. No wanted label: everything. */
export function selects(wanted: Labels, carried: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => carried[name] === value);
}

/** A site names its Gateways; other pools are selected by their labels. */
export function selectGateways(gateways: readonly GatewayResource[], pool: LocatedPool): readonly GatewayResource[] {
  if (pool.site !== undefined) {
    const named = servedGateways(pool.site);
    return gateways.filter((gateway) => named.has(objectKey(gateway)));
  }
  return gateways.filter((gateway) => selects(gateway.spec.selector, pool.labels));
}

/** `namespace/name`; without a namespace it is the site's own. */
function servedGateways({ spec, metadata }: EdgeSiteResource): ReadonlySet<string> {
  return new Set(spec.gateways.map(({ name, namespace = metadata.namespace }) => `${namespace}/${name}`));
}

/** VirtualServices by the Gateway (`namespace/name`) that they name, in order of precedence. */
export type Bindings = ReadonlyMap<string, readonly VirtualServiceResource[]>;

/** Only VirtualServices that the pool's namespace may see. */
export function bindVirtualServices(
  virtualServices: readonly VirtualServiceResource[],
  gateways: readonly GatewayResource[],
  pool: LocatedPool,
  status: Status,
): Bindings {
  const known = new Set(gateways.map(objectKey));
  const bindings = new Map<string, VirtualServiceResource[]>();
  for (const virtualService of virtualServices) {
    const visible = visibleIn(visibility(virtualService.spec.exportTo, virtualService.metadata.namespace), pool.namespace);
    for (const key of gatewayKeys(virtualService.spec.gateways, virtualService)) {
      if (key === MESH_GATEWAY || !known.has(key)) continue;
      if (!visible) {
        const message = `hides the object from gateways in namespace ${pool.namespace}, so nothing reaches its routes there`;
        status.report("warning", virtualService, "spec.exportTo", message);
      } else {
        const bound = bindings.get(key);
        if (bound === undefined) bindings.set(key, [virtualService]);
        else bound.push(virtualService);
      }
    }
  }
  return bindings;
}

/** `mesh`, or `namespace/name`; a bare name is in the VirtualService's own namespace. */
export function gatewayKeys(names: readonly string[], owner: VirtualServiceResource): ReadonlySet<string> {
  const { namespace } = owner.metadata;
  return new Set(names.map((name) => (name === MESH_GATEWAY || name.includes("/") ? name : `${namespace}/${name}`)));
}

/** The hosts of a VirtualService, short names resolved in its namespace. */
export function virtualServiceHosts(virtualService: VirtualServiceResource): readonly string[] {
  const { spec, metadata } = virtualService;
  return [...new Set(spec.hosts.map((host) => resolveShortName(host, metadata.namespace)))];
}

/** The hosts of one server, made ready for being held against many VirtualServices. */
export class ServerHosts {
  /** Host → namespaces whose VirtualServices may use it; undefined: all. */
  readonly #hosts = new Map<string, Set<string> | undefined>();

  constructor(server: BoundServer) {
    for (const { namespace, host } of server.spec.hosts) {
      const known = this.#hosts.get(host);
      if (namespace === "*" || (this.#hosts.has(host) && known === undefined)) this.#hosts.set(host, undefined);
      else this.#hosts.set(host, (known ?? new Set()).add(namespace === "." ? server.gateway.metadata.namespace : namespace));
    }
  }

  get names(): Iterable<string> {
    return this.#hosts.keys();
  }

  /** The hosts that a VirtualService of `namespace` and this server have in common: of each pair the more specific one. */
  intersect(hosts: readonly string[], namespace: string): ReadonlySet<string> {
    const common = new Set<string>();
    for (const host of hosts) {
      for (const pattern of patternsOver(host)) if (this.#admits(pattern, namespace)) common.add(host);
      if (!isWildcard(host)) continue;
      for (const own of this.#hosts.keys()) if (covers(host, own) && this.#admits(own, namespace)) common.add(own);
    }
    return common;
  }

  #admits(host: string, namespace: string): boolean {
    if (!this.#hosts.has(host)) return false;
    return this.#hosts.get(host)?.has(namespace) ?? true;
  }
}
