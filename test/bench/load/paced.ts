/**
 * The bench's own open-loop generator: requests leave at fixed times whatever becomes of those before, and latency counts from the time at which a
 * request was due. So a proxy that stalls is charged for every request that it made wait, not only for the one it was busy with (coordinated omission).
 */
import { fileURLToPath } from "node:url";
import { checkHttp1 } from "./check.ts";
import { type Generator, type Load, Trouble } from "./generator.ts";

export interface PacedOptions {
  readonly path: string;
  readonly connections: number;
  readonly perSecond: number;
  readonly bytes: number;
}

/** What the process prints. */
export interface PacedReport {
  readonly done: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How late the generator itself was, 99 of 100 times. */
  readonly lateP99Ms: number;
  /** Sockets that failed, answers that were not 200. */
  readonly problems: readonly string[];
  /** Requests that were due and had no answer when the run was over. */
  readonly unanswered: number;
}

/** A generator that is later than this measures itself. */
const MAX_LATE_MS = 5;

export function paced({ path, connections, perSecond, bytes }: PacedOptions): Generator {
  return {
    name: "paced",
    needs: [],
    check: async (port) => await checkHttp1({ port, path, tls: false, headers: {}, expect: { bytes } }),
    command: (port, seconds) => [
      ...[process.execPath, CLIENT, String(port), path],
      ...[connections, perSecond, seconds].map(String),
    ],
    read: readPaced,
  };
}

const CLIENT = fileURLToPath(new URL("./paced-client.ts", import.meta.url));

export function readPaced(output: string): Load {
  const report = JSON.parse(output) as PacedReport;
  const [problem] = report.problems;
  if (problem !== undefined) throw new Trouble(`${report.problems.length} requests failed: ${problem}`);
  if (report.unanswered > 0) throw new Trouble(`${report.unanswered} requests were not answered`);
  if (report.lateP99Ms > MAX_LATE_MS)
    throw new Trouble(`the generator was ${report.lateP99Ms.toFixed(1)} ms late: the machine is too busy`);
  const { done, seconds, p50Ms, p99Ms } = report;
  return { done, rate: done / seconds, p50Ms, p99Ms };
}
