/** More than a gateway can do: what is taken on gets done, the rest is told so at once, and memory stays where it is. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import { LEAST_REQUESTS } from "../../gateway/node/overload.ts";
import { eventually, freePort, okAnswer, RawClient, ScriptedOrigin, testListener, testSnapshot } from "../support/gateway.ts";
import { Inspector } from "../support/inspector.ts";
import { bytesByHash, makeKey, manifestOf, signManifest } from "../support/snapshots.ts";
import { type Running, rssMb, start } from "../tools/processes.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
/** A process starts, or looks at itself: a busy machine takes its time. */
const WAIT_MS = 60_000;
const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

let directory = "";
let origin: ScriptedOrigin;
/** Answers that the origin has not given yet. */
const held: (() => void)[] = [];
const running: Running[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tg-overload-"));
  origin = await new ScriptedOrigin((socket, request) => {
    const answer = (): void => void socket.write(okAnswer("fine"));
    if (request.startsWith("GET /held ")) held.push(answer);
    else if (request.startsWith("POST /slow ")) setTimeout(answer, 100);
    else answer();
  }).start();
});
afterAll(() => {
  origin.stop();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(async () => {
  for (const answer of held.splice(0)) answer();
  await Promise.all(running.splice(0).map((one) => one.stop("SIGKILL")));
});

interface Gateway {
  readonly port: number;
  readonly process: Running;
  readonly scrape: () => Promise<string>;
}

async function gateway(flags: readonly (string | number)[], nodeFlags: readonly string[] = []): Promise<Gateway> {
  const port = await freePort();
  const snapshot = testSnapshot({
    listeners: [testListener(port)],
    originPorts: [origin.port],
    settings: { explainHeaders: true },
  });
  const chunks = chunkSnapshot(snapshot);
  const path = join(directory, `${port}.json`);
  const jws = await signManifest(manifestOf(chunks, { version: 1 }), [await makeKey()]);
  await writeSnapshotFile(path, { jws, chunks: bytesByHash(chunks) });
  const anyPorts = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];
  const command = [process.execPath, ...nodeFlags, MAIN, "--snapshot", path, ...anyPorts, ...flags.map(String)];
  const one = start("gateway", command, { cwd: directory });
  running.push(one);
  await eventually(() => one.output().includes("snapshot in force"), WAIT_MS);
  const { metrics } = JSON.parse(
    one
      .output()
      .split("\n")
      .find((line) => line.includes("gateway started")) ?? "{}",
  );
  return { port, process: one, scrape: async () => await (await fetch(`http://${metrics}/metrics`)).text() };
}

const figure = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);

/** A refusal that says what it is. */
function expectShed(answer: string, reason: string, words: string): void {
  expect(answer).toMatch(/^HTTP\/1\.1 503 /);
  expect(answer).toContain("\r\nretry-after: 1\r\n");
  expect(answer).toContain("\r\nx-tidegate-snapshot: 1.1\r\n");
  expect(answer).toContain(`\r\nx-tidegate-reason: overload_${reason}\r\n`);
  expect(answer).toMatch(new RegExp(`\r\n\r\noverloaded: ${words}\n$`));
}

describe("limits", () => {
  it("of connections: a quarter more are told so, those beyond are closed, and it is over when others go", async () => {
    const { port, scrape } = await gateway(["--max-connections", 8]);
    const served = Array.from({ length: 8 }, () => new RawClient(port));
    for (const client of served) expect(await client.send(GET).answer()).toMatch(/fine$/);
    const surplus = [new RawClient(port), new RawClient(port)];
    await Promise.all(surplus.map((client) => new Promise((resolve) => client.socket.once("connect", resolve))));
    const beyond = new RawClient(port);
    expect(await beyond.send(GET).end()).toBe("");
    for (const client of surplus) {
      const answer = await client.send(GET).answer();
      expectShed(answer, "connections", "too many connections");
      expect(answer).toContain("\r\nconnection: close\r\n");
      client.socket.end();
    }
    for (const client of served) expect(await client.send(GET).answer()).toMatch(/fine$/);
    const text = await scrape();
    expect(figure(text, 'tidegate_overload_requests_total\\{reason="connections"\\}')).toBe(2);
    expect(figure(text, "tidegate_overload_connections_total")).toBe(1);
    expect(text).toMatch(/istio_requests_total\{[^}]*response_code="503",[^}]*response_flags="OM"[^}]*\} 2\n/);
    for (const client of served) client.close();
    await expect
      .poll(async () => {
        const late = new RawClient(port);
        const answer = await late.send(GET).answer();
        late.close();
        return answer;
      })
      .toMatch(/fine$/);
  });

  it("of requests at once: the next one is told so on a connection that lives on", async () => {
    const { port, scrape } = await gateway(["--max-requests", 3]);
    const waiting = Array.from({ length: 3 }, () => new RawClient(port).send(GET.replace(" / ", " /held ")));
    await eventually(() => held.length === 3);
    const client = new RawClient(port);
    expectShed(await client.send(GET).answer(), "requests", "too many requests at once");
    const head = await client.send(GET.replace("GET", "HEAD")).until((text) => text.endsWith("\r\n\r\n"));
    expect(head).toMatch(/^HTTP\/1\.1 503 /);
    client.received = "";
    expect(figure(await scrape(), "tidegate_downstream_requests")).toBe(3);
    held.shift()?.();
    await eventually(() => waiting.some(({ received }) => received !== ""));
    expect(await client.send(GET).answer()).toMatch(/fine$/);
    for (const answer of held.splice(0)) answer();
    for (const one of waiting) expect(await one.answer()).toMatch(/fine$/);
    expect(figure(await scrape(), "tidegate_downstream_requests")).toBe(0);
    for (const one of [client, ...waiting]) one.close();
  });

  it("of memory: a handful of requests is served, the others are told so, idle connections go, and then new ones", {
    timeout: 60_000,
  }, async () => {
    const limitMb = 512;
    const { port, process: one } = await gateway(["--max-memory-mb", limitMb], ["--inspect=127.0.0.1:0"]);
    const inspector = await Inspector.of(one);
    const fillTo = (mb: number): void => {
      inspector.runHere(`(globalThis.ballast ??= []).push(Buffer.alloc(${Math.round((mb - rssMb(one.pid)) * 1024 * 1024)}, 1))`);
    };
    const idle = new RawClient(port);
    expect(await idle.send(GET).answer()).toMatch(/fine$/);
    fillTo(limitMb * 0.9);
    await eventually(() => one.output().includes("memory is short"), WAIT_MS);
    expect(await idle.end()).toBe("");
    const waiting = Array.from({ length: LEAST_REQUESTS }, () => new RawClient(port).send(GET.replace(" / ", " /held ")));
    await eventually(() => held.length === LEAST_REQUESTS);
    const client = new RawClient(port);
    const refused = await client.send(GET).answer();
    expectShed(refused, "memory", "memory is short");
    expect(refused).toContain("\r\nconnection: close\r\n");

    fillTo(limitMb * 1.05);
    await expect
      .poll(async () => {
        const late = new RawClient(port);
        const said = await late.send(GET).end();
        late.close();
        return said;
      })
      .toBe("");
    for (const answer of held.splice(0)) answer();
    for (const served of waiting) expect(await served.answer()).toMatch(/fine$/);

    inspector.runHere("globalThis.ballast = undefined");
    await expect
      .poll(
        async () => {
          const late = new RawClient(port);
          const said = await late.send(GET).answer();
          late.close();
          return said;
        },
        { timeout: WAIT_MS },
      )
      .toMatch(/^HTTP\/1\.1 200 (?![\s\S]*connection: close)/);
    inspector.close();
  });
});

/** One client that never rests: what it sends is answered or refused, and it comes again. */
class Pusher {
  readonly #port: number;
  readonly #tally: Map<string, number>;
  #socket: Socket | undefined;
  #text = "";
  #stopped = false;

  constructor(port: number, tally: Map<string, number>) {
    this.#port = port;
    this.#tally = tally;
    this.#dial();
  }

  stop(): void {
    this.#stopped = true;
    this.#socket?.destroy();
  }

  #dial(): void {
    if (this.#stopped) return;
    const socket = connect({ port: this.#port, host: "127.0.0.1", noDelay: true });
    this.#socket = socket;
    this.#text = "";
    socket.on("connect", () => socket.write(BODY));
    socket.on("data", (bytes: Buffer) => this.#read(socket, bytes));
    socket.on("error", () => undefined);
    socket.on("close", () => {
      if (!this.#stopped) this.#count(this.#text === "" ? "closed unheard" : `cut: ${this.#text}`);
      setTimeout(() => this.#dial(), AGAIN_MS);
    });
  }

  #read(socket: Socket, bytes: Buffer): void {
    this.#text += bytes.toString("latin1");
    const end = this.#text.indexOf("\r\n\r\n");
    const length = Number(/\r\ncontent-length: (\d+)/.exec(this.#text)?.[1] ?? Number.NaN);
    if (end === -1 || !(this.#text.length >= end + 4 + length)) return;
    const text = this.#text;
    this.#text = "";
    this.#count(text.startsWith("HTTP/1.1 200 ") ? "served" : (/\r\nx-tidegate-reason: (.*)\r\n/.exec(text)?.[1] ?? text));
    if (!text.includes("\r\nconnection: close\r\n")) setTimeout(() => socket.write(BODY), AGAIN_MS);
    else
      socket
        .removeAllListeners("close")
        .on("close", () => setTimeout(() => this.#dial(), AGAIN_MS))
        .end();
  }

  #count(what: string): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
  }
}

const AGAIN_MS = 20;
const BODY = `POST /slow HTTP/1.1\r\nhost: a.test\r\ncontent-length: 16384\r\n\r\n${"x".repeat(16_384)}`;

describe("ten times the load that can be served", () => {
  const REQUESTS = 64;
  const CONNECTIONS = 512;
  const HEAP_MB = 64;
  const LOAD_MS = 6000;
  /** What buffers of that many connections, their kernel side left out, and a heap at its limit may take on top. */
  const GROWTH_MB = 128;

  it("leaves memory where it is: what is taken on is served, the rest is told so", { timeout: 3 * WAIT_MS }, async () => {
    const limits = ["--max-requests", REQUESTS, "--max-connections", CONNECTIONS];
    const { port, process: one, scrape } = await gateway(limits, [`--max-old-space-size=${HEAP_MB}`]);
    const restMb = rssMb(one.pid);
    const tally = new Map<string, number>();
    const pushers = Array.from({ length: 10 * REQUESTS + CONNECTIONS / 4 }, () => new Pusher(port, tally));
    let mostMb = 0;
    const untilMs = performance.now() + LOAD_MS;
    while (performance.now() < untilMs) {
      mostMb = Math.max(mostMb, rssMb(one.pid));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (const pusher of pushers) pusher.stop();
    process.stdout.write(
      `overload: at rest ${Math.round(restMb)} MB, at most ${Math.round(mostMb)} MB; ${JSON.stringify(Object.fromEntries(tally))}\n`,
    );
    const known = ["served", "overload_requests", "overload_connections", "overload_memory", "overload_delay", "closed unheard"];
    expect([...tally.keys()].filter((what) => !known.includes(what))).toEqual([]);
    expect(tally.get("served")).toBeGreaterThan(REQUESTS);
    expect(tally.get("overload_requests")).toBeGreaterThan(0);
    expect(mostMb).toBeLessThan(restMb + GROWTH_MB);
    expect(one.child.exitCode).toBeNull();
    await expect.poll(async () => figure(await scrape(), "tidegate_downstream_connections"), { timeout: WAIT_MS }).toBe(0);
    expect(figure(await scrape(), "tidegate_downstream_requests")).toBe(0);
    const client = new RawClient(port);
    expect(await client.send(GET).answer()).toMatch(/fine$/);
    client.close();
  });
});
