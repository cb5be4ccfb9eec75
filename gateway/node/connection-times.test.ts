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

describe("slow clients", () => {
  const rate = { ...settings, minBodyRateBytes: 100, bodyRateGraceMs: 5000 };
  const body = (): ConnectionTimes => {
    const times = new ConnectionTimes(0);
    times.begin(1000, 0);
    times.bodyExpected(1000, rate);
    return times;
  };
  const due = (times: ConnectionTimes): number => times.nextMs("exchange", rate, false);

  it("minBodyRateBytes: a body may fall behind by bodyRateGraceMs, and what came early counts no further than that", () => {
    const times = body();
    expect(due(times)).toBe(6000);
    times.bodyCame(3000, 100, rate);
    expect(due(times)).toBe(7000);
    times.bodyCame(3500, 1_000_000, rate);
    expect(due(times)).toBe(8500);
    // One byte a second is too slow, however long it goes on.
    for (let second = 4500; second < due(times); second += 1000) times.bodyCame(second, 1, rate);
    expect(due(times)).toBeLessThan(8600);
  });

  it("time in which the client was not listened to does not count", () => {
    const times = body();
    times.bodyHeld(2000);
    times.bodyHeld(3000);
    expect(due(times)).toBe(301_000);
    times.bodyCame(3000, 50, rate);
    times.bodyReleased(60_000);
    expect(due(times)).toBe(64_500);
    times.bodyReleased(61_000);
    expect(due(times)).toBe(64_500);
  });

  it("nothing is waited for once the body is whole, and nothing where the rate is 0", () => {
    const times = body();
    times.bodyEnded();
    times.bodyHeld(2000);
    times.bodyReleased(3000);
    expect(due(times)).toBe(301_000);
    times.bodyExpected(1000, { ...rate, minBodyRateBytes: 0 });
    times.bodyCame(2000, 1, { ...rate, minBodyRateBytes: 0 });
    expect(due(times)).toBe(302_000);
    const again = body();
    again.over(2000);
    expect(due(again)).toBe(302_000);
  });

  it("writeStallTimeoutMs: from the moment at which the client takes nothing to the one at which it has taken it", () => {
    const stalls = { ...settings, writeStallTimeoutMs: 20_000 };
    const times = new ConnectionTimes(0);
    times.begin(1000, 0);
    expect(times.clientFull(2000)).toBe(true);
    expect(times.clientFull(3000)).toBe(false);
    expect(times.nextMs("exchange", stalls, false)).toBe(22_000);
    expect(times.nextMs("exchange", { ...stalls, writeStallTimeoutMs: 0 }, false)).toBe(301_000);
    times.clientDrained(9000);
    expect(times.nextMs("exchange", stalls, false)).toBe(309_000);
  });

  it("a last answer that has not left yet gets writeStallTimeoutMs, not only the two seconds", () => {
    const stalls = { ...settings, writeStallTimeoutMs: 5000 };
    const times = new ConnectionTimes(0);
    times.over(1000);
    expect(times.nextMs("linger", stalls, false)).toBe(3000);
    expect(times.lingersOn(3000, stalls)).toBe(true);
    expect(times.nextMs("linger", stalls, false)).toBe(5000);
    expect(times.lingersOn(5000, stalls)).toBe(true);
    expect(times.lingersOn(7000, stalls)).toBe(false);
    expect(new ConnectionTimes(0).lingersOn(2000, { ...settings, writeStallTimeoutMs: 0 })).toBe(false);
  });

  it("maxConnectionDurationMs: an idle connection ends then, a busy one with its next answer", () => {
    const lives = { ...settings, maxConnectionDurationMs: 10_000 };
    const times = new ConnectionTimes(1000);
    expect(times.nextMs("head", lives, false)).toBe(11_000);
    times.begin(10_500, 0);
    expect(times.lifetime.isOver(lives, { now: () => 10_999 })).toBe(false);
    expect(times.lifetime.isOver(lives, { now: () => 11_000 })).toBe(true);
    expect(times.nextMs("exchange", lives, false)).toBe(310_500);
  });

  it("maxRequestsPerConnection: the last of so many answers ends the connection", () => {
    const few = { ...settings, maxRequestsPerConnection: 2 };
    const times = new ConnectionTimes(0);
    times.begin(0, 0);
    expect(times.lifetime.isOver(few, { now: () => 0 })).toBe(false);
    times.begin(0, 0);
    expect(times.lifetime.isOver(few, { now: () => 0 })).toBe(true);
    expect(times.lifetime.isOver(settings, { now: () => 1e9 })).toBe(false);
  });
});
