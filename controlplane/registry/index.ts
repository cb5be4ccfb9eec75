/**
 * The registry: which services exist, by what names, and where their endpoints are, as one view over every source that knows some.
 *
 * Invariant: one host has one answer for a client namespace, and the answer does not depend on the order in which objects were read.
 * It never resolves a name and never reads a file: sources hand it what they know.
 */

import type { ServiceEntrySpec } from "../config/kinds/istio/service-entry.ts";
import type { WorkloadEntrySpec } from "../config/kinds/istio/workload-entry.ts";
import type { Problem, Resource } from "../config/resource.ts";
import { mergeServices, type Registry } from "./merge.ts";
import { serviceEntrySource } from "./service-entry.ts";

export { isIpLiteral } from "./address.ts";
export { compareHosts, covers, HostIndex, intersectHosts, isWildcard, patternsOver, resolveShortName } from "./host.ts";
export { mergeServices, type Registry, type ServiceSource } from "./merge.ts";
export * from "./service.ts";
export { type ServiceEntrySource, serviceEntrySource } from "./service-entry.ts";

/** The registry of a set of configuration objects; more sources may be merged in. */
export function buildRegistry(
  config: readonly Resource[],
  sources: Parameters<typeof mergeServices>[0] = [],
): { readonly registry: Registry; readonly problems: readonly Problem[] } {
  const entries = config.filter(
    (resource): resource is Resource<"ServiceEntry", ServiceEntrySpec> => resource.kind === "ServiceEntry",
  );
  const workloads = config.filter(
    (resource): resource is Resource<"WorkloadEntry", WorkloadEntrySpec> => resource.kind === "WorkloadEntry",
  );
  const source = serviceEntrySource(entries, workloads);
  const { registry, problems } = mergeServices([source, ...sources]);
  return { registry, problems: [...source.problems, ...problems] };
}
