/**
 * Requests whose clients nobody watches. A word when a client has left costs the runtime more than all that core does for a request, so it is asked for
 * where somebody needs to know at once. For the others all that is at stake is that they are counted in flight, and those counts heal: a request that
 * has waited for its answer for long is presumed gone.
 *
 * What is kept here outlives requests, so it is core's exchanges only: nothing of the runtime's.
 */
import type { Exchange } from "../core/index.ts";

/** A request that has waited longer may have no client any more. */
export const PRESUMED_GONE_MS = 60_000;
/** At a time, so that clients that come only to leave cannot fill memory or move the counts by more: one more is watched. */
export const MAX_UNWATCHED = 256;

/** A request in the list, oldest first. */
export interface Unwatched {
  readonly exchange: Exchange;
  readonly sinceMs: number;
  older: Unwatched | undefined;
  newer: Unwatched | undefined;
  isListed: boolean;
}

export class UnwatchedRequests {
  #oldest: Unwatched | undefined;
  #newest: Unwatched | undefined;
  #size = 0;
  #presumedGone = 0;

  get size(): number {
    return this.#size;
  }

  /** So far. */
  get presumedGone(): number {
    return this.#presumedGone;
  }

  /** @param nowMs monotonic @returns undefined: there are too many */
  add(exchange: Exchange, nowMs: number): Unwatched | undefined {
    this.#presume(nowMs);
    if (this.#size >= MAX_UNWATCHED) return undefined;
    const added: Unwatched = { exchange, sinceMs: nowMs, older: this.#newest, newer: undefined, isListed: true };
    if (this.#newest === undefined) this.#oldest = added;
    else this.#newest.newer = added;
    this.#newest = added;
    this.#size++;
    return added;
  }

  /** It has its answer, or is watched from now on. */
  remove(one: Unwatched): void {
    if (!one.isListed) return;
    const { older, newer } = one;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    one.isListed = false;
    one.older = undefined;
    one.newer = undefined;
    this.#size--;
  }

  /** Whatever is left lets go of the tables that it was held against: others are in force. */
  presumeAll(): void {
    this.#presume(Number.POSITIVE_INFINITY);
  }

  #presume(nowMs: number): void {
    for (let one = this.#oldest; one !== undefined && nowMs - one.sinceMs >= PRESUMED_GONE_MS; one = this.#oldest) {
      this.remove(one);
      this.#presumedGone++;
      one.exchange.presumeGone?.();
    }
  }
}
