/**
 * Thousands of idle and hundreds of slow clients at one gateway process: the others are served as if they were alone, and what each holds is bounded. How
 * latency compares is the benchmark's to say: here is only what holds on a busy machine.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import { eventually, freePort, okAnswer, RawClient, ScriptedOrigin, testListener, testSnapshot } from "../support/gateway.ts";
import { LoadDriver } from "../support/load.ts";
import { bytesByHash, makeKey, manifestOf, signManifest } from "../support/snapshots.ts";
import { rssMb } from "../tools/processes.ts";

const IDLE = 5000;
const SLOW = 500;
/** Resident memory that an idle connection may cost, generously: it includes what the allocator keeps of the opening. */
const MAX_KIB_PER_IDLE = 24;
/** And a slow one: what waits for it in either direction, and a connection to the origin. */
const MAX_KIB_PER_SLOW = 512;
/** No answer of the others takes longer, on a machine that does a lot besides. */
const MAX_ANSWER_MS = 3000;
/** Opened together; more would find the kernel's queue full. */
const AT_ONCE = 250;

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const LARGE = Buffer.alloc(4 * 1024 * 1024, 120);

const opened: { stop(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

async function gatewayProcess(
  port: number,
  originPort: number,
): Promise<{ readonly pid: number; readonly output: () => string }> {
  const directory = mkdtempSync(join(tmpdir(), "tidegate-many-"));
  const snapshot = testSnapshot({ listeners: [testListener(port)], originPorts: [originPort], cluster: { pool: POOL } });
  const chunks = chunkSnapshot(snapshot);
  const path = join(directory, "snapshot.json");
  const jws = await signManifest(manifestOf(chunks, { version: 1 }), [await makeKey()]);
  await writeSnapshotFile(path, { jws, chunks: bytesByHash(chunks) });
  const ports = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];
  const child = spawn(process.execPath, [MAIN, "--snapshot", path, ...ports], {
    stdio: ["ignore", "ignore", "pipe"],
    cwd: directory,
  });
  opened.push({
    stop: () => {
      child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    },
  });
  let text = "";
  child.stderr.on("data", (bytes) => {
    text += String(bytes);
  });
  await eventually(() => text.includes("snapshot in force"), 15_000);
  return { pid: child.pid ?? 0, output: () => text };
}

const POOL = {
  connectTimeoutMs: 5000,
  idleTimeoutMs: 60_000,
  maxConnections: 4096,
  maxPendingRequests: 4096,
  maxRequestsPerConnection: 0,
};

/** Opens as many clients, each of which says `text`. */
async function clients(
  port: number,
  count: number,
  text: string,
  ready: (one: RawClient) => boolean,
): Promise<readonly RawClient[]> {
  const all: RawClient[] = [];
  while (all.length < count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - all.length) }, () => new RawClient(port).send(text));
    all.push(...some);
    await eventually(() => some.every((one) => one.closed || ready(one)), 30_000);
  }
  opened.push({
    stop: () => {
      for (const one of all) one.close();
    },
  });
  return all;
}

it(`${IDLE} idle and ${SLOW} slow clients disturb nobody, and memory stays bounded`, async () => {
  const origin = await new ScriptedOrigin((socket, request) => {
    if (!request.startsWith("GET /large")) socket.write(okAnswer("ok"));
    else socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${LARGE.length}\r\n\r\n`, () => socket.write(LARGE));
  }).start();
  opened.push(origin);
  const port = await freePort();
  const { pid, output } = await gatewayProcess(port, origin.port);
  const check = ({ status, body }: { readonly status: number; readonly body: string }) =>
    status === 200 && body === "ok" ? undefined : "wrong";
  const load = new LoadDriver([{ port, connections: 8, request: GET, sent: () => 0, check }], 300);
  await load.start();
  opened.push({ stop: () => load.stop() });
  // What the first requests compile and allocate is nobody's.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  load.takeFigures();
  const atRest = rssMb(pid);

  const idle = await clients(port, IDLE, GET, (one) => one.received.endsWith("ok"));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const withIdle = rssMb(pid);

  const part = Math.ceil(SLOW / 3);
  const slow = [
    ...(await clients(port, part, "GET / HTTP/1.1\r\nhost: a.test\r\nx-slow: ", () => true)),
    ...(await clients(port, part, "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1000\r\n\r\n", () => true)),
  ];
  const dripping = setInterval(() => {
    for (const one of slow) if (!one.closed) one.send("x");
  }, 500);
  opened.push({ stop: () => clearInterval(dripping) });
  const readers = await clients(port, part, GET.replace("/", "/large"), (one) => one.bytes > 0 && one.socket.pause().isPaused());
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const withSlow = rssMb(pid);

  const figures = load.takeFigures();
  expect(load.failed).toEqual([]);
  expect(figures.failures).toBe(0);
  expect(figures.requests).toBeGreaterThan(500);
  expect(figures.slowestMs).toBeLessThan(MAX_ANSWER_MS);
  expect([...idle, ...slow, ...readers].filter((one) => one.closed || one.ended)).toEqual([]);
  const kib = { idle: ((withIdle - atRest) * 1024) / IDLE, slow: ((withSlow - withIdle) * 1024) / SLOW };
  process.stdout.write(
    `KiB per idle client ${kib.idle.toFixed(1)}, per slow client ${kib.slow.toFixed(1)}; slowest answer ${figures.slowestMs.toFixed(0)} ms\n`,
  );
  expect(kib.idle, output()).toBeLessThan(MAX_KIB_PER_IDLE);
  expect(kib.slow).toBeLessThan(MAX_KIB_PER_SLOW);
}, 120_000);
