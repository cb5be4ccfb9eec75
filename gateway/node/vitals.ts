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
export function shrinkHeap(): void {
  exposed()({ type: "major", flavor: "last-resort" });
}

/** V8 shows its collector to contexts that are made after the flag, and to no other code. */
function exposed(): Collector {
  if (collector === undefined) {
    setFlagsFromString("--expose-gc");
    collector = runInNewContext("gc") as Collector;
    setFlagsFromString("--no-expose-gc");
  }
  return collector;
}
