import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { Charge, CompiledLimit } from "../../gateway/core/index.ts";
import { createQuotaMemory, monotonicUs, SharedBank } from "../../gateway/node/quota.ts";
import type { QuotaWorkerJob } from "./quota-worker.ts";

function start(job: QuotaWorkerJob): Worker {
  return new Worker(new URL("./quota-worker.ts", import.meta.url), { workerData: job });
}

async function count(job: QuotaWorkerJob): Promise<number[]> {
  const worker = start(job);
  let last: unknown;
  worker.on("message", (message) => {
    last = message;
  });
  await once(worker, "exit");
  return last as number[];
}

describe("quota over threads", () => {
  it.each(["rolling", "smooth", "calendar"] as const)("admits exactly the limit: %s", async (window) => {
    const memory = createQuotaMemory(4 * 1024 * 1024);
    const job = { memory, requests: 60_000, keys: 3, window, amounts: [5000, 4321, 9000] } as const;
    const beganMs = performance.now();
    const jobs = [0, 1, 2, 3].map((lane) => count({ ...job, lane, unit: "requests" }));
    const totals = [0, 0, 0];
    for (const admitted of await Promise.all(jobs))
      for (const [key, n] of admitted.entries()) totals[key] = (totals[key] ?? 0) + n;
    // Smooth refills while the test runs: 4321 in an hour are 1.2 a second.
    const refilled = window === "smooth" ? 1 + ((performance.now() - beganMs) / 1000) * (4321 / 3600) : 0;
    for (const total of totals) {
      expect(total).toBeGreaterThanOrEqual(4321);
      expect(total).toBeLessThanOrEqual(4321 + refilled);
    }
  });

  it("goes on when a thread is killed at any point, and gives back what it had in flight", async () => {
    const memory = createQuotaMemory(1024 * 1024);
    const now = monotonicUs();
    const bank = new SharedBank(memory, { lane: 60, unixMs: () => Date.now() });
    const limit = new CompiledLimit(
      "ns/q#0",
      "concurrent",
      { name: "0", amount: 3, perMs: 3_600_000, window: "rolling" },
      undefined,
    );
    for (let round = 0; round < 8; round++) {
      const worker = start({ memory, lane: 0, requests: 0, keys: 200, window: "rolling", amounts: [3, 3], unit: "concurrent" });
      await once(worker, "message");
      for (let i = 0; i < round * 500; i++) bank.take([new Charge(limit, `key ${i % 200}`, 0, now())], now());
      await worker.terminate();
      new SharedBank(memory, { lane: 0, unixMs: () => Date.now() });
      for (let key = 0; key < 200; key++) {
        const charges = [new Charge(limit, `key ${key}`, 3, now())];
        expect(bank.take(charges, now())).toMatchObject({ admitted: true, storeFailed: false });
        bank.settle(charges, now());
      }
    }
  });

  it("reads one clock in all threads", () => {
    // The system's own, which has no beginning of its own per thread; between two looks at it, however long they are apart.
    const system = () => Number(process.hrtime.bigint() / 1000n);
    const [a, b] = [monotonicUs(), monotonicUs()];
    const looks = [system(), a(), b(), system()];
    expect(looks).toEqual([...looks].sort((one, other) => one - other));
  });
});
