/**
 * What a proxy holds of the machine's memory once it has come to rest: all pages that are resident in its processes, its program's included. What the kernel
 * keeps for sockets is nobody's. Every proxy here is one process, so no page counts twice.
 */
import { readFileSync } from "node:fs";
import { processTree } from "../tools/processes.ts";

const READ_EVERY_MS = 250;
/** Longer than any of the proxies puts off putting its house in order after work. */
const SETTLED_MS = 3_000;
/** Between readings of a process that is at rest: timers run. */
const STEADY_SHARE = 0.01;
const MAX_SETTLE_MS = 20_000;

/** @throws Error when it does not come to rest */
export async function settledBytes(pid: number): Promise<number> {
  const readings: number[] = [];
  for (let waited = 0; waited < MAX_SETTLE_MS; waited += READ_EVERY_MS) {
    await new Promise((resolve) => setTimeout(resolve, READ_EVERY_MS));
    readings.push(residentBytes(pid));
    const settled = settledOf(readings, SETTLED_MS / READ_EVERY_MS);
    if (settled !== undefined) return settled;
  }
  const last = readings.slice(-SETTLED_MS / READ_EVERY_MS).map((bytes) => (bytes / 1_000_000).toFixed(1));
  throw new Error(`its memory did not come to rest in ${MAX_SETTLE_MS} ms; MB at last: ${last.join(" ")}`);
}

/** The last reading, when the last `count` are as good as alike. */
export function settledOf(readings: readonly number[], count: number): number | undefined {
  const last = readings.slice(-count);
  const highest = Math.max(...last);
  return last.length === count && highest - Math.min(...last) <= highest * STEADY_SHARE ? last.at(-1) : undefined;
}

function residentBytes(pid: number): number {
  return processTree(pid).reduce((sum, id) => sum + readRollup(readFileSync(`/proc/${id}/smaps_rollup`, "utf8")), 0);
}

/** Bytes. Source: proc_pid_smaps(5); VmRSS is kept in batches and lags behind. @param text of `/proc/PID/smaps_rollup` */
export function readRollup(text: string): number {
  const kib = /^Rss: +([0-9]+) kB$/m.exec(text)?.[1];
  if (kib === undefined) throw new Error("smaps_rollup does not tell Rss: Linux 4.14 or newer is needed");
  return Number(kib) * 1024;
}
