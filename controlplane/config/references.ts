/** The second pass: what objects say about one another. A missing reference is a warning: the other object may come later, and the rest works. */
import type { FieldPath } from "./documents.ts";
import type { AnyResource, KindName, ResourceOf } from "./kinds/index.ts";
import { type Destination, type HttpRoute, MESH_GATEWAY } from "./kinds/istio/virtual-service-schema.ts";
import type { QuotaTarget } from "./kinds/native/quota.ts";
import { type ObjectRef, type Problem, refKey, type SourceLocation } from "./resource.ts";
import { formatPath } from "./validate.ts";

export interface ReferenceOptions {
  /** Whether the registry knows a service by another way than a ServiceEntry. Default: it does not. */
  readonly hasService?: (host: string, namespace: string) => boolean;
  /** Names of proxy users; undefined: not known here, so not checked. */
  readonly proxyUsers?: ReadonlySet<string>;
  /** Place of a field of an object; default: the object's own place. */
  readonly locate?: (ref: ObjectRef, path: FieldPath) => SourceLocation | undefined;
}

/** Problems between the objects of a set that is in force. */
export function checkReferences(resources: readonly AnyResource[], options: ReferenceOptions = {}): readonly Problem[] {
  const check = new ReferenceCheck(resources, options);
  for (const resource of resources) check.object(resource);
  return check.problems;
}

class ReferenceCheck {
  readonly problems: Problem[] = [];
  private readonly byKey = new Map<string, AnyResource>();
  private readonly hosts = new Set<string>();
  private readonly cohorts = new Set<string>();
  /** Host → subset names, over all DestinationRules. */
  private readonly subsets = new Map<string, Set<string>>();
  private readonly options: ReferenceOptions;
  private current: AnyResource | undefined;

  constructor(resources: readonly AnyResource[], options: ReferenceOptions) {
    this.options = options;
    for (const resource of resources) {
      this.byKey.set(refKey(refOf(resource)), resource);
      if (resource.kind === "ServiceEntry") for (const host of resource.spec.hosts) this.hosts.add(host);
      if (resource.kind === "DestinationRule") this.collectSubsets(resource);
      if (resource.kind === "MeshConfig") for (const { name } of resource.spec.rollout.cohorts) this.cohorts.add(name);
    }
  }

  private collectSubsets({ spec, metadata }: ResourceOf<"DestinationRule">): void {
    for (const name of hostNames(spec.host, metadata.namespace)) {
      const known = this.subsets.get(name) ?? new Set();
      for (const subset of spec.subsets) known.add(subset.name);
      this.subsets.set(name, known);
    }
  }

  object(resource: AnyResource): void {
    this.current = resource;
    switch (resource.kind) {
      case "VirtualService":
        this.virtualService(resource);
        break;
      case "DestinationRule":
        if (!this.knowsHost(resource.spec.host))
          this.warn(["host"], `no service has the host "${resource.spec.host}"; the rule has no effect until one has`);
        break;
      case "ServiceEntry":
        this.serviceEntry(resource);
        break;
      case "Quota":
        resource.spec.targets.forEach((target, index) => {
          this.quotaTarget(target, ["targets", index]);
        });
        break;
      case "EgressPolicy":
        this.egressPolicy(resource);
        break;
      case "EdgeSite":
        this.edgeSite(resource);
        break;
      default:
        break;
    }
  }

  private warn(path: FieldPath, message: string): void {
    const { current } = this;
    if (!current) return;
    const ref = refOf(current);
    const whole = ["spec", ...path];
    const source = this.options.locate?.(ref, whole) ?? current.source;
    this.problems.push({ severity: "warning", ref, path: formatPath(whole), message, source });
  }

  private get namespace(): string {
    return this.current?.metadata.namespace ?? "";
  }

  private find<Kind extends KindName>(kind: Kind, namespace: string, name: string): ResourceOf<Kind> | undefined {
    return this.byKey.get(refKey({ kind, namespace, name })) as ResourceOf<Kind> | undefined;
  }

  private names(kind: KindName): string {
    const found = [...this.byKey.values()]
      .filter((resource) => resource.kind === kind)
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    if (found.length === 0) return `there is no ${kind} yet`;
    return `known are ${found.slice(0, 10).join(", ")}${found.length > 10 ? ", …" : ""}`;
  }

  private virtualService({ spec }: ResourceOf<"VirtualService">): void {
    spec.gateways.forEach((written, index) => {
      if (written === MESH_GATEWAY) return;
      const slash = written.indexOf("/");
      const namespace = slash === -1 || written.startsWith("./") ? this.namespace : written.slice(0, slash);
      const name = written.slice(slash + 1);
      if (!this.find("Gateway", namespace, name)) {
        this.warn(
          ["gateways", index],
          `there is no Gateway ${namespace}/${name}, so nothing is routed by it; ${this.names("Gateway")}`,
        );
      }
    });
    spec.http.forEach((route, index) => {
      this.route(route, ["http", index]);
    });
    for (const section of ["tls", "tcp"] as const) {
      spec[section].forEach(({ route }, index) => {
        this.targets(route, [section, index, "route"], "connections are closed");
      });
    }
  }

  private route(route: HttpRoute, at: FieldPath): void {
    this.targets(route.route, [...at, "route"], "requests are answered with 503");
    this.targets(route.mirrors, [...at, "mirrors"], "requests are answered with 503");
  }

  /** @param consequence of a destination that is not there */
  private targets(routes: readonly { readonly destination: Destination }[], at: FieldPath, consequence: string): void {
    routes.forEach(({ destination: { host, subset } }, index) => {
      const path = [...at, index, "destination"];
      if (!this.knowsHost(host)) {
        this.warn([...path, "host"], `no service has the host "${host}", so ${consequence} until one has`);
      } else if (subset !== undefined && !this.knowsSubset(host, subset)) {
        this.warn(
          [...path, "subset"],
          `no DestinationRule for "${host}" has the subset "${subset}", so ${consequence} until one has`,
        );
      }
    });
  }

  private knowsHost(host: string): boolean {
    const names = hostNames(host, this.namespace);
    if (names.some((name) => this.hosts.has(name))) return true;
    if (this.options.hasService?.(host, this.namespace)) return true;
    // A wildcard service covers every name below it; a wildcard rule applies to the services below it.
    return [...this.hosts].some((known) => covers(known, host) || covers(host, known));
  }

  private knowsSubset(host: string, subset: string): boolean {
    return (
      hostNames(host, this.namespace).some((name) => this.subsets.get(name)?.has(subset)) || this.wildcardSubset(host, subset)
    );
  }

  private wildcardSubset(host: string, subset: string): boolean {
    return [...this.subsets].some(([known, names]) => covers(known, host) && names.has(subset));
  }

  private serviceEntry({ spec, metadata }: ResourceOf<"ServiceEntry">): void {
    const selector = spec.workloadSelector?.labels;
    if (!selector) return;
    const selected = [...this.byKey.values()].some(
      (resource) =>
        resource.kind === "WorkloadEntry" &&
        resource.metadata.namespace === metadata.namespace &&
        Object.entries(selector).every(([name, value]) => resource.spec.labels[name] === value),
    );
    if (!selected)
      this.warn(
        ["workloadSelector"],
        `no WorkloadEntry of namespace ${metadata.namespace} has these labels, so the service has no endpoint`,
      );
  }

  private quotaTarget(target: QuotaTarget, at: FieldPath): void {
    const namespace = target.namespace ?? this.namespace;
    const missing = (kind: KindName): void =>
      this.warn(
        [...at, "name"],
        `there is no ${kind} ${namespace}/${target.name}, so the quota does not apply there; ${this.names(kind)}`,
      );
    switch (target.kind) {
      case "VirtualService": {
        const found = this.find("VirtualService", namespace, target.name);
        if (!found) missing("VirtualService");
        else
          this.named(target.route, found.spec.http, [...at, "route"], `VirtualService ${namespace}/${target.name} has no route`);
        break;
      }
      case "EgressRule": {
        const found = this.find("EgressPolicy", namespace, target.name);
        if (!found) missing("EgressPolicy");
        else this.named(target.rule, found.spec.allow, [...at, "rule"], `EgressPolicy ${namespace}/${target.name} has no rule`);
        break;
      }
      case "Gateway":
        if (!this.find("Gateway", namespace, target.name)) missing("Gateway");
        break;
      case "Service":
        if (!this.knowsHost(target.name))
          this.warn([...at, "name"], `no service has the host "${target.name}", so the quota does not apply there`);
        break;
      case "Host":
        break;
    }
  }

  private named(wanted: string | undefined, list: readonly { readonly name: string }[], path: FieldPath, problem: string): void {
    if (wanted === undefined || list.some(({ name }) => name === wanted)) return;
    const known = list.map(({ name }) => name).filter((name) => name !== "");
    this.warn(
      path,
      `${problem} named "${wanted}", so the quota does not apply there; ${known.length > 0 ? `named are ${known.join(", ")}` : "none has a name"}`,
    );
  }

  private egressPolicy({ spec }: ResourceOf<"EgressPolicy">): void {
    const users = this.options.proxyUsers;
    if (!users) return;
    spec.from.forEach(({ kind, value }, index) => {
      if (kind === "proxyUser" && !users.has(value)) {
        this.warn(
          ["from", index, "proxyUser"],
          `there is no proxy user "${value}", so nobody is let out by this; add it to the file of MeshConfig's proxyUsers`,
        );
      }
    });
  }

  private edgeSite({ spec }: ResourceOf<"EdgeSite">): void {
    if (spec.cohort !== undefined && !this.cohorts.has(spec.cohort)) {
      const known = this.cohorts.size === 0 ? "it lists none" : `it lists ${[...this.cohorts].join(", ")}`;
      this.warn(
        ["cohort"],
        `there is no cohort "${spec.cohort}" in MeshConfig's rollout.cohorts, so the site takes changes at once; ${known}`,
      );
    }
    spec.gateways.forEach(({ name, namespace = this.namespace }, index) => {
      if (this.find("Gateway", namespace, name)) return;
      this.warn(
        ["gateways", index],
        `there is no Gateway ${namespace}/${name}, so the site serves nothing of it; ${this.names("Gateway")}`,
      );
    });
  }
}

/** What a resource is called. */
export function refOf({ kind, metadata }: Pick<AnyResource, "kind" | "metadata">): ObjectRef {
  return { kind, namespace: metadata.namespace, name: metadata.name };
}

/** A short name means the service of the rule's own namespace, too (Istio resolves it there, not in the caller's). */
function hostNames(host: string, namespace: string): readonly string[] {
  return host.includes(".") ? [host] : [host, `${host}.${namespace}`, `${host}.${namespace}.svc.cluster.local`];
}

function covers(pattern: string, host: string): boolean {
  return pattern === "*" || (pattern.startsWith("*.") && host.length > pattern.length - 1 && host.endsWith(pattern.slice(1)));
}
