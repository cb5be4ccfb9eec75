/** Services of all sources as one view, with one answer per name and namespace. */
import type { ObjectRef, Problem } from "../config/resource.ts";
import { comparePrecedence, compareText, type Declaration, type Service, type ServicePort, visibleIn } from "./service.ts";

/** Where services come from: ServiceEntry objects, and later Kubernetes and DNS. */
export interface ServiceSource {
  /** Each declared once per declaring object and host; merging is not the source's job. */
  services(): readonly Service[];
}

export interface Registry {
  /** The service that `host` names for clients in `namespace`: their own namespace's, else the oldest one exported to them. */
  find(host: string, namespace: string): Service | undefined;
  /** Whether anybody declares it, visible or not. */
  knows(host: string): boolean;
  /** Everything, by host, then precedence. */
  readonly services: readonly Service[];
}

export function mergeServices(sources: readonly ServiceSource[]): { readonly registry: Registry; readonly problems: Problem[] } {
  const problems: Problem[] = [];
  const declared = sources.flatMap((source) => source.services()).sort(compareServices);
  const merged: Service[] = [];
  const byHost = new Map<string, Service[]>();
  for (const service of declared) {
    const others = byHost.get(service.host) ?? [];
    const at = others.findIndex((other) => other.namespace === service.namespace);
    const same = others[at];
    if (same !== undefined) {
      others[at] = join(same, service, problems);
    } else {
      for (const other of others)
        if (meet(other, service)) tell(problems, "conflict", other, service, foreignNames(other, service));
      others.push(service);
    }
    byHost.set(service.host, others);
  }
  for (const services of byHost.values()) merged.push(...services);
  return { registry: new MergedRegistry(merged, byHost), problems };
}

class MergedRegistry implements Registry {
  readonly services: readonly Service[];
  readonly #byHost: ReadonlyMap<string, readonly Service[]>;

  constructor(services: readonly Service[], byHost: ReadonlyMap<string, readonly Service[]>) {
    this.services = services;
    this.#byHost = byHost;
  }

  knows(host: string): boolean {
    return this.#byHost.has(host);
  }

  find(host: string, namespace: string): Service | undefined {
    const named = this.#byHost.get(host)?.filter((service) => visibleIn(service.exportTo, namespace));
    return named?.find((service) => service.namespace === namespace) ?? named?.[0];
  }
}

function compareServices(a: Service, b: Service): number {
  return compareText(a.host, b.host) || comparePrecedence(precedence(a), precedence(b));
}

function precedence(service: Service): { createdMs: number; name: string; namespace: string } {
  const first = service.declarations[0];
  return { createdMs: first?.createdMs ?? 0, name: first?.ref.name ?? "", namespace: service.namespace };
}

/** Two namespaces' services of one name are a conflict only for a client who could see both. */
function meet(a: Service, b: Service): boolean {
  if (a.exportTo === "all" || b.exportTo === "all") {
    return a.exportTo === "all" ? b.exportTo === "all" || b.exportTo.size > 0 : a.exportTo.size > 0;
  }
  for (const namespace of a.exportTo) if (b.exportTo.has(namespace)) return true;
  return false;
}

/** Same host, same namespace: ports and endpoints are joined; what contradicts the older declaration is left out. */
function join(older: Service, newer: Service, problems: Problem[]): Service {
  if (older.resolution !== newer.resolution) {
    tell(problems, "conflict", older, newer, (winner, loser) => ({
      path: "spec.resolution",
      winner: `host ${older.host} is also declared by ${loser} with another resolution (${newer.resolution}); this object has precedence`,
      loser: `host ${older.host} is already declared by ${winner} with resolution ${older.resolution}; use the same, or another host`,
    }));
    return older;
  }
  if (!sameNames(older.subjectAltNames, newer.subjectAltNames)) {
    const names = ({ subjectAltNames }: Service) => subjectAltNames.join(", ") || "none";
    tell(problems, "conflict", older, newer, (winner, loser) => ({
      path: "spec.subjectAltNames",
      winner: `host ${older.host} is also declared by ${loser} with other subjectAltNames (${names(newer)}); this object has precedence`,
      loser: `host ${older.host} is already declared by ${winner} with subjectAltNames ${names(older)}; use the same, or another host`,
    }));
    return older;
  }
  const ports = new Map<number, ServicePort>(older.ports.map((port) => [port.number, port]));
  for (const port of newer.ports) {
    const known = ports.get(port.number);
    if (known === undefined) {
      ports.set(port.number, port);
    } else if (known.protocol !== port.protocol) {
      tell(problems, "conflict", older, newer, (winner, loser) => ({
        path: "spec.ports",
        winner: `port ${port.number} of ${older.host} is also declared by ${loser} as ${port.protocol}; this object has precedence`,
        loser: `port ${port.number} of ${older.host} is already declared by ${winner} as ${known.protocol}; use the same protocol`,
      }));
    } else {
      ports.set(port.number, { ...known, endpoints: [...known.endpoints, ...port.endpoints] });
      tell(problems, "warning", older, newer, (winner, loser) => ({
        path: "spec.hosts",
        winner: `host ${older.host} port ${port.number} is also declared by ${loser}; the endpoints of both are used`,
        loser: `host ${older.host} port ${port.number} is also declared by ${winner}; the endpoints of both are used`,
      }));
    }
  }
  return {
    ...older,
    ports: [...ports.values()].sort((a, b) => a.number - b.number),
    declarations: [...older.declarations, ...newer.declarations],
  };
}

function sameNames(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((name) => other.includes(name));
}

interface Messages {
  readonly path: string;
  readonly winner: string;
  readonly loser: string;
}

function foreignNames(older: Service, newer: Service) {
  return (winner: string, loser: string): Messages => ({
    path: "spec.hosts",
    winner: `host ${older.host} is also declared by ${loser}; this object has precedence outside namespace ${newer.namespace}`,
    loser: `host ${older.host} is already declared by ${winner}, which has precedence outside namespace ${newer.namespace}; use another host or narrow exportTo`,
  });
}

/** A meeting of two declarations is said on both objects. */
function tell(
  problems: Problem[],
  severity: "conflict" | "warning",
  older: Service,
  newer: Service,
  say: (winner: string, loser: string) => Messages,
): void {
  const winner = older.declarations[0];
  const loser = newer.declarations[0];
  if (winner === undefined || loser === undefined || winner.ref === loser.ref) return;
  const { path, ...messages } = say(refText(winner.ref), refText(loser.ref));
  problems.push(problemOn(winner, severity, path, messages.winner), problemOn(loser, severity, path, messages.loser));
}

function problemOn(declaration: Declaration, severity: Problem["severity"], path: string, message: string): Problem {
  return { severity, ref: declaration.ref, path, message, source: declaration.source };
}

function refText(ref: ObjectRef): string {
  return `${ref.kind} ${ref.namespace}/${ref.name}`;
}
