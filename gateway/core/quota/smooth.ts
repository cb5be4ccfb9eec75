/**
 * Smooth limits: GCRA (ITU-T I.371), a token bucket kept as one point in time. The bucket holds `burst` units and refills
 * evenly at amount per window, so at most burst + rate * span is admitted in any span.
 *
 * State: [theoretical arrival time in µs, its rest in gapDen-ths of a µs, gap numerator, gap denominator].
 * Whole numbers throughout: a rate that does not divide a microsecond neither drifts nor gains.
 */
import { type CompiledLimit, restOf, wholeUs } from "./limit.ts";

const TAT = 0;
const REST = 1;
const NUM = 2;
const DEN = 3;

export const SMOOTH_STATE = 4;

/** Brings the arrival time up to now, and to this limit's rate if another one wrote it: what was used stays used. */
function advance(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): void {
  const oldDen = s[o + DEN] as number;
  if (oldDen !== limit.gapDen || s[o + NUM] !== limit.gapNum) {
    const aheadUs = (s[o + TAT] as number) - nowUs + (oldDen === 0 ? 0 : (s[o + REST] as number) / oldDen);
    const usedUnits = oldDen === 0 || aheadUs <= 0 ? 0 : (aheadUs * oldDen) / (s[o + NUM] as number);
    s[o + TAT] = nowUs + Math.ceil((usedUnits * limit.gapNum) / limit.gapDen);
    s[o + REST] = 0;
    s[o + NUM] = limit.gapNum;
    s[o + DEN] = limit.gapDen;
  }
  if ((s[o + TAT] as number) < nowUs) {
    s[o + TAT] = nowUs;
    s[o + REST] = 0;
  }
}

/** µs beyond a full bucket's worth that the arrival time would stand at after `cost` more; 0 or less: it fits. Rounded up. */
function excessUs(limit: CompiledLimit, s: Float64Array, o: number, cost: number, nowUs: number): number {
  const whole = (s[o + TAT] as number) - nowUs + wholeUs(limit, cost) - limit.burstWholeUs;
  const rest = (s[o + REST] as number) + restOf(limit, cost) - limit.burstRest;
  return whole + Math.ceil(rest / limit.gapDen);
}

/** Units left at `nowUs`; negative after a burst was lowered or more was settled than was left. */
export function smoothRoom(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): number {
  advance(limit, s, o, nowUs);
  if (limit.capacity <= 0) return 0;
  const leftUs = limit.burstWholeUs - (s[o + TAT] as number) + nowUs + (limit.burstRest - (s[o + REST] as number)) / limit.gapDen;
  let units = Math.floor((leftUs * limit.gapDen) / limit.gapNum);
  // The quotient is rounded: it may be one off.
  if (units > 0 && excessUs(limit, s, o, units, nowUs) > 0) units--;
  else if (units >= 0 && units < limit.capacity && excessUs(limit, s, o, units + 1, nowUs) <= 0) units++;
  return units;
}

/** Moves the arrival time on by `cost` units, allowed or not. After `smoothRoom` at the same time. */
export function smoothTake(limit: CompiledLimit, s: Float64Array, o: number, cost: number): void {
  const rest = (s[o + REST] as number) + restOf(limit, cost);
  const carry = Math.floor(rest / limit.gapDen);
  s[o + TAT] = (s[o + TAT] as number) + wholeUs(limit, cost) + carry;
  s[o + REST] = rest - carry * limit.gapDen;
}

/**
 * Gives back units that were taken at `takenUs`, less what has flowed in since: had they not been taken, the bucket might have been full meanwhile,
 * and a full bucket gains nothing.
 */
export function smoothGiveBack(
  limit: CompiledLimit,
  s: Float64Array,
  o: number,
  cost: number,
  takenUs: number,
  nowUs: number,
): void {
  const elapsedUs = Math.max(0, nowUs - takenUs);
  const backUs = wholeUs(limit, cost) - elapsedUs;
  if (backUs <= 0) return;
  const rest = (s[o + REST] as number) - restOf(limit, cost);
  const borrow = rest < 0 ? 1 : 0;
  s[o + TAT] = (s[o + TAT] as number) - backUs - borrow;
  s[o + REST] = rest + borrow * limit.gapDen;
}

/** Microseconds until `cost` fits, if nobody else takes anything. */
export function smoothWaitUs(limit: CompiledLimit, s: Float64Array, o: number, cost: number, nowUs: number): number {
  return Math.max(0, excessUs(limit, s, o, cost, nowUs));
}

/** Microseconds until one more unit than now is there; 0: the bucket is full. */
export function smoothMoreUs(limit: CompiledLimit, s: Float64Array, o: number, room: number, nowUs: number): number {
  return room >= limit.capacity ? 0 : Math.max(0, excessUs(limit, s, o, Math.max(0, room) + 1, nowUs));
}

export function smoothIdleUs(s: Float64Array, o: number): number {
  return (s[o + TAT] as number) + 1;
}
