/**
 * `npm run bench`: our gateway beside nginx, HAProxy, Envoy and a bare relay, and our edge Worker beside other Workers, in one run.
 *
 * Each proxy alone on core 0 with one thread, origin and load on core 1; short rounds, proxies interleaved, the first round thrown away, medians of
 * the rest. Absolute figures wander with the machine: read the ratios. `docs/performance.md` says how.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { writeCertificate } from "../support/certificate.ts";
import { measureEdge } from "./edge.ts";
import { Bench } from "./interleave.ts";
import { grpcMessage } from "./load/grpc-message.ts";
import { GRPC_REQUEST_FILE } from "./load/h2load.ts";
import { describeMachine, loadAverage } from "./machine.ts";
import { startOrigins } from "./origins.ts";
import { writePage } from "./page.ts";
import { missingNginx } from "./peers/nginx.ts";
import type { TlsFiles } from "./peers/peer.ts";
import { measurePropagation } from "./propagation.ts";
import { reasonOf } from "./reason.ts";
import { barLines, renderTables } from "./report.ts";
import { keptPath, type LoadResult, type Results, writeResults } from "./results.ts";
import { BATCHES, ROWS } from "./rows/index.ts";
import { MEMORY, measureMemory } from "./rows/memory.ts";
import { measureSnapshots } from "./snapshot.ts";

const ORIGIN_PORT = 19_000;
const FIRST_PORT = 19_100;
/** What is measured beside the rows. */
const OTHER_PARTS = [MEMORY, "snapshot", "propagation", "edge"];
const PROXIES = "proxies";
const NAMES = [...ROWS.map((row) => row.name), PROXIES, ...OTHER_PARTS];
/** The main job, in less than a minute. */
const QUICK_NAMES = ["http1-plain", "http1-full", "snapshot"];

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    keep: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string", multiple: true },
    help: { type: "boolean", short: "h", default: false },
  },
});

if (values.help) {
  process.stdout.write(`Usage: npm run bench -- [--quick] [--only NAMES] [--rounds N] [--seconds S] [--json FILE] [--keep]

  --quick       two rounds of one second, none thrown away: for a look, not for a judgement; without --only of ${QUICK_NAMES.join(", ")}
  --only NAMES  these alone, with commas between: ${NAMES.join(", ")}
  --rounds N    counted rounds per proxy (default 5)
  --seconds S   length of a round, whole seconds (default 2)
  --json FILE   write the figures as JSON
  --keep        keep them under test/bench/results and draw table and chart of docs/performance.md anew

All of it usually takes 20 minutes, --quick less than one. Needs Linux and two processors; installs nginx, HAProxy, Envoy, wrk, h2load and ab where that is possible.
`);
  process.exit(0);
}

const only = values.only?.flatMap((names) => names.split(",")) ?? (values.quick && !values.keep ? QUICK_NAMES : NAMES);
const unknown = only.filter((name) => !NAMES.includes(name));
if (unknown.length > 0) fail(`--only ${unknown.join(",")}: no such row; there are ${NAMES.join(", ")}`);
if (values.keep && values.only !== undefined) fail("--keep: a run that is kept has every row; leave --only out");
if (availableParallelism() < 2) fail("the bench needs two processors: one for the proxy, one for load and origin");
const rounds = wholeNumber("rounds", values.rounds, values.quick ? 2 : 5);
const seconds = wholeNumber("seconds", values.seconds, values.quick ? 1 : 2);
// What was started ends with this process, whatever ends it.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
const wants = (name: string) => only.includes(name);
const at = new Date().toISOString();
const loadBefore = loadAverage();
const directory = mkdtempSync(join(tmpdir(), "tidegate-bench-"));
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
const failed: Record<string, string> = {};

const results = await run();
process.stdout.write(renderTables(results));
process.stdout.write(barLines(results));
if (values.json !== undefined) keep(values.json, results);
if (values.keep) {
  keep(keptPath(at), results);
  writePage(results);
}
process.exit(Object.keys(failed).length > 0 ? 1 : 0);

async function run(): Promise<Results> {
  const { rows, memory } = await measureProxies();
  const snapshot = await part("snapshot", () => measureSnapshots(values.quick ? 5 : 15));
  const propagation = await part("propagation", () => measurePropagation(directory, values.quick ? 40 : 200, say));
  const edge = await part("edge", () => measureEdge({ directory, rounds, seconds, quick: values.quick, say }));
  return {
    at,
    commit: spawnSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).stdout?.trim() || "unknown",
    machine: describeMachine(loadBefore),
    ...{ rounds, seconds, rows },
    ...(memory && { memory }),
    ...(snapshot && { snapshot }),
    ...(propagation && { propagation }),
    ...(edge && { edge }),
    ...(Object.keys(failed).length > 0 && { failed }),
  };
}

/** One that breaks off does not take the figures of the others with it. */
async function part<T>(name: string, measurePart: () => Promise<T>): Promise<T | undefined> {
  if (!wants(name)) return undefined;
  try {
    return await measurePart();
  } catch (error) {
    failed[name] = reasonOf(error);
    say(`${name}: FAILED: ${failed[name]}`);
    return undefined;
  }
}

async function measureProxies(): Promise<Pick<Results, "rows" | "memory">> {
  const batches = BATCHES.map((batch) => batch.filter((row) => wants(PROXIES) || wants(row.name))).filter(
    (batch) => batch.length > 0,
  );
  if (batches.length === 0 && !wants(MEMORY)) return { rows: {} };
  const noOrigin = missingNginx();
  if (noOrigin !== undefined) throw new Error(`origin: ${noOrigin}`);
  const tls = await writeFiles();
  const origins = await startOrigins(directory, ORIGIN_PORT);
  try {
    const bench = new Bench({
      ...{ directory, origins, tls, rounds, seconds, firstPort: FIRST_PORT, firstThrownAway: !values.quick, say },
    });
    const rows: Record<string, LoadResult> = {};
    for (const batch of batches) Object.assign(rows, await bench.run(batch));
    return { rows, ...(wants(MEMORY) && { memory: await measureMemory(bench) }) };
  } finally {
    await origins.stop();
  }
}

/** Certificate and payloads of this run. */
async function writeFiles(): Promise<TlsFiles> {
  const home = join(directory, "files");
  mkdirSync(home);
  const files = { certificate: join(home, "bench.pem"), key: join(home, "bench.key"), combined: join(home, "combined.pem") };
  await writeCertificate(files, "bench.local", ["bench.local", "*.bench.local"]);
  writeFileSync(files.combined, [files.certificate, files.key].map((file) => readFileSync(file, "utf8")).join("\n"));
  writeFileSync(join(directory, GRPC_REQUEST_FILE), grpcMessage("a call of the size that a small one has"));
  return files;
}

function keep(path: string, results: Results): void {
  writeResults(path, results);
  say(`figures written to ${path}`);
}

function wholeNumber(flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  return Number.isInteger(value) && value > 0 ? value : fail(`--${flag} ${text}: a whole number above 0 is needed`);
}

function fail(problem: string): never {
  process.stderr.write(`bench: ${problem}\n`);
  process.exit(2);
}

function say(text: string): void {
  const elapsed = new Date(performance.now()).toISOString().slice(14, 19);
  process.stderr.write(`${elapsed}  ${text}\n`);
}
