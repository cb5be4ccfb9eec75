/** What a snapshot of 5,000 routes costs one isolate: processor time to verify and compile it, and memory to hold it. */
import { chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import { freePort } from "../support/gateway.ts";
import {
  bytesByHash,
  makeKey,
  makeSnapshot,
  manifestOf,
  NOW_S,
  pinOf,
  rootDocument,
  signManifest,
  signRoot,
} from "../support/snapshots.ts";
import { startWorkerd } from "../support/workerd.ts";
import { cpuMicros, type Running, rssMb } from "../tools/processes.ts";

export interface IsolateFigures {
  readonly routes: number;
  /** Per snapshot when the code has run before; processor time of the whole process. */
  readonly cpuMs: number;
  /** The first one of a new isolate. */
  readonly firstCpuMs: number;
  /** Growth of the process per isolate that holds the snapshot. */
  readonly memoryMb: number;
  readonly bytes: number;
}

const ROUTES = 5_000;
const WARM_UP = 15;
/** Isolates that share one process: their mean evens out what the process does besides. */
const ISOLATES = 4;
/** For the garbage of verifying and compiling to be given back. */
const SETTLE_MS = 1_000;

export async function measureIsolates(directory: string, rounds: number): Promise<IsolateFigures> {
  const { body, bytes } = await work();
  const ports: number[] = [];
  for (let i = 0; i < ISOLATES; i += 1) ports.push(await freePort());
  const workerd = await startWorkerd(directory, {
    workers: ports.map((_, i) => ({ name: `holder-${i}`, entry: "test/bench/edge-workers/holder.ts", bindings: {} })),
    sockets: ports.map((port, i) => ({ name: `http-${i}`, address: `127.0.0.1:${port}`, service: `holder-${i}` })),
  });
  try {
    const [first = 0, ...others] = ports;
    for (const port of ports) await ask(port, "GET");
    const empty = await settled(workerd);
    for (const port of ports) await ask(port, "PUT", { body });
    const firstCpuMs = await cpuOf(workerd, async () => await ask(first, "POST"));
    for (const port of others) await ask(port, "POST");
    for (const port of ports) await ask(port, "DELETE");
    const full = await settled(workerd);
    await ask(first, "PUT", { body });
    await ask(first, "POST", { rounds: WARM_UP });
    const warm = await cpuOf(workerd, async () => await ask(first, "POST", { rounds }));
    return { routes: ROUTES, cpuMs: warm / rounds, firstCpuMs, memoryMb: (full - empty) / ISOLATES, bytes };
  } catch (error) {
    throw new Error(`workerd ${stateOf(workerd)}`, { cause: error });
  } finally {
    await workerd.stop();
  }
}

async function work(): Promise<{ readonly body: string; readonly bytes: number }> {
  const keys = { root: [await makeKey()], online: [await makeKey()] };
  const chunks = chunkSnapshot(makeSnapshot(ROUTES));
  const document = rootDocument(keys);
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const byHash = [...bytesByHash(chunks)];
  const body = {
    jws: base64(await signManifest(manifestOf(chunks, { version: 1 }), keys.online)),
    chunks: Object.fromEntries(byHash.map(([hash, bytes]) => [hash, base64(bytes)])),
    ...{ root: base64(await signRoot(document, keys.root)), pin: await pinOf(document), audience: "edge", nowS: NOW_S },
  };
  return { body: JSON.stringify(body), bytes: byHash.reduce((sum, [, bytes]) => sum + bytes.byteLength, 0) };
}

interface Asked {
  readonly body?: string;
  readonly rounds?: number;
}

async function ask(port: number, method: "GET" | "PUT" | "POST" | "DELETE", { body, rounds = 1 }: Asked = {}): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/?rounds=${rounds}`, { method, ...(body !== undefined && { body }) });
  if (!answer.ok) throw new Error(`the bench's own snapshot was not taken: ${await answer.text()}`);
  await answer.arrayBuffer();
}

/** For the one who reads that it failed: a connection that broke off does not tell why. */
function stateOf({ child, output }: Running): string {
  const ended = child.exitCode ?? child.signalCode;
  return `${ended === null ? "still runs" : `ended with ${ended}`}, and said: ${output() || "nothing"}`;
}

async function settled(workerd: Running): Promise<number> {
  await new Promise((done) => setTimeout(done, SETTLE_MS));
  return rssMb(workerd.pid);
}

/** Milliseconds of processor time that the process uses for it. */
async function cpuOf(workerd: Running, run: () => Promise<void>): Promise<number> {
  const before = cpuMicros(workerd.pid);
  await run();
  return (cpuMicros(workerd.pid) - before) / 1000;
}
