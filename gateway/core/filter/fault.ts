import type { Fault } from "../ir/index.ts";
import type { Random } from "../ports.ts";

/** Milliseconds by which this request is held back; 0: not at all. */
export function faultDelayMs(fault: Fault | undefined, random: Random): number {
  const delay = fault?.delay;
  return delay !== undefined && random() * 100 < delay.percent ? delay.ms : 0;
}

/** With what this request is aborted, or undefined. Thrown apart from the delay: both may meet the same request. */
export function faultAbort(fault: Fault | undefined, random: Random): Fault["abort"] {
  const abort = fault?.abort;
  return abort !== undefined && random() * 100 < abort.percent ? abort : undefined;
}
