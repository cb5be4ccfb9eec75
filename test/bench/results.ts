/** What a run found, as it is kept: `test/bench/results/<day>.json`, one file per kept run. */
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { EdgeFigures } from "./edge.ts";
import type { Machine } from "./machine.ts";
import type { Figures } from "./measure.ts";
import type { Propagation } from "./propagation.ts";
import type { MemoryFigures } from "./rows/memory.ts";
import type { SnapshotTimes } from "./snapshot.ts";

export interface Results {
  /** When the run began, ISO 8601. Runs kept before there was this field have another form, and are history. */
  readonly at: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: Readonly<Record<string, LoadResult>>;
  readonly memory?: MemoryResult;
  readonly snapshot?: Readonly<Record<string, SnapshotTimes>>;
  readonly propagation?: Propagation;
  readonly edge?: EdgeFigures;
  /** Parts that broke off, and why: what the others found is told all the same. */
  readonly failed?: Readonly<Record<string, string>>;
}

export interface LoadResult {
  /** By contender. */
  readonly figures: Readonly<Record<string, Figures>>;
  /** Contenders without figures, and why. */
  readonly refused: Readonly<Record<string, string>>;
}

export interface MemoryResult {
  readonly figures: Readonly<Record<string, MemoryFigures>>;
  readonly refused: Readonly<Record<string, string>>;
}

export const RESULTS_DIRECTORY = "test/bench/results";

/** Where a run of that day is kept: a second one does not replace the first. */
export function keptPath(at: string, taken: (path: string) => boolean = existsSync): string {
  const day = at.slice(0, 10);
  for (let nth = 1; ; nth += 1) {
    const path = join(RESULTS_DIRECTORY, nth === 1 ? `${day}.json` : `${day}-${nth}.json`);
    if (!taken(path)) return path;
  }
}

/** What those look for who compare runs: of every workload, by contender. */
interface Workload {
  /** Requests (or what else is counted) per second. */
  readonly rps: number;
  readonly cpuMicros: number;
  readonly p99Ms?: number;
  readonly rssMb: number;
}

export function writeResults(path: string, results: Results): void {
  writeFileSync(path, `${JSON.stringify({ ...results, workloads: workloadsOf(results) }, null, 2)}\n`);
}

function workloadsOf({ rows }: Results): Record<string, Record<string, Workload>> {
  return mapValues(rows, ({ figures }) =>
    mapValues(figures, ({ rate, cpuMicros, p99Ms, rssMb }) => ({
      ...{ rps: rate, cpuMicros, rssMb },
      ...(p99Ms !== undefined && { p99Ms }),
    })),
  );
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

/** The newest run that is kept and has every row; what docs and chart are drawn from. */
export function newestKept(directory = RESULTS_DIRECTORY): Results {
  const kept = globSync(join(directory, "*.json"))
    .map((path) => JSON.parse(readFileSync(path, "utf8")) as Partial<Results>)
    .filter((results): results is Results => results.at !== undefined && results.rows !== undefined);
  const newest = kept.reduce<Results | undefined>(
    (best, one) => (best === undefined || one.at > best.at ? one : best),
    undefined,
  );
  if (newest === undefined) throw new Error(`no results are kept under ${directory}: npm run bench -- --keep`);
  return newest;
}
