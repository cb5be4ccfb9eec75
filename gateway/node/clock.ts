/** Time and timers of this process. */
// The global of this name is looked up anew at each use, which costs three readings.
import { performance } from "node:perf_hooks";
import type { Clock } from "../core/index.ts";
import type { ArmTimer } from "./deadlines.ts";

/**
 * The process's time, read once for all that comes of one read from a socket: a request asks for it a dozen times within microseconds, and each
 * reading costs as much as matching its host.
 *
 * Outside of `during` every question is a reading.
 */
class SystemClock implements Clock {
  #isHeld = false;
  #nowMs = UNREAD;
  #unixMs = UNREAD;

  now(): number {
    if (this.#nowMs !== UNREAD) return this.#nowMs;
    const ms = performance.now();
    if (this.#isHeld) this.#nowMs = ms;
    return ms;
  }

  unixMs(): number {
    if (this.#unixMs !== UNREAD) return this.#unixMs;
    const ms = Date.now();
    if (this.#isHeld) this.#unixMs = ms;
    return ms;
  }

  /** Time stands still while `read` handles its bytes, which takes no longer than the turn of the event loop that it is part of. */
  during(read: (bytes: Uint8Array) => void, bytes: Uint8Array): void {
    this.#isHeld = true;
    try {
      read(bytes);
    } finally {
      this.#isHeld = false;
      this.#nowMs = UNREAD;
      this.#unixMs = UNREAD;
    }
  }
}

const UNREAD = -1;

/** One per thread. */
export const systemClock = new SystemClock();

/**
 * One timer of the event loop. It holds the process open as the sockets do that it watches. When it is due, what has come by then is read first: timers
 * come before sockets in a turn of the loop, and after a stall of the process nobody is cut off who was in time.
 */
export const armSystemTimer: ArmTimer = (delayMs, run) => {
  let due: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    due = setImmediate(run);
  }, delayMs);
  return () => {
    clearTimeout(timer);
    clearImmediate(due);
  };
};
