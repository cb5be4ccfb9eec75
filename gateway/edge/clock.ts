/** Time and timers of a Worker. Its clock stands still while code runs, and goes on with every wait. */
import type { Clock } from "../core/index.ts";
import type { ArmTimer } from "./isolate.ts";

let latestMs = 0;

export const workerClock: Clock = {
  /** The platform has only wall-clock time: one that is set back stands still until it has caught up. */
  now: () => {
    latestMs = Math.max(latestMs, Date.now());
    return latestMs;
  },
  unixMs: () => Date.now(),
};

export const armWorkerTimer: ArmTimer = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
