import { describe, expect, it } from "vitest";
import type { HealthCheck } from "../core/ir/index.ts";
import { type CheckedEndpoint, HealthChecker, type HealthVerdict, MAX_PROBING, type ProbeTarget } from "./health.ts";
import { healthRequest, healthStatus } from "./health-probe-grpc.ts";

const check: HealthCheck = {
  probe: { kind: "tcp" },
  intervalMs: 1_000,
  timeoutMs: 100,
  jitterPercent: 50,
  unhealthyThreshold: 3,
  healthyThreshold: 2,
};

function endpoint(cluster: string, address = "10.0.0.1", more: Partial<ProbeTarget> = {}): CheckedEndpoint {
  const target = { address, port: 80, hostname: undefined, check, tls: undefined, host: "a.test", isHttp2: false, ...more };
  return { cluster, key: `${cluster}|${address}|80`, target };
}

function scripted() {
  const asked: { target: ProbeTarget; answer: (failure?: string) => Promise<void> }[] = [];
  const timers: { delayMs: number; run: () => void; off: boolean }[] = [];
  const told: HealthVerdict[] = [];
  const probed: string[] = [];
  const checker = new HealthChecker({
    probe: (target) =>
      new Promise((resolve) => {
        const answer = async (failure?: string) => {
          resolve(failure);
          for (let i = 0; i < 5; i++) await Promise.resolve();
        };
        asked.push({ target, answer });
      }),
    random: () => 0.5,
    arm: (delayMs, run) => {
      const timer = { delayMs, run, off: false };
      timers.push(timer);
      return () => {
        timer.off = true;
      };
    },
    changed: (verdicts) => told.push(...verdicts),
    probed: (cluster, isWell) => probed.push(`${cluster} ${isWell}`),
  });
  /** The next probe, with its answer. */
  const next = async (failure?: string) => {
    if (asked.length > 1 || timers.length > 0) timers.at(-1)?.run();
    await asked.at(-1)!.answer(failure);
  };
  return { checker, asked, timers, told, probed, next };
}

describe("verdicts", () => {
  it("the first answer decides alone, then it takes the thresholds", async () => {
    const { checker, told, next, timers } = scripted();
    checker.follow([endpoint("c")]);
    await next("refused");
    expect(told.map(({ failure }) => failure)).toEqual(["refused"]);
    expect(timers[0]!.delayMs).toBe(1_250);
    await next();
    expect(told).toHaveLength(1);
    await next();
    expect(told.map(({ failure }) => failure)).toEqual(["refused", undefined]);
    for (const failure of ["a", "b", undefined, "c", "d"]) await next(failure);
    expect(told).toHaveLength(2);
    await next("e");
    expect(told.map(({ failure }) => failure)).toEqual(["refused", undefined, "e"]);
    expect(checker.failing()).toEqual([{ cluster: "c", key: "c|10.0.0.1|80", failure: "e" }]);
  });

  it("one question serves all clusters that ask it", async () => {
    const { checker, asked, told, probed } = scripted();
    checker.follow([endpoint("c"), endpoint("d"), endpoint("d", "10.0.0.1", { host: "other.test" })]);
    expect(asked).toHaveLength(2);
    await asked[0]!.answer("refused");
    expect(told.map(({ cluster }) => cluster)).toEqual(["c", "d"]);
    expect(probed).toEqual(["c false", "d false"]);
  });

  it("outlive a snapshot that asks the same", async () => {
    const { checker, asked, told, timers } = scripted();
    checker.follow([endpoint("c")]);
    await asked[0]!.answer("refused");
    checker.follow([endpoint("c"), endpoint("e")]);
    expect(asked).toHaveLength(1);
    expect(checker.failing().map(({ cluster }) => cluster)).toEqual(["c", "e"]);
    checker.follow([endpoint("e", "10.0.0.2")]);
    expect(timers[0]!.off).toBe(true);
    expect(asked).toHaveLength(2);
    expect(checker.failing()).toEqual([]);
    expect(told).toHaveLength(1);
  });

  it("an answer that nobody waits for any more is dropped", async () => {
    const { checker, asked, told, timers } = scripted();
    checker.follow([endpoint("c")]);
    checker.close();
    await asked[0]!.answer("refused");
    expect(told).toEqual([]);
    expect(timers).toEqual([]);
  });
});

it(`MAX_PROBING (${MAX_PROBING}) probes run at the same time, the rest in turn`, async () => {
  const { checker, asked } = scripted();
  checker.follow(Array.from({ length: MAX_PROBING + 2 }, (_, i) => endpoint("c", `10.0.1.${i}`)));
  expect(asked).toHaveLength(MAX_PROBING);
  await asked[0]!.answer();
  expect(asked).toHaveLength(MAX_PROBING + 1);
});

describe("gRPC's health messages", () => {
  it("are as protobuf has them", () => {
    expect(healthRequest("")).toEqual(Buffer.alloc(0));
    expect(healthRequest("shop.Cart")).toEqual(Buffer.from("\x0a\x09shop.Cart", "latin1"));
    expect(() => healthRequest("x".repeat(128))).toThrow(RangeError);
    expect(healthStatus(Buffer.from([0x08, 1]))).toBe(1);
    expect(healthStatus(Buffer.from([0x08, 2, 0x10, 1]))).toBe(2);
    expect(healthStatus(Buffer.alloc(0))).toBe(0);
  });
});
