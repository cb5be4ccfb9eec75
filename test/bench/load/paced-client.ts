/**
 * The process of the open-loop generator: `node paced-client.ts <port> <path> <connections> <requests per second> <seconds>`.
 *
 * A thread of its own keeps the time, because timers of an event loop know whole milliseconds only. Request i is due at start + i / rate and goes
 * to connection i mod n; where that one is still waiting for an answer, it waits its turn and its latency runs.
 */
import { connect, type Socket } from "node:net";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { percentile } from "../statistics.ts";
import { messageLength } from "./http1-message.ts";
import type { PacedReport } from "./paced.ts";

interface Pace {
  /** On the monotonic clock, which all threads share. */
  readonly startNs: bigint;
  readonly intervalNs: number;
  readonly total: number;
}

/** For what is on the way when the last request has left. */
const GRACE_MS = 1_000;
/** For connections to be made before the first request is due. */
const HEAD_START_NS = 100_000_000n;
const OK = /^HTTP\/1\.1 200 /;

/** Says a number each time that a request is due. */
function keepTime({ startNs, intervalNs, total }: Pace): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  for (let i = 0; i < total; i += 1) {
    const waitMs = Number(startNs + BigInt(Math.round(i * intervalNs)) - process.hrtime.bigint()) / 1e6;
    if (waitMs > 0) Atomics.wait(never, 0, 0, waitMs);
    parentPort?.postMessage(i);
  }
}

/** One connection: a queue of due times, one request on the way at most. */
class Lane {
  readonly #socket: Socket;
  readonly #request: Buffer;
  readonly #answered: (latencyMs: number) => void;
  readonly #failed: (problem: string) => void;
  readonly #due: bigint[] = [];
  #rest: Buffer | undefined;

  constructor(port: number, request: Buffer, answered: (latencyMs: number) => void, failed: (problem: string) => void) {
    this.#request = request;
    this.#answered = answered;
    this.#failed = failed;
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (bytes: Buffer) => this.#take(bytes));
    this.#socket.on("error", (error) => failed(error.message));
    this.#socket.on("end", () => failed("the connection was closed"));
  }

  send(dueNs: bigint): void {
    this.#due.push(dueNs);
    if (this.#due.length === 1) this.#socket.write(this.#request);
  }

  get waiting(): number {
    return this.#due.length;
  }

  end(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    this.#rest = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
    const length = messageLength(this.#rest);
    if (length === -1) return;
    const due = this.#due.shift();
    if (due === undefined || length !== this.#rest.length) this.#failed("an answer that nobody asked for");
    else if (!OK.test(this.#rest.toString("latin1", 0, 16))) this.#failed(this.#rest.toString("latin1", 0, 16));
    else this.#answered(Number(process.hrtime.bigint() - due) / 1e6);
    this.#rest = undefined;
    if (this.#due.length > 0) this.#socket.write(this.#request);
  }
}

async function main(): Promise<void> {
  const [port = "", path = "", connections = "", perSecond = "", seconds = ""] = process.argv.slice(2);
  const latencies: number[] = [];
  const late: number[] = [];
  const problems: string[] = [];
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
  const answered = (latencyMs: number) => latencies.push(latencyMs);
  const failed = (problem: string) => problems.push(problem);
  const lanes = Array.from({ length: Number(connections) }, () => new Lane(Number(port), request, answered, failed));
  const pace: Pace = {
    startNs: process.hrtime.bigint() + HEAD_START_NS,
    intervalNs: 1e9 / Number(perSecond),
    total: Number(perSecond) * Number(seconds),
  };
  const clock = new Worker(new URL(import.meta.url), { workerData: pace });
  clock.on("message", (i: number) => {
    const due = pace.startNs + BigInt(Math.round(i * pace.intervalNs));
    late.push(Number(process.hrtime.bigint() - due) / 1e6);
    lanes[i % lanes.length]?.send(due);
  });
  await new Promise((resolve) => clock.once("exit", resolve));
  const unanswered = () => lanes.reduce((sum, lane) => sum + lane.waiting, 0);
  for (let waited = 0; unanswered() > 0 && waited < GRACE_MS; waited += 10)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const report: PacedReport = {
    done: latencies.length,
    seconds: Number(seconds),
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    lateP99Ms: percentile(late, 0.99),
    problems,
    unanswered: unanswered(),
  };
  for (const lane of lanes) lane.end();
  process.stdout.write(JSON.stringify(report));
}

if (isMainThread) await main();
else keepTime(workerData as Pace);
