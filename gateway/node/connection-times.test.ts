import { describe, expect, it } from "vitest";
import { DEFAULT_SETTINGS } from "../core/ir/index.ts";
import { ConnectionTimes, NEVER } from "./connection-times.ts";

const settings = { ...DEFAULT_SETTINGS.http, idleTimeoutMs: 60_000, streamIdleTimeoutMs: 300_000 };

describe("how long a connection waits", () => {
  it("between requests: the idle timeout, a short while when draining, and the header timeout once a head has begun", () => {
    const times = new ConnectionTimes(1000);
    expect(times.nextMs("head", settings, false)).toBe(61_000);
    expect(times.nextMs("head", settings, true)).toBe(2000);
    times.headerMs = 11_000;
    expect(times.nextMs("head", settings, false)).toBe(11_000);
    expect(times.nextMs("head", settings, true)).toBe(11_000);
  });

  it("during an exchange: the earliest of the exchange's own wish, the whole request, and silence", () => {
    const times = new ConnectionTimes(0);
    times.begin(1000, 0);
    expect(times.nextMs("exchange", settings, false)).toBe(301_000);
    expect(times.nextMs("exchange", { ...settings, streamIdleTimeoutMs: 0 }, false)).toBe(NEVER);
    times.begin(1000, 5000);
    expect(times.nextMs("exchange", settings, false)).toBe(6000);
    times.exchangeMs = 2500;
    expect(times.nextMs("exchange", settings, false)).toBe(2500);
  });

  it("a new request forgets the deadlines of the one before, and so does its end", () => {
    const times = new ConnectionTimes(0);
    times.headerMs = 5;
    times.exchangeMs = 6;
    times.begin(1000, 0);
    expect([times.activeMs, times.headerMs, times.requestMs, times.exchangeMs]).toEqual([1000, NEVER, NEVER, NEVER]);
    times.begin(2000, 10);
    times.exchangeMs = 2005;
    times.over(3000);
    expect([times.activeMs, times.requestMs, times.exchangeMs]).toEqual([3000, NEVER, NEVER]);
  });

  it("after the last answer: two seconds; a tunnel and a closed connection: nothing", () => {
    const times = new ConnectionTimes(500);
    expect(times.nextMs("linger", settings, false)).toBe(2500);
    expect(times.nextMs("tunnel", settings, false)).toBe(NEVER);
    expect(times.nextMs("closed", settings, false)).toBe(NEVER);
  });
});
