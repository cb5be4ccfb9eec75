/**
 * All deadlines of one thread on one timer.
 *
 * A connection has one deadline at a time and moves it several times per request, almost always to later. So moving it
 * later costs an assignment: the heap keeps the connection under the time it was filed for, and when that time comes a
 * deadline that has moved on is filed again. Only a deadline that moves to earlier touches the heap. The timer is armed
 * for the earliest filed time alone; with nothing filed there is no timer and no wake-up.
 */
import type { Clock } from "../core/index.ts";

/** Something with a deadline. `deadlineMs` belongs to its owner through `Deadlines.set`; `filedMs` and `place` to the heap. */
export interface Timed {
  /** Monotonic milliseconds; `Infinity`: none. */
  deadlineMs: number;
  filedMs: number;
  /** Index in the heap, or -1. */
  place: number;
  expired(nowMs: number): void;
}

/** Arms one timer; calling the answer disarms it. */
export type ArmTimer = (delayMs: number, run: () => void) => () => void;

export class Deadlines {
  readonly #clock: Clock;
  readonly #arm: ArmTimer;
  readonly #heap: Timed[] = [];
  readonly #run = (): void => this.#fire();
  #disarm: (() => void) | undefined;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, arm: ArmTimer) {
    this.#clock = clock;
    this.#arm = arm;
  }

  /** Calls `expired` once `deadlineMs` has passed (never before, at most about a millisecond of timer precision after). */
  set(timed: Timed, deadlineMs: number): void {
    timed.deadlineMs = deadlineMs;
    if (timed.place !== -1) {
      if (deadlineMs < timed.filedMs) this.#moveUp(timed, deadlineMs);
    } else if (deadlineMs !== Number.POSITIVE_INFINITY) {
      this.#file(timed, deadlineMs);
    }
  }

  /** Forgets it at once: for something that is being closed. */
  remove(timed: Timed): void {
    timed.deadlineMs = Number.POSITIVE_INFINITY;
    if (timed.place !== -1) this.#unfile(timed);
  }

  /** How many are filed; for tests and gauges. */
  get size(): number {
    return this.#heap.length;
  }

  /** Disarms the timer for good. */
  close(): void {
    this.#disarm?.();
    this.#disarm = undefined;
    for (const timed of this.#heap) timed.place = -1;
    this.#heap.length = 0;
  }

  #file(timed: Timed, atMs: number): void {
    timed.filedMs = atMs;
    timed.place = this.#heap.length;
    this.#heap.push(timed);
    this.#siftUp(timed);
    this.#rearm();
  }

  #moveUp(timed: Timed, atMs: number): void {
    timed.filedMs = atMs;
    this.#siftUp(timed);
    this.#rearm();
  }

  #fire(): void {
    this.#disarm = undefined;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (let first = this.#heap[0]; first !== undefined && first.filedMs <= now; first = this.#heap[0]) {
      if (first.deadlineMs <= now) {
        first.deadlineMs = Number.POSITIVE_INFINITY;
        this.#unfile(first);
        first.expired(now);
      } else if (first.deadlineMs === Number.POSITIVE_INFINITY) {
        this.#unfile(first);
      } else {
        first.filedMs = first.deadlineMs;
        this.#siftDown(first);
      }
    }
    this.#rearm();
  }

  #rearm(): void {
    const first = this.#heap[0];
    if (first === undefined || first.filedMs >= this.#armedForMs) return;
    this.#disarm?.();
    this.#armedForMs = first.filedMs;
    // Timers have whole milliseconds; rounding up keeps "never before".
    this.#disarm = this.#arm(Math.max(0, Math.ceil(first.filedMs - this.#clock.now())), this.#run);
  }

  #unfile(timed: Timed): void {
    const heap = this.#heap;
    const place = timed.place;
    const last = heap.pop();
    timed.place = -1;
    if (last === undefined || last === timed) return;
    heap[place] = last;
    last.place = place;
    this.#siftUp(last);
    this.#siftDown(last);
  }

  #siftUp(timed: Timed): void {
    const heap = this.#heap;
    let place = timed.place;
    while (place > 0) {
      const up = (place - 1) >> 1;
      const parent = heap[up];
      if (parent === undefined || parent.filedMs <= timed.filedMs) break;
      heap[place] = parent;
      parent.place = place;
      place = up;
    }
    heap[place] = timed;
    timed.place = place;
  }

  #siftDown(timed: Timed): void {
    const heap = this.#heap;
    let place = timed.place;
    for (;;) {
      const left = heap[2 * place + 1];
      if (left === undefined) break;
      const right = heap[2 * place + 2];
      const child = right !== undefined && right.filedMs < left.filedMs ? right : left;
      if (child.filedMs >= timed.filedMs) break;
      const down = child.place;
      heap[place] = child;
      child.place = place;
      place = down;
    }
    heap[place] = timed;
    timed.place = place;
  }
}
