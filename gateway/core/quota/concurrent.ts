/**
 * What is in flight at once. Kept per lane (one lane per thread), so that what a thread had in flight when it died can be
 * given back for it.
 *
 * State: [total, unused, unused, in flight by lane].
 */
import type { CompiledLimit } from "./limit.ts";

const TOTAL = 0;
const LANES = 3;

/** Threads that can share one counter. */
export const MAX_LANES = 61;
export const CONCURRENT_STATE = LANES + MAX_LANES;

export function concurrentRoom(limit: CompiledLimit, s: Float64Array, o: number): number {
  return limit.amount - (s[o + TOTAL] as number);
}

export function concurrentTake(s: Float64Array, o: number, cost: number, lane: number): void {
  s[o + LANES + lane] = (s[o + LANES + lane] as number) + cost;
  s[o + TOTAL] = (s[o + TOTAL] as number) + cost;
}

/** Never gives back more than the lane has in flight. */
export function concurrentGiveBack(s: Float64Array, o: number, cost: number, lane: number): void {
  const part = Math.min(cost, s[o + LANES + lane] as number);
  s[o + LANES + lane] = (s[o + LANES + lane] as number) - part;
  s[o + TOTAL] = (s[o + TOTAL] as number) - part;
}

/** Nothing of a dead thread is in flight; the total is worked out anew from the living. */
export function concurrentForget(s: Float64Array, o: number, lane: number): void {
  s[o + LANES + lane] = 0;
  let total = 0;
  for (let at = o + LANES; at < o + LANES + MAX_LANES; at++) total += s[at] as number;
  s[o + TOTAL] = total;
}

export function concurrentIdle(s: Float64Array, o: number): boolean {
  return s[o + TOTAL] === 0;
}
