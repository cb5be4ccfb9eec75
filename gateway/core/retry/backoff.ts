import type { Random } from "../ports.ts";

/**
 * How long to wait before a retry: anything between nothing and a bound that doubles from `baseMs` up to `maxMs`.
 * Full jitter: clients that failed together do not come back together.
 *
 * @param retry 1 for the first
 */
export function backoffMs(retry: number, baseMs: number, maxMs: number, random: Random): number {
  return random() * Math.min(maxMs, baseMs * 2 ** (retry - 1));
}
