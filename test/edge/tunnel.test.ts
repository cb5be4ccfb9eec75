/** Tunnels end to end: a real workerd with a hub, real gateway processes that dial out to it, an origin behind them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import { MAX_CLUSTER_NAME_CHARS, MAX_TUNNEL_CONNECTIONS, MAX_TUNNEL_WAITING } from "../../gateway/edge/tunnel-limits.ts";
import { CLUSTER, eventually, freePort, listening, testListener, testSnapshot } from "../support/gateway.ts";
import { type TestSite, testSite } from "../support/passports.ts";
import { bytesByHash, makeKey, manifestOf, signManifest } from "../support/snapshots.ts";
import { startWorkerd } from "../support/workerd.ts";
import { type Running, start } from "../tools/processes.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
const TOKEN = "tunnel-token-of-the-test";
const MEBIBYTE = 1024 * 1024;
const BIG = 96 * MEBIBYTE;
/** What windows, sockets and streams between the ends may hold of a body. */
const MAX_HELD = 24 * MEBIBYTE;

let directory: string;
let site: TestSite;
let origin: Server;
let originPort: number;
/** Body bytes that whoever sends them was rid of. */
let poured = 0;
/** What the origin waits for before it reads on. */
let reading: Promise<void> | undefined;
/** Requests that the origin has begun. */
let reached = 0;
let edge: Running;
let edgePort: number;
const opened: Running[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-tunnel-"));
  site = await testSite("europe");
  origin = createServer((request, response) => {
    reached += 1;
    void serve(request, (status, body) => {
      response.writeHead(status, { "x-path": request.url ?? "", "x-client": String(request.headers["x-forwarded-for"]) });
      if (typeof body === "string") response.end(body);
      else body(response);
    });
  });
  originPort = await listening(origin);
  writeFileSync(join(directory, "token"), `${TOKEN}\n`);
});
afterAll(() => {
  origin.closeAllConnections();
  origin.close();
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(async () => {
  edgePort = await freePort();
  edge = await startEdge();
});
afterEach(async () => {
  await Promise.all([edge, ...opened.splice(0)].map((one) => one.stop("SIGKILL")));
});

type Body = string | ((response: NodeJS.WritableStream) => void);

async function serve(request: IncomingMessage, answer: (status: number, body: Body) => void): Promise<void> {
  const [path = ""] = (request.url ?? "").split("?");
  if (path === "/big") {
    answer(200, (response) => pour(response, BIG));
  } else if (path === "/count") {
    let bytes = 0;
    for await (const chunk of request) {
      bytes += (chunk as Buffer).length;
      // A reader that takes its time.
      await reading;
    }
    answer(200, String(bytes));
  } else if (path === "/early") {
    answer(413, "no more of that");
  } else if (path === "/slow") {
    await pause(Number(new URLSearchParams(request.url?.split("?")[1]).get("ms")));
    answer(200, "late");
  } else if (path === "/cut") {
    answer(200, (response) => {
      response.write("the beginning");
      setTimeout(() => request.socket.destroy(), 50);
    });
  } else {
    answer(path === "/none" ? 204 : 200, path === "/none" ? "" : "served");
  }
}

function pour(into: NodeJS.WritableStream, bytes: number): void {
  const chunk = Buffer.alloc(64 * 1024, "x");
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      left -= chunk.length;
      poured += chunk.length;
      if (!into.write(chunk)) {
        into.once("drain", more);
        return;
      }
    }
    into.end();
  };
  more();
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function startEdge(): Promise<Running> {
  return startWorkerd(directory, {
    workers: [
      {
        name: "ingress",
        entry: "test/edge/workers/tunnel.ts",
        bindings: {
          TUNNELS: { kind: "durableObject", className: "Hub" },
          TUNNEL_TOKEN: { kind: "text", value: TOKEN },
          PASSPORT_KEY: { kind: "text", value: site.jwk },
          DESTINATION: { kind: "text", value: CLUSTER },
        },
        durableObjects: ["Hub"],
      },
    ],
    sockets: [{ name: "http", address: `127.0.0.1:${edgePort}`, service: "ingress" }],
  });
}

/** A gateway that takes passports of the site, routes nothing else, and keeps tunnels open. */
async function startGateway(...flags: string[]): Promise<Running & { readonly metricsPort: number }> {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const snapshot = testSnapshot({
    listeners: [testListener(port)],
    originPorts: [originPort],
    routes: [],
    settings: { passports: { audience: "main", issuers: [site.issuer] } },
  });
  const chunks = chunkSnapshot(snapshot);
  const file = join(directory, `snapshot-${port}.json`);
  const jws = await signManifest(manifestOf(chunks, { version: 1 }), [await makeKey()]);
  await writeSnapshotFile(file, { jws, chunks: bytesByHash(chunks) });
  const tunnel = ["--tunnel", `ws://127.0.0.1:${edgePort}`, "--tunnel-token-file", join(directory, "token")];
  const ports = ["--admin-port", "0", "--metrics-port", String(metricsPort), "--readiness-port", "0"];
  const running = start("gateway", [process.execPath, MAIN, "--snapshot", file, ...ports, ...tunnel, ...flags], {
    cwd: directory,
  });
  opened.push(running);
  await connected(running, Number(flags[flags.indexOf("--tunnel-connections") + 1] ?? 2));
  return { ...running, metricsPort };
}

async function connected(gateway: Running, connections: number): Promise<void> {
  await eventually(() => gateway.output().split("tunnel open").length > connections, 20_000).catch(() => {
    throw new Error(gateway.output());
  });
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: number;
  readonly text: string;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes of the request's body, poured as fast as they are taken. */
  readonly send?: number;
  /** Called with each part of the answer; what it returns is waited for. */
  readonly read?: (bytes: number) => Promise<unknown> | undefined;
}

function ask(path: string, { method = "GET", headers = {}, send, read }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: edgePort, path, method, headers, agent: false }, (response) => {
      void (async () => {
        let bytes = 0;
        let text = "";
        for await (const chunk of response) {
          bytes += (chunk as Buffer).length;
          if (text.length < 10_000) text += String(chunk);
          await read?.(bytes);
        }
        resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, text });
      })().catch(reject);
    });
    request.on("error", reject);
    if (send === undefined) request.end();
    else pour(request, send);
  });
}

/** Resident memory of a process, MiB. */
function memory({ pid }: Running): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

describe("a request through a tunnel", () => {
  it("goes there and back as it is, with its passport checked", async () => {
    const gateway = await startGateway();
    const answer = await ask("/a//b/%2e?x=%41", { headers: { "x-tidegate-passport": "mine" } });
    expect(answer).toMatchObject({
      status: 200,
      text: "served",
      headers: { "x-path": "/a//b/%2e?x=%41", "x-client": "198.51.100.7" },
    });
    expect(await ask("/none")).toMatchObject({ status: 204, bytes: 0 });
    expect(await ask("/", { method: "HEAD" })).toMatchObject({ status: 200, bytes: 0 });
    const metrics = await (await fetch(`http://127.0.0.1:${gateway.metricsPort}/metrics`)).text();
    expect(metrics).toContain(`tidegate_tunnel_connections{site="ws://127.0.0.1:${edgePort}"} 2`);
    expect(metrics).toContain('tidegate_passports_total{outcome="taken"} 3');
  });

  it.each(["down", "up"] as const)("a large body whose reader stands still is held back at its source: %s", async (way) => {
    const gateway = await startGateway();
    await ask("/");
    const before = memory(edge) + memory(gateway);
    poured = 0;
    let stalled = 0;
    const still = async (): Promise<void> => {
      await pause(1500);
      stalled = poured;
    };
    reading = way === "up" ? still() : undefined;
    let first = true;
    const answer = await ask(
      way === "up" ? "/count" : "/big",
      way === "up"
        ? { method: "POST", send: BIG }
        : {
            read: async () => {
              if (first) await still();
              first = false;
            },
          },
    );
    expect(way === "up" ? Number(answer.text) : answer.bytes).toBe(BIG);
    // Sockets on the way take some; without windows it would be all of it.
    expect(stalled).toBeGreaterThan(0);
    expect(stalled).toBeLessThan(MAX_HELD);
    expect(memory(edge) + memory(gateway) - before).toBeLessThan((2 * BIG) / MEBIBYTE);
  });

  it("an answer before the request is whole stands, and the rest is not sent", async () => {
    await startGateway();
    const answer = await ask("/early", { method: "POST", send: BIG }).catch((error: Error & { code?: string }) => error.code);
    // The client may find its connection closed while it is still sending.
    expect(answer === "EPIPE" || answer === "ECONNRESET" || answer).toEqual(
      typeof answer === "string" ? true : expect.objectContaining({ status: 413 }),
    );
    expect(await ask("/")).toMatchObject({ status: 200 });
  });

  it("an answer that is cut is not made whole", async () => {
    await startGateway();
    await expect(ask("/cut")).rejects.toThrow();
    expect(await ask("/")).toMatchObject({ status: 200 });
  });

  const inFlight = async (gateway: { readonly metricsPort: number }) => {
    const text = await (await fetch(`http://127.0.0.1:${gateway.metricsPort}/metrics`)).text();
    return Number(/^tidegate_tunnel_requests\{.*\} (\d+)$/m.exec(text)?.[1]);
  };
  const untilIdle = async (gateway: { readonly metricsPort: number }) => {
    const untilMs = performance.now() + 10_000;
    while ((await inFlight(gateway)) > 0 && performance.now() < untilMs) await pause(50);
    expect(await inFlight(gateway)).toBe(0);
  };

  it("a client that goes away within its answer takes the request along", async () => {
    const gateway = await startGateway();
    const request = httpRequest({ host: "127.0.0.1", port: edgePort, path: "/big", agent: false }, (response) => {
      response.once("data", () => request.destroy());
      response.on("error", () => undefined);
    });
    request.on("error", () => undefined);
    request.end();
    await eventually(() => request.destroyed, 20_000);
    await untilIdle(gateway);
  });

  it("an attempt whose time is over is given up on both sides", async () => {
    const gateway = await startGateway();
    const answer = await ask("/slow?ms=20000", { headers: { "x-timeout-ms": "300" } });
    expect(JSON.parse(answer.text)).toMatchObject({ code: "upstream_reset", neverSent: false });
    await untilIdle(gateway);
  });
});

describe("who may connect", () => {
  const connect = (path: string, headers: Readonly<Record<string, string>>) => ask(path, { headers });
  const bearer = { authorization: `Bearer ${TOKEN}` };
  it.each([
    ["without a token", "/.tidegate/tunnel?cluster=main", {}, 401],
    ["with a wrong token", "/.tidegate/tunnel?cluster=main", { authorization: "Bearer wrong" }, 401],
    ["without a WebSocket", "/.tidegate/tunnel?cluster=main", bearer, 426],
    ["for no cluster", "/.tidegate/tunnel", { ...bearer, connection: "upgrade", upgrade: "websocket" }, 400],
    [
      "for too long a name",
      `/.tidegate/tunnel?cluster=${"c".repeat(MAX_CLUSTER_NAME_CHARS + 1)}`,
      { ...bearer, connection: "upgrade", upgrade: "websocket" },
      400,
    ],
  ])("nobody %s", async (_, path, headers, status) => {
    expect((await connect(path, headers)).status).toBe(status);
  });
});

it("a hub takes MAX_TUNNEL_CONNECTIONS connections of a cluster", async () => {
  const url = `ws://127.0.0.1:${edgePort}/.tidegate/tunnel?cluster=crowded`;
  const connect = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = new WebSocket(url, { headers: { authorization: `Bearer ${TOKEN}` } });
      socket.addEventListener("open", () => resolve(true));
      socket.addEventListener("error", () => resolve(false));
    });
  const taken: boolean[] = [];
  for (let i = 0; i <= MAX_TUNNEL_CONNECTIONS; i++) taken.push(await connect());
  expect(taken.indexOf(false)).toBe(MAX_TUNNEL_CONNECTIONS);
});

describe("connections that come and go", () => {
  it("no gateway: MAX_TUNNEL_WAITING requests wait for one, more do not", async () => {
    let waited = 0;
    const one = async (): Promise<void> => {
      const sinceMs = performance.now();
      expect((await ask("/")).status).toBe(503);
      if (performance.now() - sinceMs > 2_500) waited += 1;
    };
    await Promise.all(Array.from({ length: MAX_TUNNEL_WAITING + 20 }, one));
    expect(waited).toBe(MAX_TUNNEL_WAITING);
  });

  it("no gateway: the failure says so, and that nothing was sent", async () => {
    const answer = await ask("/");
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      503,
      { code: "upstream_connect", reason: "no gateway of the cluster is connected", neverSent: true },
    ]);
  });

  it("three gateways, one drained under load: no request fails", async () => {
    const gateways = [
      await startGateway("--tunnel-connections", "1"),
      await startGateway("--tunnel-connections", "1"),
      await startGateway("--tunnel-connections", "1"),
    ];
    const failed: string[] = [];
    let done = 0;
    let ending = false;
    const client = async (i: number): Promise<void> => {
      while (!ending) {
        const path = i % 4 === 0 ? "/slow?ms=300" : i % 4 === 1 ? "/count" : "/";
        const answer = await ask(path, i % 4 === 1 ? { method: "POST", send: MEBIBYTE } : {});
        if (answer.status !== 200) failed.push(`${path} ${answer.status} ${answer.text}`);
        done += 1;
      }
    };
    const clients = Array.from({ length: 16 }, (_, i) => client(i));
    await eventually(() => done > 50, 20_000);
    const drained = gateways[1] as Running;
    const stopping = drained.stop("SIGTERM");
    const atDrain = done;
    await stopping;
    expect(drained.child.exitCode).toBe(0);
    await eventually(() => done > atDrain + 100, 20_000);
    ending = true;
    await Promise.all(clients);
    expect(failed).toEqual([]);
  });

  it("a gateway that is killed fails what it had, says why, and leaves the rest to the others", async () => {
    const gateways = [await startGateway("--tunnel-connections", "1"), await startGateway("--tunnel-connections", "1")];
    const before = reached;
    const pending = Array.from({ length: 4 }, () => ask("/slow?ms=4000"));
    await eventually(() => reached === before + 4);
    await gateways[0]?.stop("SIGKILL");
    const answers = await Promise.all(pending);
    const failures = answers.filter(({ status }) => status === 503).map(({ text }) => JSON.parse(text) as object);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    expect(failures).toHaveLength(2);
    for (const failure of failures) expect(failure).toMatchObject({ code: "upstream_reset", neverSent: false });
    expect(await ask("/")).toMatchObject({ status: 200 });
  });

  it("a hub that falls over is connected to again, and requests meanwhile wait for that", async () => {
    await startGateway();
    expect(await ask("/")).toMatchObject({ status: 200 });
    await ask("/fall-over");
    for (let i = 0; i < 10; i++) expect(await ask("/")).toMatchObject({ status: 200 });
  });

  it("a site that was restarted is connected to again", async () => {
    const gateway = await startGateway("--tunnel-connections", "1");
    await edge.stop("SIGKILL");
    edge = await startEdge();
    await connected(gateway, 2);
    expect(await ask("/")).toMatchObject({ status: 200 });
  });

  it("a hub that has slept knows its connections still", async () => {
    await startGateway();
    for (let i = 0; i < 5; i++)
      expect(await ask("/count", { method: "POST", send: MEBIBYTE })).toMatchObject({ text: String(MEBIBYTE) });
    const life = (await ask("/life")).text;
    // workerd puts an object to sleep after 10 s without work, which being asked is.
    let now = life;
    for (let tries = 0; tries < 2 && now === life; tries += 1) {
      await pause(25_000);
      now = (await ask("/life")).text;
    }
    expect(now).not.toBe(life);
    for (let i = 0; i < 5; i++)
      expect(await ask("/count", { method: "POST", send: MEBIBYTE })).toMatchObject({ text: String(MEBIBYTE) });
  });
});
