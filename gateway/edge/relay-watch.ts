/**
 * Isolates that wait for news, and what may be concluded from their coming back: an isolate that was told of a snapshot asks again only when it has put
 * it in force. No I/O and no clock of its own; nothing here outlives the process, and nothing has to.
 */
import { MAX_WATCH_MS } from "./relay-rpc.ts";

/** Isolates that wait at a time. One more is answered at once and goes by its soft age limit. */
export const MAX_WATCHERS = 1_000;
/** Every isolate in use has asked by then: soft age limit of what isolates hold (2 s) and 1 s for asking. */
export const ENFORCED_WITHIN_MS = 3_000;
/** An isolate that has not asked for so long holds nothing that it would use without asking. */
export const ISOLATE_MEMORY_MS = 60_000;

/** How a snapshot came into force. */
export interface Enforced {
  /** Isolates that waited when it came. */
  readonly watchers: number;
  /** Those of them that have come back with it. */
  readonly returned: number;
}

/** Runs something after `ms`, unless what it returns is called before. */
export type After = (ms: number, run: () => void) => () => void;

export class RelayWatch {
  readonly #after: After;
  readonly #waiting = new Set<() => void>();

  constructor(after: After) {
    this.#after = after;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves with the next news, when the time (at most `MAX_WATCH_MS`) is over, or at once when too many wait. */
  wait(waitMs: number): Promise<void> {
    if (this.#waiting.size >= MAX_WATCHERS || !(waitMs > 0)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        this.#waiting.delete(done);
        resolve();
      };
      const cancel = this.#after(Math.min(waitMs, MAX_WATCH_MS), done);
      this.#waiting.add(done);
    });
  }

  /** @returns how many were told. */
  wake(): number {
    const told = [...this.#waiting];
    for (const done of told) done();
    return told.length;
  }
}

/** The newest snapshot's way into force. A new one takes the place of one that is not there yet, with everybody who has not come back. */
export class Enforcement {
  #version: string | undefined;
  #watchers = 0;
  #returned = 0;
  /** When an isolate last asked; undefined: unknown, since the process has only begun. */
  #askedMs: number | undefined;
  readonly #startedMs: number;

  constructor(nowMs: number) {
    this.#startedMs = nowMs;
  }

  asked(nowMs: number): void {
    this.#askedMs = nowMs;
  }

  /** @param watchers isolates that were told of it. */
  begin(version: string, watchers: number): void {
    const late = this.#version === undefined ? 0 : this.#watchers - this.#returned;
    this.#version = version;
    this.#watchers = watchers + late;
    this.#returned = 0;
  }

  /** An isolate watches that holds this version. */
  returned(version: string): void {
    if (version === this.#version && this.#returned < this.#watchers) this.#returned++;
  }

  /**
   * Whether the snapshot accepted at `sinceMs` is in force everywhere by now. With nobody to wait for, isolates may still serve with what they asked
   * for a moment ago; only when none has asked for long there is none.
   */
  settled(sinceMs: number, nowMs: number): Enforced | undefined {
    const over = nowMs - sinceMs >= ENFORCED_WITHIN_MS;
    const all = this.#watchers > 0 && this.#returned === this.#watchers;
    const alone = this.#watchers === 0 && nowMs - (this.#askedMs ?? this.#startedMs) >= ISOLATE_MEMORY_MS;
    if (!over && !all && !alone) return undefined;
    const enforced = { watchers: this.#watchers, returned: this.#returned };
    this.#version = undefined;
    this.#watchers = 0;
    this.#returned = 0;
    return enforced;
  }
}
