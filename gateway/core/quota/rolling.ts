/**
 * Rolling windows, strict: never more than the limit in any span of the window's length.
 *
 * Time is cut into sub-buckets of a sixtieth of the window. What was taken counts until its whole sub-bucket has left the
 * window, so the oldest one counts whole and quota comes back at most a sixtieth of the window late, never early.
 *
 * State: [newest sub-bucket, total, sub-bucket width in µs, 61 counts as a ring].
 * A clock that stands still or runs back stays in the newest sub-bucket.
 */
import { type CompiledLimit, RING_SIZE, SUB_BUCKETS } from "./limit.ts";

const NEWEST = 0;
const TOTAL = 1;
const WIDTH = 2;
const COUNTS = 3;

export const ROLLING_STATE = COUNTS + RING_SIZE;

/** The next place in the ring: a remainder of doubles is slow, so loops take it once. */
function after(place: number): number {
  return place + 1 === RING_SIZE ? 0 : place + 1;
}

/** Lets sub-buckets go that have wholly left the window. Afterwards `TOTAL` is what counts at `nowUs`. */
function advance(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): void {
  if (s[o + WIDTH] !== limit.widthUs) changeWidth(limit, s, o, nowUs);
  const newest = s[o + NEWEST] as number;
  const current = Math.floor(nowUs / limit.widthUs);
  if (current <= newest) return;
  if (current - newest >= RING_SIZE) {
    s.fill(0, o + COUNTS, o + COUNTS + RING_SIZE);
    s[o + TOTAL] = 0;
  } else {
    let total = s[o + TOTAL] as number;
    let place = newest % RING_SIZE;
    for (let steps = current - newest; steps > 0; steps--) {
      place = after(place);
      total -= s[o + COUNTS + place] as number;
      s[o + COUNTS + place] = 0;
    }
    s[o + TOTAL] = total;
  }
  s[o + NEWEST] = current;
}

/**
 * A window of another length: every count moves to the new sub-bucket that holds the end of its old one (or now, if that is
 * sooner), so that nothing that still counts is forgotten early. What the old window had let go stays gone.
 */
function changeWidth(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): void {
  const oldWidth = s[o + WIDTH] as number;
  if (oldWidth === 0) {
    s[o + NEWEST] = Math.floor(nowUs / limit.widthUs);
    s[o + WIDTH] = limit.widthUs;
    return;
  }
  const oldNewest = s[o + NEWEST] as number;
  const current = Math.max(Math.floor(nowUs / limit.widthUs), Math.floor((oldNewest * oldWidth) / limit.widthUs));
  const counts = new Float64Array(RING_SIZE);
  let total = 0;
  for (let bucket = Math.max(0, oldNewest - RING_SIZE + 1); bucket <= oldNewest; bucket++) {
    const count = s[o + COUNTS + (bucket % RING_SIZE)] as number;
    const moved = Math.min(Math.floor(((bucket + 1) * oldWidth - 1) / limit.widthUs), current);
    if (count === 0 || moved <= current - RING_SIZE) continue;
    counts[moved % RING_SIZE] = (counts[moved % RING_SIZE] as number) + count;
    total += count;
  }
  // Written in one go: a thread that dies before leaves the old state whole.
  s.set(counts, o + COUNTS);
  s[o + NEWEST] = current;
  s[o + WIDTH] = limit.widthUs;
  s[o + TOTAL] = total;
}

/** Units left at `nowUs`; negative after a limit was lowered or more was settled than was left. */
export function rollingRoom(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): number {
  advance(limit, s, o, nowUs);
  return limit.amount - (s[o + TOTAL] as number);
}

/** Counts `cost` in the newest sub-bucket, allowed or not. After `rollingRoom` at the same time. */
export function rollingTake(s: Float64Array, o: number, cost: number): void {
  const at = o + COUNTS + ((s[o + NEWEST] as number) % RING_SIZE);
  s[at] = (s[at] as number) + cost;
  s[o + TOTAL] = (s[o + TOTAL] as number) + cost;
}

/** Counts `cost` as if taken at `us`, before now or a little after it: nothing of it if that has left the window. After `rollingRoom`. */
export function rollingTakeAt(limit: CompiledLimit, s: Float64Array, o: number, cost: number, us: number): void {
  const bucket = Math.floor(us / limit.widthUs);
  if (bucket > (s[o + NEWEST] as number)) advance(limit, s, o, us);
  const newest = s[o + NEWEST] as number;
  if (bucket <= newest - RING_SIZE) return;
  const at = o + COUNTS + (bucket % RING_SIZE);
  s[at] = (s[at] as number) + cost;
  s[o + TOTAL] = (s[o + TOTAL] as number) + cost;
}

/**
 * Gives back `cost` that was taken at `takenUs`, from the oldest sub-buckets first and never from one younger than the
 * taking: room may come back late that way, never twice. What has left the window already gives nothing back.
 */
export function rollingGiveBack(limit: CompiledLimit, s: Float64Array, o: number, cost: number, takenUs: number): void {
  const newest = s[o + NEWEST] as number;
  const last = Math.min(newest, Math.floor(takenUs / limit.widthUs));
  let left = cost;
  for (let bucket = Math.max(0, newest - RING_SIZE + 1); bucket <= last && left > 0; bucket++) {
    const at = o + COUNTS + (bucket % RING_SIZE);
    const part = Math.min(left, s[at] as number);
    s[at] = (s[at] as number) - part;
    left -= part;
  }
  s[o + TOTAL] = (s[o + TOTAL] as number) - (cost - left);
}

/** Microseconds until `cost` fits, if nobody else takes anything. */
export function rollingWaitUs(limit: CompiledLimit, s: Float64Array, o: number, cost: number, nowUs: number): number {
  const need = (s[o + TOTAL] as number) + cost - limit.amount;
  return need <= 0 ? 0 : untilFreedUs(limit, s, o, need, nowUs);
}

/** Microseconds until anything at all comes back; 0: nothing is used. */
export function rollingMoreUs(limit: CompiledLimit, s: Float64Array, o: number, nowUs: number): number {
  return (s[o + TOTAL] as number) === 0 ? 0 : untilFreedUs(limit, s, o, 1, nowUs);
}

function untilFreedUs(limit: CompiledLimit, s: Float64Array, o: number, need: number, nowUs: number): number {
  const newest = s[o + NEWEST] as number;
  // The oldest sub-bucket stands right behind the newest in the ring.
  let place = after(newest % RING_SIZE);
  let age = SUB_BUCKETS;
  for (let freed = s[o + COUNTS + place] as number; age > 0 && freed < need; age--) {
    place = after(place);
    freed += s[o + COUNTS + place] as number;
  }
  return (newest - age + RING_SIZE) * limit.widthUs - nowUs;
}

/** When the counter is as good as new: when the youngest sub-bucket that holds anything has left. */
export function rollingIdleUs(s: Float64Array, o: number): number {
  if (s[o + TOTAL] === 0) return 0;
  const newest = s[o + NEWEST] as number;
  let place = newest % RING_SIZE;
  let age = 0;
  for (; age < SUB_BUCKETS && s[o + COUNTS + place] === 0; age++) place = place === 0 ? RING_SIZE - 1 : place - 1;
  return (newest - age + RING_SIZE) * (s[o + WIDTH] as number);
}

/** Works the total out anew from the counts, after a writer died half way. */
export function rollingRepair(s: Float64Array, o: number): void {
  let total = 0;
  for (let at = o + COUNTS; at < o + COUNTS + RING_SIZE; at++) total += s[at] as number;
  s[o + TOTAL] = total;
}
