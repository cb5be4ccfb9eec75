/**
 * `npm run bench`: our gateway beside nginx, HAProxy, Envoy and a bare relay, and our edge Worker beside other Workers, in one run.
 *
 * Each proxy alone on core 0 with one thread, origin and load on core 1; short rounds, proxies and workloads interleaved, the first round thrown away,
 * medians of the rest. Absolute figures wander with the machine: read the ratios.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensure } from "../tools/ensure.ts";
import type { Running } from "../tools/processes.ts";
import { type EdgeFigures, measureEdge } from "./edge.ts";
import { measure, medians, type Round } from "./measure.ts";
import { envoy } from "./peers/envoy.ts";
import { haproxy } from "./peers/haproxy.ts";
import { missingNginx, nginx, startOrigin } from "./peers/nginx.ts";
import type { Peer } from "./peers/peer.ts";
import { relay } from "./peers/relay.ts";
import { tidegate } from "./peers/tidegate.ts";
import { measurePropagation, type Propagation } from "./propagation.ts";
import { barLines, type Results, renderTables } from "./report.ts";
import { measureSnapshots, type SnapshotTimes } from "./snapshot.ts";
import { WORKLOADS, type Workload } from "./workload.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (values.help) {
  process.stdout.write(`Usage: npm run bench -- [--quick] [--json FILE] [--rounds N] [--seconds S] [--only proxies|snapshot|propagation|edge]

  --quick      two counted rounds of one second: under a minute
  --json FILE  write the figures as JSON
  --rounds N   counted rounds per proxy (default 5)
  --seconds S  length of a round (default 3)
  --only PART  one part alone

Needs two processors, Linux, and installs nginx, HAProxy, wrk and Envoy where that is possible.
`);
  process.exit(0);
}

const PROXY_CPU = 0;
const LOAD_CPU = 1;
const ORIGIN_PORT = 19_000;
const FIRST_PORT = 19_100;
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 3));
const directory = mkdtempSync(join(tmpdir(), "tidegate-bench-"));
const missing: Record<string, string> = {};

try {
  const part = (name: string) => values.only === undefined || values.only === name;
  const workloads = part("proxies") ? await benchProxies() : {};
  const snapshot: Record<string, SnapshotTimes> = part("snapshot") ? await measureSnapshots(values.quick ? 5 : 15, say) : {};
  const propagation: Propagation | undefined = part("propagation")
    ? await measurePropagation(directory, values.quick ? 40 : 200, say)
    : undefined;
  const edge: EdgeFigures | undefined = part("edge")
    ? await measureEdge({ directory, rounds, seconds, quick: values.quick, say })
    : undefined;
  const results: Results = {
    machine: machine(),
    rounds,
    seconds,
    workloads,
    snapshot,
    missing,
    ...(propagation && { propagation }),
    ...(edge && { edge }),
  };
  process.stdout.write(renderTables(results));
  process.stdout.write(barLines(results));
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
    say(`figures written to ${values.json}`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);

async function benchProxies(): Promise<Results["workloads"]> {
  if (availableParallelism() < 2) throw new Error("the bench needs two processors: one for the proxy, one for load and origin");
  const wrk = ensure("wrk");
  if (wrk.kind === "missing") throw new Error(`load generator: ${wrk.reason}`);
  const noOrigin = missingNginx();
  if (noOrigin !== undefined) throw new Error(`origin: ${noOrigin}`);
  const origin = await startOrigin(directory, ORIGIN_PORT, LOAD_CPU);
  try {
    const running: Contender[] = [];
    for (const workload of WORKLOADS) {
      for (const peer of peersFor(workload)) {
        const reason = peer.missing();
        if (reason !== undefined) {
          missing[peer.name] = reason;
          continue;
        }
        const port = FIRST_PORT + running.length;
        const process = await peer.start({ workload, port, originPort: ORIGIN_PORT, directory, cpu: PROXY_CPU });
        running.push({ workload, peer, port, process });
      }
    }
    const results = await interleave(running);
    for (const { process } of running) await process.stop();
    return results;
  } finally {
    await origin.stop();
  }
}

/** A proxy set up for a workload. */
interface Contender {
  readonly workload: Workload;
  readonly peer: Peer;
  readonly port: number;
  readonly process: Running;
}

/** The relay does no routing: it stands beside the plain workload only. */
function peersFor(workload: Workload): readonly Peer[] {
  return workload.policies ? [tidegate, nginx, haproxy, envoy] : [tidegate, relay, nginx, haproxy, envoy];
}

/**
 * One round of everybody, then the next: also the workloads of one proxy are held against each other, so they have to meet the same
 * moods of the machine. Who is not under load only waits.
 */
async function interleave(running: readonly Contender[]): Promise<Results["workloads"]> {
  const counted = new Map<Contender, Round[]>(running.map((contender) => [contender, []]));
  for (let round = 0; round <= rounds; round += 1) {
    say(`round ${round} of ${rounds}${round === 0 ? " (thrown away)" : ""}: ${running.length} proxies, ${seconds} s each`);
    for (const contender of running) {
      const { process, port, workload } = contender;
      const result = await measure(process, `http://127.0.0.1:${port}${workload.path}`, seconds, LOAD_CPU);
      if (round > 0) counted.get(contender)?.push(result);
    }
  }
  const results: Record<string, Record<string, Round>> = {};
  for (const [{ workload, peer }, all] of counted) {
    results[workload.name] = {
      ...results[workload.name],
      [peer.name]: medians(all),
    };
  }
  return results;
}

function machine(): Results["machine"] {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1024 / 1024),
    kernel: release(),
    node: process.version,
    load: readFileSync("/proc/loadavg", "utf8").trim(),
  };
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
