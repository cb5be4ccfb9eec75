/** A quota policy made ready once per snapshot: what to read from a request, what to charge, and what the headers will say. */
import type { ReadonlyFieldList } from "../http/message.ts";
import type { QuotaKeyPart, QuotaLimit, QuotaPolicy } from "../ir/index.ts";
import { leaseProblem } from "../ir/index.ts";
import type { RequestView } from "../match/request.ts";
import type { PeerInfo } from "../ports.ts";
import { fail, type Issue, ok, type Result } from "../result.ts";
import { CalendarWindows, TimeZone } from "./calendar-window.ts";
import { policyList } from "./headers.ts";
import { bounded, compileKeyPart, fieldKey, type KeyReader } from "./key.ts";
import { CompiledLimit, compileLeasedLimit, MAX_AMOUNT } from "./limit.ts";

/** What became of a request at one quota. */
export type QuotaOutcome =
  | "admitted"
  | "refused"
  /** Shadow mode: would have been refused. */
  | "shadow_refused"
  /** The bank had no room for the key or did not answer, and `onStoreFailure` let the request pass uncounted, counted it locally, or refused it. */
  | "store_allowed"
  | "store_local"
  | "store_denied"
  | "key_missing_denied";

/** A counter of outcomes, looked up once per snapshot. */
export interface QuotaMeter {
  count(outcome: QuotaOutcome): void;
}

export interface CompileQuotaOptions {
  /** Settings.numTrustedProxies. */
  readonly trustedProxies: number;
  /** `matches` as one predicate; undefined: every request of the target. */
  readonly applies?: (request: RequestView) => boolean;
  readonly meter?: QuotaMeter;
  /** Threads among which `onStoreFailure: local` divides its share. Default 1. */
  readonly threads?: number;
  /** Time zones already opened, shared by all quotas of a snapshot: opening one is slow. */
  readonly zones: Map<string, TimeZone>;
}

/** Limits that apply to one key. */
export interface LimitSet {
  readonly limits: readonly CompiledLimit[];
  /** The same limits cut to the share of `onStoreFailure: local`; empty otherwise. */
  readonly local: readonly CompiledLimit[];
  /** Value of `RateLimit-Policy`. */
  readonly policies: string;
}

/** Longest window: 400 days in milliseconds. */
export const MAX_WINDOW_MS = 400 * 86_400_000;

export class CompiledQuota {
  readonly policy: QuotaPolicy;
  readonly id: string;
  readonly shadow: boolean;
  /** Counted out of leases of a bank that several gateways share. */
  readonly isGlobal: boolean;
  readonly draftHeaders: boolean;
  readonly legacyHeaders: boolean;
  readonly meter: QuotaMeter | undefined;
  readonly #applies: ((request: RequestView) => boolean) | undefined;
  readonly #readers: readonly KeyReader[];
  readonly #parts: string[];
  readonly #base: LimitSet;
  readonly #exact: ReadonlyMap<string, RankedSet>;
  readonly #patterns: readonly PatternSet[];

  constructor(policy: QuotaPolicy, options: CompileQuotaOptions, readers: readonly KeyReader[], base: LimitSet, over: Overrides) {
    this.policy = policy;
    this.id = policy.id;
    this.shadow = policy.mode === "shadow";
    this.isGlobal = policy.scope === "global";
    this.draftHeaders = policy.headers === "draft" || policy.headers === "both";
    this.legacyHeaders = policy.headers === "legacy" || policy.headers === "both";
    this.meter = options.meter;
    this.#applies = options.applies;
    this.#readers = readers;
    this.#parts = readers.map(() => "");
    this.#base = base;
    this.#exact = over.exact;
    this.#patterns = over.patterns;
  }

  applies(request: RequestView): boolean {
    return this.#applies === undefined || this.#applies(request);
  }

  /** The key to count this request under; "" when the quota has none; undefined when the request lacks a part of it. */
  key(request: RequestView, peer: PeerInfo): string | undefined {
    for (let i = 0; i < this.#readers.length; i++) {
      const value = this.#readers[i]?.read(request, peer);
      if (value === undefined) return undefined;
      this.#parts[i] = bounded(value);
    }
    return joinKey(this.#parts);
  }

  /** The limits for the key that `key` has just given; `undefined`: for requests without one. */
  limits(key: string | undefined): LimitSet {
    return key === undefined ? this.#base : this.#limitsOf(key, this.#parts);
  }

  /** The limits for a key that another gateway has made by the same quota; "" for requests without one. */
  limitsForKey(key: string): LimitSet {
    if (key === "") return this.#base;
    const parts = splitKey(key, this.#readers.length);
    return parts === undefined ? this.#base : this.#limitsOf(key, parts);
  }

  #limitsOf(key: string, parts: readonly string[]): LimitSet {
    const exact = this.#exact.get(key);
    for (const pattern of this.#patterns) {
      if (exact !== undefined && exact.rank < pattern.rank) break;
      if (pattern.parts.every((part, i) => part === null || part === parts[i])) return pattern.set;
    }
    return exact?.set ?? this.#base;
  }

  /**
   * Units that a request costs. By header: no such header costs the default, more than `max` costs `max`, and what is not a whole
   * number costs `max` as well, so that garbage is never cheaper than the truth.
   */
  cost(fields: ReadonlyFieldList): number {
    const { cost } = this.policy;
    if (cost.kind === "fixed") return cost.amount;
    const value = fieldKey(fields, cost.name);
    if (value === undefined) return cost.default;
    return /^\d{1,15}$/.test(value) ? Math.min(Number(value), cost.max) : cost.max;
  }
}

interface RankedSet {
  readonly rank: number;
  readonly set: LimitSet;
}
interface PatternSet extends RankedSet {
  readonly parts: readonly (string | null)[];
}
interface Overrides {
  readonly exact: ReadonlyMap<string, RankedSet>;
  readonly patterns: readonly PatternSet[];
}

/** One part stands for itself; several are written with their lengths, so that no two lists of parts read alike. */
function joinKey(parts: readonly string[]): string {
  if (parts.length === 0) return "";
  if (parts.length === 1) return parts[0] as string;
  let joined = "";
  for (const part of parts) joined += `${part.length}:${part}`;
  return joined;
}

/** Undoes `joinKey`; undefined: it did not make this key. */
function splitKey(key: string, count: number): readonly string[] | undefined {
  if (count === 1) return [key];
  const parts: string[] = [];
  let at = 0;
  while (at < key.length && parts.length < count) {
    const colon = key.indexOf(":", at);
    const length = Number(key.slice(at, colon));
    if (colon === -1 || !Number.isInteger(length)) return undefined;
    parts.push(key.slice(colon + 1, colon + 1 + length));
    at = colon + 1 + length;
  }
  return at === key.length && parts.length === count ? parts : undefined;
}

/** @returns the compiled quota, or every problem that keeps it from being enforced as written */
export function compileQuota(policy: QuotaPolicy, options: CompileQuotaOptions): Result<CompiledQuota> {
  const issues: Issue[] = [];
  const readers = policy.key.map((part, i) => reader(part, options.trustedProxies, `key[${i}]`, issues));
  const compiler = new SetCompiler(policy, options, issues);
  const base = compiler.set(policy.limits, "limits");
  const exact = new Map<string, RankedSet>();
  const patterns: PatternSet[] = [];
  policy.overrides.forEach((override, rank) => {
    const path = `overrides[${rank}]`;
    if (override.key.length !== readers.length) {
      issues.push({ path: `${path}.key`, problem: `has ${override.key.length} values for ${readers.length} key parts` });
      return;
    }
    const set = compiler.set(override.limits, `${path}.limits`);
    const parts = override.key.map((value, i) => (value === null ? null : bounded(readers[i]?.canonical(value) ?? value)));
    const plain = parts.filter((part) => part !== null);
    const key = joinKey(plain);
    if (plain.length < parts.length) patterns.push({ rank, set, parts });
    else if (!exact.has(key)) exact.set(key, { rank, set });
  });
  if (issues.length > 0) return fail(issues);
  return ok(new CompiledQuota(policy, options, readers.filter(isReader), base, { exact, patterns }));
}

function isReader(reader: KeyReader | undefined): reader is KeyReader {
  return reader !== undefined;
}

function reader(part: QuotaKeyPart, trustedProxies: number, path: string, issues: Issue[]): KeyReader | undefined {
  try {
    return compileKeyPart(part, trustedProxies);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    issues.push({ path, problem: error.message });
    return undefined;
  }
}

class SetCompiler {
  readonly #policy: QuotaPolicy;
  readonly #options: CompileQuotaOptions;
  readonly #issues: Issue[];

  constructor(policy: QuotaPolicy, options: CompileQuotaOptions, issues: Issue[]) {
    this.#policy = policy;
    this.#options = options;
    this.#issues = issues;
  }

  set(specs: readonly QuotaLimit[], path: string): LimitSet {
    const limits = specs.map((spec, i) => this.#limit(spec, `${path}[${i}]`)).filter((limit) => limit !== undefined);
    if (new Set(specs.map((spec) => spec.name)).size !== specs.length) {
      this.#issues.push({ path, problem: "two limits of one name would share one counter; give each its own name" });
    }
    const { onStoreFailure } = this.#policy;
    const share = onStoreFailure.kind === "local" ? onStoreFailure.percent / 100 / (this.#options.threads ?? 1) : 0;
    const local = onStoreFailure.kind === "local" ? specs.map((spec) => this.#limit(cut(spec, share), path, "local")) : [];
    return { limits, local: local.filter((limit) => limit !== undefined), policies: policyList(limits) };
  }

  #limit(spec: QuotaLimit, path: string, scope = this.#policy.scope): CompiledLimit | undefined {
    const { id, unit, headers, accuracy } = this.#policy;
    const before = this.#issues.length;
    this.#checkNumber(spec.amount, 0, MAX_AMOUNT, `${path}.amount`);
    if (unit !== "concurrent") {
      this.#checkNumber(spec.perMs, 1, MAX_WINDOW_MS, `${path}.perMs`);
      if (spec.burst !== undefined) this.#checkNumber(spec.burst, 0, MAX_AMOUNT, `${path}.burst`);
    }
    const calendar = unit !== "concurrent" && spec.window === "calendar" ? this.#calendar(spec, path) : undefined;
    const leased = scope === "global" ? leaseProblem(spec, unit, accuracy) : undefined;
    if (leased !== undefined) this.#issues.push({ path: `${path}.${leased.field}`, problem: leased.problem });
    if (this.#issues.length > before) return undefined;
    const rule = `${id}#${spec.name}`;
    if (scope === "global") return compileLeasedLimit({ rule, unit, limit: spec, accuracy }, calendar, headers !== "none");
    return new CompiledLimit(rule, unit, spec, calendar, headers !== "none");
  }

  #checkNumber(value: number, min: number, max: number, path: string): void {
    if (Number.isInteger(value) && value >= min && value <= max) return;
    this.#issues.push({ path, problem: `${value} is not a whole number from ${min} to ${max}` });
  }

  #calendar(spec: QuotaLimit, path: string): CalendarWindows | undefined {
    const name = spec.timeZone ?? "UTC";
    if (spec.calendarUnit === undefined) {
      this.#issues.push({ path: `${path}.calendarUnit`, problem: "a calendar window names the unit that it starts anew with" });
      return undefined;
    }
    try {
      let zone = this.#options.zones.get(name);
      if (zone === undefined) {
        zone = new TimeZone(name);
        this.#options.zones.set(name, zone);
      }
      return new CalendarWindows(spec.calendarUnit, zone);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#issues.push({
        path: `${path}.timeZone`,
        problem: `"${name}" is no time zone known here; use an IANA name such as Europe/Zurich`,
      });
      return undefined;
    }
  }
}

function cut(spec: QuotaLimit, share: number): QuotaLimit {
  const amount = Math.floor(spec.amount * share);
  return { ...spec, amount, ...(spec.burst === undefined ? {} : { burst: Math.floor(spec.burst * share) }) };
}
