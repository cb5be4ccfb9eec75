/** What one take costs: shared memory, 1 and 3 limits, 1 and 2 threads, many keys. Run: `node test/bench/micro/quota.ts`. */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Charge, CompiledLimit } from "../../../gateway/core/index.ts";
import { createQuotaMemory, monotonicUs, type QuotaMemory, SharedBank } from "../../../gateway/node/quota.ts";

const TAKES = 400_000;
const KEYS = 1000;

interface Job {
  readonly memory: QuotaMemory;
  readonly lane: number;
  readonly limits: number;
  readonly window: "rolling" | "smooth";
}

function run({ memory, lane, limits, window }: Job): number {
  const bank = new SharedBank(memory, { lane, unixMs: () => Date.now() });
  const now = monotonicUs();
  const charges = Array.from({ length: limits }, (_, i) => {
    const spec = { name: String(i), amount: 1e9, perMs: 60_000 * (i + 1), window };
    return new Charge(new CompiledLimit(`bench/q#${i}`, "requests", spec, undefined), "", 1, 0);
  });
  const keys = Array.from({ length: KEYS }, (_, i) => `user-${i}-0123456789`);
  const round = (takes: number) => {
    const started = performance.now();
    for (let i = 0; i < takes; i++) {
      const us = now();
      for (const charge of charges) charge.key = keys[i % KEYS] as string;
      const answer = bank.take(charges, us);
      if (!answer.admitted) throw new Error(`refused: ${JSON.stringify(answer)}`);
    }
    return ((performance.now() - started) * 1000) / takes;
  };
  round(TAKES / 4);
  return round(TAKES);
}

if (isMainThread) {
  console.log(`threads  limits  window   µs per take   (${availableParallelism()} cores)`);
  for (const window of ["smooth", "rolling"] as const) {
    for (const limits of [1, 3]) {
      for (const threads of [1, 2]) {
        const memory = createQuotaMemory();
        const results = Array.from({ length: threads }, async (_, lane) => {
          const worker = new Worker(new URL(import.meta.url), { workerData: { memory, lane, limits, window } satisfies Job });
          return new Promise<number>((resolve, reject) => worker.once("message", resolve).once("error", reject));
        });
        const us = Math.max(...(await Promise.all(results)));
        console.log(`${threads}        ${limits}       ${window.padEnd(8)} ${us.toFixed(2)}`);
      }
    }
  }
} else parentPort?.postMessage(run(workerData as Job));
