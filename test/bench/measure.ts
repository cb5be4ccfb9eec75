/** One round of load on one proxy: requests per second, CPU per request of the proxy alone, latency, memory. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { cpuMicros, type Running, rssMb } from "../tools/processes.ts";
import { CONNECTIONS } from "./workload.ts";

export interface Round {
  readonly rps: number;
  /** User and system time of the proxy's processes, divided by the requests answered. */
  readonly cpuMicros: number;
  readonly p99Ms: number;
  /** At the end of the round, under load. */
  readonly rssMb: number;
}

const run = promisify(execFile);

/** @throws Error when any response was not 2xx or any socket failed: such a round does not count. */
export async function measure(proxy: Running, url: string, seconds: number, loadCpu: number): Promise<Round> {
  // A runtime that has idled while others were measured has let go of memory and machine code; nobody's service does that every few seconds.
  if (seconds > WARM_UP_SECONDS) await wrk(url, WARM_UP_SECONDS, loadCpu);
  const before = cpuMicros(proxy.pid);
  const load = wrk(url, seconds, loadCpu);
  await new Promise((resolve) => setTimeout(resolve, seconds * 900));
  const memory = rssMb(proxy.pid);
  const { stdout } = await load;
  const used = cpuMicros(proxy.pid) - before;
  const trouble = /Non-2xx or 3xx responses: \d+|Socket errors: .*/.exec(stdout)?.[0];
  if (trouble !== undefined) throw new Error(`${proxy.name}: ${trouble}`);
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (requests === 0) throw new Error(`${proxy.name}: no request was answered: ${stdout}`);
  return {
    rps: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0),
    cpuMicros: used / requests,
    p99Ms: milliseconds(/99%\s+(\S+)/.exec(stdout)?.[1] ?? "0ms"),
    rssMb: memory,
  };
}

/** Load before each round that is not counted; a look as short as this (`--quick`) goes without. */
const WARM_UP_SECONDS = 1;

function wrk(url: string, seconds: number, cpu: number): Promise<{ readonly stdout: string }> {
  return run("taskset", ["-c", String(cpu), "wrk", "-t1", `-c${CONNECTIONS}`, `-d${seconds}s`, "--latency", url]);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Of each figure by itself. */
export function medians(all: readonly Round[]): Round {
  const of = (figure: keyof Round) => median(all.map((round) => round[figure]));
  return { rps: of("rps"), cpuMicros: of("cpuMicros"), p99Ms: of("p99Ms"), rssMb: of("rssMb") };
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

function milliseconds(text: string): number {
  const value = Number.parseFloat(text);
  if (text.endsWith("us")) return value / 1000;
  return text.endsWith("ms") ? value : value * 1000;
}
