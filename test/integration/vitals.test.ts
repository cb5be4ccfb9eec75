import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it } from "vitest";
import { eventually } from "../support/gateway.ts";

const ROUNDS = 10;
const THREADS = 8;

it("threads collect their garbage at the same time, as they do after a snapshot", async () => {
  const failed: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const gate = new Int32Array(new SharedArrayBuffer(8));
    const ended = Array.from({ length: THREADS }, () => {
      const worker = new Worker(new URL("./collect-worker.ts", import.meta.url), { workerData: gate });
      worker.on("error", (error) => failed.push(String(error)));
      return once(worker, "exit");
    });
    await eventually(() => Atomics.load(gate, 0) === THREADS, 60_000);
    Atomics.store(gate, 1, 1);
    Atomics.notify(gate, 1);
    await Promise.all(ended);
  }
  expect(failed).toEqual([]);
});
