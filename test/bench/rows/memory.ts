/**
 * Memory: at rest with 5,000 routes, and what an idle connection costs. A process is started afresh for each figure, because what it has once taken it
 * seldom gives back: what compiling many routes has left free would hold the connections, and they would seem to cost nothing. What the first requests and
 * connections bring with them is nobody's, so a connection's cost is what more of them add to a process that has served and has some. Each has had one request.
 */
import { connect, type Socket } from "node:net";
import type { Bar } from "../bars.ts";
import type { Bench } from "../interleave.ts";
import { messageLength } from "../load/http1-message.ts";
import { wrk } from "../load/wrk.ts";
import { PROXY_CPU } from "../machine.ts";
import { measure } from "../measure.ts";
import { envoy } from "../peers/envoy.ts";
import { haproxy } from "../peers/haproxy.ts";
import { nginx } from "../peers/nginx.ts";
import type { Peer, RunningPeer } from "../peers/peer.ts";
import { OWN, tidegate } from "../peers/tidegate.ts";
import { reasonOf } from "../reason.ts";
import { settledBytes } from "../resident.ts";
import type { MemoryResult } from "../results.ts";
import { median } from "../statistics.ts";
import { BODY_BYTES, CONNECTIONS, FULL_CHAIN, FULL_CHAIN_PATH, type Workload } from "../workload.ts";

export interface MemoryFigures {
  /** Resident, of all its processes, after the start; 10^6 bytes. */
  readonly restMb: number;
  /** What resident memory grew by over the counted connections, divided by them. */
  readonly idleBytes: number;
  readonly rounds: number;
}

export const MEMORY = "memory";
const PEERS = [tidegate, nginx, haproxy, envoy];
const MANY_ROUTES: Workload = { downstream: "http1", upstream: "http1", policies: true, routes: { hosts: 500, perHost: 10 } };
const FEW_ROUTES: Workload = { downstream: "http1", upstream: "http1", ...FULL_CHAIN };
/** Open before those that are counted. */
const FIRST_CONNECTIONS = 1_000;
const COUNTED_CONNECTIONS = 5_000;
/** Opened at a time: below every backlog. */
const BATCH = 250;
const TIMEOUT_MS = 10_000;
const BYTES_PER_MB = 1_000_000;
const GENERATOR = wrk({ path: FULL_CHAIN_PATH, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } });

export async function measureMemory(bench: Bench): Promise<MemoryResult> {
  const all = new Map<Peer, MemoryFigures[]>();
  const refused: Record<string, string> = {};
  for (let round = 1; round <= bench.rounds; round += 1) {
    bench.say(`${MEMORY}: round ${round} of ${bench.rounds}: ${PEERS.length} proxies started afresh`);
    for (const peer of PEERS) {
      if (refused[peer.name] !== undefined) continue;
      try {
        all.set(peer, [...(all.get(peer) ?? []), await once(bench, peer)]);
      } catch (error) {
        refused[peer.name] = reasonOf(error);
      }
    }
  }
  const figures = Object.fromEntries([...all].map(([peer, rounds]) => [peer.name, mediansOf(rounds)]));
  return { figures, refused };
}

function mediansOf(rounds: readonly MemoryFigures[]): MemoryFigures {
  const of = (figure: "restMb" | "idleBytes") => median(rounds.map((round) => round[figure]));
  return { restMb: of("restMb"), idleBytes: of("idleBytes"), rounds: rounds.length };
}

async function once(bench: Bench, peer: Peer): Promise<MemoryFigures> {
  const missing = peer.missing();
  if (missing !== undefined) throw new Error(missing);
  const rest = await withPeer(bench, peer, MANY_ROUTES, ({ process }) => settledBytes(process.pid));
  const idleBytes = await withPeer(bench, peer, FEW_ROUTES, (proxy) => idleCost(bench, proxy));
  return { restMb: rest / BYTES_PER_MB, idleBytes, rounds: 1 };
}

async function withPeer(
  bench: Bench,
  peer: Peer,
  workload: Workload,
  look: (proxy: RunningPeer) => Promise<number>,
): Promise<number> {
  const proxy = await bench.start({ name: peer.name, peer, workload, cpus: PROXY_CPU }, "http");
  try {
    return await look(proxy);
  } finally {
    await proxy.process.stop();
  }
}

/** Bytes. */
async function idleCost(bench: Bench, proxy: RunningPeer): Promise<number> {
  const { port, process } = proxy;
  const sockets: Socket[] = [];
  try {
    await measure({ ...proxy, generator: GENERATOR, seconds: 1, directory: bench.directory, warmUp: false });
    sockets.push(...(await idleConnections(port, FIRST_CONNECTIONS)));
    const before = await settledBytes(process.pid);
    sockets.push(...(await idleConnections(port, COUNTED_CONNECTIONS)));
    const after = await settledBytes(process.pid);
    const closed = sockets.filter((socket) => socket.closed).length;
    if (closed > 0) throw new Error(`${closed} of ${sockets.length} idle connections were closed`);
    return (after - before) / COUNTED_CONNECTIONS;
  } finally {
    for (const socket of sockets) socket.destroy();
  }
}

async function idleConnections(port: number, count: number): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(BATCH, count - sockets.length) }, () => idleConnection(port));
    sockets.push(...(await Promise.all(some)));
  }
  return sockets;
}

/** Resolves when its one request is answered. */
function idleConnection(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    let bytes = Buffer.alloc(0);
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("a connection was closed instead of answered")));
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (messageLength(bytes) === -1) return;
      socket.setTimeout(0);
      if (bytes.toString("latin1", 9, 12) === "200") resolve(socket);
      else reject(new Error(`answered ${bytes.toString("latin1", 0, 32)}`));
    });
    socket.write(`GET ${FULL_CHAIN_PATH} HTTP/1.1\r\nHost: bench.local\r\n\r\n`);
  });
}

export function memoryBars(result: MemoryResult | undefined): readonly Bar[] {
  const own = result?.figures[OWN];
  return [
    { what: "memory at rest with 5,000 routes", value: own?.restMb, bar: 90, atLeast: false, unit: "MB" },
    { what: "memory per idle connection", value: own && own.idleBytes / 1000, bar: 12, atLeast: false, unit: "KB" },
  ];
}
