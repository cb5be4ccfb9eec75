/** Quota objects and egress limits → quota policies. */
import type { QuotaKeyPart, QuotaLimit, QuotaOverride, QuotaPolicy, RouteMatch } from "../../gateway/core/ir/index.ts";
import type { Limit } from "../config/kinds/native/common.ts";
import type { EgressAllowRule } from "../config/kinds/native/egress-policy.ts";
import type { MeshConfigSpec } from "../config/kinds/native/mesh-config.ts";
import { keyPartName, type QuotaSpec } from "../config/kinds/native/quota.ts";
import { requestMatch } from "./match.ts";
import type { EgressPolicyResource, QuotaResource } from "./objects.ts";
import { objectKey, type Status } from "./status.ts";

/** Undefined: it asks for something that does not work yet, and without that it would count wrongly. */
export function quotaPolicy(quota: QuotaResource, mesh: MeshConfigSpec, status: Status): QuotaPolicy | undefined {
  const { spec, metadata } = quota;
  const leftOut = (path: string, message: string) => {
    status.report("unsupported", quota, path, `${message}; the quota is left out`);
    return undefined;
  };
  if (spec.scope !== "local") return leftOut("spec.scope", `scope ${spec.scope} is not supported yet; use local`);
  const key = keyParts(spec);
  if (key === undefined) return leftOut("spec.key", "jwtClaim is not supported yet");
  const matches = quotaMatches(quota, status);
  if (matches === undefined) return leftOut("spec.match", "no alternative is left");
  return {
    id: objectKey(quota),
    origin: { kind: quota.kind, namespace: metadata.namespace, name: metadata.name },
    matches,
    key,
    limits: spec.limits.map(quotaLimit),
    cost: typeof spec.cost === "number" ? { kind: "fixed", amount: spec.cost } : headerCost(spec.cost),
    unit: spec.unit,
    overrides: spec.overrides.map((override) => quotaOverride(override, spec)),
    whenKeyMissing: spec.whenKeyMissing,
    scope: "local",
    onStoreFailure: storeFailure(spec.onStoreFailure),
    mode: spec.mode,
    headers: spec.headers ?? mesh.quotaHeaders,
    response: { status: spec.response.status, ...(spec.response.body === undefined ? {} : { body: spec.response.body }) },
  };
}

function keyParts(spec: QuotaSpec): readonly QuotaKeyPart[] | undefined {
  const parts: QuotaKeyPart[] = [];
  for (const part of spec.key) {
    if (part.kind === "jwtClaim") return undefined;
    parts.push(part);
  }
  return parts;
}

/** Empty: everything. An alternative that says where a request came in by cannot be kept apart from the request, so it is left out. */
function quotaMatches(quota: QuotaResource, status: Status): readonly RouteMatch[] | undefined {
  const { match } = quota.spec;
  if (match.length === 0) return [];
  const kept: RouteMatch[] = [];
  match.forEach((alternative, index) => {
    const path = `spec.match[${index}]`;
    const bySource =
      alternative.gateways.length > 0 ||
      alternative.sourceNamespace !== undefined ||
      Object.keys(alternative.sourceLabels).length > 0;
    const translated = bySource
      ? { unsupported: "gateways, sourceLabels and sourceNamespace are not supported in a Quota; name a target of kind Gateway" }
      : requestMatch(alternative);
    if ("unsupported" in translated) {
      status.report("unsupported", quota, path, `${translated.unsupported}; this alternative is left out`);
    } else {
      kept.push(alternative.port === undefined ? translated.match : { ...translated.match, port: alternative.port });
    }
  });
  return kept.length === 0 ? undefined : kept;
}

function quotaLimit(limit: Limit): QuotaLimit {
  return {
    name: limit.name,
    amount: limit.amount,
    perMs: limit.per,
    window: limit.window,
    ...(limit.burst === undefined ? {} : { burst: limit.burst }),
    ...(limit.timeZone === undefined ? {} : { timeZone: limit.timeZone }),
    ...(limit.calendarUnit === undefined ? {} : { calendarUnit: limit.calendarUnit }),
  };
}

function headerCost(cost: Exclude<QuotaSpec["cost"], number>): QuotaPolicy["cost"] {
  return { kind: "header", name: cost.header, max: cost.max, default: cost.default };
}

/** Limits that the override does not name stay as they are, so that one list says all that holds for its key. */
function quotaOverride(override: QuotaSpec["overrides"][number], spec: QuotaSpec): QuotaOverride {
  const replaced = new Map(override.limits.map((limit) => [limit.name, limit]));
  return {
    key: spec.key.map((part) => override.key[keyPartName(part)] ?? null),
    limits: spec.limits.map((limit) => quotaLimit(replaced.get(limit.name) ?? limit)),
  };
}

function storeFailure(choice: QuotaSpec["onStoreFailure"]): QuotaPolicy["onStoreFailure"] {
  return typeof choice === "string" ? { kind: choice } : { kind: "local", percent: choice.local };
}

/** Share of its limits that an egress rule keeps to when counters cannot be kept: the default of Quota. */
const EGRESS_STORE_FAILURE = { kind: "local", percent: 25 } as const;

/**
 * The limits of an egress rule as quota policies, one for each unit that they count: `<namespace>/<policy>#<rule>` for requests, with
 * `:bytes` or `:concurrent` behind it for those. Where the policy only reports, so do they.
 */
export function egressQuotas(
  policy: EgressPolicyResource,
  rule: EgressAllowRule,
  path: string,
  mesh: MeshConfigSpec,
): readonly QuotaPolicy[] {
  const { namespace, name } = policy.metadata;
  return [...Map.groupBy(rule.limits, (limit) => limit.unit)].map(([unit, limits]) => ({
    id: `${objectKey(policy)}#${rule.name}${unit === "requests" ? "" : `:${unit}`}`,
    origin: { kind: policy.kind, namespace, name, path: `${path}.limits` },
    matches: [],
    key: [],
    limits: limits.map(quotaLimit),
    cost: { kind: "fixed", amount: 1 },
    unit,
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: EGRESS_STORE_FAILURE,
    mode: policy.spec.mode === "enforce" ? "enforce" : "shadow",
    headers: mesh.quotaHeaders,
    response: { status: 429 },
  }));
}
