import type {
  EgressConfig,
  EgressDeny,
  EgressInjection,
  EgressPolicy,
  EgressPrincipal,
  EgressRule,
  EgressUser,
  QuotaAccuracy,
  QuotaCost,
  QuotaKeyPart,
  QuotaLimit,
  QuotaOverride,
  QuotaPolicy,
} from "../policy.ts";
import { array, boolean, integer, nullable, number, oneOf, text, unique } from "./check.ts";
import {
  address,
  anyText,
  cidr,
  durationMs,
  fieldName,
  fieldValue,
  hostPattern,
  name,
  origin,
  percent,
  port,
  quotaIds,
  someText,
  stringMatch,
} from "./common.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { object, optional, refined, variants } from "./object.ts";
import { routeMatch } from "./route.ts";

const AMOUNT = number(0, Number.MAX_SAFE_INTEGER);

const keyPart = variants<QuotaKeyPart, "kind">("kind", {
  header: { name: fieldName },
  query: { name },
  cookie: { name },
  clientIp: { v4Prefix: integer(0, 32), v6Prefix: integer(0, 128) },
  pathVariable: { name, template: someText },
  identity: {},
});

const limit = object<QuotaLimit>({
  name,
  amount: AMOUNT,
  perMs: durationMs,
  window: oneOf("rolling", "smooth", "calendar"),
  burst: optional(AMOUNT),
  timeZone: optional(name),
  calendarUnit: optional(oneOf("minute", "hour", "day", "week", "month", "year")),
});
const limits = array(limit, LIMITS.limitsPerQuota);

const cost = variants<QuotaCost, "kind">("kind", {
  fixed: { amount: AMOUNT },
  header: { name: fieldName, max: AMOUNT, default: AMOUNT },
});

const onStoreFailure = variants<QuotaPolicy["onStoreFailure"], "kind">("kind", {
  allow: {},
  deny: {},
  local: { percent },
});

const quotaFields = object<QuotaPolicy>({
  id: name,
  origin,
  matches: array(routeMatch, LIMITS.matchesPerRoute),
  key: array(keyPart, LIMITS.quotaKeyParts),
  limits,
  cost,
  unit: oneOf("requests", "bytes", "concurrent"),
  overrides: array(
    object<QuotaOverride>({ key: array(nullable(anyText), LIMITS.quotaKeyParts), limits }),
    LIMITS.overridesPerQuota,
  ),
  whenKeyMissing: oneOf("share", "skip", "deny"),
  scope: oneOf("local", "global"),
  accuracy: optional(variants<QuotaAccuracy, "kind">("kind", { strict: {}, bounded: { percent }, bestEffort: {} })),
  onStoreFailure,
  mode: oneOf("enforce", "shadow"),
  headers: oneOf("draft", "legacy", "both", "none"),
  response: object<QuotaPolicy["response"]>({
    status: integer(200, 599),
    body: optional(text({ max: LIMITS.bodyLength, min: 0 })),
  }),
});

/** Limit names are unique, and every override speaks of as many key parts as there are. */
export const quotaPolicy = refined(quotaFields, (quota, issues) => {
  unique(quota.limits, (item) => item.name, "limits", issues);
  for (let i = 0; i < quota.overrides.length; i++) {
    if (quota.overrides[i]?.key.length !== quota.key.length) {
      issues.add(`overrides[${i}].key`, `must have ${quota.key.length} item(s), one for each key part`);
    }
  }
});

const principal = variants<EgressPrincipal, "kind">("kind", {
  proxyUser: { name },
  ipBlock: { cidr },
  edgeService: { name },
});

const hosts = array(hostPattern, LIMITS.hostsPerRule);
const ports = array(port, LIMITS.listLength);
const rule = object<EgressRule>({
  name,
  hosts,
  ports,
  protocol: oneOf("https", "http", "tls", "tcp"),
  methods: array(name, LIMITS.listLength),
  paths: array(stringMatch, LIMITS.listLength),
  addresses: array(object<EgressRule["addresses"][number]>({ cidr, ports }), LIMITS.listLength),
  quotas: quotaIds,
  originate: optional(object<NonNullable<EgressRule["originate"]>>({ tls: oneOf("simple") })),
  inject: optional(
    array(
      object<EgressInjection>({
        header: fieldName,
        secret: object<EgressInjection["secret"]>({ namespace: name, name, key: name }),
        prefix: fieldValue,
      }),
      LIMITS.listLength,
    ),
  ),
});

const policy = object<EgressPolicy>({
  id: name,
  origin,
  namespace: name,
  floor: boolean,
  from: array(principal, LIMITS.listLength),
  mode: oneOf("enforce", "report", "learn"),
  allow: array(rule, LIMITS.rulesPerPolicy),
  deny: array(object<EgressDeny>({ hosts, ports, reason: anyText }), LIMITS.rulesPerPolicy),
});

const staticHost = object<EgressConfig["staticHosts"][number]>({
  host: hostPattern,
  endpoints: array(
    object<EgressConfig["staticHosts"][number]["endpoints"][number]>({ address, port: optional(port) }),
    LIMITS.endpointsPerCluster,
  ),
});

const egressFields = object<EgressConfig>({
  policies: array(policy, LIMITS.egressPolicies),
  staticHosts: array(staticHost, LIMITS.egressPolicies),
  users: array(object<EgressUser>({ name, passwordHash: text({ max: 1_024 }) }), LIMITS.egressUsers),
  realm: fieldValue,
});

export const egressConfig = refined(egressFields, (egress, issues) => {
  unique(egress.policies, (item) => item.id, "policies", issues);
  unique(egress.staticHosts, (item) => item.host, "staticHosts", issues);
  unique(egress.users, (item) => item.name, "users", issues);
});
