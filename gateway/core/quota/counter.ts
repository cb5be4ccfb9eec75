/**
 * The arithmetic of every kind of limit behind one set of verbs, over a stretch of a Float64Array: plain memory in one
 * thread, shared memory under a lock between threads. Whole numbers only (exact up to 2^53), no allocation.
 *
 * A change of limit over a snapshot keeps what can be kept, never admitting more for it: another amount or burst keeps the
 * count; another rate keeps the used units (smooth); another window keeps every count until it leaves the new window (rolling) or
 * carries it into the new calendar window while the old one runs. Another kind or unit is another counter.
 */
import { CALENDAR_STATE, calendarEndUs, calendarGiveBack, calendarIdleUnixMs, calendarRoom, calendarTake } from "./calendar.ts";
import { CONCURRENT_STATE, concurrentGiveBack, concurrentIdle, concurrentRoom, concurrentTake } from "./concurrent.ts";
import type { CompiledLimit, LimitKind } from "./limit.ts";
import {
  ROLLING_STATE,
  rollingGiveBack,
  rollingIdleUs,
  rollingMoreUs,
  rollingRoom,
  rollingTake,
  rollingWaitUs,
} from "./rolling.ts";
import { SMOOTH_STATE, smoothGiveBack, smoothIdleUs, smoothMoreUs, smoothRoom, smoothTake, smoothWaitUs } from "./smooth.ts";

/** How many numbers a counter of each kind takes. All zero: as good as new. */
export const STATE_SIZE: { readonly [kind in LimitKind]: number } = {
  rolling: ROLLING_STATE,
  smooth: SMOOTH_STATE,
  calendar: CALENDAR_STATE,
  concurrent: CONCURRENT_STATE,
};

/** When, and for which thread. `us` is monotonic whole microseconds on a clock that all users of a bank share. */
export interface Moment {
  us: number;
  /** Wall clock; read for calendar windows only. */
  unixMs: number;
  readonly lane: number;
}

/** Units left now, after letting go what no longer counts; may be negative. Call it before the other verbs, at the same moment. */
export function room(limit: CompiledLimit, s: Float64Array, o: number, at: Moment): number {
  switch (limit.kind) {
    case "rolling":
      return rollingRoom(limit, s, o, at.us);
    case "smooth":
      return smoothRoom(limit, s, o, at.us);
    case "calendar":
      return calendarRoom(limit, s, o, at.unixMs);
    case "concurrent":
      return concurrentRoom(limit, s, o);
  }
}

/** Counts `cost` (0 or more), whether there is room or not. */
export function take(limit: CompiledLimit, s: Float64Array, o: number, cost: number, at: Moment): void {
  switch (limit.kind) {
    case "rolling":
      rollingTake(s, o, cost);
      break;
    case "smooth":
      smoothTake(limit, s, o, cost);
      break;
    case "calendar":
      calendarTake(s, o, cost);
      break;
    case "concurrent":
      concurrentTake(s, o, cost, at.lane);
      break;
  }
}

/** Gives back `cost` (0 or more) that was taken at `takenUs`. */
export function giveBack(limit: CompiledLimit, s: Float64Array, o: number, cost: number, takenUs: number, at: Moment): void {
  switch (limit.kind) {
    case "rolling":
      rollingGiveBack(limit, s, o, cost, takenUs);
      break;
    case "smooth":
      smoothGiveBack(limit, s, o, cost, takenUs, at.us);
      break;
    case "calendar":
      calendarGiveBack(s, o, cost, at.unixMs - Math.max(0, at.us - takenUs) / 1000);
      break;
    case "concurrent":
      concurrentGiveBack(s, o, cost, at.lane);
      break;
  }
}

/**
 * Microseconds until `cost` fits if nobody else takes anything: Infinity when it never will, 0 when it does now.
 * What is in flight ends when it ends: `concurrent` says 0 then, too.
 */
export function waitUs(limit: CompiledLimit, s: Float64Array, o: number, cost: number, at: Moment): number {
  if (cost > limit.capacity) return Number.POSITIVE_INFINITY;
  switch (limit.kind) {
    case "rolling":
      return rollingWaitUs(limit, s, o, cost, at.us);
    case "smooth":
      return smoothWaitUs(limit, s, o, cost, at.us);
    case "calendar":
      return calendarEndUs(s, o, at.unixMs);
    case "concurrent":
      return 0;
  }
}

/** Microseconds until more than now is left; 0 when nothing is used, and for `concurrent`. `left` is what `room` said. */
export function moreUs(limit: CompiledLimit, s: Float64Array, o: number, left: number, at: Moment): number {
  switch (limit.kind) {
    case "rolling":
      return rollingMoreUs(limit, s, o, at.us);
    case "smooth":
      return smoothMoreUs(limit, s, o, left, at.us);
    case "calendar":
      return left >= limit.amount ? 0 : calendarEndUs(s, o, at.unixMs);
    case "concurrent":
      return 0;
  }
}

/**
 * When the counter will be as good as new and may be forgotten: monotonic µs if 0 or more, minus Unix ms if negative
 * (calendar windows end by the wall clock), Infinity while something is in flight.
 */
export function idleAt(kind: LimitKind, s: Float64Array, o: number): number {
  switch (kind) {
    case "rolling":
      return rollingIdleUs(s, o);
    case "smooth":
      return smoothIdleUs(s, o);
    case "calendar":
      return -calendarIdleUnixMs(s, o);
    case "concurrent":
      return concurrentIdle(s, o) ? 0 : Number.POSITIVE_INFINITY;
  }
}

/** Has a counter's `idleAt` come? */
export function isIdle(idle: number, at: Moment): boolean {
  return idle < 0 ? -idle <= at.unixMs : idle <= at.us;
}
