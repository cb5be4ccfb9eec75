/** Istio ServiceEntry: a service that the registry should know: hosts, ports and where its endpoints come from. */
import { z } from "zod";
import { ipOrCidr, routeHost } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { portNumber } from "../scalars.ts";
import { exportTo, ISTIO_GROUP, ISTIO_VERSIONS, portProtocol, workloadSelector } from "./common.ts";
import { checkWorkload, isIpEndpoint, workloadEntrySchema } from "./workload-entry.ts";

const serviceEntrySchema = z.strictObject({
  hosts: z.array(routeHost),
  addresses: z.array(ipOrCidr).default([]),
  ports: z
    .array(
      z.strictObject({
        number: portNumber,
        protocol: portProtocol.default("TCP"),
        name: z.string().default(""),
        targetPort: portNumber.optional().meta({ description: "Port of the endpoints; default: number" }),
      }),
    )
    .default([]),
  location: z.enum(["MESH_EXTERNAL", "MESH_INTERNAL"]).default("MESH_EXTERNAL"),
  resolution: z.enum(["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]).default("NONE"),
  endpoints: z.array(workloadEntrySchema).default([]),
  workloadSelector: workloadSelector.optional(),
  exportTo,
  subjectAltNames: z.array(z.string().min(1)).default([]).meta({
    description: "One has to be in the endpoints' certificate, where a DestinationRule has tls for them and names none itself",
  }),
});
export type ServiceEntrySpec = z.output<typeof serviceEntrySchema>;
export type ServiceEntryPort = ServiceEntrySpec["ports"][number];

function checkHosts(spec: ServiceEntrySpec): Finding[] {
  const found: Finding[] = [];
  if (spec.hosts.length === 0) found.push({ path: ["hosts"], message: "at least one host is needed" });
  const seen = new Set<string>();
  spec.hosts.forEach((host, index) => {
    const path = ["hosts", index];
    if (host === "*")
      found.push({
        path,
        message: 'the host "*" is not a service; name the hosts, or use a leading wildcard such as *.example.com',
      });
    if (seen.has(host)) found.push({ path, message: `the host "${host}" is listed twice; remove one` });
    seen.add(host);
    const wild = host.startsWith("*.");
    if (
      wild &&
      (spec.resolution === "STATIC" || spec.resolution.startsWith("DNS")) &&
      spec.endpoints.length === 0 &&
      !spec.workloadSelector
    ) {
      found.push({
        path,
        message: `the wildcard "${host}" has no address of its own to resolve; add endpoints, or use resolution NONE`,
      });
    }
  });
  return found;
}

function checkPorts(spec: ServiceEntrySpec): Finding[] {
  const found: Finding[] = [];
  const names = new Map<string, number>();
  const numbers = new Map<number, number>();
  spec.ports.forEach((port, index) => {
    const sameNumber = numbers.get(port.number);
    if (sameNumber !== undefined) {
      found.push({
        path: ["ports", index, "number"],
        message: `port ${port.number} is defined already by ports[${sameNumber}]; numbers must differ`,
      });
    }
    numbers.set(port.number, sameNumber ?? index);
    if (port.name === "") return;
    const sameName = names.get(port.name);
    if (sameName !== undefined) {
      found.push({
        path: ["ports", index, "name"],
        message: `the port name "${port.name}" is taken by ports[${sameName}]; names must differ`,
      });
    }
    names.set(port.name, sameName ?? index);
  });
  return found;
}

function checkEndpoints(spec: ServiceEntrySpec): Finding[] {
  const found: Finding[] = [];
  if (spec.endpoints.length > 0 && spec.workloadSelector) {
    found.push({ path: ["workloadSelector"], message: "endpoints and workloadSelector exclude one another; keep one of them" });
  }
  if (spec.resolution === "NONE" && spec.endpoints.length > 0) {
    found.push({
      path: ["endpoints"],
      message: "resolution NONE uses no endpoints; write resolution STATIC (addresses) or DNS (names)",
    });
  }
  const declared = new Set(spec.ports.map((port) => port.name));
  spec.endpoints.forEach((endpoint, index) => {
    const at = ["endpoints", index];
    found.push(...checkWorkload(endpoint, at));
    if (
      spec.resolution === "STATIC" &&
      endpoint.address !== "" &&
      !isIpEndpoint(endpoint) &&
      !endpoint.address.startsWith("unix://")
    ) {
      found.push({
        path: [...at, "address"],
        message: `"${endpoint.address}" is a name; with resolution STATIC write an IP address, or use resolution DNS`,
      });
    }
    for (const name of Object.keys(endpoint.ports)) {
      if (!declared.has(name)) {
        found.push({
          path: [...at, "ports", name],
          message: `there is no port named "${name}" under spec.ports; declared are ${[...declared].join(", ")}`,
        });
      }
    }
  });
  return found;
}

export const serviceEntry = defineKind({
  kind: "ServiceEntry",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "serviceentries",
  description: "A service the registry should know: hosts, ports and endpoints.",
  schema: serviceEntrySchema,
  check(spec) {
    const found = [...checkHosts(spec), ...checkPorts(spec), ...checkEndpoints(spec)];
    if (spec.addresses.some((address) => address.includes("/")) && spec.resolution !== "NONE" && spec.resolution !== "STATIC") {
      found.push({
        path: ["addresses"],
        message: "CIDR addresses work with resolution NONE and STATIC only; write single addresses",
      });
    }
    return found;
  },
});
