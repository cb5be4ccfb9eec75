/**
 * The registry: which services exist, by what names, and where their endpoints are, as one view over every source that knows some.
 *
 * Invariant: one host has one answer for a client namespace, and the answer does not depend on the order in which objects were read.
 * It never resolves a name and never reads a file: sources hand it what they know.
 */

import type { AnyResource } from "../config/index.ts";
import type { Problem } from "../config/resource.ts";
import { mergeServices, type Registry, type ServiceSource } from "./merge.ts";
import { serviceEntrySource } from "./service-entry.ts";

export { isIpLiteral } from "./address.ts";
export { compareHosts, covers, HostIndex, intersectHosts, isWildcard, patternsOver, resolveShortName } from "./host.ts";
export { mergeServices, type Registry, type ServiceSource } from "./merge.ts";
export * from "./service.ts";

/** The registry of a set of configuration objects; more sources may be merged in. */
export function buildRegistry(
  config: readonly AnyResource[],
  sources: readonly ServiceSource[] = [],
): { readonly registry: Registry; readonly problems: readonly Problem[] } {
  const entries = config.filter((resource) => resource.kind === "ServiceEntry");
  const workloads = config.filter((resource) => resource.kind === "WorkloadEntry");
  const source = serviceEntrySource(entries, workloads);
  const { registry, problems } = mergeServices([source, ...sources]);
  return { registry, problems: [...source.problems, ...problems] };
}
