/**
 * Notices a thread that has stopped taking turns: an endless loop, or a heap so full that all it does is to collect garbage. Such a thread is not dead, so nothing would
 * tell, and the kernel goes on giving it its share of new connections.
 */

/** A thread counts this often that it has taken a turn. */
const BEAT_MS = 250;
/** How often the count is looked at. */
const LOOK_MS = 500;

/** No turn of a thread in good health takes as long, nor does the largest snapshot. */
export const DEFAULT_THREAD_HANG_MS = 20_000;

/** What a thread and its watch share. */
export type Beats = Int32Array<SharedArrayBuffer>;

export function createBeats(): Beats {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** In the thread that is watched, for as long as it lives. */
export function beat(beats: Beats): void {
  Atomics.add(beats, 0, 1);
  setInterval(() => Atomics.add(beats, 0, 1), BEAT_MS).unref();
}

export interface HangWatchOptions {
  readonly beats: Beats;
  /** Silent for so long, a thread hangs; 0: never. */
  readonly afterMs: number;
  readonly hung: () => void;
  /** Calls until what it returns is called. */
  readonly every: (ms: number, run: () => void) => () => void;
}

/** In another thread. */
export class HangWatch {
  readonly #options: HangWatchOptions;
  readonly #stop: () => void;
  /** A thread that has not begun yet is not silent: to start takes its time. */
  #seen = 0;
  #silentMs = 0;

  constructor(options: HangWatchOptions) {
    this.#options = options;
    this.#stop = options.afterMs === 0 ? () => undefined : options.every(LOOK_MS, () => this.#look());
  }

  end(): void {
    this.#stop();
  }

  /** Looks are counted, not time: where all of the process has stood still, it is not the thread that hangs. */
  #look(): void {
    const { beats, afterMs, hung } = this.#options;
    const count = Atomics.load(beats, 0);
    if (count !== this.#seen || count === 0) {
      this.#seen = count;
      this.#silentMs = 0;
      return;
    }
    this.#silentMs += LOOK_MS;
    if (this.#silentMs < afterMs) return;
    this.end();
    hung();
  }
}

/** `HangWatchOptions.every`, by a timer that keeps no process alive. */
export function everySystem(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms).unref();
  return () => clearInterval(timer);
}
