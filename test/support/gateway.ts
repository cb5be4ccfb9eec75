/** A gateway in this process for tests over loopback: the IR of a small one, origins that play a script, clients that speak raw bytes. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { threadId } from "node:worker_threads";
import {
  type Cluster,
  DEFAULT_SETTINGS,
  type ForwardAction,
  type Listener,
  type Route,
  type Settings,
  type Snapshot,
} from "../../gateway/core/ir/index.ts";
import { Engine, type EngineOptions, MetricsRegistry } from "../../gateway/node/index.ts";

const ORIGIN = { kind: "VirtualService", namespace: "test", name: "test" };

/**
 * A port that nobody listens on. The kernel gives these numbers to no outgoing connection (it starts at 32768), and each process and thread of a test run
 * has a block of its own, so that nobody takes the port before its server does.
 */
export async function freePort(): Promise<number> {
  block ??= ownBlock();
  const first = await block;
  for (let tries = 1; tries < BLOCK; tries += 1) {
    const port = first + 1 + (portsGiven++ % (BLOCK - 1));
    const server = await listenerOn(port);
    if (server === undefined) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error(`none of the ${BLOCK} ports from ${first} on is free`);
}

const FIRST_PORT = 20_000;
const BLOCK = 300;
const BLOCKS = 40;
let block: Promise<number> | undefined;
let portsGiven = 0;

/** A block is its whose socket listens on its first port; that goes with its process or thread. */
async function ownBlock(): Promise<number> {
  for (let tries = 0; tries < BLOCKS; tries += 1) {
    const first = FIRST_PORT + ((process.pid + threadId + tries) % BLOCKS) * BLOCK;
    if ((await listenerOn(first))?.unref() !== undefined) return first;
  }
  throw new Error(`all ${BLOCKS} blocks of ports from ${FIRST_PORT} on are taken`);
}

function listenerOn(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}

export function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

export function testListener(port: number, change: Partial<Listener> = {}): Listener {
  return {
    name: `127.0.0.1:${port}`,
    bind: "127.0.0.1",
    port,
    servicePort: 80,
    protocol: "http",
    servers: [{ name: "test", serverNames: ["*"], routeTable: "main" }],
    origins: [ORIGIN],
    ...change,
  };
}

export function testCluster(name: string, change: Partial<Cluster> = {}): Cluster {
  return {
    name,
    host: "origin.test",
    port: 80,
    origin: ORIGIN,
    discovery: "static",
    loadBalancer: { policy: "round-robin" },
    pool: {
      connectTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      maxConnections: 1024,
      maxPendingRequests: 1024,
      maxRequestsPerConnection: 0,
    },
    retryBudget: { percent: 20, minConcurrent: 3 },
    ...change,
  };
}

export function testRoute(cluster: string, action: Partial<ForwardAction> = {}, change: Partial<Route> = {}): Route {
  return {
    id: "test/test/0",
    origin: ORIGIN,
    matches: [],
    action: {
      kind: "forward",
      destinations: [{ cluster, weight: 1 }],
      retry: { attempts: 0, on: [], statusCodes: [], backoffBaseMs: 25, backoffMaxMs: 250, nonIdempotent: false },
      mirrors: [],
      ...action,
    },
    quotas: [],
    ...change,
  };
}

export interface TestSnapshot {
  readonly listeners: readonly Listener[];
  readonly originPorts: readonly number[];
  readonly routes?: readonly Route[];
  readonly cluster?: Partial<Cluster>;
  readonly http?: Partial<Settings["http"]>;
  readonly settings?: Partial<Settings>;
}

export const CLUSTER = "outbound|80||origin.test";

/** One table, one host `*`, one cluster. */
export function testSnapshot({ listeners, originPorts, routes, cluster, http, settings }: TestSnapshot): Snapshot {
  return {
    settings: {
      ...DEFAULT_SETTINGS,
      accessLog: { enabled: false, path: "-" },
      ...settings,
      http: { ...DEFAULT_SETTINGS.http, ...http },
    },
    listeners,
    routeTables: [
      {
        name: "main",
        quotas: [],
        virtualHosts: [{ name: "any", domains: ["*"], quotas: [], routes: routes ?? [testRoute(CLUSTER)] }],
      },
    ],
    clusters: [testCluster(CLUSTER, cluster)],
    endpoints: [{ cluster: CLUSTER, endpoints: originPorts.map((port) => ({ address: "127.0.0.1", port, weight: 1 })) }],
    quotas: [],
    egress: undefined,
  };
}

export interface TestGateway {
  readonly engine: Engine;
  readonly metrics: MetricsRegistry;
  readonly logged: string[];
  install(snapshot: Snapshot, version?: string): Promise<void>;
}

export function testGateway(
  threads = 1,
  bankAccess?: EngineOptions["bankAccess"],
  secrets = "/nonexistent",
  more: Partial<EngineOptions> = {},
): TestGateway {
  const metrics = new MetricsRegistry();
  const logged: string[] = [];
  const engine = new Engine({
    threads,
    bankAccess,
    metrics,
    secrets,
    log: (_level, message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`),
    ...more,
  });
  let count = 0;
  return {
    engine,
    metrics,
    logged,
    async install(snapshot, version = `1.${++count}`) {
      const outcome = await engine.installSnapshot(snapshot, version, () => Promise.resolve());
      if (outcome.kind === "refused" || outcome.problems.length > 0) throw new Error(JSON.stringify(outcome));
    },
  };
}

/** An origin whose connections are played by `play`, which gets each request's bytes as they come. */
export class ScriptedOrigin {
  readonly server: Server;
  readonly sockets: Socket[] = [];
  /** Everything received, by connection. */
  readonly received: string[] = [];
  port = 0;

  constructor(play: (socket: Socket, request: string, connection: number) => void) {
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      const connection = this.sockets.push(socket) - 1;
      this.received.push("");
      let text = "";
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        this.received[connection] += bytes.toString("latin1");
        text += bytes.toString("latin1");
        // One request at a time, ended by its head or by what Content-Length says.
        for (let size = messageSize(text); size !== undefined; size = messageSize(text)) {
          const request = text.slice(0, size);
          text = text.slice(size);
          play(socket, request, connection);
        }
      });
    });
  }

  async start(): Promise<this> {
    this.port = await listening(this.server);
    return this;
  }

  stop(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

function messageSize(text: string): number | undefined {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const head = text.slice(0, end + 4).toLowerCase();
  if (head.includes("transfer-encoding: chunked")) {
    const last = text.indexOf("\r\n0\r\n", end);
    const over = last === -1 ? -1 : text.indexOf("\r\n\r\n", last + 3);
    return over === -1 ? undefined : over + 4;
  }
  const length = Number(/content-length: (\d+)/.exec(head)?.[1] ?? 0);
  return text.length >= end + 4 + length ? end + 4 + length : undefined;
}

/** `200 OK` with a body. */
export function okAnswer(body: string, fields = ""): string {
  return `HTTP/1.1 200 OK\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`;
}

/** A client that sends what it is told and keeps what it gets. */
export class RawClient {
  readonly socket: Socket;
  received = "";
  bytes = 0;
  closed = false;
  ended = false;
  #wake: (() => void)[] = [];
  #keep = true;

  constructor(port: number, keep = true) {
    this.#keep = keep;
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    this.socket.on("data", (bytes) => {
      this.bytes += bytes.length;
      if (this.#keep) this.received += bytes.toString("latin1");
      this.#signal();
    });
    this.socket.on("end", () => {
      this.ended = true;
      this.#signal();
    });
    this.socket.on("error", () => undefined);
    this.socket.on("close", () => {
      this.closed = true;
      this.#signal();
    });
  }

  send(text: string): this {
    this.socket.write(text, "latin1");
    return this;
  }

  /** Resolves with all that was received once it fits; throws when the connection ends first. */
  async until(fits: (received: string) => boolean): Promise<string> {
    while (!fits(this.received)) {
      if (this.closed || this.ended) throw new Error(`the connection ended after ${JSON.stringify(this.received)}`);
      await this.#event();
    }
    return this.received;
  }

  /** A whole answer with Content-Length, or chunked; takes it off. */
  async answer(): Promise<string> {
    await this.until((text) => messageSize(text) !== undefined);
    const size = messageSize(this.received) ?? 0;
    const answer = this.received.slice(0, size);
    this.received = this.received.slice(size);
    return answer;
  }

  async end(): Promise<string> {
    while (!this.ended && !this.closed) await this.#event();
    return this.received;
  }

  close(): void {
    this.socket.destroy();
  }

  #event(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  #signal(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Resolves when `holds` does; looks every few milliseconds. */
export async function eventually(holds: () => boolean, withinMs = 30_000): Promise<void> {
  const until = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > until) throw new Error("it never came true");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
