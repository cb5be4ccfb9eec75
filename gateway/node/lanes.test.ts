import { describe, expect, it } from "vitest";
import type { Lane, LaneEnd } from "./lane.ts";
import { Lanes, MAX_LANE_BACKOFF_MS, STEADY_LANE_MS } from "./lanes.ts";

/** Threads that die when the test says so, under its clock. */
class Threads {
  nowMs = 0;
  readonly waits: number[] = [];
  readonly logged: string[] = [];
  readonly ends: ((end: LaneEnd) => void)[] = [];
  dieWhenRevived = 0;
  #due: (() => void)[] = [];
  readonly lanes: Lanes;

  constructor(threads: number) {
    this.lanes = new Lanes({
      threads,
      start: (lane, ended) => {
        this.ends[lane] = ended;
        return {} as Lane;
      },
      revive: () => (this.dieWhenRevived > 0 ? Promise.reject(new Error("died")) : Promise.resolve()),
      now: () => this.nowMs,
      after: (ms, run) => {
        this.waits.push(ms);
        this.#due.push(run);
      },
      random: () => 1,
      log: (_level, message, fields) => this.logged.push(`${message} ${JSON.stringify(fields)}`),
    });
  }

  /** The thread of a lane dies; its replacement starts when the wait is over. */
  async die(lane: number, cause: LaneEnd["cause"] = "error"): Promise<void> {
    this.ends[lane]?.({ cause, reason: "told to" });
    this.nowMs += this.waits.at(-1) ?? 0;
    for (const run of this.#due.splice(0)) run();
    await Promise.resolve();
    await Promise.resolve();
  }
}

describe("threads that die", () => {
  it("are replaced at once, and counted by what they died of", async () => {
    const threads = new Threads(2);
    await threads.die(0, "memory");
    expect(threads.lanes.living).toHaveLength(2);
    expect([threads.waits, threads.lanes.restarts]).toEqual([[0], { error: 0, memory: 1, hang: 0, exit: 0 }]);
    expect(threads.logged[0]).toContain('{"thread":0,"cause":"memory","waitMs":0,"reason":"told to"}');
  });

  it("again and again are replaced after waits that double, each lane by itself, until one lives", async () => {
    const threads = new Threads(2);
    for (let i = 0; i < 10; i++) await threads.die(0);
    expect(threads.waits).toEqual([0, 100, 200, 400, 800, 1600, 3200, 6400, MAX_LANE_BACKOFF_MS, MAX_LANE_BACKOFF_MS]);
    await threads.die(1);
    expect(threads.waits.at(-1)).toBe(0);
    threads.nowMs += STEADY_LANE_MS;
    await threads.die(0);
    expect(threads.waits.at(-1)).toBe(0);
  });

  it("do not serve before they have what is in force, and not at all while they wait", async () => {
    const threads = new Threads(1);
    threads.ends[0]?.({ cause: "error", reason: "x" });
    expect(threads.lanes.living).toEqual([]);
    threads.dieWhenRevived = 1;
    await threads.die(0);
    expect(threads.lanes.living).toEqual([]);
    threads.dieWhenRevived = 0;
    await threads.die(0);
    expect(threads.lanes.living).toHaveLength(1);
  });

  it("are let go once the gateway ends", async () => {
    const threads = new Threads(2);
    threads.lanes.stop();
    await threads.die(1);
    expect([threads.waits, threads.logged, threads.lanes.living.length]).toEqual([[], [], 1]);
  });
});
