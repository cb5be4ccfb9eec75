/**
 * Whether a change of the egress section can let more out than before. Conservative: `narrowing` is a proof, and what cannot be
 * proved by comparing one rule with one other is `widening`. Every field of every type is judged; a new one does not compile until it is.
 */
import type { Manifest, PolicyClass, Snapshot } from "./manifest.ts";
import type { EgressConfig, EgressDeny, EgressPolicy, EgressRule, EgressUser } from "./policy.ts";

/** The class of a change from one snapshot (undefined: none) to the next; an egress section that no longer fails closed widens. */
export function classifyChange(
  held: { readonly manifest: Manifest; readonly snapshot: Snapshot } | undefined,
  next: { readonly manifest: Manifest; readonly snapshot: Snapshot },
): PolicyClass {
  const opens = next.manifest.sections.egress.failMode === "keep" && held?.manifest.sections.egress.failMode === "closed";
  if (opens && next.snapshot.egress !== undefined) return "widening";
  return classifyEgress(held?.snapshot.egress, next.snapshot.egress);
}

export function classifyEgress(held: EgressConfig | undefined, next: EgressConfig | undefined): PolicyClass {
  return isNarrower(held, next) ? "narrowing" : "widening";
}

/** No rule allows anything and no policy lets things pass for a report. */
function allowsNothing(config: EgressConfig | undefined): boolean {
  return config === undefined || config.policies.every((policy) => policy.allow.length === 0 && policy.mode === "enforce");
}

function isNarrower(held: EgressConfig | undefined, next: EgressConfig | undefined): boolean {
  if (next === undefined || allowsNothing(next)) return true;
  if (held === undefined) return false;
  return fits(CONFIG, held, next) && keepsFirstMatch(held, next);
}

/** For each field: is `next` at most as permissive as `held`? */
type Comparison<T> = { readonly [K in keyof T]-?: (held: T[K], next: T[K]) => boolean };

function fits<T extends object>(comparison: Comparison<T>, held: T, next: T): boolean {
  for (const key in comparison) {
    if (!comparison[key](held[key], next[key])) return false;
  }
  return true;
}

const whatever = (): boolean => true;
const same = (held: unknown, next: unknown): boolean => canonical(held) === canonical(next);
/** Everything of `next` was there before. */
const subset = (held: readonly unknown[], next: readonly unknown[]): boolean => {
  const known = new Set(held.map(canonical));
  return next.every((item) => known.has(canonical(item)));
};
/** As `subset`, for lists whose empty form means all. */
const subsetOrAll = (held: readonly unknown[], next: readonly unknown[]): boolean =>
  held.length === 0 || (next.length > 0 && subset(held, next));

/** As `subset`, for lists that name something: an empty one that was not empty proves nothing. */
const subsetNamed = (held: readonly unknown[], next: readonly unknown[]): boolean =>
  subset(held, next) && (next.length > 0 || held.length === 0);

const RULE: Comparison<EgressRule> = {
  name: whatever,
  hosts: (held, next) =>
    (next.length > 0 || held.length === 0) && next.every((host) => held.some((pattern) => coversHost(pattern, host))),
  ports: subsetNamed,
  protocol: same,
  methods: subsetOrAll,
  paths: subsetOrAll,
  addresses: (held, next) =>
    next.every((range) => held.some((known) => known.cidr === range.cidr && subsetNamed(known.ports, range.ports))),
  quotas: (held, next) => subset(next, held),
  // Another credential, or TLS where there was none, is another way out; without one that was put in its place, the caller's own goes out.
  originate: same,
  inject: (held = [], next = []) => same(held, next),
};

const DENY: Comparison<EgressDeny> = {
  hosts: (held, next) =>
    (held.length > 0 || next.length === 0) && held.every((host) => next.some((pattern) => coversHost(pattern, host))),
  ports: (held, next) => (held.length === 0) === (next.length === 0) && subset(next, held),
  reason: whatever,
};

const POLICY: Comparison<EgressPolicy> = {
  id: same,
  origin: whatever,
  namespace: same,
  floor: same,
  from: subset,
  mode: (held, next) => held === next || next === "enforce",
  allow: (held, next) => next.every((rule) => held.some((known) => fits(RULE, known, rule))),
  deny: (held, next) => held.every((known) => next.some((rule) => fits(DENY, known, rule))),
};

const CONFIG: Comparison<EgressConfig> = {
  policies: narrowsPolicies,
  // A name that leads elsewhere, or to DNS again, may lead to somebody who was not allowed.
  staticHosts: (held, next) =>
    next.every((host) => held.some((known) => known.host === host.host)) &&
    held.every((known) => next.some((host) => host.host === known.host && subset(known.endpoints, host.endpoints))),
  // Another password lets somebody else in.
  users: (held: readonly EgressUser[], next: readonly EgressUser[]) => subset(held, next),
  realm: whatever,
};

function narrowsPolicies(held: readonly EgressPolicy[], next: readonly EgressPolicy[]): boolean {
  for (const policy of next) {
    const before = held.find((known) => known.id === policy.id);
    const ok = before === undefined ? policy.allow.length === 0 && policy.mode === "enforce" : fits(POLICY, before, policy);
    if (!ok) return false;
  }
  // A deny may bind more than its own policy's rules: it stays, for the same callers.
  return held.every(
    (known) => known.deny.length === 0 || next.some((policy) => policy.id === known.id && same(known.from, policy.from)),
  );
}

/**
 * Of the rules that fit a request the first one decides about quotas, credentials, what a tunnel may carry, and whether that is enforced. So the
 * rules that stay keep their order, and where one goes or is changed no rule that stays for the same hosts may be laxer in these.
 */
function keepsFirstMatch(held: EgressConfig, next: EgressConfig): boolean {
  const before = placedRules(held);
  const after = placedRules(next);
  let from = 0;
  for (const { policy, rule } of after) {
    const at = before.findIndex((known, i) => i >= from && known.policy === policy && fits(RULE, known.rule, rule));
    if (at === -1) return false;
    from = at;
  }
  const kept = new Set(after.map(canonical));
  return before.every((known) => kept.has(canonical(known)) || !after.some((placed) => isLaxer(known, placed)));
}

interface PlacedRule {
  readonly policy: string;
  readonly from: EgressPolicy["from"];
  readonly mode: EgressPolicy["mode"];
  readonly rule: EgressRule;
}

function placedRules(config: EgressConfig): readonly PlacedRule[] {
  return config.policies.flatMap(({ id, from, mode, allow }) => allow.map((rule) => ({ policy: id, from, mode, rule })));
}

function isLaxer(gone: PlacedRule, stays: PlacedRule): boolean {
  if (!hostsMeet(gone.rule.hosts, stays.rule.hosts)) return false;
  const asStrict = stays.mode === "enforce" || stays.mode === gone.mode;
  const sameWay =
    stays.rule.protocol === gone.rule.protocol &&
    same(stays.rule.originate, gone.rule.originate) &&
    same(stays.rule.inject ?? [], gone.rule.inject ?? []);
  return !(asStrict && sameWay && subset(stays.rule.quotas, gone.rule.quotas));
}

function hostsMeet(a: readonly string[], b: readonly string[]): boolean {
  return a.some((one) => b.some((other) => coversHost(one, other) || coversHost(other, one)));
}

/** `*.example.com` covers every depth below and not the apex; an exact host only itself; IP literals no wildcard. */
function coversHost(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  return pattern.startsWith("*.") && host.endsWith(pattern.slice(1)) && host.length >= pattern.length;
}

/** One text for one value, whatever the order of its fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "object" && item !== null && !Array.isArray(item)
      ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
      : item,
  );
}
