/**
 * The edge on plain `workerd serve`: our ingress Worker with a thousand routes and a quota beside a bare pass-through Worker and a router Worker; what
 * a snapshot costs an isolate; how long a change takes to a site. Requests go from core 1 to core 0, as for the other proxies.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestSite } from "../support/edge-site.ts";
import { TestMesh } from "../support/mesh.ts";
import { startWorkerd } from "../support/workerd.ts";
import { ensure } from "../tools/ensure.ts";
import type { Running } from "../tools/processes.ts";
import { type IsolateFigures, measureIsolates } from "./edge-isolates.ts";
import { type EdgePropagation, measureEdgePropagation } from "./edge-propagation.ts";
import { wrk } from "./load/wrk.ts";
import { PROXY_CPU } from "./machine.ts";
import { type Figures, figuresOf, measure, type Round } from "./measure.ts";
import { startOrigin } from "./origins.ts";
import { missingNginx } from "./peers/nginx.ts";
import { meanOf } from "./statistics.ts";
import { BODY_BYTES, CONNECTIONS, QUOTA_PER_SECOND } from "./workload.ts";

export interface EdgeFigures {
  /** By Worker: `tidegate`, `pass-through`, `hono`. */
  readonly workers: Readonly<Record<string, Figures>>;
  /** By Worker but ours. Absent in runs that were kept before it was measured. */
  readonly together?: Readonly<Record<string, Together>>;
  readonly isolate: IsolateFigures;
  readonly propagation: EdgePropagation;
}

/** Our Worker against another one while both are under load, and run in turns of a fraction of a second. */
export interface Together {
  /** Ours as a multiple: requests per second of processor time, mean of the rounds. */
  readonly ratio: number;
  /** Standard error of the ratio. */
  readonly error: number;
  readonly rounds: number;
}

export interface EdgeOptions {
  readonly directory: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly quick: boolean;
  readonly say: (text: string) => void;
}

const ORIGIN_PORT = 19_300;
/** Workers of `edge-workers`. */
const PEERS = [
  { name: "pass-through", entry: "pass-through", port: 19_301 },
  { name: "hono", entry: "hono-router", port: 19_302 },
] as const;
/** As many as the router Worker has. */
const ROUTES = 1_000;
const PATH = `/r${Math.floor(ROUTES * 0.7)}/item`;
/** Processes of each Worker, one after the other: where the loader and V8 put things makes each of them as much as a tenth faster or slower for its whole life. */
const STARTS = 3;
/** Workers take turns this short, because the machine's moods last for seconds: what one of them meets, the others meet as well. */
const TURN_SECONDS = 1;
/** Of each Worker in each of its starts, at least: single ones differ by a third on a shared machine. */
const TURNS = 8;
/**
 * Rounds in which all Workers are under load at once, and one of them runs at a time, for `SLICE_MS`: long enough for its data to be in the processor's caches as if
 * it were alone, and so short that a mood of the machine is the same for all. What they need for a request is held against each other within the round.
 */
const TOGETHER_ROUNDS = 12;
const SLICE_MS = 200;
const TOGETHER_SECONDS = 5;
/** Served by each Worker before its first turn: that long V8 goes on compiling what a gateway does, beside it on the same processor. */
const SERVED_SECONDS = 12;

export async function measureEdge(options: EdgeOptions): Promise<EdgeFigures> {
  const { directory, quick, say } = options;
  const { workers, together } = await measureWorkers(options);
  say(`edge: snapshots in isolates`);
  const isolate = await measureIsolates(join(directory, "edge-isolates"), quick ? 5 : 20);
  const changes = quick ? 10 : 100;
  say(`edge: ${changes} changes of each class to a site`);
  const propagation = await measureEdgePropagation(join(directory, "edge-propagation"), changes);
  return { workers, together, isolate, propagation };
}

/** A Worker under load. */
interface Subject {
  readonly name: string;
  readonly process: Running;
  readonly port: number;
}

async function measureWorkers(options: EdgeOptions): Promise<Pick<Required<EdgeFigures>, "workers" | "together">> {
  for (const reason of [missingNginx(), ensure("wrk").kind === "missing" ? "wrk is missing" : undefined]) {
    if (reason !== undefined) throw new Error(`edge: ${reason}`);
  }
  const { directory, quick, say } = options;
  const origin = await startOrigin(directory, ORIGIN_PORT);
  const home = join(directory, "edge-load");
  const mesh = await TestMesh.prepare({ directory: home, declared: [80], settings: "  accessLog: { enabled: false }\n" });
  const site = await TestSite.prepare({ directory: home, gateway: "bench" });
  try {
    writeFileSync(join(mesh.config, "bench.yaml"), [routes(), site.yaml].join("---\n"));
    await mesh.startControl();
    const counted = new Map<string, Round[]>();
    const ratios = new Map<string, number[]>();
    const starts = quick ? 1 : STARTS;
    for (let start = 1; start <= starts; start += 1) {
      const peers: Subject[] = [];
      try {
        await site.start(mesh.api, { cpus: PROXY_CPU });
        for (const { name, entry, port } of PEERS) peers.push({ name, process: await peer(entry, port, directory), port });
        const subjects = [{ name: "tidegate", process: site.running, port: site.port }, ...peers];
        const told = { ...options, say: (text: string) => say(`edge: start ${start} of ${starts}, ${text}`) };
        await serveFirst(subjects, told);
        await takeTurns(subjects, told, counted);
        await shareTime(subjects, told, ratios);
      } finally {
        await Promise.all([...peers.map(({ process }) => process), site].map((one) => one.stop()));
      }
    }
    return {
      workers: Object.fromEntries([...counted].map(([name, all]) => [name, figuresOf(all, [])])),
      together: Object.fromEntries([...ratios].map(([name, all]) => [name, togetherOf(all)])),
    };
  } finally {
    await Promise.all([site, mesh, origin].map((one) => one.stop()));
  }
}

function load({ process, port }: Subject, seconds: number, warmUp: boolean, { directory }: EdgeOptions): Promise<Round> {
  const generator = wrk({ path: PATH, connections: CONNECTIONS, expect: { bytes: BODY_BYTES } });
  return measure({ process, port, generator, seconds, directory, warmUp });
}

async function serveFirst(subjects: readonly Subject[], options: EdgeOptions): Promise<void> {
  const { quick, seconds, say } = options;
  for (const subject of subjects) {
    say(`${subject.name} serves before it is measured`);
    await load(subject, quick ? seconds : SERVED_SECONDS, false, options);
  }
}

async function takeTurns(subjects: readonly Subject[], options: EdgeOptions, counted: Map<string, Round[]>): Promise<void> {
  const { rounds, seconds, quick, say } = options;
  const asked = Math.ceil((rounds * seconds) / (quick ? 1 : STARTS) / TURN_SECONDS);
  const turns = quick ? asked : Math.max(TURNS, asked);
  say(`${turns} turns of each`);
  for (let turn = 1; turn <= turns; turn += 1) {
    for (const subject of subjects) {
      const result = await load(subject, TURN_SECONDS, true, options);
      counted.set(subject.name, [...(counted.get(subject.name) ?? []), result]);
    }
  }
}

/** @param ratios by Worker but the first, which is ours */
async function shareTime(subjects: readonly Subject[], options: EdgeOptions, ratios: Map<string, number[]>): Promise<void> {
  const { quick, say } = options;
  const rounds = quick ? 1 : TOGETHER_ROUNDS;
  say(`${rounds} rounds of ${TOGETHER_SECONDS} s of all together`);
  const pids = subjects.map(({ process }) => process.pid);
  for (let round = 1; round <= rounds; round += 1) {
    const [own, ...others] = await inSlices(pids, () =>
      Promise.all(subjects.map((subject) => load(subject, TOGETHER_SECONDS, false, options))),
    );
    for (const [i, other] of others.entries()) {
      const { name } = subjects[i + 1] as Subject;
      ratios.set(name, [...(ratios.get(name) ?? []), other.cpuMicros / (own?.cpuMicros ?? Number.NaN)]);
    }
  }
}

/** Does `work` while one of the processes runs at a time, in turn; the others are stopped, and do not notice. */
async function inSlices<T>(pids: readonly number[], work: () => Promise<T>): Promise<T> {
  let turn = 0;
  const runNext = () => {
    process.kill(pids[turn % pids.length] as number, "SIGSTOP");
    turn += 1;
    process.kill(pids[turn % pids.length] as number, "SIGCONT");
  };
  for (const pid of pids.slice(1)) process.kill(pid, "SIGSTOP");
  const timer = setInterval(runNext, SLICE_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    for (const pid of pids) process.kill(pid, "SIGCONT");
  }
}

function togetherOf(ratios: readonly number[]): Together {
  const { mean, error } = meanOf(ratios);
  return { ratio: mean, error, rounds: ratios.length };
}

async function peer(name: string, port: number, directory: string): Promise<Running> {
  const folder = join(directory, `edge-${name}`);
  mkdirSync(folder, { recursive: true });
  const origin = { kind: "text" as const, value: `http://127.0.0.1:${ORIGIN_PORT}` };
  return await startWorkerd(
    folder,
    {
      workers: [{ name, entry: `test/bench/edge-workers/${name}.ts`, bindings: { ORIGIN: origin } }],
      sockets: [{ name: "http", address: `127.0.0.1:${port}`, service: name }],
      allowNetworks: ["127.0.0.0/8"],
    },
    {},
    PROXY_CPU,
  );
}

/** The origin stands on the internet as far as the mesh knows, so that nothing is between it and the Worker. */
function routes(): string {
  // The origin's own name as Host: the Worker then fetches by URL, as the others do.
  const send = `rewrite: { authority: "127.0.0.1:${ORIGIN_PORT}" }, route: [{ destination: { host: origin.bench.local, port: { number: 80 } } }]`;
  const route = (i: number) => `    - { name: r${i}, match: [{ uri: { prefix: /r${i}/ } }], ${send} }`;
  return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bench, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: test }
spec:
  hosts: [origin.bench.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${ORIGIN_PORT} }]
  endpoints: [{ address: 127.0.0.1 }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bench, namespace: test }
spec:
  hosts: ["*"]
  gateways: [bench]
  http:
${Array.from({ length: ROUTES }, (_, i) => route(i)).join("\n")}
---
apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: bench, namespace: test }
spec:
  targets: [{ kind: VirtualService, name: bench }]
  key: [{ clientIP: {} }]
  limits: [{ name: most, requests: ${QUOTA_PER_SECOND}, per: 1s }]
  headers: none
`;
}
