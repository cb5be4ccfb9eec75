/** How a quota says no: status, fields and a body that names the quota, the limit and when to come back. */
import type { ErrorCode } from "../error.ts";
import type { FieldList } from "../http/message.ts";
import type { QuotaKeyPart } from "../ir/index.ts";
import type { Charge } from "../quota/decide.ts";
import { limitItem, partitionParameter, pushLegacy, retryAfterSeconds } from "../quota/headers.ts";
import type { CompiledQuota, LimitSet } from "../quota/plan.ts";

export interface QuotaRefusal {
  readonly kind: "refused";
  readonly code: Extract<ErrorCode, "quota_exceeded" | "quota_unavailable" | "denied">;
  readonly status: number;
  /** `retry-after`, rate limit fields, `content-type`. */
  readonly fields: FieldList;
  readonly body: string;
  /** `<namespace>/<quota>#<limit>`, or without limit when the quota as a whole refuses. */
  readonly rule: string;
  readonly reason: string;
  /** Infinity: never as it stands. */
  readonly retryAfterMs: number;
}

/** The quota that refuses, as it applies to the request. */
interface Refusing {
  readonly quota: CompiledQuota;
  readonly set: LimitSet;
  readonly key: string;
}

/** A limit is used up, or the request asks for more than it ever admits. */
export function refuse(use: Refusing, charge: Charge, retryAfterMs: number): QuotaRefusal {
  const { limit } = charge;
  const never = !Number.isFinite(retryAfterMs);
  const seconds = retryAfterSeconds(retryAfterMs);
  const reason = never
    ? `a cost of ${charge.cost} is more than ${limit.rule} ever admits (${limit.capacity})`
    : `${limit.rule} is used up; come back in ${seconds} s`;
  const fields: FieldList = never ? [] : ["retry-after", String(seconds)];
  if (use.quota.draftHeaders) {
    const item = limitItem(limit, 0, never ? retryAfterMs : seconds * 1000, partitionParameter(use.key));
    fields.push("ratelimit-policy", use.set.policies, "ratelimit", item);
  }
  if (use.quota.legacyHeaders) pushLegacy(fields, limit, 0, never ? retryAfterMs : seconds * 1000);
  const detail = { limit: limit.rule.slice(use.quota.id.length + 1), ...(never ? {} : { retryAfterSeconds: seconds }) };
  return refusal(use.quota, "quota_exceeded", limit.rule, reason, fields, retryAfterMs, detail);
}

/** No room to count the key, and the rule denies then. */
export function refuseUncounted(use: Refusing, retryAfterMs: number): QuotaRefusal {
  const seconds = retryAfterSeconds(retryAfterMs);
  const reason = `${use.quota.id} cannot be counted now; come back in ${seconds} s`;
  const detail = { retryAfterSeconds: seconds };
  return refusal(use.quota, "quota_unavailable", use.quota.id, reason, ["retry-after", String(seconds)], retryAfterMs, detail);
}

/** The quota counts by something that the request does not have. */
export function refuseMissingKey(quota: CompiledQuota): QuotaRefusal {
  quota.meter?.count("key_missing_denied");
  const reason = `${quota.id} admits no request without ${quota.policy.key.map(describePart).join(" and ")}`;
  return refusal(quota, "denied", quota.id, reason, [], Number.POSITIVE_INFINITY, {});
}

function describePart(part: QuotaKeyPart): string {
  switch (part.kind) {
    case "header":
    case "cookie":
      return `the ${part.kind} ${part.name}`;
    case "query":
      return `the query parameter ${part.name}`;
    case "pathVariable":
      return `a path like ${part.template}`;
    case "clientIp":
      return "a client address";
    case "identity":
      return "a verified identity";
  }
}

const PROBLEM_TYPES = {
  quota_exceeded: {
    status: 429,
    type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    title: "Quota exceeded",
  },
  quota_unavailable: {
    status: 503,
    type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    title: "Quota cannot be counted",
  },
  denied: { status: 403, type: "about:blank", title: "Forbidden" },
};

/** RFC 9457 problem details, unless the quota brings a body of its own; its own status is for what is used up only. */
function refusal(
  quota: CompiledQuota,
  code: QuotaRefusal["code"],
  rule: string,
  reason: string,
  fields: FieldList,
  retryAfterMs: number,
  detail: { readonly [member: string]: string | number },
): QuotaRefusal {
  const { response } = quota.policy;
  const problem = PROBLEM_TYPES[code];
  const status = code === "quota_exceeded" ? response.status : problem.status;
  const own = code === "quota_exceeded" ? response.body : undefined;
  const body =
    own ??
    JSON.stringify({
      type: problem.type,
      title: problem.title,
      status,
      detail: reason,
      quota: quota.id,
      ...detail,
      ...(code === "quota_exceeded" ? { "violated-policies": [rule] } : {}),
    });
  fields.push("content-type", own === undefined ? "application/problem+json" : "text/plain; charset=utf-8");
  return { kind: "refused", code, status, fields, body, rule, reason, retryAfterMs };
}
