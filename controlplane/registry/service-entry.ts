/** ServiceEntry (with its WorkloadEntries) as a source of services. */
import type { ResourceOf } from "../config/index.ts";
import type { Problem, Resource } from "../config/resource.ts";
import { isIpLiteral } from "./address.ts";
import type { ServiceSource } from "./merge.ts";
import {
  comparePrecedence,
  type Declaration,
  type Resolution,
  type Service,
  type ServiceEndpoint,
  type ServicePort,
  visibility,
} from "./service.ts";

type ServiceEntry = ResourceOf<"ServiceEntry">;
type WorkloadEntry = ResourceOf<"WorkloadEntry">;
type ServiceEntrySpec = ServiceEntry["spec"];
type ServiceEntryPort = ServiceEntrySpec["ports"][number];
type WorkloadEntrySpec = WorkloadEntry["spec"];

export interface ServiceEntrySource extends ServiceSource {
  readonly problems: readonly Problem[];
}

/** Services that ServiceEntry objects declare, one for each object and host. WorkloadEntries are found by `workloadSelector`, in their own namespace. */
export function serviceEntrySource(entries: readonly ServiceEntry[], workloads: readonly WorkloadEntry[]): ServiceEntrySource {
  const problems: Problem[] = [];
  const byNamespace = Map.groupBy(sorted(workloads), (workload) => workload.metadata.namespace);
  const services = sorted(entries).flatMap((entry) => {
    const selected = selectWorkloads(entry, byNamespace.get(entry.metadata.namespace) ?? [], problems);
    return entry.spec.hosts.map((host) => toService(entry, host, selected));
  });
  return { services: () => services, problems };
}

function sorted<T extends Resource>(resources: readonly T[]): T[] {
  return [...resources].sort((a, b) => comparePrecedence(a.metadata, b.metadata));
}

/** Endpoints written in the entry, or those of the WorkloadEntries that carry all labels of its selector; undefined when it names neither. */
function selectWorkloads(
  entry: ServiceEntry,
  workloads: readonly WorkloadEntry[],
  problems: Problem[],
): readonly WorkloadEntrySpec[] | undefined {
  const { endpoints, workloadSelector, resolution } = entry.spec;
  if (workloadSelector === undefined) return endpoints.length > 0 ? endpoints : undefined;
  const wanted = Object.entries(workloadSelector.labels);
  const selected = workloads
    .map(({ spec }) => spec)
    .filter((spec) => wanted.every(([name, value]) => spec.labels[name] === value));
  if (resolution !== "STATIC") return selected;
  return selected.filter((spec) => {
    if (isIpLiteral(spec.address)) return true;
    const message = `a selected WorkloadEntry has the address "${spec.address}", a name; it is left out. Use resolution DNS`;
    problems.push(problemOn(entry, "warning", "spec.workloadSelector", message));
    return false;
  });
}

function toService(entry: ServiceEntry, host: string, workloads: readonly WorkloadEntrySpec[] | undefined): Service {
  const { spec, metadata } = entry;
  const endpoints = workloads ?? ownName(host, spec);
  return {
    host,
    namespace: metadata.namespace,
    ports: [...spec.ports].sort((a, b) => a.number - b.number).map((port) => toPort(port, endpoints)),
    resolution: resolutionOf(spec, endpoints),
    location: spec.location === "MESH_INTERNAL" ? "mesh-internal" : "mesh-external",
    exportTo: visibility(spec.exportTo, metadata.namespace),
    declarations: [declarationOf(entry)],
  };
}

/** With resolution DNS and no endpoints, the host's own name is what is resolved. */
function ownName(host: string, spec: ServiceEntrySpec): readonly WorkloadEntrySpec[] {
  if (spec.resolution !== "DNS" || host.startsWith("*")) return [];
  return [{ address: host, ports: {}, labels: {}, weight: 1 }];
}

/** Names to resolve make it dns; DNS over nothing but IP literals has nothing to resolve. */
function resolutionOf(spec: ServiceEntrySpec, endpoints: readonly WorkloadEntrySpec[]): Resolution {
  if (spec.resolution === "STATIC") return "static";
  if (spec.resolution !== "DNS") return "none";
  return endpoints.length > 0 && endpoints.every(({ address }) => isIpLiteral(address)) ? "static" : "dns";
}

function toPort(port: ServiceEntryPort, endpoints: readonly WorkloadEntrySpec[]): ServicePort {
  return {
    number: port.number,
    name: port.name,
    protocol: port.protocol,
    endpoints: endpoints.map((endpoint) => toEndpoint(port, endpoint)),
  };
}

function toEndpoint(port: ServiceEntryPort, endpoint: WorkloadEntrySpec): ServiceEndpoint {
  return {
    address: endpoint.address,
    port: endpoint.ports[port.name] ?? port.targetPort ?? port.number,
    labels: endpoint.labels,
    ...(endpoint.locality === undefined ? {} : { locality: endpoint.locality }),
    weight: Math.max(1, endpoint.weight),
  };
}

function declarationOf(entry: ServiceEntry): Declaration {
  const { namespace, name, createdMs } = entry.metadata;
  return { ref: { kind: entry.kind, namespace, name }, source: entry.source, createdMs };
}

function problemOn(entry: ServiceEntry, severity: Problem["severity"], path: string, message: string): Problem {
  return { severity, ref: declarationOf(entry).ref, path, message, source: entry.source };
}
