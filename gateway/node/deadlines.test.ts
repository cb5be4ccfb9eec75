import { describe, expect, it } from "vitest";
import { Deadlines, type Timed } from "./deadlines.ts";

class Bench {
  nowMs = 0;
  armedMs: number | undefined;
  armings = 0;
  #run: (() => void) | undefined;
  readonly fired: [name: string, atMs: number][] = [];
  readonly deadlines = new Deadlines({ now: () => this.nowMs, unixMs: () => this.nowMs }, (delayMs, run) => {
    this.armings += 1;
    this.armedMs = this.nowMs + delayMs;
    this.#run = run;
    return () => {
      this.armedMs = undefined;
      this.#run = undefined;
    };
  });

  timed(name: string): Timed {
    return {
      deadlineMs: Number.POSITIVE_INFINITY,
      filedMs: 0,
      place: -1,
      expired: (nowMs) => this.fired.push([name, nowMs]),
    };
  }

  advanceTo(ms: number): void {
    while (this.armedMs !== undefined && this.armedMs <= ms) {
      this.nowMs = this.armedMs;
      this.armedMs = undefined;
      this.#run?.();
    }
    this.nowMs = ms;
  }
}

describe("Deadlines", () => {
  it("fires in order, once each, never early", () => {
    const bench = new Bench();
    const names = ["c", "a", "b"];
    const at = [30, 10, 20.5];
    names.forEach((name, i) => {
      bench.deadlines.set(bench.timed(name), at[i]!);
    });
    bench.advanceTo(100);
    expect(bench.fired).toEqual([
      ["a", 10],
      ["b", 21],
      ["c", 30],
    ]);
    expect(bench.deadlines.size).toBe(0);
    expect(bench.armedMs).toBeUndefined();
  });

  it("moves a deadline later without touching the timer", () => {
    const bench = new Bench();
    const one = bench.timed("one");
    bench.deadlines.set(one, 10);
    for (let i = 0; i < 1000; i++) bench.deadlines.set(one, 20 + i);
    expect(bench.armings).toBe(1);
    bench.advanceTo(1018);
    expect(bench.fired).toEqual([]);
    bench.advanceTo(1019);
    expect(bench.fired).toEqual([["one", 1019]]);
  });

  it("moves a deadline earlier", () => {
    const bench = new Bench();
    const one = bench.timed("one");
    bench.deadlines.set(one, 1000);
    bench.deadlines.set(one, 5);
    bench.advanceTo(6);
    expect(bench.fired).toEqual([["one", 5]]);
  });

  it("drops one whose deadline was lifted, and one that was removed", () => {
    const bench = new Bench();
    const lifted = bench.timed("lifted");
    const removed = bench.timed("removed");
    bench.deadlines.set(lifted, 10);
    bench.deadlines.set(removed, 10);
    bench.deadlines.set(lifted, Number.POSITIVE_INFINITY);
    bench.deadlines.remove(removed);
    expect(bench.deadlines.size).toBe(1);
    bench.advanceTo(50);
    expect(bench.fired).toEqual([]);
    expect(bench.deadlines.size).toBe(0);
  });

  it("agrees with a sorted list over many moves", () => {
    const bench = new Bench();
    let seed = 42;
    const dice = (n: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % n;
    };
    const all = Array.from({ length: 200 }, (_, i) => bench.timed(`t${i}`));
    for (let i = 0; i < 2000; i++) bench.deadlines.set(all[dice(200)]!, 1 + dice(500));
    for (let i = 0; i < 50; i++) bench.deadlines.remove(all[dice(200)]!);
    const expected = all
      .map((timed, i) => [`t${i}`, timed.deadlineMs] as const)
      .filter(([, at]) => at !== Number.POSITIVE_INFINITY)
      .sort((a, b) => a[1] - b[1]);
    bench.advanceTo(1000);
    expect(bench.fired.map(([, at]) => at)).toEqual(expected.map(([, at]) => at));
    expect(new Set(bench.fired.map(([name]) => name))).toEqual(new Set(expected.map(([name]) => name)));
  });
});
