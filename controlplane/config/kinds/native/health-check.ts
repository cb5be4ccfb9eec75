/** `healthChecks` of MeshConfig: which services' endpoints gateways ask whether they are well, and how. Istio has no place for it. */
import { z } from "zod";
import { routeHost } from "../hosts.ts";
import type { Finding } from "../kind.ts";
import { duration, headerValue, percentNumber, portNumber } from "../scalars.ts";

const statusRange = z
  .union([
    z.int().min(100).max(599),
    z.string().regex(/^[1-5]\d\d-[1-5]\d\d$/, { error: "write a status such as 200, or a range such as 200-299" }),
  ])
  .transform((given): readonly [number, number] => {
    const [from = "", to = from] = String(given).split("-");
    return [Number(from), Number(to)];
  });

const threshold = z.int().min(1).max(1_000);

export const healthCheckSchema = z.strictObject({
  hosts: z.array(routeHost).min(1).meta({
    description: "Services by whole host name; `*.example.com` takes all below it. The first check that names a host holds",
  }),
  port: portNumber.optional().meta({ description: "Port of the endpoints that is asked; default: the one that requests go to" }),
  http: z
    .strictObject({
      path: z.string().startsWith("/").default("/"),
      host: headerValue.optional().meta({ description: "Host of the check; default: the service's" }),
      statuses: z
        .array(statusRange)
        .min(1)
        .default([[200, 299]])
        .meta({ description: "Statuses that say well, such as 200 or 200-399; default 200-299" }),
    })
    .optional(),
  tcp: z.strictObject({}).optional().meta({ description: "Well is what takes a connection" }),
  grpc: z
    .strictObject({
      service: z
        .string()
        .max(127)
        .default("")
        .meta({ description: "As grpc.health.v1 calls it; default: the server as a whole" }),
      authority: z.string().min(1).optional(),
    })
    .optional()
    .meta({ description: "Well is what answers SERVING" }),
  interval: duration().default(10_000),
  timeout: duration().default(1_000),
  jitterPercent: percentNumber.default(10).meta({ description: "Each interval is longer by up to this share" }),
  unhealthyThreshold: threshold.default(3).meta({ description: "Failures in a row; the very first check decides alone" }),
  healthyThreshold: threshold.default(1).meta({ description: "Successes in a row" }),
  panicThreshold: percentNumber.default(50).meta({
    description:
      "With a smaller share of healthy endpoints all are used; outlierDetection.minHealthPercent wins over it; 0: never",
  }),
});
export type HealthCheckSpec = z.output<typeof healthCheckSchema>;

export function checkHealthChecks(checks: readonly HealthCheckSpec[]): Finding[] {
  const seen = new Map<string, number>();
  return checks.flatMap((check, index): Finding[] => {
    const at = ["healthChecks", index];
    const found: Finding[] = [];
    const probes = (["http", "tcp", "grpc"] as const).filter((name) => check[name] !== undefined);
    if (probes.length !== 1) {
      const message =
        probes.length === 0
          ? "says not how to ask; add http, tcp or grpc"
          : `${probes.join(" and ")} exclude one another; keep one of them`;
      found.push({ path: at, message });
    }
    for (const [i, [from, to]] of (check.http?.statuses ?? []).entries())
      if (from > to)
        found.push({
          path: [...at, "http", "statuses", i],
          message: `the range ${from}-${to} is empty; write the smaller status first`,
        });
    check.hosts.forEach((host, i) => {
      const before = seen.get(host);
      if (before !== undefined && before !== index)
        found.push({
          path: [...at, "hosts", i],
          message: `healthChecks[${before}] has ${host} already, and the first one holds; remove one`,
          severity: "warning",
        });
      seen.set(host, before ?? index);
    });
    return found;
  });
}
