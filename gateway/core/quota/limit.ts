/** One limit of one quota, ready to be counted against: every number that arithmetic needs is worked out once per snapshot. */
import type { LeaseTerms, QuotaAccuracy, QuotaLimit } from "../ir/index.ts";
import { leaseTerms } from "../ir/index.ts";
import type { CalendarWindows } from "./calendar-window.ts";

export type LimitKind = "rolling" | "smooth" | "calendar" | "concurrent";
export type QuotaUnit = "requests" | "bytes" | "concurrent";

/** Largest amount or burst: counts stay exact in a double with room to spare. */
export const MAX_AMOUNT = 2 ** 48;

/** A rolling window is counted in this many sub-buckets; one more is kept, because the oldest counts whole. */
export const SUB_BUCKETS = 60;
export const RING_SIZE = SUB_BUCKETS + 1;

/** All that a bank elsewhere has to know of a limit, as plain data. */
export interface LeasedLimit {
  readonly rule: string;
  readonly unit: QuotaUnit;
  readonly limit: QuotaLimit;
  /** Undefined: strict. */
  readonly accuracy: QuotaAccuracy | undefined;
}

/** What a limit of scope `global` is more than others: kept in a bank elsewhere and spent out of leases. */
export interface Leasing extends LeaseTerms {
  readonly source: LeasedLimit;
}

/**
 * Amounts, windows and kind of one limit. `counterId` names its counters: the same over snapshots as long as quota, limit
 * name, unit and kind stay, so that counts outlive a change of amount or window.
 */
export class CompiledLimit {
  readonly counterId: string;
  /** `<namespace>/<quota>#<limit>`: what logs, headers and refusals call it. */
  readonly rule: string;
  readonly kind: LimitKind;
  readonly unit: QuotaUnit;
  /** Units per window; slots for `concurrent`. */
  readonly amount: number;
  /** The most that one request may cost: `burst` for smooth (less what leases carry over), `amount` otherwise. */
  readonly capacity: number;
  readonly windowMs: number;
  /** Rolling: width of a sub-bucket, whole microseconds, rounded up so that 60 of them cover the window. */
  readonly widthUs: number;
  /** Smooth: one unit takes `gapNum / gapDen` µs to come back (lowest terms); split into whole and rest (over gapDen). */
  readonly gapNum: number;
  readonly gapDen: number;
  readonly gapWhole: number;
  readonly gapRest: number;
  /** Smooth: the whole bucket in time, `burstWholeUs + burstRest / gapDen` µs. */
  readonly burstWholeUs: number;
  readonly burstRest: number;
  /** Clients are told when more comes back, so it has to be worked out for every answer. */
  readonly isTold: boolean;
  /** Calendar only. */
  readonly calendar: CalendarWindows | undefined;
  /** Small number that differs between calendars (zone and unit), kept with a counter to notice a change. */
  readonly calendarTag: number;
  /** Undefined: counted here. */
  readonly leasing: Leasing | undefined;

  constructor(
    rule: string,
    unit: QuotaUnit,
    spec: QuotaLimit,
    calendar: CalendarWindows | undefined,
    isTold = true,
    leasing?: Leasing,
  ) {
    const amount = spec.amount;
    const kind = unit === "concurrent" ? "concurrent" : spec.window;
    const windowUs = Math.max(1, Math.round(spec.perMs * 1000));
    this.counterId = `${rule}|${unit}|${kind}`;
    this.rule = rule;
    this.kind = kind;
    this.unit = unit;
    this.amount = amount;
    this.windowMs = spec.perMs;
    this.widthUs = Math.ceil(windowUs / SUB_BUCKETS);
    const divisor = gcd(windowUs, Math.max(1, amount));
    this.gapNum = windowUs / divisor;
    this.gapDen = Math.max(1, amount) / divisor;
    this.gapWhole = Math.floor(this.gapNum / this.gapDen);
    this.gapRest = this.gapNum % this.gapDen;
    // A limit of nothing admits nothing, whatever its burst says.
    this.capacity = leasing?.capacity ?? (kind === "smooth" && amount > 0 ? (spec.burst ?? amount) : amount);
    this.burstWholeUs = wholeUs(this, this.capacity);
    this.burstRest = restOf(this, this.capacity);
    this.isTold = isTold;
    this.calendar = calendar;
    this.calendarTag = calendar?.tag ?? 0;
    this.leasing = leasing;
  }
}

/** @param isTold clients are told when more comes back */
export function compileLeasedLimit(source: LeasedLimit, calendar: CalendarWindows | undefined, isTold: boolean): CompiledLimit {
  const leasing = { ...leaseTerms(source.limit, source.accuracy), source };
  return new CompiledLimit(source.rule, source.unit, source.limit, calendar, isTold, leasing);
}

type Gap = Pick<CompiledLimit, "gapNum" | "gapDen" | "gapWhole" | "gapRest">;

/** Whole microseconds of `units * gap`. */
export function wholeUs(gap: Gap, units: number): number {
  const rest = units * gap.gapRest;
  if (rest <= Number.MAX_SAFE_INTEGER) return units * gap.gapWhole + Math.floor(rest / gap.gapDen);
  return Number((BigInt(units) * BigInt(gap.gapNum)) / BigInt(gap.gapDen));
}

/** What `units * gap` has beyond whole microseconds, in gapDen-ths. */
export function restOf(gap: Gap, units: number): number {
  const rest = units * gap.gapRest;
  if (rest <= Number.MAX_SAFE_INTEGER) return rest % gap.gapDen;
  return Number((BigInt(units) * BigInt(gap.gapNum)) % BigInt(gap.gapDen));
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
