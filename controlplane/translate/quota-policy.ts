/** Quota objects and egress limits → quota policies. */

import type { QuotaKeyPart, QuotaLimit, QuotaOverride, QuotaPolicy, RouteMatch } from "../../gateway/core/ir/index.ts";
import { type EgressAllowRule, keyPartName, type Limit, type MeshConfigSpec, quotaAccuracy } from "../config/index.ts";
import { requestMatch } from "./match.ts";
import type { EgressPolicyResource, QuotaResource } from "./objects.ts";
import { objectKey, type Status } from "./status.ts";

/** Undefined: without the alternatives that do not work yet it would count what nobody asked for. */
export function quotaPolicy(quota: QuotaResource, mesh: MeshConfigSpec, status: Status): QuotaPolicy | undefined {
  const { spec, metadata } = quota;
  const matches = quotaMatches(quota, status);
  if (matches === undefined) {
    status.report("unsupported", quota, "spec.match", "no alternative is left, so the quota is left out");
    return undefined;
  }
  return {
    id: objectKey(quota),
    origin: { kind: quota.kind, namespace: metadata.namespace, name: metadata.name },
    matches,
    key: spec.key.filter(isKeyPart),
    limits: spec.limits.map(quotaLimit),
    cost: typeof spec.cost === "number" ? { kind: "fixed", amount: spec.cost } : headerCost(spec.cost),
    unit: spec.unit,
    overrides: spec.overrides.map((override) => quotaOverride(override, spec)),
    whenKeyMissing: spec.whenKeyMissing,
    ...(spec.scope === "global"
      ? { scope: "global" as const, accuracy: quotaAccuracy(spec.accuracy) }
      : { scope: "local" as const }),
    onStoreFailure: storeFailure(spec.onStoreFailure),
    mode: spec.mode,
    headers: spec.headers ?? mesh.quotaHeaders,
    response: { status: spec.response.status, ...(spec.response.body === undefined ? {} : { body: spec.response.body }) },
  };
}

/** Config refuses a Quota with `jwtClaim` until it works. */
function isKeyPart(part: QuotaResource["spec"]["key"][number]): part is QuotaKeyPart {
  return part.kind !== "jwtClaim";
}

/** Empty: everything. An alternative that says where a request came in by cannot be kept apart from the request, so it is left out. */
function quotaMatches(quota: QuotaResource, status: Status): readonly RouteMatch[] | undefined {
  const { match } = quota.spec;
  if (match.length === 0) return [];
  const kept: RouteMatch[] = [];
  match.forEach((alternative, index) => {
    const path = `spec.match[${index}]`;
    const translated =
      alternative.gateways.length > 0
        ? { unsupported: "gateways is not supported in a Quota; name a target of kind Gateway" }
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

function headerCost(cost: Exclude<QuotaResource["spec"]["cost"], number>): QuotaPolicy["cost"] {
  return { kind: "header", name: cost.header, max: cost.max, default: cost.default };
}

/** Limits that the override does not name stay as they are, so that one list says all that holds for its key. */
function quotaOverride(override: QuotaResource["spec"]["overrides"][number], spec: QuotaResource["spec"]): QuotaOverride {
  const replaced = new Map(override.limits.map((limit) => [limit.name, limit]));
  return {
    key: spec.key.map((part) => override.key[keyPartName(part)] ?? null),
    limits: spec.limits.map((limit) => quotaLimit(replaced.get(limit.name) ?? limit)),
  };
}

function storeFailure(choice: QuotaResource["spec"]["onStoreFailure"]): QuotaPolicy["onStoreFailure"] {
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
    mode: policy.spec.mode === "report" ? "shadow" : "enforce",
    headers: mesh.quotaHeaders,
    response: { status: 429 },
  }));
}
