/** EdgeSite: a place at the edge. Which Gateways it serves, what it knows of the clusters behind it, and by which secret both sides know each other. */
import { z } from "zod";
import { hostProblem } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { objectName } from "../scalars.ts";
import { clusterName, NATIVE_GROUP, NATIVE_VERSIONS } from "./common.ts";

/** Audiences are pool names: file names in the history, `aud` in manifests. */
const AUDIENCE = /^[a-z0-9][a-z0-9._-]{0,62}$/;
/** Longest address of a site or of a cluster's ingress, characters. */
export const MAX_ORIGIN_LENGTH = 300;

/** Scheme, host and port of a site or of a cluster's ingress, in their one spelling. */
const origin = z
  .string()
  .meta({ description: "https://host[:port]; http only for loopback hosts" })
  .superRefine((text, ctx) => {
    const problem = originProblem(text);
    if (problem !== undefined) ctx.addIssue(problem);
  });

function originProblem(text: string): string | undefined {
  if (text.length > MAX_ORIGIN_LENGTH)
    return `the address has ${text.length} characters; at most ${MAX_ORIGIN_LENGTH} are allowed`;
  const example = "write for example https://edge.example.com";
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:"))
    return `"${text}" is not an address; ${example}`;
  // What stands before the @ may be a password, so it is not repeated.
  if (url.username !== "" || url.password !== "")
    return `the address holds credentials; remove them, they belong into the secret`;
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "")
    return `"${text}" has more than scheme, host and port; write ${url.origin}`;
  const problem = hostProblem(url.hostname, { wildcard: false, any: false, ip: true });
  if (problem !== undefined) return problem;
  if (text !== url.origin) return `"${text}" is not in its usual form; write ${url.origin}`;
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    return `"${text}" would go over the network in clear; write https://${url.host} (http is for loopback hosts only)`;
  }
  return undefined;
}

/** Names and addresses that never leave the machine (RFC 6761 6.3, RFC 5735 3, RFC 4291 2.5.3). */
function isLoopback(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function isAddress(host: string): boolean {
  return host.startsWith("[") || /^\d+\.\d+\.\d+\.\d+$/.test(host);
}

const cluster = z.strictObject({
  name: clusterName.meta({ description: "The cluster's name, as clusterName of its MeshConfig says" }),
  ingress: origin.optional().meta({ description: "Where its ingress is reached from the site; a tunnel needs none" }),
  via: z.enum(["passport", "tunnel"]).default("passport").meta({
    description:
      "passport: over HTTPS to the ingress; tunnel: over connections that the cluster's gateways keep open to the site",
  }),
});

const edgeSiteSchema = z.strictObject({
  url: origin.meta({ description: "Where the site is reached: https://host[:port]; http only for loopback hosts" }),
  audience: z
    .string()
    .regex(AUDIENCE, {
      error: 'an audience has 1 to 63 lower case letters, digits, ".", "_" and "-", beginning with a letter or digit',
    })
    .optional()
    .meta({ description: "Name of the site's snapshots, unique over sites and gateway pools; default: the object's name" }),
  runtime: z
    .enum(["cloudflare", "workerd"])
    .default("cloudflare")
    .meta({ description: "What runs the Workers; only workerd reaches IP addresses and sends another Host than the URL's" }),
  gateways: z
    .array(
      z.strictObject({ name: objectName, namespace: objectName.optional().meta({ description: "Default: the site's own" }) }),
    )
    .default([])
    .meta({ description: "Gateway objects that the site serves, whatever their selector" }),
  clusters: z
    .array(cluster)
    .default([])
    .meta({ description: "Clusters behind the site; services inside the mesh are reached through the first" }),
  egress: z.boolean().default(false).meta({ description: "Whether the site's snapshot holds the EgressPolicy objects" }),
  quotaBank: z.boolean().default(false).meta({
    description: "Whether it counts quotas of scope global, for all sites and clusters; default: the first site by name does",
  }),
  cohort: objectName
    .optional()
    .meta({ description: "Group of sites that take a change together: one of MeshConfig's rollout.cohorts; default: at once" }),
  credentials: z
    .strictObject({ fromSecret: z.strictObject({ name: objectName }) })
    .optional()
    .meta({ description: "Secret with relay-token, bank-token, tunnel-token and passport-key; default: named like the object" }),
});
export type EdgeSiteSpec = z.output<typeof edgeSiteSchema>;
export type EdgeCluster = EdgeSiteSpec["clusters"][number];

/** The defaults that follow from the object's name. */
export function siteNames({ metadata, spec }: { readonly metadata: { readonly name: string }; readonly spec: EdgeSiteSpec }): {
  /** Pool name of the site's snapshots. */
  readonly audience: string;
  readonly secret: string;
} {
  return { audience: spec.audience ?? metadata.name, secret: spec.credentials?.fromSecret.name ?? metadata.name };
}

function checkClusters({ clusters, runtime }: EdgeSiteSpec): Finding[] {
  const found: Finding[] = [];
  const names = new Map<string, number>();
  clusters.forEach(({ name, ingress, via }, index) => {
    const before = names.get(name);
    if (before !== undefined) {
      const message = `the cluster "${name}" is listed already as clusters[${before}]; names must differ`;
      found.push({ path: ["clusters", index, "name"], message });
    }
    names.set(name, before ?? index);
    if (ingress === undefined) {
      const message = "via passport needs ingress; write where the cluster's ingress is reached, such as https://in.example.com";
      if (via === "passport") found.push({ path: ["clusters", index], message });
      return;
    }
    const { hostname } = new URL(ingress);
    if (runtime === "cloudflare" && via === "passport" && (isAddress(hostname) || isLoopback(hostname))) {
      const message = `Cloudflare reaches names on the internet only, not ${hostname}; write the ingress's name, use via: tunnel, or runtime: workerd`;
      found.push({ path: ["clusters", index, "ingress"], message });
    }
  });
  const [first, second] = clusters;
  if (first !== undefined && second !== undefined) {
    const message = `services are reached through the first cluster, ${first.name}; the others are not used yet`;
    found.push({ path: ["clusters", 1], message, severity: "warning" });
  }
  return found;
}

function checkGateways({ gateways, egress }: EdgeSiteSpec, namespace: string): Finding[] {
  if (gateways.length === 0 && !egress) {
    return [{ path: [], message: "the site serves nothing; list gateways, or set egress: true for an egress Worker alone" }];
  }
  const seen = new Set<string>();
  return gateways.flatMap((gateway, index) => {
    const key = `${gateway.namespace ?? namespace}/${gateway.name}`;
    if (seen.has(key)) return [{ path: ["gateways", index], message: `the Gateway ${key} is listed twice; remove one` }];
    seen.add(key);
    return [];
  });
}

export const edgeSite = defineKind({
  kind: "EdgeSite",
  group: NATIVE_GROUP,
  versions: NATIVE_VERSIONS,
  plural: "edgesites",
  description: "A place at the edge: which Gateways its Workers serve, and how they reach the clusters behind it.",
  schema: edgeSiteSchema,
  check(spec, { name, namespace }) {
    const found = [...checkGateways(spec, namespace), ...checkClusters(spec)];
    if (spec.audience === undefined && !AUDIENCE.test(name)) {
      found.push({
        path: ["audience"],
        message: `the object's name "${name}" cannot be the audience, which has at most 63 characters; write a shorter audience`,
      });
    }
    return found;
  },
});
