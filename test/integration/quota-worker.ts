/** One thread that asks a shared bank as fast as it can, and says how often it was admitted. */
import { parentPort, workerData } from "node:worker_threads";
import { CalendarWindows, Charge, CompiledLimit, TimeZone } from "../../gateway/core/index.ts";
import { monotonicUs, type QuotaMemory, SharedBank } from "../../gateway/node/quota.ts";

export interface QuotaWorkerJob {
  readonly memory: QuotaMemory;
  readonly lane: number;
  /** Requests to make; 0: until terminated. */
  readonly requests: number;
  readonly keys: number;
  readonly window: "rolling" | "smooth" | "calendar";
  readonly amounts: readonly number[];
  readonly unit: "requests" | "concurrent";
}

const job = workerData as QuotaWorkerJob;
const now = monotonicUs();
const bank = new SharedBank(job.memory, { lane: job.lane, unixMs: () => Date.now() });
const calendar = job.window === "calendar" ? new CalendarWindows("year", new TimeZone("Europe/Zurich")) : undefined;
const limits = job.amounts.map(
  (amount, i) =>
    new CompiledLimit(`ns/q#${i}`, job.unit, { name: String(i), amount, perMs: 3_600_000, window: job.window }, calendar),
);
const charges = limits.map((limit) => new Charge(limit, "", 1, 0));
const admitted = new Array<number>(job.keys).fill(0);
parentPort?.postMessage("ready");
for (let i = 0; job.requests === 0 || i < job.requests; i++) {
  const key = i % job.keys;
  const us = now();
  for (const charge of charges) {
    charge.key = `key ${key}`;
    charge.takenUs = us;
  }
  const answer = bank.take(charges, us);
  if (answer.storeFailed) continue;
  if (answer.admitted) admitted[key] = (admitted[key] as number) + 1;
  if (answer.admitted && job.requests === 0) bank.settle(charges, now());
}
parentPort?.postMessage(admitted);
