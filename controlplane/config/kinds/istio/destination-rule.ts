/** Istio DestinationRule: what happens to requests for a host after routing: balancing, pools, subsets, client TLS. */
import { z } from "zod";
import { routeHost } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { duration, labels, percentNumber, portNumber, uint32 } from "../scalars.ts";
import { exportTo, ISTIO_GROUP, ISTIO_VERSIONS } from "./common.ts";
import { checkLoadBalancer, loadBalancer } from "./load-balancer.ts";

const int32 = z.int().min(0).max(2_147_483_647);

/** Threads count on their own: no two of them wait for one another. */
const ofTheGateway = (what: string) =>
  int32
    .optional()
    .meta({ description: `${what} of one gateway process; each of its threads has its share, rounded up. Default: no limit` });

const connectionPool = z.strictObject({
  tcp: z
    .strictObject({
      maxConnections: ofTheGateway("Connections to the service"),
      connectTimeout: duration().optional().meta({ description: "Default 10s" }),
      tcpKeepalive: z
        .strictObject({ probes: uint32.optional(), time: duration().optional(), interval: duration().optional() })
        .optional(),
      maxConnectionDuration: duration().optional(),
      idleTimeout: duration({ min: 0 }).optional().meta({ description: "Default 1h" }),
    })
    .optional(),
  http: z
    .strictObject({
      http1MaxPendingRequests: ofTheGateway("Requests that wait for a connection,"),
      http2MaxRequests: ofTheGateway("Requests in flight"),
      maxRequestsPerConnection: int32.optional().meta({ description: "Default 0: no limit" }),
      maxRetries: ofTheGateway("Retries in flight"),
      idleTimeout: duration({ min: 0 }).optional().meta({ description: "Default 1h" }),
      h2UpgradePolicy: z.enum(["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]).default("DEFAULT"),
      useClientProtocol: z.boolean().default(false),
      maxConcurrentStreams: int32.optional(),
    })
    .optional(),
});

const outlierDetection = z.strictObject({
  consecutiveErrors: int32.optional().meta({ description: "Old spelling of consecutiveGatewayErrors" }),
  splitExternalLocalOriginErrors: z.boolean().default(false),
  consecutiveLocalOriginFailures: uint32.default(5),
  consecutiveGatewayErrors: uint32.default(0).meta({ description: "Of 502, 503 and 504, in a row; default 0: off" }),
  consecutive5xxErrors: uint32.default(5).meta({ description: "In a row; 0: off" }),
  interval: duration().default(10_000),
  baseEjectionTime: duration().default(30_000),
  maxEjectionPercent: percentNumber
    .default(10)
    .meta({ description: "Of the endpoints; never more, so 10 % of less than ten are none" }),
  minHealthPercent: percentNumber
    .default(0)
    .meta({ description: "With a smaller share of healthy endpoints all are used, ejected or not; default 0: never" }),
});

const clientTls = z.strictObject({
  mode: z.enum(["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]).default("DISABLE"),
  clientCertificate: z.string().min(1).optional().meta({ description: "MUTUAL: PEM file with the chain, leaf first" }),
  privateKey: z.string().min(1).optional().meta({ description: "MUTUAL: PEM file with the private key" }),
  caCertificates: z.string().min(1).optional().meta({ description: "PEM file; default: the system's authorities" }),
  credentialName: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "Secret with ca.crt and ca.crl, and for MUTUAL with tls.crt and tls.key" }),
  subjectAltNames: z
    .array(z.string().min(1))
    .default([])
    .meta({ description: "One has to be in the certificate; default: the ServiceEntry's, else sni" }),
  sni: z.string().optional().meta({ description: "Default: the service's host" }),
  insecureSkipVerify: z.boolean().default(false),
  caCrl: z.string().min(1).optional().meta({ description: "PEM file with revocation lists, one of every authority" }),
});

const perPort = {
  loadBalancer: loadBalancer.optional(),
  connectionPool: connectionPool.optional(),
  outlierDetection: outlierDetection.optional(),
  tls: clientTls.optional(),
};

const trafficPolicy = z.strictObject({
  ...perPort,
  portLevelSettings: z.array(z.strictObject({ port: z.strictObject({ number: portNumber }), ...perPort })).default([]),
  tunnel: z
    .strictObject({ protocol: z.enum(["CONNECT", "POST"]).default("CONNECT"), targetHost: z.string(), targetPort: portNumber })
    .optional(),
  proxyProtocol: z.strictObject({ version: z.enum(["V1", "V2"]).default("V1") }).optional(),
  retryBudget: z
    .strictObject({ percent: percentNumber.default(20), minRetryConcurrency: uint32.default(3) })
    .optional()
    .meta({
      description:
        "Retries in flight; default 20 % of active requests, at least 3. Each thread of a gateway process counts its own, with its share of the minimum, rounded up",
    }),
});

const destinationRuleSchema = z.strictObject({
  host: routeHost,
  trafficPolicy: trafficPolicy.optional(),
  subsets: z
    .array(z.strictObject({ name: z.string().min(1), labels: labels.default({}), trafficPolicy: trafficPolicy.optional() }))
    .default([]),
  exportTo,
  workloadSelector: z.strictObject({ matchLabels: labels.default({}) }).optional(),
});
export type DestinationRuleSpec = z.output<typeof destinationRuleSchema>;
export type TrafficPolicy = NonNullable<DestinationRuleSpec["trafficPolicy"]>;
export type PortTrafficPolicy = TrafficPolicy["portLevelSettings"][number];
export type DestinationSubset = DestinationRuleSpec["subsets"][number];
export type ConnectionPool = NonNullable<TrafficPolicy["connectionPool"]>;
export type OutlierSettings = NonNullable<TrafficPolicy["outlierDetection"]>;
export type ClientTlsSettings = NonNullable<TrafficPolicy["tls"]>;

type At = readonly (string | number)[];

function checkPolicy(policy: TrafficPolicy | PortTrafficPolicy | undefined, at: At): Finding[] {
  const found: Finding[] = [];
  const { loadBalancer: balancer, tls } = policy ?? {};
  if (balancer) found.push(...checkLoadBalancer(balancer, [...at, "loadBalancer"]));
  if (tls !== undefined) found.push(...checkClientTls(tls, [...at, "tls"]));
  if (policy && "portLevelSettings" in policy) {
    const ports = new Set<number>();
    policy.portLevelSettings.forEach((settings, index) => {
      const here = [...at, "portLevelSettings", index];
      const port = settings.port.number;
      if (ports.has(port))
        found.push({ path: [...here, "port", "number"], message: `port ${port} has settings already; merge the two` });
      ports.add(port);
      found.push(...checkPolicy(settings, here));
    });
  }
  return found;
}

function checkClientTls(tls: ClientTlsSettings, at: At): Finding[] {
  if (tls.mode !== "SIMPLE" && tls.mode !== "MUTUAL") return [];
  const found: Finding[] = [];
  const files = (["clientCertificate", "privateKey", "caCertificates", "caCrl"] as const).filter(
    (field) => tls[field] !== undefined,
  );
  if (tls.credentialName !== undefined && files.length > 0) {
    const message = `credentialName stands for files, so ${files.join(", ")} cannot be given with it; remove one or the other`;
    found.push({ path: [...at, "credentialName"], message });
  }
  for (const field of ["clientCertificate", "privateKey"] as const) {
    if (tls.mode === "MUTUAL" && tls.credentialName === undefined && tls[field] === undefined)
      found.push({ path: at, message: `mode MUTUAL needs ${field}; write the path of a PEM file, or use credentialName` });
    if (tls.mode === "SIMPLE" && tls[field] !== undefined) {
      const message = `${field} is for mode MUTUAL; mode SIMPLE shows no certificate`;
      found.push({ path: [...at, field], message, severity: "warning" });
    }
  }
  if (tls.insecureSkipVerify) found.push(...checkUnverified(tls, [...at, "insecureSkipVerify"]));
  return found;
}

function checkUnverified({ caCertificates, caCrl }: ClientTlsSettings, path: At): Finding[] {
  if (caCertificates !== undefined)
    return [{ path, message: "insecureSkipVerify makes caCertificates meaningless; remove one of them" }];
  if (caCrl !== undefined) return [{ path, message: "insecureSkipVerify makes caCrl meaningless; remove one of them" }];
  const message =
    "the server's certificate is not checked, so anybody can pose as it; name its authority in caCertificates instead";
  return [{ path, message, severity: "warning" }];
}

export const destinationRule = defineKind({
  kind: "DestinationRule",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "destinationrules",
  description: "Balancing, pools, subsets and client TLS for a host.",
  schema: destinationRuleSchema,
  check(spec) {
    const found = checkPolicy(spec.trafficPolicy, ["trafficPolicy"]);
    const names = new Map<string, number>();
    spec.subsets.forEach((subset, index) => {
      const before = names.get(subset.name);
      if (before !== undefined) {
        found.push({
          path: ["subsets", index, "name"],
          message: `the subset "${subset.name}" is defined already by subsets[${before}]; names must differ`,
        });
      }
      names.set(subset.name, before ?? index);
      found.push(...checkPolicy(subset.trafficPolicy, ["subsets", index, "trafficPolicy"]));
    });
    return found;
  },
});
