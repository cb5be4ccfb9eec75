/** Time and timers of a Worker. Its clock stands still while code runs, and goes on with every wait. */
import type { Clock } from "../core/index.ts";
import type { ArmTimer } from "./isolate.ts";

/** Most readings that one look at the platform's clock serves: should the end of a turn be missed, time goes on all the same. */
const MAX_READINGS = 16;

let latestMs = 0;
let readingsLeft = 0;

export const workerClock: Clock = {
  /**
   * The platform has only wall-clock time: one that is set back stands still until it has caught up. Looked at once for all that runs without a wait, which
   * on Cloudflare it would be the same for in any case: each look is a call out of the engine.
   */
  now: () => {
    if (readingsLeft > 0) readingsLeft--;
    else {
      latestMs = Math.max(latestMs, Date.now());
      readingsLeft = MAX_READINGS - 1;
      void Promise.resolve().then(endTurn);
    }
    return latestMs;
  },
  unixMs: () => Date.now(),
};

function endTurn(): void {
  readingsLeft = 0;
}

export const armWorkerTimer: ArmTimer = (delayMs, run) => {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
};
