import { describe, expect, it } from "vitest";
import { testCluster } from "../../test/support/gateway.ts";
import type { Snapshot } from "../core/ir/index.ts";
import { type EndpointNews, NameTable } from "./endpoint-news.ts";
import { EndpointWatch, FOLLOW_DELAY_MS, namesOf } from "./endpoint-watch.ts";

const healthCheck = {
  probe: { kind: "tcp" },
  intervalMs: 1_000,
  timeoutMs: 100,
  jitterPercent: 0,
  unhealthyThreshold: 1,
  healthyThreshold: 1,
} as const;

function snapshot(...addresses: string[]): Pick<Snapshot, "clusters" | "endpoints"> {
  return {
    clusters: [testCluster("c", { discovery: "dns", healthCheck }), testCluster("s", { discovery: "static" })],
    endpoints: [
      { cluster: "c", endpoints: addresses.map((address) => ({ address, port: 80, weight: 1 })) },
      { cluster: "s", endpoints: [{ address: "10.0.0.9", port: 80, weight: 1 }] },
    ],
  };
}

function scripted() {
  const clock = { nowMs: 1_000 };
  const told: EndpointNews[] = [];
  const asked: string[] = [];
  const probed: string[] = [];
  const timers: (() => void)[] = [];
  const watch = new EndpointWatch({
    ask: (name) => {
      asked.push(name);
      return name === "gone.test"
        ? Promise.reject(new Error("ENOTFOUND"))
        : Promise.resolve({ addresses: ["10.7.0.1", "10.7.0.2"], ttlMs: 60_000 });
    },
    probe: ({ address }) => {
      probed.push(address);
      return Promise.resolve(address === "10.7.0.2" ? "refused" : undefined);
    },
    random: () => 0,
    arm: (delayMs, run) => {
      if (delayMs === FOLLOW_DELAY_MS) timers.push(run);
      return () => undefined;
    },
    now: () => clock.nowMs,
    tell: (news) => told.push(...news),
    probed: () => undefined,
    log: () => undefined,
  });
  /** Until nothing is under way but the waits between questions. */
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    for (const run of timers.splice(0)) run();
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  return { watch, clock, told, asked, probed, settle };
}

describe("names and checks together", () => {
  it("what a name stands for is asked how it is, and both are known to those who come later", async () => {
    const { watch, told, asked, probed, settle } = scripted();
    watch.follow(snapshot("a.test", "gone.test", "10.0.0.1"));
    await settle();
    expect(asked).toEqual(["a.test", "gone.test"]);
    expect(probed.sort()).toEqual(["10.0.0.1", "10.7.0.1", "10.7.0.2"]);
    const failing = { kind: "checked", cluster: "c", key: "c|10.7.0.2|80", failure: "refused" };
    expect(told).toContainEqual(failing);
    expect(watch.known()).toEqual([
      { kind: "name", name: "a.test", answer: { kind: "addresses", addresses: ["10.7.0.1", "10.7.0.2"] } },
      { kind: "name", name: "gone.test", answer: { kind: "failed", reason: "ENOTFOUND" } },
      failing,
    ]);
    watch.follow(snapshot("10.0.0.1"));
    expect(watch.known()).toEqual([]);
  });

  it("an ejection is known for as long as it lasts, unless a check has another word", async () => {
    const { watch, clock, settle } = scripted();
    const ejected = (key: string): EndpointNews & { kind: "ejected" } => ({
      kind: "ejected",
      cluster: "c",
      key,
      reason: "consecutive-5xx",
      forMs: 500,
    });
    watch.ejected(ejected("c|10.7.0.1|80"));
    watch.ejected(ejected("c|10.9.0.9|80"));
    clock.nowMs += 200;
    expect(watch.known()).toEqual([
      { ...ejected("c|10.7.0.1|80"), forMs: 300 },
      { ...ejected("c|10.9.0.9|80"), forMs: 300 },
    ]);
    watch.follow(snapshot("a.test"));
    await settle();
    expect(watch.known().filter(({ kind }) => kind === "ejected")).toEqual([{ ...ejected("c|10.9.0.9|80"), forMs: 300 }]);
    clock.nowMs += 300;
    expect(watch.known().filter(({ kind }) => kind === "ejected")).toEqual([]);
    watch.close();
  });
});

it("names are those of clusters that resolve them", () => {
  expect([...namesOf(snapshot("a.test", "10.0.0.1", "::1"))]).toEqual(["a.test"]);
});

it("a table told again what it knows stays as it is", () => {
  const table = new NameTable();
  table.set("a.test", { kind: "addresses", addresses: ["10.0.0.1"] });
  table.set("a.test", { kind: "addresses", addresses: ["10.0.0.1"] });
  expect(table.version).toBe(1);
  table.keep(new Set());
  expect(table.get("a.test")).toBeUndefined();
});
