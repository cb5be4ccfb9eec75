/** MeshConfig: defaults, one per mesh. Everything has a default, so a mesh without one runs with `DEFAULT_MESH_CONFIG`. */
import { z } from "zod";
import { DEFAULT_SETTINGS } from "../../../../gateway/core/ir/index.ts";
import { hostProblem, ipAddress } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { duration, labels, objectName, portNumber, size } from "../scalars.ts";
import { clusterName, NATIVE_GROUP, NATIVE_VERSIONS } from "./common.ts";
import { checkHealthChecks, healthCheckSchema } from "./health-check.ts";

const DAY_MS = 86_400_000;
const MAX_AGE_MS = 3650 * DAY_MS;
const http = DEFAULT_SETTINGS.http;

const portMap = z.record(
  z.string().regex(/^[1-9]\d{0,4}$/, { error: "a key is the port that Gateway objects declare, such as 80" }),
  portNumber,
);

const gatewayPool = z
  .strictObject({
    name: z.string().min(1).max(63).meta({ description: "Audience of the pool's snapshots" }),
    labels: labels.default({}).meta({ description: "What a Gateway's selector is held against" }),
    role: z.enum(["ingress", "egress"]).default("ingress"),
    bind: ipAddress.default("127.0.0.1").meta({ description: "Address its listeners bind; loopback by default" }),
    ports: portMap
      .optional()
      .meta({ description: "Declared port → port to bind; a port that is not listed is bound as declared" }),
    forwardProxyPort: portNumber.optional().meta({ description: "egress: port of the forward proxy, default 3128" }),
    locality: z
      .string()
      .regex(/^[^/*\s]+(?:\/[^/*\s]+){0,2}$/, { error: "a locality is written region/zone/subzone, such as eu-west/a" })
      .optional()
      .meta({ description: "Where its gateways are, region/zone/subzone; a gateway's own --locality wins" }),
    proxyProtocol: z.boolean().optional().meta({
      description:
        "The load balancer in front begins every connection to Gateways with a PROXY protocol header (v1 or v2); who comes without is closed",
    }),
  })
  .transform((pool) => ({
    ...pool,
    ports: pool.ports ?? { "80": 8080, "443": 8443 },
    forwardProxyPort: pool.role === "egress" ? (pool.forwardProxyPort ?? 3128) : pool.forwardProxyPort,
  }));

const DEFAULT_POOLS = [
  { name: "ingress", role: "ingress" as const, labels: { istio: "ingressgateway", app: "istio-ingressgateway" } },
  { name: "egress", role: "egress" as const, labels: { istio: "egressgateway", app: "istio-egressgateway" } },
];

function section(failMode: "keep" | "closed", hardMs: number) {
  return z
    .strictObject({
      soft: duration({ max: MAX_AGE_MS }).default(3_600_000).meta({ description: "Age at which gateways alarm; default 1h" }),
      hard: duration({ max: MAX_AGE_MS }).default(hardMs).meta({ description: "Age at which failMode applies" }),
      failMode: z.enum(["keep", "closed"]).default(failMode),
    })
    .prefault({});
}

const thresholds = z
  .strictObject({ narrowing: z.int().min(1).max(16).default(1), widening: z.int().min(1).max(16).default(1) })
  .prefault({})
  .meta({ description: "Signatures needed for a change that narrows, and for any other" });

const rollout = z
  .strictObject({
    cohorts: z
      .array(
        z.strictObject({
          name: objectName,
          after: duration({ min: 0, max: DAY_MS })
            .default(0)
            .meta({ description: "How long after it was published; 0s: at once" }),
        }),
      )
      .default([])
      .meta({ description: "Groups that EdgeSite objects name with `cohort`" }),
  })
  .prefault({})
  .meta({ description: "When edge sites take a change; one that only narrows egress never waits" });

const meshConfigSchema = z.strictObject({
  trustDomain: z
    .string()
    .default("cluster.local")
    .superRefine((name, ctx) => {
      const problem = hostProblem(name, { wildcard: false, any: false, ip: false });
      if (problem) ctx.addIssue(problem);
    }),
  clusterName: clusterName
    .default("main")
    .meta({ description: "Name of this control plane's cluster, as EdgeSite objects call it" }),
  rootNamespace: objectName.default("tidegate-system").meta({ description: "Its policies bind every namespace" }),
  outboundTrafficPolicy: z.enum(["REGISTRY_ONLY", "ALLOW_ANY"]).default("REGISTRY_ONLY"),
  gatewayPools: z.array(gatewayPool).prefault(DEFAULT_POOLS),
  numTrustedProxies: z
    .int()
    .min(0)
    .max(64)
    .default(0)
    .meta({ description: "Nth X-Forwarded-For entry from the right is the client; 0: the peer" }),
  forwardClientCert: z
    .strictObject({
      mode: z
        .enum(["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"])
        .default("SANITIZE_SET")
        .meta({ description: "What becomes of X-Forwarded-Client-Cert; by default no client speaks for itself" }),
      cert: z.boolean().default(false).meta({ description: "Tell the certificate itself" }),
      chain: z.boolean().default(false).meta({ description: "Tell the certificate with its chain" }),
    })
    .prefault({})
    .meta({ description: "What services are told of clients' certificates" }),
  accessLog: z
    .strictObject({
      enabled: z.boolean().default(true),
      path: z.string().min(1).default("-").meta({ description: "File, or - for standard output" }),
      format: z.enum(["json"]).default("json"),
    })
    .prefault({}),
  explainHeaders: z.boolean().default(false).meta({ description: "Tell snapshot, rule and reason in response headers" }),
  quotaHeaders: z.enum(["draft", "legacy", "both", "none"]).default("both").meta({ description: "Default of Quota's headers" }),
  snapshots: z
    .strictObject({
      routes: section("keep", 30 * DAY_MS),
      egress: section("closed", DAY_MS),
      quota: section("keep", 30 * DAY_MS),
    })
    .prefault({})
    .meta({ description: "Age limits per section" }),
  signatures: z
    .strictObject({ routes: thresholds, egress: thresholds, quota: thresholds })
    .prefault({})
    .meta({ description: "Thresholds per role and policy class" }),
  rollout,
  http: z
    .strictObject({
      maxRequestLine: size({ min: 256, max: 1024 * 1024 }).default(http.maxRequestLineBytes),
      maxHeaders: size({ min: 1024, max: 16 * 1024 * 1024 }).default(http.maxHeaderBytes),
      maxHeaderCount: z.int().min(8).max(10_000).default(http.maxHeaderCount),
      maxRequestBody: size().default(http.maxRequestBodyBytes).meta({ description: "0: unlimited" }),
      headerTimeout: duration().default(http.headerTimeoutMs),
      idleTimeout: duration().default(http.idleTimeoutMs),
      streamIdleTimeout: duration({ min: 0 }).default(http.streamIdleTimeoutMs).meta({ description: "0s: off" }),
      requestTimeout: duration({ min: 0 }).default(http.requestTimeoutMs).meta({ description: "0s: off" }),
      drainTimeout: duration({ min: 0 }).default(http.drainTimeoutMs),
      maxReplay: size({ max: 16 * 1024 * 1024 })
        .default(http.maxReplayBytes)
        .meta({ description: "Body bytes kept for retries" }),
      minBodyRate: size({ max: 1024 * 1024 * 1024 })
        .default(http.minBodyRateBytes ?? 0)
        .meta({ description: "A second, of request bodies over HTTP/1.1 while they are waited for; 0: any" }),
      bodyRateGrace: duration()
        .default(http.bodyRateGraceMs ?? 0)
        .meta({ description: "What a body may fall behind minBodyRate" }),
      writeStallTimeout: duration({ min: 0 })
        .default(http.writeStallTimeoutMs ?? 0)
        .meta({ description: "Clients that take nothing of a response; 0s: off" }),
      maxConnectionDuration: duration({ min: 0 })
        .default(http.maxConnectionDurationMs ?? 0)
        .meta({ description: "Age at which a client's connection ends with its next answer; 0s: never" }),
      maxRequestsPerConnection: z
        .int()
        .min(0)
        .max(1_000_000_000)
        .default(http.maxRequestsPerConnection ?? 0)
        .meta({ description: "Answers after which a client's connection ends; 0: never" }),
      maxConcurrentStreams: z
        .int()
        .min(1)
        .max(10_000)
        .default(http.maxConcurrentStreams ?? 100)
        .meta({ description: "Requests at once on one HTTP/2 connection" }),
    })
    .prefault({}),
  proxyUsers: z
    .strictObject({
      file: z.string().min(1).optional().meta({ description: "File of name:hash lines for Proxy-Authorization" }),
      realm: headerRealm().default("tidegate egress"),
    })
    .prefault({}),
  healthChecks: z
    .array(healthCheckSchema)
    .default([])
    .meta({ description: "Services whose endpoints the gateways ask whether they are well" }),
  redis: z.strictObject({ address: z.string().min(1) }).optional(),
});
export type MeshConfigSpec = z.output<typeof meshConfigSchema>;
export type GatewayPool = MeshConfigSpec["gatewayPools"][number];

function headerRealm() {
  return z.string().superRefine((realm, ctx) => {
    if (!/^[\x20-\x7e]{1,128}$/.test(realm) || /["\\]/.test(realm))
      ctx.addIssue('a realm has 1 to 128 printable ASCII characters without " and \\');
  });
}

/** What holds in a mesh that has no MeshConfig object. */
export const DEFAULT_MESH_CONFIG: MeshConfigSpec = meshConfigSchema.parse({});

function checkCohorts({ rollout, snapshots }: MeshConfigSpec): Finding[] {
  const softest = Math.min(snapshots.routes.soft, snapshots.egress.soft, snapshots.quota.soft);
  return rollout.cohorts.flatMap(({ name, after }, index): Finding[] => {
    const before = rollout.cohorts.findIndex((cohort) => cohort.name === name);
    const path = ["rollout", "cohorts", index];
    return [
      ...(before < index
        ? [
            {
              path: [...path, "name"],
              message: `the cohort "${name}" is defined already by cohorts[${before}]; names must differ`,
            },
          ]
        : []),
      ...(after >= softest
        ? [
            {
              path: [...path, "after"],
              message: "after is as long as a soft age of snapshots, so sites that wait would alarm; make it shorter",
            },
          ]
        : []),
    ];
  });
}

function checkPools(spec: MeshConfigSpec): Finding[] {
  const found: Finding[] = [];
  const names = new Map<string, number>();
  spec.gatewayPools.forEach((pool, index) => {
    const before = names.get(pool.name);
    if (before !== undefined) {
      found.push({
        path: ["gatewayPools", index, "name"],
        message: `the pool "${pool.name}" is defined already by gatewayPools[${before}]; names must differ`,
      });
    }
    names.set(pool.name, before ?? index);
    if (pool.role === "ingress" && pool.forwardProxyPort !== undefined) {
      found.push({
        path: ["gatewayPools", index, "forwardProxyPort"],
        message: "forwardProxyPort belongs to role egress; remove it",
      });
    }
    const bound = new Map<number, string>();
    for (const [declared, port] of Object.entries(pool.ports)) {
      const taken = bound.get(port);
      if (taken !== undefined) {
        found.push({
          path: ["gatewayPools", index, "ports", declared],
          message: `port ${port} is where declared port ${taken} is bound already; choose another`,
        });
      }
      bound.set(port, declared);
    }
  });
  if (spec.gatewayPools.length === 0)
    found.push({ path: ["gatewayPools"], message: "a mesh needs at least one pool; leave the field out for the defaults" });
  return found;
}

export const meshConfig = defineKind({
  kind: "MeshConfig",
  group: NATIVE_GROUP,
  versions: NATIVE_VERSIONS,
  plural: "meshconfigs",
  description: "Defaults of the mesh; one per mesh.",
  schema: meshConfigSchema,
  check(spec) {
    const found = [...checkPools(spec), ...checkCohorts(spec), ...checkHealthChecks(spec.healthChecks)];
    for (const name of ["routes", "egress", "quota"] as const) {
      const { soft, hard } = spec.snapshots[name];
      if (soft > hard)
        found.push({
          path: ["snapshots", name, "soft"],
          message: "soft is longer than hard; the alarm must come before the fail mode",
        });
      const { narrowing, widening } = spec.signatures[name];
      if (narrowing > widening) {
        found.push({
          path: ["signatures", name, "narrowing"],
          message: "narrowing needs more signatures than widening; it may need fewer, not more",
        });
      }
    }
    return found;
  },
});
