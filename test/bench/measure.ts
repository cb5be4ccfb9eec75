/** One round of load on one proxy, and what several rounds come to. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { cpuMicros, type Running, rssMb } from "../tools/processes.ts";
import type { Generator } from "./load/generator.ts";
import { LOAD_CPU } from "./machine.ts";
import { median, medianOf, spread } from "./statistics.ts";

export interface Round {
  /** Of the row's unit, per second. */
  readonly rate: number;
  /** User and system time of the proxy's processes, divided by what was answered. */
  readonly cpuMicros: number;
  /** Share of one processor that the proxy used: well under 1, and load or origin were what limited the rate. */
  readonly busy: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  /** Towards the end of the round, under load. */
  readonly rssMb: number;
}

/** Medians, each of its figure by itself. */
export interface Figures extends Round {
  /** From the slowest counted round to the fastest, as a share of the median rate. */
  readonly spread: number;
  /** From the first counted round to the last. */
  readonly rssGrowthMb: number;
  readonly rounds: number;
  /** Why rounds did not count. */
  readonly dropped: readonly string[];
}

export interface RoundOptions {
  readonly process: Running;
  readonly port: number;
  readonly generator: Generator;
  readonly seconds: number;
  /** Where the payload files of this run lie. */
  readonly directory: string;
  readonly warmUp: boolean;
  /** Default: the load's core. */
  readonly loadCpus?: string;
}

/**
 * Load before a round that is not counted: a runtime that has idled while others were measured has let go of memory and machine code, and nobody's
 * service idles every few seconds. Every proxy has it alike.
 */
const WARM_UP_MS = 600;
/** What the generator is told, in its whole seconds: it is ended before. */
const WARM_UP_SECONDS = 10;

const run = promisify(execFile);

/** @throws Error when any answer was not 2xx or any socket failed: such a round does not count. */
export async function measure(options: RoundOptions): Promise<Round> {
  const { process, port, generator, seconds, directory, loadCpus = LOAD_CPU } = options;
  const command = (length: number) => ["-c", loadCpus, ...generator.command(port, length, directory)];
  if (options.warmUp) await runFor("taskset", command(WARM_UP_SECONDS), WARM_UP_MS);
  const before = cpuMicros(process.pid);
  const started = performance.now();
  const memory = new Promise<number>((resolve) => setTimeout(() => resolve(rssMb(process.pid)), seconds * 900));
  const { stdout } = await run("taskset", command(seconds));
  const wallMicros = (performance.now() - started) * 1000;
  const used = cpuMicros(process.pid) - before;
  const { done, rate, p50Ms, p99Ms } = generator.read(stdout);
  return {
    rate,
    cpuMicros: used / done,
    busy: used / wallMicros,
    ...(p50Ms !== undefined && { p50Ms }),
    ...(p99Ms !== undefined && { p99Ms }),
    rssMb: await memory,
  };
}

/** Runs a program that would go on for longer, and ends it. */
async function runFor(program: string, args: readonly string[], milliseconds: number): Promise<void> {
  const child = spawn(program, args, { stdio: "ignore" });
  const ended = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  await ended;
  clearTimeout(timer);
}

/** @param all counted rounds, at least one. */
export function figuresOf(all: readonly Round[], dropped: readonly string[]): Figures {
  const p50Ms = medianOf(all, (round) => round.p50Ms);
  const p99Ms = medianOf(all, (round) => round.p99Ms);
  return {
    rate: median(all.map((round) => round.rate)),
    cpuMicros: median(all.map((round) => round.cpuMicros)),
    busy: median(all.map((round) => round.busy)),
    ...(p50Ms !== undefined && { p50Ms }),
    ...(p99Ms !== undefined && { p99Ms }),
    rssMb: median(all.map((round) => round.rssMb)),
    spread: spread(all.map((round) => round.rate)),
    rssGrowthMb: (all.at(-1)?.rssMb ?? 0) - (all[0]?.rssMb ?? 0),
    rounds: all.length,
    dropped,
  };
}
