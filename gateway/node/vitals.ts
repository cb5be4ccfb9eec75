/** What a thread can find out about its memory, and how it gets rid of what nobody needs any more. */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Vitals } from "./overload.ts";

export function vitals(): Vitals {
  const { used_heap_size: heapBytes, heap_size_limit: heapLimitBytes } = getHeapStatistics();
  return { residentBytes: process.memoryUsage.rss(), heapBytes, heapLimitBytes };
}

type Collector = (options?: { readonly type: "major"; readonly flavor: "last-resort" }) => void;
let collector: Collector | undefined;

/** All garbage of this thread at once. The thread stands still for as long as that takes. */
export function collectGarbage(): void {
  exposed()();
}

/** Gives back to the system what the heap has room for beyond what lives in it: after much was made once, and before little is. */
function shrinkHeap(): void {
  exposed()({ type: "major", flavor: "last-resort" });
}

/** A heap is cleared this long after a snapshot, or so often later, in a moment in which nobody is held up. */
const CLEAR_MS = 2000;
const MAX_CLEAR_TRIES = 15;

/** Clears a thread's heap of what a snapshot leaves behind: garbage of several times its size. Whoever is busy all the time is not held up for it: V8 collects in passing what it comes upon. */
export class HeapClearing {
  readonly #isIdle: () => boolean;
  #timer: NodeJS.Timeout | undefined;

  /** @param isIdle nobody waits for this thread now */
  constructor(isIdle: () => boolean) {
    this.#isIdle = isIdle;
  }

  soon(): void {
    this.stop();
    this.#tryLater(MAX_CLEAR_TRIES);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #tryLater(tries: number): void {
    const clear = (): void => {
      if (this.#isIdle()) shrinkHeap();
      else if (tries > 1) this.#tryLater(tries - 1);
    };
    this.#timer = setTimeout(clear, CLEAR_MS).unref();
  }
}

/**
 * V8 shows its collector to contexts that are made after the flag. Flags are the process's: this one stays, for between setting it and using it another
 * thread might take it back.
 */
function exposed(): Collector {
  if (collector === undefined) {
    setFlagsFromString("--expose-gc");
    collector = runInNewContext("gc") as Collector;
  }
  return collector;
}
