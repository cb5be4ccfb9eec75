/**
 * Calendar windows: one counter that starts anew with the minute, hour, day, week, month or year of a time zone.
 *
 * State: [start of the window counted in (Unix ms), its end, count, calendar tag].
 * Wall clocks step: a step back over one boundary goes on counting in the later window, so no window is handed out twice;
 * a counter further ahead than that comes from a clock that was wrong, and starts anew.
 */
import type { CompiledLimit } from "./limit.ts";

const START = 0;
const END = 1;
const COUNT = 2;
const TAG = 3;

export const CALENDAR_STATE = 4;

function advance(limit: CompiledLimit, s: Float64Array, o: number, unixMs: number): void {
  const calendar = limit.calendar;
  if (calendar === undefined) return;
  calendar.seek(unixMs);
  const start = s[o + START] as number;
  if (s[o + TAG] === limit.calendarTag) {
    if (start === calendar.startMs || start === calendar.endMs) return;
    s[o + COUNT] = 0;
  } else if ((s[o + END] as number) <= unixMs) {
    s[o + COUNT] = 0;
  }
  // Another calendar than before: what was used in a window that still runs counts in the new one.
  s[o + TAG] = limit.calendarTag;
  s[o + START] = calendar.startMs;
  s[o + END] = calendar.endMs;
}

/** Units left; negative after a limit was lowered or more was settled than was left. */
export function calendarRoom(limit: CompiledLimit, s: Float64Array, o: number, unixMs: number): number {
  advance(limit, s, o, unixMs);
  return limit.amount - (s[o + COUNT] as number);
}

/** Counts `cost`, allowed or not. After `calendarRoom` at the same time. */
export function calendarTake(s: Float64Array, o: number, cost: number): void {
  s[o + COUNT] = (s[o + COUNT] as number) + cost;
}

/** Gives back what was taken at `takenUnixMs`, unless that was in an earlier window. */
export function calendarGiveBack(s: Float64Array, o: number, cost: number, takenUnixMs: number): void {
  if (takenUnixMs < (s[o + START] as number)) return;
  s[o + COUNT] = Math.max(0, (s[o + COUNT] as number) - cost);
}

/** Microseconds until the window that is counted in ends. */
export function calendarEndUs(s: Float64Array, o: number, unixMs: number): number {
  return Math.max(0, ((s[o + END] as number) - unixMs) * 1000);
}

/** Wall-clock end of the window counted in, Unix ms: when the counter is as good as new. */
export function calendarIdleUnixMs(s: Float64Array, o: number): number {
  return s[o + END] as number;
}
