import { describe, expect, it } from "vitest";
import {
  COLLECT_GAP_MS,
  FULL_SHARE,
  LEAST_CONNECTIONS,
  LEAST_REQUESTS,
  Overload,
  type OverloadLimits,
  TIGHT_SHARE,
  type Vitals,
} from "./overload.ts";

const LIMITS: OverloadLimits = { maxConnections: 1000, maxRequests: 400, maxMemoryBytes: 1000, maxDelayMs: 100 };
const CALM: Vitals = { residentBytes: 100, heapBytes: 10, heapLimitBytes: 100 };

/** A thread whose memory and clock are the test's. */
class Thread {
  nowMs = 0;
  vitals = CALM;
  /** What is left when the garbage is gone. */
  live: Vitals | undefined;
  collections = 0;
  readonly overload: Overload;

  constructor(limits: Partial<OverloadLimits> = {}, threads = 1) {
    this.overload = new Overload({ ...LIMITS, ...limits }, threads, {
      clock: { now: () => this.nowMs, unixMs: () => this.nowMs },
      vitals: () => this.vitals,
      collect: () => {
        this.collections += 1;
        this.vitals = this.live ?? this.vitals;
      },
    });
  }

  look(lateMs = 0): boolean {
    this.nowMs += 250;
    return this.overload.look(lateMs);
  }
}

describe("what a thread takes on", () => {
  it("is its share of the gateway's limits", () => {
    const { overload } = new Thread({}, 4);
    overload.requests = 99;
    expect(overload.isFull).toBe(false);
    overload.requests = 100;
    expect([overload.isFull, overload.reason, overload.isShedding]).toEqual([true, "requests", false]);
    const become = (connections: number): string => {
      overload.connections = connections;
      return overload.connection;
    };
    expect([250, 251, 313, 314].map(become)).toEqual(["served", "surplus", "surplus", "closed"]);
  });

  it("is a handful of requests while memory is tight, and of connections when it is full", () => {
    const thread = new Thread();
    const { overload } = thread;
    thread.vitals = { ...CALM, residentBytes: 1000 * TIGHT_SHARE };
    expect([thread.look(), thread.look()]).toEqual([true, false]);
    overload.requests = LEAST_REQUESTS - 1;
    expect(overload.isFull).toBe(false);
    overload.requests = LEAST_REQUESTS;
    expect([overload.isFull, overload.reason, overload.pressure, overload.mostConnections]).toEqual([
      true,
      "memory",
      "tight",
      1250,
    ]);
    thread.vitals = { ...CALM, heapBytes: 100 * FULL_SHARE };
    thread.look();
    expect([overload.pressure, overload.mostConnections]).toEqual(["full", LEAST_CONNECTIONS]);
    thread.vitals = CALM;
    thread.look();
    expect([overload.isFull, overload.pressure]).toEqual([false, "calm"]);
  });

  it("is not less for garbage, which is thrown away before, seldom", () => {
    const thread = new Thread();
    thread.live = CALM;
    thread.vitals = { ...CALM, heapBytes: 90 };
    expect([thread.look(), thread.overload.isShedding, thread.collections]).toEqual([false, false, 1]);
    thread.vitals = { ...CALM, heapBytes: 90 };
    for (let i = 0; i < 3; i++)
      expect([thread.look(), thread.overload.isShedding, thread.collections]).toEqual([false, false, 1]);
    thread.live = thread.vitals;
    thread.nowMs = COLLECT_GAP_MS;
    expect([thread.look(), thread.overload.isShedding, thread.collections]).toEqual([true, true, 2]);
  });

  it("is full without another collection when it is as full as that", () => {
    const thread = new Thread();
    thread.live = CALM;
    thread.vitals = { ...CALM, heapBytes: 90 };
    thread.look();
    thread.vitals = { ...CALM, heapBytes: 99 };
    thread.look();
    expect([thread.overload.pressure, thread.collections]).toEqual(["full", 1]);
  });

  it("shrinks while the event loop is late again and again, and grows back", () => {
    const thread = new Thread();
    const { overload } = thread;
    overload.requests = 100;
    thread.look(101);
    expect(overload.isShedding).toBe(false);
    thread.look(101);
    expect([overload.isFull, overload.reason]).toEqual([true, "delay"]);
    overload.requests = 74;
    expect(overload.isFull).toBe(false);
    for (let i = 0; i < 20; i++) thread.look(5000);
    overload.requests = LEAST_REQUESTS - 1;
    expect(overload.isFull).toBe(false);
    let looks = 0;
    while (overload.isShedding && looks < 100) {
      thread.look();
      looks += 1;
    }
    expect(looks).toBeLessThan(20);
  });

  it("is not less for a late event loop where nobody asked for that", () => {
    const thread = new Thread({ maxDelayMs: 0 });
    for (let i = 0; i < 5; i++) thread.look(60_000);
    expect(thread.overload.isShedding).toBe(false);
  });
});
