/** One gateway process takes over from another one on the same ports, under load, and nobody notices. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect as connectPlain, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import type { Listener, Snapshot } from "../../gateway/core/ir/index.ts";
import { MAX_HANDOVER_LINE_BYTES } from "../../gateway/node/handover.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  listening,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { Http2Client } from "../support/http2.ts";
import { TestMesh } from "../support/mesh.ts";
import { bytesByHash, egressConfig, egressRule, makeKey, manifestOf, signManifest, type TestKey } from "../support/snapshots.ts";
import { section, walkSteps } from "../support/walk.ts";
import { type Running, start } from "../tools/processes.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
const SLOW_MS = 1500;
/** A process starts, or ends: a busy machine takes its time. */
const WAIT_MS = 60_000;

let directory = "";
let key: TestKey;
let origin: ScriptedOrigin;
/** Sends back what it gets. */
const echo = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
let echoPort = 0;
const running: Running[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tg-takeover-"));
  key = await makeKey();
  await writeCertificate({ key: join(directory, "tls.key"), certificate: join(directory, "tls.crt") }, "a.test");
  echoPort = await listening(echo);
  origin = await new ScriptedOrigin((socket, request) => {
    const answer = () => socket.write(okAnswer("fine"));
    if (request.startsWith("GET /slow ")) setTimeout(answer, SLOW_MS);
    else answer();
  }).start();
});
afterAll(() => {
  origin.stop();
  echo.close();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop("SIGKILL")));
});

interface Ports {
  readonly plain: number;
  readonly tls: number;
  readonly proxy: number;
  readonly admin: number;
  readonly metrics: number;
  readonly readiness: number;
}

async function freePorts(): Promise<Ports> {
  const [plain = 0, tls = 0, proxy = 0, admin = 0, metrics = 0, readiness = 0] = await Promise.all(
    Array.from({ length: 6 }, () => freePort()),
  );
  return { plain, tls, proxy, admin, metrics, readiness };
}

function snapshotOn(ports: Ports): Snapshot {
  const files = { certificateFile: join(directory, "tls.crt"), privateKeyFile: join(directory, "tls.key") };
  const tls = { mode: "simple", ...files, minVersion: "TLSv1.2", maxVersion: "TLSv1.3", cipherSuites: [] } as const;
  const listeners: Listener[] = [
    testListener(ports.plain),
    testListener(ports.tls, { protocol: "https", servers: [{ name: "tls", serverNames: ["*"], routeTable: "main", tls }] }),
    testListener(ports.proxy, { protocol: "forward-proxy", servers: [] }),
  ];
  const base = egressConfig([
    egressRule({
      hosts: ["echo.example.com"],
      protocol: "tcp",
      ports: [echoPort],
      addresses: [{ cidr: "127.0.0.0/8", ports: [echoPort] }],
    }),
  ]);
  const egress = {
    ...base,
    policies: base.policies.map((policy) => ({ ...policy, from: [{ kind: "ipBlock" as const, cidr: "127.0.0.0/8" }] })),
    staticHosts: [{ host: "echo.example.com", endpoints: [{ address: "127.0.0.1", port: echoPort }] }],
  };
  return {
    ...testSnapshot({ listeners, originPorts: [origin.port], routes: [testRoute(CLUSTER)], http: { drainTimeoutMs: 20_000 } }),
    egress,
  };
}

async function writeSnapshot(name: string, snapshot: Snapshot): Promise<string> {
  const chunks = chunkSnapshot(snapshot);
  const path = join(directory, name);
  await writeSnapshotFile(path, {
    jws: await signManifest(manifestOf(chunks, { version: 1 }), [key]),
    chunks: bytesByHash(chunks),
  });
  return path;
}

/** A gateway process on these ports; resolves once it says that it serves and awaits the next. */
function gateway(snapshot: string, ports: Ports, state: string, ...flags: readonly string[]): Running {
  const doors = ["--admin-port", ports.admin, "--metrics-port", ports.metrics, "--readiness-port", ports.readiness];
  const command = [process.execPath, MAIN, "--snapshot", snapshot, "--state", state, ...doors.map(String), ...flags];
  const one = start("gateway", command, { cwd: directory });
  running.push(one);
  return one;
}

async function says(one: Running, text: string): Promise<void> {
  const said = (): boolean => one.output().includes(text);
  await eventually(() => said() || one.child.exitCode !== null, WAIT_MS).catch(() => undefined);
  expect(one.output()).toContain(text);
}

async function ended(one: Running, withinMs = WAIT_MS): Promise<number | null> {
  await eventually(() => one.child.exitCode !== null || one.child.signalCode !== null, withinMs);
  return one.child.exitCode;
}

/** A draining gateway closes a connection on which nothing has moved for this long, as it says nowhere on the wire. */
const QUIET_MS = 1000;

/** Notices when this process got no processor for so long that gateways had to take its clients for quiet. */
class Standstills {
  #lastMs = performance.now();
  #overMs = Number.NEGATIVE_INFINITY;
  readonly #timer = setInterval(() => this.#tick(), 20);

  /** There was one that ended after `sinceMs`. */
  after(sinceMs: number): boolean {
    this.#tick();
    return this.#overMs > sinceMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    // Each of two processes may be a bit late.
    if (nowMs - this.#lastMs > 0.8 * QUIET_MS) this.#overMs = nowMs;
    this.#lastMs = nowMs;
  }
}

/** Clients of all kinds, one request after another each, until they are told to stop. What goes wrong is kept. */
class Clients {
  /** How often, by what and how. */
  readonly failed: Record<string, number> = {};
  readonly answered: Record<string, number> = {};
  readonly #going: Promise<void>[] = [];
  readonly #standstills = new Standstills();
  #stopping = false;

  add(kind: string, count: number, dial: () => Socket, request: string, keepAlive: boolean): void {
    for (let i = 0; i < count; i++) this.#going.push(this.#client(kind, dial, request, keepAlive));
  }

  /** HTTP/2 in clear, several streams at once: a connection is given up when it is told to go, and not before. */
  addHttp2(kind: string, count: number, url: string): void {
    for (let i = 0; i < count; i++) this.#going.push(this.#http2(kind, url));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#going);
    this.#standstills.stop();
  }

  async #http2(kind: string, url: string): Promise<void> {
    while (!this.#stopping) {
      const client = new Http2Client(url);
      let sinceMs = performance.now();
      const stream = async (): Promise<void> => {
        while (!this.#stopping && !client.session.closed) {
          const askedMs = performance.now();
          const answer = await client.askUnlessTold({ ":path": "/", ":authority": "a.test" });
          if (answer === undefined) return;
          if (answer.status !== 200) throw new Error(String(answer.status));
          sinceMs = askedMs;
          this.answered[kind] = (this.answered[kind] ?? 0) + 1;
          await forMs(3);
        }
      };
      for (const ended of await Promise.allSettled([stream(), stream(), stream()])) {
        if (ended.status === "rejected") this.#fails(kind, ended.reason, sinceMs);
      }
      client.close();
    }
  }

  /** @param sinceMs of then is the last sign of life on the connection, or an earlier one */
  #fails(kind: string, error: unknown, sinceMs: number): void {
    if (this.#standstills.after(sinceMs)) return;
    const what = `${kind}: ${String(error)}`;
    this.failed[what] = (this.failed[what] ?? 0) + 1;
  }

  async #client(kind: string, dial: () => Socket, request: string, keepAlive: boolean): Promise<void> {
    while (!this.#stopping) {
      const socket = dial().on("error", () => undefined);
      let [sinceMs, askedMs] = [performance.now(), performance.now()];
      try {
        for (let lives = true; lives && !this.#stopping; lives = lives && keepAlive) {
          [sinceMs, askedMs] = [askedMs, performance.now()];
          const answer = await ask(socket, request);
          if (!/^HTTP\/1\.1 200 /.test(answer)) throw new Error(answer);
          this.answered[kind] = (this.answered[kind] ?? 0) + 1;
          if (/\r\nconnection: close\r\n/i.test(answer)) lives = false;
          await forMs(3);
        }
      } catch (error) {
        this.#fails(kind, error, sinceMs);
      }
      socket.destroy();
    }
  }
}

/** Sends and reads one answer, with Content-Length or in chunks. */
function ask(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const read = (bytes: Buffer): void => {
      text += bytes.toString("latin1");
      if (!isWhole(text)) return;
      done();
      resolve(text);
    };
    const lost = (): void => {
      done();
      reject(new Error(`the connection ended after ${JSON.stringify(text)}`));
    };
    const failed = (error: Error): void => {
      done();
      reject(error);
    };
    const done = (): void => void socket.off("data", read).off("close", lost).off("error", failed);
    socket.on("data", read).on("close", lost).on("error", failed);
    socket.write(request);
  });
}

function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
  if (end === -1) return false;
  return length === undefined ? text.endsWith("\r\n0\r\n\r\n") : text.length >= end + 4 + Number(length);
}

const forMs = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const get = (path: string, fields = ""): string => `GET ${path} HTTP/1.1\r\nhost: a.test\r\n${fields}\r\n`;

function startClients(ports: Ports): Clients {
  const clients = new Clients();
  const plain = (): Socket => connectPlain({ port: ports.plain, host: "127.0.0.1", noDelay: true });
  const tls = (): Socket => connectTls({ port: ports.tls, host: "127.0.0.1", servername: "a.test", rejectUnauthorized: false });
  const ready = (): Socket => connectPlain({ port: ports.readiness, host: "127.0.0.1" });
  clients.add("kept alive", 8, plain, get("/"), true);
  clients.add("new connections", 8, plain, get("/", "connection: close\r\n"), false);
  clients.add("kept alive over TLS", 4, tls, get("/"), true);
  clients.add("new connections over TLS", 3, tls, get("/", "connection: close\r\n"), false);
  clients.add("long requests", 4, plain, get("/slow"), true);
  clients.addHttp2("HTTP/2", 4, `http://127.0.0.1:${ports.plain}`);
  clients.add("readiness", 1, ready, "GET /healthz/ready HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", false);
  return clients;
}

/** A tunnel to an echo server that is used for as long as it lives. */
async function openTunnel(port: number): Promise<{ readonly echoed: () => number; readonly client: RawClient }> {
  const client = new RawClient(port);
  const place = `echo.example.com:${echoPort}`;
  await client.send(`CONNECT ${place} HTTP/1.1\r\nhost: ${place}\r\n\r\n`).until((text) => text.startsWith("HTTP/1.1 200"));
  const pump = setInterval(() => client.send("."), 20);
  client.socket.once("close", () => clearInterval(pump));
  return { client, echoed: () => client.received.split(".").length };
}

describe("a gateway process that is followed by another one", () => {
  it.each([1, 2])("loses nothing under load, whatever is open (%i threads)", { timeout: 240_000 }, async (threads) => {
    const ports = await freePorts();
    const snapshot = await writeSnapshot(`load-${threads}.json`, snapshotOn(ports));
    const state = `state-${threads}`;
    let before = gateway(snapshot, ports, state, "--threads", String(threads));
    await says(before, "snapshot in force");
    const clients = startClients(ports);
    await eventually(() => (clients.answered["long requests"] ?? 0) > 0, 20_000);
    for (let round = 0; round < 2; round++) {
      const tunnel = await openTunnel(ports.proxy);
      const next = gateway(snapshot, ports, state, "--threads", String(threads));
      await says(next, '"message":"took over"');
      const echoed = tunnel.echoed();
      await forMs(2000);
      await eventually(() => tunnel.echoed() > echoed + 20 || tunnel.client.closed);
      expect(before.child.exitCode).toBeNull();
      expect(tunnel.client.closed).toBe(false);
      tunnel.client.close();
      expect(await ended(before), before.output()).toBe(0);
      before = next;
    }
    await clients.stop();
    expect(clients.failed).toEqual({});
    expect(Object.keys(clients.answered)).toHaveLength(7);
    expect(before.output()).not.toMatch(/"level":"error"|may be reset|not spread evenly|went away/);
    process.stdout.write(`takeover with ${threads} thread(s): ${JSON.stringify(clients.answered)}, 0 failed\n`);
  });
});

describe("what stands in the way of a takeover", () => {
  const serves = async (ports: Ports): Promise<void> => {
    const client = new RawClient(ports.plain);
    expect(await client.send(get("/")).answer()).toMatch(/fine$/);
    client.close();
  };

  it("is no predecessor that crashed", { timeout: 2 * WAIT_MS }, async () => {
    const ports = await freePorts();
    const snapshot = await writeSnapshot("crashed.json", snapshotOn(ports));
    const crashed = gateway(snapshot, ports, "state-crashed");
    await says(crashed, "snapshot in force");
    const socket = join(directory, "state-crashed", "handover.sock");
    await eventually(() => existsSync(socket));
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "state-crashed")).mode & 0o777).toBe(0o700);
    await crashed.stop("SIGKILL");
    expect(existsSync(socket)).toBe(true);
    const next = gateway(snapshot, ports, "state-crashed");
    await says(next, "snapshot in force");
    await serves(ports);
    expect(next.output()).not.toMatch(/took over|"level":"error"/);
  });

  it("leaves the one before as it is: no snapshot, a lost port, another gateway, a stranger at the socket", {
    timeout: 60_000,
  }, async () => {
    const ports = await freePorts();
    const snapshot = await writeSnapshot("kept.json", snapshotOn(ports));
    const kept = gateway(snapshot, ports, "state-kept");
    await says(kept, "snapshot in force");
    const path = join(directory, "state-kept", "handover.sock");
    await eventually(() => existsSync(path));

    const without = gateway(join(directory, "gone.json"), ports, "state-kept");
    expect(await ended(without)).toBe(1);
    const other = gateway(snapshot, ports, "state-kept", "--gateway-id", "other");
    expect(await ended(other)).toBe(1);
    expect(other.output()).toMatch(
      /the gateway that runs with state directory state-kept is ingress-.*, not other: give another --state/,
    );
    const occupied = await new ScriptedOrigin(() => undefined).start();
    const doors = { ...ports, admin: occupied.port };
    const blocked = gateway(snapshot, doors, "state-kept");
    expect(await ended(blocked)).toBe(1);
    expect(blocked.output()).toContain(`admin port 127.0.0.1:${occupied.port} is in use by another process`);
    occupied.stop();

    for (const said of ["nonsense\n", '{"kind":"release"}\n', "x".repeat(MAX_HANDOVER_LINE_BYTES + 1)]) {
      const stranger = connectPlain({ path });
      stranger.on("error", () => undefined).write(said);
      await new Promise((resolve) => stranger.once("close", resolve));
    }
    await serves(ports);
    expect(kept.child.exitCode).toBeNull();
    expect(kept.output()).not.toContain("draining");
  });
});

it("goes on following the control plane where the one before has ended", { timeout: 120_000 }, async () => {
  const mesh = await TestMesh.prepare({ directory: join(directory, "mesh"), declared: [80] });
  const answer = async (): Promise<string> => {
    const client = new RawClient(mesh.ports.ingress["80"] ?? 0);
    const text = await client.send(get("/")).answer();
    client.close();
    return text.slice(text.indexOf("\r\n\r\n") + 4);
  };
  try {
    writeFileSync(join(mesh.config, "front.yaml"), FRONT);
    await mesh.startControl();
    await mesh.apply(answering("one"));
    const before = await mesh.startGateway("ingress");
    await mesh.untilSynced(1, WAIT_MS);
    expect(await answer()).toBe("one");
    const next = await mesh.startGateway("ingress");
    running.push(before, next);
    await says(next, '"message":"took over"');
    expect(await answer()).toBe("one");
    expect(await ended(before), before.output()).toBe(0);
    const { enforced } = await mesh.apply(answering("two"));
    expect(enforced, next.output()).toMatchObject({ complete: true });
    expect(await answer()).toBe("two");
    expect(next.output()).not.toMatch(/"level":"error"/);
  } finally {
    await mesh.stop();
  }
});

const FRONT = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
`;

function answering(text: string): string {
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: test }
spec:
  hosts: ["*"]
  gateways: [front]
  http: [{ directResponse: { status: 200, body: { string: "${text}" } } }]
`;
}

it("goes as the operations page says", { timeout: 2 * WAIT_MS }, async () => {
  const place = join(directory, "page");
  mkdirSync(place);
  const root = join(import.meta.dirname, "..", "..");
  symlinkSync(join(root, "gateway"), join(place, "gateway"));
  const ports = await freePorts();
  renameSync(await writeSnapshot("page.json", snapshotOn(ports)), join(place, "shop.json"));
  const steps = walkSteps(section(readFileSync(join(root, "docs/operations.md"), "utf8"), "Replacing a gateway"));
  expect(steps).toHaveLength(2);
  const env = {
    PATH: `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`,
    TIDEGATE_ADMIN_PORT: String(ports.admin),
    TIDEGATE_METRICS_PORT: String(ports.metrics),
    TIDEGATE_READINESS_PORT: String(ports.readiness),
  };
  // A process group of its own, which is ended with what it leaves running.
  const shell = spawn("sh", ["-ec", steps.map(({ commands }) => commands).join("\n")], {
    cwd: place,
    env,
    detached: true,
    stdio: "ignore",
  });
  try {
    const code = await Promise.race([new Promise((resolve) => shell.once("exit", resolve)), forMs(WAIT_MS)]);
    expect(code, readFileSync(join(place, "shop.log"), "utf8")).toBe(0);
    const client = new RawClient(ports.plain);
    expect(await client.send(get("/")).answer()).toMatch(/fine$/);
    client.close();
  } finally {
    process.kill(-(shell.pid ?? 0), "SIGKILL");
  }
});
