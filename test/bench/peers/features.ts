/** Whether what a proxy was told to do besides forwarding is being done. */
import { statSync } from "node:fs";
import type { Workload } from "../workload.ts";

/** @returns `access log` when it was asked for and holds nothing. */
export function idleAccessLog(workload: Workload, file: string): string | undefined {
  if (!workload.policies) return undefined;
  return (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0 ? undefined : "access log";
}
