/** Quota: how much of what, for whom. */
import { z } from "zod";
import { leaseProblem, type QuotaAccuracy } from "../../../../gateway/core/ir/index.ts";
import { hostProblem } from "../hosts.ts";
import { httpMatch } from "../istio/virtual-service-schema.ts";
import { defineKind, type Finding } from "../kind.ts";
import { headerName, objectName, percentText } from "../scalars.ts";
import { type Limit, limits, NATIVE_GROUP, NATIVE_VERSIONS } from "./common.ts";

const target = z.strictObject({
  kind: z.enum(["VirtualService", "Gateway", "Host", "Service", "EgressRule"]),
  name: z.string().min(1).meta({ description: "Object name; for Host and Service the host; for EgressRule the EgressPolicy" }),
  namespace: objectName.optional().meta({ description: "Default: the Quota's own" }),
  route: z.string().min(1).optional().meta({ description: "VirtualService: the route's name (http[].name); default: all of it" }),
  rule: z.string().min(1).optional().meta({ description: "EgressRule: the rule's name (allow[].name); default: all of it" }),
});

const clientIp = z.strictObject({ v4Prefix: z.int().min(8).max(32).default(32), v6Prefix: z.int().min(16).max(128).default(64) });

const keyPartInput = z.strictObject({
  header: headerName.optional(),
  query: z.string().min(1).optional(),
  cookie: z.string().min(1).optional(),
  clientIP: clientIp.optional().meta({ description: "{} or prefix lengths; IPv6 default 64, the network of one subscriber" }),
  identity: z
    .union([z.literal(true), z.strictObject({})])
    .optional()
    .meta({ description: "true: the caller's verified identity" }),
  jwtClaim: z.string().min(1).optional(),
  pathVariable: z.string().min(1).optional().meta({ description: "Name of a {variable} in pathTemplate" }),
  pathTemplate: z.string().optional().meta({ description: "Such as /users/{user}/*" }),
});
type KeyPartInput = z.output<typeof keyPartInput>;

/** What a counter is kept per. */
export type QuotaKeyPart =
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "query"; readonly name: string }
  | { readonly kind: "cookie"; readonly name: string }
  | { readonly kind: "clientIp"; readonly v4Prefix: number; readonly v6Prefix: number }
  | { readonly kind: "identity" }
  | { readonly kind: "jwtClaim"; readonly name: string }
  | { readonly kind: "pathVariable"; readonly name: string; readonly template: string };

const KEY_FIELDS = ["header", "query", "cookie", "clientIP", "identity", "jwtClaim", "pathVariable"] as const;

function readKeyPart(input: KeyPartInput, ctx: z.RefinementCtx): QuotaKeyPart {
  const given = KEY_FIELDS.filter((field) => input[field] !== undefined);
  if (given.length !== 1) {
    ctx.addIssue(
      given.length === 0
        ? `the key part is empty; write one of ${KEY_FIELDS.join(", ")}`
        : `${given.join(" and ")} are two key parts; write each as an item of its own`,
    );
    return z.NEVER;
  }
  if (input.pathTemplate !== undefined && input.pathVariable === undefined) {
    ctx.addIssue({
      code: "custom",
      path: ["pathTemplate"],
      message: "pathTemplate needs pathVariable: the {variable} to count by",
    });
    return z.NEVER;
  }
  if (input.clientIP) return { kind: "clientIp", ...input.clientIP };
  if (input.identity) return { kind: "identity" };
  if (input.pathVariable !== undefined) return readPathVariable(input.pathVariable, input.pathTemplate, ctx);
  for (const kind of ["header", "query", "cookie", "jwtClaim"] as const) {
    const name = input[kind];
    if (name !== undefined) return { kind, name };
  }
  return z.NEVER;
}

function readPathVariable(name: string, template: string | undefined, ctx: z.RefinementCtx): QuotaKeyPart {
  if (template === undefined) {
    ctx.addIssue({
      code: "custom",
      path: ["pathTemplate"],
      message: `pathVariable needs pathTemplate, such as /users/{${name}}/*`,
    });
    return z.NEVER;
  }
  const segments = template.split("/").slice(1);
  const sound = segments.every(
    (segment, index) =>
      /^(?:\{[A-Za-z_][A-Za-z0-9_]*\}|[^{}*]*)$/.test(segment) || (segment === "*" && index === segments.length - 1),
  );
  if (!template.startsWith("/") || !sound) {
    ctx.addIssue({
      code: "custom",
      path: ["pathTemplate"],
      message: `"${template}" is not a path template; it starts with "/", a {variable} fills a whole segment, and "*" may only be the last one`,
    });
    return z.NEVER;
  }
  const count = segments.filter((segment) => segment === `{${name}}`).length;
  if (count !== 1) {
    ctx.addIssue({ code: "custom", path: ["pathTemplate"], message: `"${template}" must contain {${name}} exactly once` });
    return z.NEVER;
  }
  return { kind: "pathVariable", name, template };
}

/** The name by which `overrides[].key` speaks of a key part. */
export function keyPartName(part: QuotaKeyPart): string {
  if (part.kind === "clientIp") return "clientIP";
  return part.kind === "identity" ? "identity" : part.name;
}

const MAX_COST = 1_000_000_000;
const cost = z
  .union([
    z.int().min(0).max(MAX_COST),
    z.strictObject({
      header: headerName,
      max: z.int().min(1).max(MAX_COST),
      default: z.int().min(0).max(MAX_COST).default(1),
    }),
  ])
  .default(1)
  .meta({ description: "Units per request: a number (0: free), or from a request header with max and default" });

const onStoreFailure = z
  .union([z.enum(["allow", "deny"]), z.strictObject({ local: percentText() })])
  .default({ local: 25 })
  .meta({ description: "allow, deny or {local: share of the limit}" });

const quotaSchema = z.strictObject({
  targets: z.array(target),
  match: z.array(httpMatch).default([]).meta({ description: "Any of; none: every request of the targets" }),
  key: z.array(keyPartInput.transform(readKeyPart)).max(8).default([]).meta({ description: "None: one counter per target" }),
  limits: limits.meta({ description: "All must pass; nothing is charged unless all do" }),
  cost,
  unit: z.enum(["requests", "bytes", "concurrent"]).default("requests"),
  overrides: z
    .array(z.strictObject({ key: z.record(z.string().min(1), z.string()), limits }))
    .default([])
    .meta({ description: "First override whose key fits wins; its limits replace those of the same name, the others stay" }),
  whenKeyMissing: z.enum(["share", "skip", "deny"]).default("share"),
  scope: z.enum(["local", "cluster", "global"]).default("local"),
  accuracy: z
    .union([z.enum(["strict", "bestEffort"]), z.strictObject({ bounded: percentText() })])
    .default("strict")
    .meta({ description: "strict, {bounded: 5%} or bestEffort; local counters are strict whatever this says" }),
  onStoreFailure,
  mode: z.enum(["enforce", "shadow"]).default("enforce"),
  headers: z.enum(["draft", "legacy", "both", "none"]).optional().meta({ description: "Default: quotaHeaders of MeshConfig" }),
  response: z
    .strictObject({ status: z.int().min(400).max(599).default(429), body: z.string().max(65_536).optional() })
    .prefault({}),
});
export type QuotaSpec = z.output<typeof quotaSchema>;
export type QuotaTarget = QuotaSpec["targets"][number];
export type QuotaOverride = QuotaSpec["overrides"][number];

type At = readonly (string | number)[];

function checkTarget(target: QuotaTarget, at: At): Finding[] {
  const found: Finding[] = [];
  if (target.route !== undefined && target.kind !== "VirtualService") {
    found.push({
      path: [...at, "route"],
      message: `route belongs to kind VirtualService, this target is a ${target.kind}; remove it`,
    });
  }
  if (target.rule !== undefined && target.kind !== "EgressRule") {
    found.push({ path: [...at, "rule"], message: `rule belongs to kind EgressRule, this target is a ${target.kind}; remove it` });
  }
  if (target.kind === "Host" || target.kind === "Service") {
    const problem = hostProblem(target.name, { wildcard: target.kind === "Host", any: target.kind === "Host", ip: true });
    if (problem) found.push({ path: [...at, "name"], message: problem });
  }
  return found;
}

function checkUnits(list: readonly Limit[], unit: QuotaSpec["unit"], at: At): Finding[] {
  return list.flatMap((limit, index) =>
    limit.unit === unit
      ? []
      : [
          {
            path: [...at, index, limit.unit],
            message: `the quota's unit is ${unit}, this limit counts ${limit.unit}; write ${unit}, or set unit: ${limit.unit}`,
          },
        ],
  );
}

function checkOverrides(spec: QuotaSpec): Finding[] {
  const found: Finding[] = [];
  const parts = spec.key.map(keyPartName);
  const names = spec.limits.map((limit) => limit.name);
  spec.overrides.forEach((override, index) => {
    const at = ["overrides", index];
    for (const name of Object.keys(override.key)) {
      if (!parts.includes(name)) {
        const known = parts.length > 0 ? `known are ${parts.join(", ")}` : "spec.key is empty";
        found.push({ path: [...at, "key", name], message: `"${name}" is not a part of spec.key; ${known}` });
      }
    }
    if (Object.keys(override.key).length === 0) {
      found.push({
        path: [...at, "key"],
        message: "the key is empty, so the override would apply to everybody; change spec.limits instead",
      });
    }
    override.limits.forEach((limit, at2) => {
      if (!names.includes(limit.name)) {
        found.push({
          path: [...at, "limits", at2, "name"],
          message: `there is no limit named "${limit.name}" to override; named are ${names.join(", ")}`,
        });
      }
    });
    found.push(...checkUnits(override.limits, spec.unit, [...at, "limits"]), ...checkOverlap(spec, override, index));
  });
  return found;
}

/** What leases cannot keep. */
function checkGlobal(spec: QuotaSpec): Finding[] {
  const lists = [{ list: spec.limits, at: ["limits"] as At }];
  spec.overrides.forEach((override, index) => {
    lists.push({ list: override.limits, at: ["overrides", index, "limits"] });
  });
  const accuracy = quotaAccuracy(spec.accuracy);
  const found = lists.flatMap(({ list, at }) =>
    list.flatMap(({ per, ...limit }, index): Finding[] => {
      const problem = leaseProblem({ ...limit, perMs: per }, spec.unit, accuracy);
      if (problem === undefined) return [];
      return [{ path: problem.field === "unit" ? ["unit"] : [...at, index, problem.field], message: problem.problem }];
    }),
  );
  // The unit is the quota's, whatever limits it has.
  const ofUnit = found.find(({ path }) => path[0] === "unit");
  return ofUnit === undefined ? found : [ofUnit];
}

/** As gateways are told. */
export function quotaAccuracy(accuracy: QuotaSpec["accuracy"]): QuotaAccuracy {
  return typeof accuracy === "string" ? { kind: accuracy } : { kind: "bounded", percent: accuracy.bounded };
}

function checkOverlap(spec: QuotaSpec, override: QuotaOverride, index: number): Finding[] {
  for (let before = 0; before < index; before++) {
    const earlier = Object.entries(spec.overrides[before]?.key ?? {});
    const clash = earlier.some(([name, value]) => override.key[name] !== undefined && override.key[name] !== value);
    if (earlier.length === 0 || clash) continue;
    const hidden = earlier.every(([name, value]) => override.key[name] === value);
    if (hidden)
      return [
        {
          path: ["overrides", index, "key"],
          message: `overrides[${before}] fits whatever this fits, so this one is never used; remove it, or put it first`,
        },
      ];
    return [
      {
        path: ["overrides", index, "key"],
        message: `a request can fit this and overrides[${before}], which then wins; order them on purpose`,
        severity: "warning",
      },
    ];
  }
  return [];
}

export const quota = defineKind({
  kind: "Quota",
  group: NATIVE_GROUP,
  versions: NATIVE_VERSIONS,
  plural: "quotas",
  description: "How much of what, for whom.",
  schema: quotaSchema,
  check(spec) {
    const found: Finding[] = [];
    if (spec.targets.length === 0)
      found.push({ path: ["targets"], message: "at least one target is needed; name what the quota protects" });
    spec.targets.forEach((target, index) => {
      found.push(...checkTarget(target, ["targets", index]));
    });
    if (spec.limits.length === 0)
      found.push({ path: ["limits"], message: "at least one limit is needed, such as { requests: 20, per: 1s }" });
    const parts = spec.key.map(keyPartName);
    parts.forEach((name, index) => {
      if (parts.indexOf(name) < index)
        found.push({ path: ["key", index], message: `the key part "${name}" is there already; names of key parts must differ` });
    });
    found.push(...checkUnits(spec.limits, spec.unit, ["limits"]), ...checkOverrides(spec));
    if (spec.scope === "global") found.push(...checkGlobal(spec));
    if (spec.unit === "concurrent" && typeof spec.cost !== "number") {
      found.push({ path: ["cost"], message: "a request in flight counts by a fixed cost; write a number" });
    }
    return found;
  },
});
