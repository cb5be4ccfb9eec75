/** Which quotas apply where: targets of Quota objects, found once and asked for while tables are made. */

import type { QuotaPolicy } from "../../gateway/core/ir/index.ts";
import type { MeshConfigSpec, QuotaTarget } from "../config/index.ts";
import { compareText, covers, patternsOver, type Registry, resolveShortName } from "../registry/index.ts";
import type { ObjectSet, QuotaResource, VirtualServiceResource } from "./objects.ts";
import { quotaPolicy } from "./quota-policy.ts";
import { virtualServiceHosts } from "./scope.ts";
import { objectKey, type Status } from "./status.ts";

interface Entry {
  readonly quota: QuotaResource;
  readonly policy: QuotaPolicy;
  /** Place in the order of precedence, which is the order of charging. */
  readonly rank: number;
}

export class QuotaTargets {
  /** `VirtualService ns/name`, `VirtualService ns/name#route`, `Gateway ns/name`, `Service host`, `EgressRule ns/name#rule` … → entries. */
  readonly #byTarget = new Map<string, Entry[]>();
  readonly #byHost = new Map<string, Entry[]>();
  readonly #used = new Map<string, QuotaPolicy>();
  readonly #global: QuotaPolicy[] = [];
  readonly #rootNamespace: string;
  readonly #status: Status;

  constructor(objects: ObjectSet, registry: Registry, mesh: MeshConfigSpec, status: Status) {
    this.#rootNamespace = mesh.rootNamespace;
    this.#status = status;
    const known = new KnownTargets(objects, registry);
    objects.quotas.forEach((quota, rank) => {
      const policy = quotaPolicy(quota, mesh, status);
      if (policy === undefined) return;
      if (policy.scope === "global") this.#global.push(policy);
      this.#place({ quota, policy, rank }, known);
    });
  }

  /** A target that names nothing is told by config's check of references, apart from hosts. */
  #place(entry: Entry, known: KnownTargets): void {
    entry.quota.spec.targets.forEach((target, index) => {
      const path = `spec.targets[${index}]`;
      const found = known.find(target, entry.quota);
      if (found === undefined) {
        if (target.kind === "Host")
          this.#status.report("warning", entry.quota, path, `no VirtualService or Gateway serves host ${target.name}`);
      } else if (found.namespace !== undefined && !this.#mayLimit(entry.quota, found.namespace)) {
        this.#status.report("warning", entry.quota, path, this.#foreign(found.namespace));
      } else {
        const map = target.kind === "Host" ? this.#byHost : this.#byTarget;
        const entries = map.get(found.key) ?? [];
        if (!entries.includes(entry)) entries.push(entry);
        map.set(found.key, entries);
      }
    });
  }

  /** Nobody slows down another namespace's traffic, apart from the root namespace, which may limit everybody's. */
  #mayLimit(quota: QuotaResource, namespace: string): boolean {
    const own = quota.metadata.namespace;
    return own === namespace || own === this.#rootNamespace;
  }

  #foreign(namespace: string): string {
    return `the target belongs to namespace ${namespace}, so this target is left out; put the Quota there, or into the root namespace ${this.#rootNamespace}`;
  }

  /** Quotas of a route, through its VirtualService, its name, or a service that it forwards to. */
  ofRoute(virtualService: VirtualServiceResource, routeName: string, services: readonly string[]): readonly string[] {
    if (this.#byTarget.size === 0) return [];
    const whole = `VirtualService ${objectKey(virtualService)}`;
    const keys = routeName === "" ? [whole] : [whole, `${whole}#${routeName}`];
    return this.#use([...keys, ...services.map((host) => `Service ${host}`)].flatMap((key) => this.#byTarget.get(key) ?? []));
  }

  ofGateway(gatewayKey: string): readonly string[] {
    return this.#use(this.#byTarget.get(`Gateway ${gatewayKey}`) ?? []);
  }

  ofService(host: string): readonly string[] {
    return this.#use(this.#byTarget.get(`Service ${host}`) ?? []);
  }

  ofEgressRule(policyKey: string, rule: string): readonly string[] {
    const whole = `EgressRule ${policyKey}`;
    return this.#use([whole, `${whole}#${rule}`].flatMap((key) => this.#byTarget.get(key) ?? []));
  }

  /** Hosts that quotas name, most of them exact. */
  get hosts(): readonly string[] {
    return [...this.#byHost.keys()];
  }

  /** Quotas of a domain that objects of these namespaces serve. */
  ofDomain(domain: string, namespaces: ReadonlySet<string>): readonly string[] {
    if (this.#byHost.size === 0) return [];
    const entries = [...patternsOver(domain)].flatMap((pattern) => this.#byHost.get(pattern) ?? []);
    return this.#use(entries.filter((entry) => this.#mayServe(entry, domain, namespaces)));
  }

  #mayServe({ quota }: Entry, domain: string, namespaces: ReadonlySet<string>): boolean {
    if ([...namespaces].some((namespace) => this.#mayLimit(quota, namespace))) return true;
    const owners = [...namespaces].sort(compareText).join(", ");
    this.#status.report("warning", quota, "spec.targets", `host ${domain}: ${this.#foreign(owners)}`);
    return false;
  }

  #use(entries: readonly Entry[]): readonly string[] {
    if (entries.length === 0) return [];
    const ordered = [...new Set(entries)].sort((a, b) => a.rank - b.rank);
    for (const { policy, quota } of ordered) {
      this.#used.set(policy.id, policy);
      this.#status.programmed(quota);
    }
    return ordered.map(({ policy }) => policy.id);
  }

  /** Takes in a policy that is not a Quota object's. */
  add(policy: QuotaPolicy): void {
    this.#used.set(policy.id, policy);
  }

  /** Takes in what the snapshot's own routes may not name, and its site counts for others. */
  addGlobal(): void {
    for (const policy of this.#global) this.#used.set(policy.id, policy);
  }

  /** Those that something in the snapshot names. */
  used(): readonly QuotaPolicy[] {
    return [...this.#used.values()].sort((a, b) => compareText(a.id, b.id));
  }
}

interface FoundTarget {
  readonly key: string;
  /** Whose it is; undefined for a host, which many may serve. */
  readonly namespace: string | undefined;
}

/** What a target may name, over the whole set: an object that another pool serves is known too. */
class KnownTargets {
  readonly #gateways: ReadonlySet<string>;
  readonly #routes: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #rules: ReadonlyMap<string, ReadonlySet<string>>;
  readonly #objects: ObjectSet;
  readonly #registry: Registry;
  #hosts: ReadonlySet<string> | undefined;

  constructor(objects: ObjectSet, registry: Registry) {
    this.#objects = objects;
    this.#registry = registry;
    this.#gateways = new Set(objects.gateways.map(objectKey));
    this.#routes = new Map(
      objects.virtualServices.map((item) => [objectKey(item), new Set(item.spec.http.map(({ name }) => name))]),
    );
    this.#rules = new Map(
      objects.egressPolicies.map((item) => [objectKey(item), new Set(item.spec.allow.map(({ name }) => name))]),
    );
  }

  find(target: QuotaTarget, quota: QuotaResource): FoundTarget | undefined {
    const namespace = target.namespace ?? quota.metadata.namespace;
    const name = `${namespace}/${target.name}`;
    switch (target.kind) {
      case "VirtualService":
        return part(`VirtualService ${name}`, namespace, this.#routes.get(name), target.route);
      case "EgressRule":
        return part(`EgressRule ${name}`, namespace, this.#rules.get(name), target.rule);
      case "Gateway":
        return this.#gateways.has(name) ? { key: `Gateway ${name}`, namespace } : undefined;
      case "Host":
        return this.#serves(target.name) ? { key: target.name, namespace: undefined } : undefined;
      case "Service": {
        const service = this.#registry.find(resolveShortName(target.name, namespace), namespace);
        return service === undefined ? undefined : { key: `Service ${service.host}`, namespace: service.namespace };
      }
    }
  }

  #serves(host: string): boolean {
    this.#hosts ??= new Set([
      ...this.#objects.virtualServices.flatMap(virtualServiceHosts),
      ...this.#objects.gateways.flatMap(({ spec }) => spec.servers.flatMap(({ hosts }) => hosts.map((item) => item.host))),
    ]);
    for (const pattern of patternsOver(host)) if (this.#hosts.has(pattern)) return true;
    return host.startsWith("*") && [...this.#hosts].some((served) => covers(host, served));
  }
}

/** A target that is an object, or a named part of it. */
function part(
  key: string,
  namespace: string,
  parts: ReadonlySet<string> | undefined,
  wanted: string | undefined,
): FoundTarget | undefined {
  if (parts === undefined || (wanted !== undefined && !parts.has(wanted))) return undefined;
  return { key: wanted === undefined ? key : `${key}#${wanted}`, namespace };
}
