/** ServiceEntry (with its WorkloadEntries) as a source of services. */

import { unreachable } from "../../gateway/core/result.ts";
import { type ResourceOf, refOf } from "../config/index.ts";
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
    const selected = selectEndpoints(entry, byNamespace.get(entry.metadata.namespace) ?? [], problems);
    return entry.spec.hosts.map((host) => toService(entry, host, selected));
  });
  return { services: () => services, problems };
}

function sorted<T extends Resource>(resources: readonly T[]): T[] {
  return [...resources].sort((a, b) => comparePrecedence(a.metadata, b.metadata));
}

/** Where endpoints are written: in the entry itself, or in objects of their own. */
interface Selection {
  readonly endpoints: readonly WorkloadEntrySpec[];
  readonly workloads: readonly WorkloadEntry[];
}

/** Endpoints written in the entry, or those of the WorkloadEntries that carry all labels of its selector; undefined when it names neither. */
function selectEndpoints(entry: ServiceEntry, workloads: readonly WorkloadEntry[], problems: Problem[]): Selection | undefined {
  const { endpoints, workloadSelector, resolution } = entry.spec;
  if (workloadSelector === undefined) return endpoints.length > 0 ? { endpoints, workloads: [] } : undefined;
  const wanted = Object.entries(workloadSelector.labels);
  const selected = workloads
    .filter(({ spec }) => wanted.every(([name, value]) => spec.labels[name] === value))
    .filter(({ spec }) => {
      if (resolution !== "STATIC" || isIpLiteral(spec.address)) return true;
      const message = `a selected WorkloadEntry has the address "${spec.address}", a name; it is left out. Use resolution DNS`;
      problems.push({ severity: "warning", ref: refOf(entry), path: "spec.workloadSelector", message, source: entry.source });
      return false;
    });
  return { endpoints: selected.map(({ spec }) => spec), workloads: selected };
}

function toService(entry: ServiceEntry, host: string, selection: Selection | undefined): Service {
  const { spec, metadata } = entry;
  const endpoints = selection?.endpoints ?? ownName(host, spec);
  return {
    host,
    namespace: metadata.namespace,
    ports: [...spec.ports].sort((a, b) => a.number - b.number).map((port) => toPort(port, endpoints)),
    resolution: resolutionOf(spec),
    location: spec.location === "MESH_INTERNAL" ? "mesh-internal" : "mesh-external",
    exportTo: visibility(spec.exportTo, metadata.namespace),
    subjectAltNames: spec.subjectAltNames,
    declarations: [entry, ...(selection?.workloads ?? [])].map(declarationOf),
  };
}

/** With resolution DNS or DNS_ROUND_ROBIN and no endpoints, the host's own name is what is resolved. */
function ownName(host: string, spec: ServiceEntrySpec): readonly WorkloadEntrySpec[] {
  if (!spec.resolution.startsWith("DNS") || host.startsWith("*")) return [];
  return [{ address: host, ports: {}, labels: {}, weight: 1 }];
}

function resolutionOf(spec: ServiceEntrySpec): Resolution {
  switch (spec.resolution) {
    case "STATIC":
      return "static";
    case "DNS":
      return "dns";
    case "DNS_ROUND_ROBIN":
      return "dns-round-robin";
    case "NONE":
    case "DYNAMIC_DNS":
      return "none";
    default:
      return unreachable(spec.resolution);
  }
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

function declarationOf(object: ServiceEntry | WorkloadEntry): Declaration {
  return { ref: refOf(object), source: object.source, createdMs: object.metadata.createdMs };
}
