import { describe, expect, test } from "vitest";
import { MAX_WATCH_MS } from "./relay-rpc.ts";
import { ENFORCED_WITHIN_MS, Enforcement, ISOLATE_MEMORY_MS, MAX_WATCHERS, RelayWatch } from "./relay-watch.ts";

/** Timers that run when the test says so. */
class Timers {
  readonly #set = new Map<object, { readonly ms: number; readonly run: () => void }>();
  readonly after = (ms: number, run: () => void): (() => void) => {
    const key = {};
    this.#set.set(key, { ms, run });
    return () => this.#set.delete(key);
  };
  get count(): number {
    return this.#set.size;
  }
  expire(ms: number): void {
    for (const [key, timer] of this.#set) {
      if (timer.ms > ms) continue;
      this.#set.delete(key);
      timer.run();
    }
  }
}

describe("isolates that wait", () => {
  test("are all told at once, and leave no timer behind", async () => {
    const timers = new Timers();
    const watch = new RelayWatch(timers.after);
    const waits = [watch.wait(1_000), watch.wait(25_000)];
    expect([watch.waiting, timers.count]).toEqual([2, 2]);
    expect(watch.wake()).toBe(2);
    await Promise.all(waits);
    expect([watch.waiting, timers.count, watch.wake()]).toEqual([0, 0, 0]);
  });

  test("go when their time is over", async () => {
    const timers = new Timers();
    const watch = new RelayWatch(timers.after);
    const short = watch.wait(1_000);
    void watch.wait(5_000);
    timers.expire(1_000);
    await short;
    expect(watch.waiting).toBe(1);
  });

  test("MAX_WATCH_MS: no longer than that, whatever is asked for", async () => {
    const timers = new Timers();
    const long = new RelayWatch(timers.after).wait(10 * MAX_WATCH_MS);
    timers.expire(MAX_WATCH_MS);
    await long;
  });

  test.each([0, -1, Number.NaN])("do not wait for %d ms", async (ms) => {
    const watch = new RelayWatch(new Timers().after);
    await watch.wait(ms);
    expect(watch.waiting).toBe(0);
  });

  test("MAX_WATCHERS: one more is answered at once", async () => {
    const watch = new RelayWatch(new Timers().after);
    for (let i = 0; i < MAX_WATCHERS; i++) void watch.wait(1_000);
    await watch.wait(1_000);
    expect(watch.waiting).toBe(MAX_WATCHERS);
  });
});

describe("a snapshot is in force", () => {
  const SINCE = 100_000;

  test("when every isolate that was told has come back with it", () => {
    const enforcement = new Enforcement(0);
    enforcement.asked(SINCE - 10);
    enforcement.begin("1.2", 2);
    enforcement.returned("1.2");
    expect(enforcement.settled(SINCE, SINCE + 5)).toBeUndefined();
    enforcement.returned("1.1");
    expect(enforcement.settled(SINCE, SINCE + 6)).toBeUndefined();
    enforcement.returned("1.2");
    expect(enforcement.settled(SINCE, SINCE + 7)).toEqual({ watchers: 2, returned: 2 });
  });

  test("when the time is over within which every isolate asks, with those that are missing told", () => {
    const enforcement = new Enforcement(0);
    enforcement.asked(SINCE - 10);
    enforcement.begin("1.2", 3);
    enforcement.returned("1.2");
    expect(enforcement.settled(SINCE, SINCE + ENFORCED_WITHIN_MS - 1)).toBeUndefined();
    expect(enforcement.settled(SINCE, SINCE + ENFORCED_WITHIN_MS)).toEqual({ watchers: 3, returned: 1 });
  });

  test("an isolate that had not come back with the one before is waited for", () => {
    const enforcement = new Enforcement(0);
    enforcement.asked(SINCE);
    enforcement.begin("1.2", 2);
    enforcement.returned("1.2");
    enforcement.begin("1.3", 1);
    enforcement.returned("1.3");
    expect(enforcement.settled(SINCE, SINCE + 5)).toBeUndefined();
    enforcement.returned("1.3");
    expect(enforcement.settled(SINCE, SINCE + 6)).toEqual({ watchers: 2, returned: 2 });
  });

  test("nobody waits, but one asked a moment ago: it may serve on with what it has", () => {
    const enforcement = new Enforcement(0);
    enforcement.asked(SINCE - ISOLATE_MEMORY_MS + 1);
    enforcement.begin("1.2", 0);
    expect(enforcement.settled(SINCE, SINCE)).toBeUndefined();
    expect(enforcement.settled(SINCE, SINCE + ENFORCED_WITHIN_MS)).toEqual({ watchers: 0, returned: 0 });
  });

  test("nobody has asked for ISOLATE_MEMORY_MS: at once", () => {
    const enforcement = new Enforcement(SINCE - ISOLATE_MEMORY_MS);
    enforcement.begin("1.2", 0);
    expect(enforcement.settled(SINCE, SINCE)).toEqual({ watchers: 0, returned: 0 });
  });

  test("a relay that has only begun does not know who asked before", () => {
    expect(new Enforcement(SINCE).settled(SINCE, SINCE + 1)).toBeUndefined();
    expect(new Enforcement(SINCE).settled(SINCE, SINCE + ENFORCED_WITHIN_MS)).toEqual({ watchers: 0, returned: 0 });
  });
});
