/** How often a peer may do what costs us more than it: so much at once, and what comes back with time or is earned. */
import type { Http2Rate } from "./limits.ts";

export class Allowance {
  readonly #rate: Http2Rate;
  #left: number;
  #atMs: number | undefined;

  constructor(rate: Http2Rate) {
    this.#rate = rate;
    this.#left = rate.burst;
  }

  /** @returns false when it is used up */
  spend(nowMs: number): boolean {
    if (this.#left < 1) this.#refill(nowMs);
    else if (this.#atMs === undefined) this.#atMs = nowMs;
    this.#left--;
    return this.#left >= 0;
  }

  earn(amount: number): void {
    this.#left = Math.min(this.#rate.burst, this.#left + amount);
  }

  #refill(nowMs: number): void {
    const sinceMs = nowMs - (this.#atMs ?? nowMs);
    this.#left = Math.min(this.#rate.burst, this.#left + (sinceMs / 1000) * this.#rate.perSecond);
    this.#atMs = nowMs;
  }
}
