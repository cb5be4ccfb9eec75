/**
 * The gateway's threads: how many serve, and what becomes of one that dies.
 *
 *     serving ──► dead ──► waiting ──► starting ──► serving
 *                   ▲                      │
 *                   └──────────────────────┘
 *
 * The first replacement starts at once; one that dies soon is followed after a wait that doubles, so that a thread that cannot live takes no time from the others.
 */
import { backoffMs } from "./backoff.ts";
import type { Lane, LaneEnd } from "./lane.ts";

const BACKOFF_BASE_MS = 100;
export const MAX_LANE_BACKOFF_MS = 10_000;
/** A thread that lived this long starts over with no wait. */
export const STEADY_LANE_MS = 30_000;

export interface LanesOptions {
  readonly threads: number;
  /** Starts a thread. `ended` is called when it has ended without being told to. */
  readonly start: (lane: number, ended: (end: LaneEnd) => void) => Lane;
  /** Gives a new thread what is in force. Rejects when it died of that. */
  readonly revive: (lane: Lane) => Promise<void>;
  /** Monotonic ms, and a timer. */
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => void;
  readonly random: () => number;
  readonly log: (level: "error", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

interface Place {
  /** Undefined: dead, or not yet serving. */
  lane: Lane | undefined;
  startedMs: number;
  /** Replacements in a row that did not live long. */
  attempt: number;
}

export class Lanes {
  readonly #options: LanesOptions;
  readonly #places: Place[] = [];
  readonly #restarts: Record<LaneEnd["cause"], number> = { error: 0, memory: 0, hang: 0, exit: 0 };
  #stopped = false;

  constructor(options: LanesOptions) {
    this.#options = options;
    for (let lane = 0; lane < options.threads; lane++) {
      const place: Place = { lane: undefined, startedMs: options.now(), attempt: 0 };
      this.#places.push(place);
      place.lane = options.start(lane, (end) => this.#ended(lane, place, end));
    }
  }

  /** Those that serve. */
  get living(): readonly Lane[] {
    return this.#places.flatMap(({ lane }) => lane ?? []);
  }

  /** Those that serve, but for one. */
  others(than: number | undefined): readonly Lane[] {
    return this.#places.flatMap(({ lane }, i) => (lane === undefined || i === than ? [] : lane));
  }

  /** Threads that have died so far, by what of. */
  get restarts(): Readonly<Record<LaneEnd["cause"], number>> {
    return this.#restarts;
  }

  /** From now on no thread is replaced. */
  stop(): void {
    this.#stopped = true;
  }

  #ended(lane: number, place: Place, { cause, reason }: LaneEnd): void {
    place.lane = undefined;
    if (this.#stopped) return;
    const { now, after, random, log } = this.#options;
    this.#restarts[cause] += 1;
    if (now() - place.startedMs >= STEADY_LANE_MS) place.attempt = 0;
    const waitMs = place.attempt === 0 ? 0 : backoffMs(place.attempt - 1, BACKOFF_BASE_MS, MAX_LANE_BACKOFF_MS, random);
    place.attempt += 1;
    log("error", "a worker thread has died and is replaced", { thread: lane, cause, waitMs: Math.round(waitMs), reason });
    after(waitMs, () => this.#replace(lane, place));
  }

  #replace(lane: number, place: Place): void {
    if (this.#stopped) return;
    place.startedMs = this.#options.now();
    let lives = true;
    const next = this.#options.start(lane, (end) => {
      lives = false;
      this.#ended(lane, place, end);
    });
    this.#options.revive(next).then(
      () => {
        if (lives) place.lane = next;
      },
      // It has died, so it has `ended`.
      () => undefined,
    );
  }
}
