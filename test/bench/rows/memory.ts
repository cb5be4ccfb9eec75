/**
 * Memory: at rest with 5,000 routes, and what an idle connection costs. A process is started afresh for each round, because what a process has once
 * taken it seldom gives back. It has served a little before connections are counted, and each idle connection has had one request.
 */
import { connect, type Socket } from "node:net";
import { rssMb } from "../../tools/processes.ts";
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
import type { MemoryResult } from "../results.ts";
import { median } from "../statistics.ts";
import { BODY_BYTES, CONNECTIONS, hostName, type Workload } from "../workload.ts";

export interface MemoryFigures {
  /** Resident, of all its processes, right after the start; 10^6 bytes. */
  readonly restMb: number;
  /** What resident memory grew by, divided by the connections. */
  readonly idleBytes: number;
  readonly rounds: number;
}

export const MEMORY = "memory";
const PEERS = [tidegate, nginx, haproxy, envoy];
const WORKLOAD: Workload = { downstream: "http1", upstream: "http1", policies: true, routes: { hosts: 500, perHost: 10 } };
const IDLE_CONNECTIONS = 5_000;
/** Opened at a time: below every backlog. */
const BATCH = 250;
/** For a process to put its house in order after work. */
const SETTLE_MS = 1_000;
const TIMEOUT_MS = 10_000;
const BYTES_PER_MB = 1_000_000;
const BYTES_PER_MIB = 1_048_576;
const GENERATOR = wrk({
  path: "/r0/item",
  connections: CONNECTIONS,
  expect: { bytes: BODY_BYTES },
  headers: { Host: hostName(0) },
});

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
  const proxy = await bench.start({ name: peer.name, peer, workload: WORKLOAD, cpus: PROXY_CPU }, "http");
  const sockets: Socket[] = [];
  try {
    const rest = await settledMib(proxy);
    await measure({ ...proxy, generator: GENERATOR, seconds: 1, directory: bench.directory, warmUp: false });
    const before = await settledMib(proxy);
    for (let opened = 0; opened < IDLE_CONNECTIONS; opened += BATCH) {
      sockets.push(...(await Promise.all(Array.from({ length: BATCH }, () => idleConnection(proxy.port)))));
    }
    const after = await settledMib(proxy);
    const open = sockets.filter((socket) => !socket.closed).length;
    if (open < IDLE_CONNECTIONS)
      throw new Error(`${IDLE_CONNECTIONS - open} of ${IDLE_CONNECTIONS} idle connections were closed`);
    return {
      restMb: (rest * BYTES_PER_MIB) / BYTES_PER_MB,
      idleBytes: ((after - before) * BYTES_PER_MIB) / IDLE_CONNECTIONS,
      rounds: 1,
    };
  } finally {
    for (const socket of sockets) socket.destroy();
    await proxy.process.stop();
  }
}

async function settledMib({ process }: RunningPeer): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return rssMb(process.pid);
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
    socket.write(`GET /r0/item HTTP/1.1\r\nHost: ${hostName(0)}\r\n\r\n`);
  });
}

export function memoryBars(result: MemoryResult | undefined): readonly Bar[] {
  const own = result?.figures[OWN];
  return [
    { what: "memory at rest with 5,000 routes", value: own?.restMb, bar: 90, atLeast: false, unit: "MB" },
    { what: "memory per idle connection", value: own && own.idleBytes / 1000, bar: 12, atLeast: false, unit: "KB" },
  ];
}
