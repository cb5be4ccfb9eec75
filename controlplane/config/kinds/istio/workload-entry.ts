/** Istio WorkloadEntry: one endpoint: an address with ports and labels. */
import { z } from "zod";
import { canonicalIp, hostProblem } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { labels, portNumber, uint32 } from "../scalars.ts";
import { ISTIO_GROUP, ISTIO_VERSIONS } from "./common.ts";

export const workloadEntrySchema = z.strictObject({
  address: z
    .string()
    .default("")
    .meta({ description: "IP address, or with resolution DNS a host name" })
    .superRefine((text, ctx) => {
      if (text === "" || text.startsWith("unix://")) return;
      const problem = hostProblem(text, { wildcard: false, any: false, ip: true });
      if (problem) ctx.addIssue(problem);
    }),
  ports: z
    .record(z.string().min(1), portNumber)
    .default({})
    .meta({ description: "Port of this endpoint by the service port's name" }),
  labels: labels.default({}),
  network: z.string().optional(),
  locality: z.string().optional().meta({ description: "region/zone/subzone" }),
  weight: uint32.default(1).meta({ description: "Share of traffic; 0 counts as 1" }),
  serviceAccount: z.string().optional(),
});
export type WorkloadEntrySpec = z.output<typeof workloadEntrySchema>;

/** What an endpoint needs, wherever it is written. */
export function checkWorkload(entry: WorkloadEntrySpec, at: readonly (string | number)[]): Finding[] {
  if (entry.address !== "" || entry.network) return [];
  return [
    { path: [...at, "address"], message: "the address is missing; write an IP address or, with resolution DNS, a host name" },
  ];
}

/** Whether the address is an IP literal. */
export function isIpEndpoint(entry: WorkloadEntrySpec): boolean {
  return canonicalIp(entry.address) !== undefined;
}

export const workloadEntry = defineKind({
  kind: "WorkloadEntry",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "workloadentries",
  description: "One endpoint: an address with ports and labels.",
  schema: workloadEntrySchema,
  check: (spec) => checkWorkload(spec, []),
});
