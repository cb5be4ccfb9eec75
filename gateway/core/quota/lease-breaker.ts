/**
 * Whether a bank is worth asking.
 *
 *     closed ──several failures in a row──► open ──after a pause──► probing ──answered──► closed
 *                                            ▲                         └──failed──► open, twice as long
 */

/** Calls that fail in a row before nobody asks any more. */
const FAILURES = 5;
const FIRST_PAUSE_US = 500_000;
const LONGEST_PAUSE_US = 16_000_000;

export type BreakerState =
  | { readonly kind: "closed"; readonly failures: number }
  | { readonly kind: "open"; readonly untilUs: number; readonly pauseUs: number }
  | { readonly kind: "probing"; readonly untilUs: number; readonly pauseUs: number };

export class LeaseBreaker {
  #state: BreakerState = { kind: "closed", failures: 0 };

  get state(): BreakerState["kind"] {
    return this.#state.kind;
  }

  /** May a call be made now? The one that may after a pause is the probe; one that does not come back is given up after another pause. */
  admits(nowUs: number): boolean {
    const state = this.#state;
    if (state.kind === "closed") return true;
    if (nowUs < state.untilUs) return false;
    this.#state = { kind: "probing", untilUs: nowUs + state.pauseUs, pauseUs: state.pauseUs };
    return true;
  }

  succeeded(): void {
    this.#state = { kind: "closed", failures: 0 };
  }

  failed(nowUs: number): void {
    const state = this.#state;
    if (state.kind === "open") return;
    if (state.kind === "closed" && state.failures + 1 < FAILURES) {
      this.#state = { kind: "closed", failures: state.failures + 1 };
      return;
    }
    const pauseUs = state.kind === "closed" ? FIRST_PAUSE_US : Math.min(LONGEST_PAUSE_US, 2 * state.pauseUs);
    this.#state = { kind: "open", untilUs: nowUs + pauseUs, pauseUs };
  }
}
