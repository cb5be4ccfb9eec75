import { describe, expect, it } from "vitest";
import { EndpointReports, MAX_KEPT_ENDPOINTS } from "../../controlplane/distribute/endpoint-reports.ts";
import type { EndpointView } from "../core/index.ts";
import type { EndpointReport } from "../wire/proto/index.ts";
import {
  EndpointReporter,
  MAX_REPORT_ITEMS,
  MAX_REPORTED_ENDPOINTS,
  REPORT_DELAY_MS,
  REPORT_INTERVAL_MS,
} from "./endpoint-report.ts";

function view(address: string, more: Partial<EndpointView> = {}): EndpointView {
  return {
    cluster: "c",
    address,
    port: 80,
    hostname: undefined,
    locality: undefined,
    weight: 1,
    state: "healthy",
    reason: undefined,
    forMs: undefined,
    leftMs: undefined,
    active: 0,
    isWatched: true,
    ...more,
  };
}

function scripted() {
  const state = { views: [] as readonly EndpointView[], connected: true };
  const sent: EndpointReport[] = [];
  const timers: { delayMs: number; run: () => void; off: boolean }[] = [];
  const kept = new EndpointReports();
  const reporter = new EndpointReporter({
    endpoints: () => Promise.resolve(state.views),
    send: (report) => {
      if (!state.connected) return false;
      sent.push(report);
      kept.take(report, 10_000);
      return true;
    },
    arm: (delayMs, run) => {
      const timer = { delayMs, run, off: false };
      timers.push(timer);
      return () => {
        timer.off = true;
      };
    },
  });
  const fire = async () => {
    timers.at(-1)!.run();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  return { reporter, state, sent, timers, kept, fire };
}

describe("a report", () => {
  it("is whole first, then has what changed and what is gone", async () => {
    const { reporter, state, sent, kept, fire, timers } = scripted();
    state.views = [
      view("10.0.0.1"),
      view("10.0.0.2", { hostname: "a.test", locality: "eu/a" }),
      view("10.0.0.9", { isWatched: false }),
    ];
    reporter.connected();
    expect(timers[0]!.delayMs).toBe(REPORT_DELAY_MS);
    await fire();
    expect(sent.map(({ whole, endpoints }) => [whole, endpoints.length])).toEqual([[true, 2]]);
    expect(kept.list()[1]).toMatchObject({
      address: "10.0.0.2",
      hostname: "a.test",
      locality: "eu/a",
      state: "healthy",
      sinceMs: 10_000,
    });
    state.views = [view("10.0.0.1", { state: "ejected", reason: "consecutive-5xx", forMs: 4_000 })];
    reporter.changed();
    await fire();
    expect(sent[1]).toMatchObject({ whole: false, endpoints: [{ state: "ejected" }], gone: [{ address: "10.0.0.2" }] });
    expect(kept.list()).toEqual([
      expect.objectContaining({ address: "10.0.0.1", state: "ejected", reason: "consecutive-5xx", sinceMs: 6_000 }),
    ]);
  });

  it("is not sent when there is no news; who is not well is looked at again", async () => {
    const { reporter, state, sent, timers, fire } = scripted();
    state.views = [view("10.0.0.1", { state: "unhealthy", reason: "refused", forMs: 1 })];
    reporter.connected();
    await fire();
    expect(timers.at(-1)!.delayMs).toBe(REPORT_INTERVAL_MS);
    state.views = [view("10.0.0.1", { state: "unhealthy", reason: "refused", forMs: 5_000 })];
    await fire();
    expect(sent).toHaveLength(1);
    state.views = [view("10.0.0.1")];
    const armed = timers.length;
    await fire();
    expect(sent).toHaveLength(2);
    expect(timers).toHaveLength(armed);
  });

  it("begins anew with the next stream", async () => {
    const { reporter, state, sent, fire } = scripted();
    state.views = [view("10.0.0.1")];
    reporter.connected();
    await fire();
    state.connected = false;
    state.views = [view("10.0.0.2")];
    reporter.changed();
    await fire();
    state.connected = true;
    reporter.connected();
    await fire();
    expect(sent.map(({ whole }) => whole)).toEqual([true, true]);
  });

  it("of nothing says so", async () => {
    const { reporter, sent, fire } = scripted();
    reporter.connected();
    await fire();
    expect(sent).toMatchObject([{ whole: true, endpoints: [] }]);
  });

  it(`has MAX_REPORT_ITEMS (${MAX_REPORT_ITEMS}) in a message, and MAX_REPORTED_ENDPOINTS (${MAX_REPORTED_ENDPOINTS}) in all, the unwell first`, async () => {
    const { reporter, state, sent, kept, fire } = scripted();
    const many = Array.from({ length: MAX_REPORTED_ENDPOINTS + 1 }, (_, i) => view(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`));
    state.views = [...many, view("10.9.9.9", { state: "unhealthy" })];
    reporter.connected();
    await fire();
    expect(sent).toHaveLength(MAX_REPORTED_ENDPOINTS / MAX_REPORT_ITEMS);
    expect(sent.filter(({ whole }) => whole)).toHaveLength(1);
    expect(kept.list()[0]).toMatchObject({ address: "10.9.9.9" });
    expect(kept.list()).toHaveLength(MAX_KEPT_ENDPOINTS);
  });
});
