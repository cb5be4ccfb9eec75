/** What a test and the gateway of the case table on workerd say to each other (test/edge/workers/conformance.ts). */
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import type { RequestRecord } from "../../gateway/core/ports.ts";

export interface PostedCase {
  readonly snapshot: Snapshot;
  readonly dice: readonly number[];
  /** Time goes by only for who waits for it. */
  readonly ownClock: boolean;
  /** By attempt: what `fetch` says instead of trying; null: nothing, it tries. The last one repeats. */
  readonly failures: readonly (string | null)[];
}

/** What the gateway says of the case's request. */
export interface Told {
  readonly record: RequestRecord | null;
  readonly tookMs: number;
  readonly attempts: readonly ToldAttempt[];
  /** Requests still counted as in flight somewhere. */
  readonly active: number;
}

export interface ToldAttempt {
  /** Endpoint, `address:port`. */
  readonly to: string;
  /** False: `fetch` failed at once, nothing went out. */
  readonly isSent: boolean;
}
