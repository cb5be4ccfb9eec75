/** Time and timers of this process. */
import type { Clock } from "../core/index.ts";
import type { ArmTimer } from "./deadlines.ts";

export const systemClock: Clock = {
  now: () => performance.now(),
  unixMs: () => Date.now(),
};

/** One timer of the event loop. It holds the process open as the sockets do that it watches. */
export const armSystemTimer: ArmTimer = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
