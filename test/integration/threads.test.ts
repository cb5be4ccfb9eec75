/** Worker threads that really die, of an exception, of a full heap and of an endless loop: what is injected comes by the inspector, the product knows nothing of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import { quotaPolicy } from "../conformance/build.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { Inspector } from "../support/inspector.ts";
import { bytesByHash, makeKey, manifestOf, signManifest } from "../support/snapshots.ts";
import { type Running, start } from "../tools/processes.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const THREADS = 2;
const CLIENTS = 24;
const HELD_AT_ONCE = 6;
/** A thread starts, or ends: a busy machine takes its time. */
const WAIT_MS = 60_000;

let directory = "";
let origin: ScriptedOrigin;
const running: Running[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tg-threads-"));
  origin = await new ScriptedOrigin((socket, request) => {
    if (!request.startsWith("GET /held ")) socket.write(okAnswer("fine"));
  }).start();
});
afterAll(() => {
  origin.stop();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop("SIGKILL")));
});

/** At most so many requests at once, over all threads. */
const AT_ONCE = quotaPolicy("test/held", [{ name: "most", amount: HELD_AT_ONCE, perMs: 60_000, window: "rolling" }], {
  unit: "concurrent",
});

interface Gateway {
  readonly port: number;
  readonly process: Running;
  readonly inspector: Inspector;
  /** Lines of the log about threads that have died. */
  readonly deaths: readonly { readonly waitMs: number }[];
  readonly started: Readonly<Record<"readiness" | "metrics", string>>;
}

async function gateway(...flags: readonly string[]): Promise<Gateway> {
  const port = await freePort();
  const routes = [
    testRoute(CLUSTER, {}, { id: "test/held", matches: [{ path: { kind: "exact", value: "/held" } }], quotas: [AT_ONCE.id] }),
    testRoute(CLUSTER),
  ];
  const snapshot = {
    ...testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], routes }),
    quotas: [AT_ONCE],
  };
  const chunks = chunkSnapshot(snapshot);
  const path = join(directory, `${port}.json`);
  const jws = await signManifest(manifestOf(chunks, { version: 1 }), [await makeKey()]);
  await writeSnapshotFile(path, { jws, chunks: bytesByHash(chunks) });
  const anyPorts = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];
  const command = [process.execPath, "--inspect=127.0.0.1:0", MAIN, "--snapshot", path, "--threads", String(THREADS)];
  const deaths: Gateway["deaths"][number][] = [];
  const onLine = (line: string): void => {
    if (line.includes("a worker thread has died")) deaths.push(JSON.parse(line));
  };
  const one = start("gateway", [...command, ...anyPorts, ...flags], { cwd: directory, onLine });
  running.push(one);
  await eventually(() => one.output().includes("snapshot in force"), WAIT_MS);
  const started = JSON.parse(
    one
      .output()
      .split("\n")
      .find((line) => line.includes("gateway started")) ?? "{}",
  );
  const inspector = await Inspector.of(one);
  await eventually(() => inspector.sessions.length === THREADS);
  return { port, process: one, inspector, deaths, started };
}

const THROW = "setTimeout(() => { throw new Error('injected') })";
const LOOP = "setTimeout(() => { for (;;); })";
const EAT = `globalThis.kept = [];
  const eat = () => { for (let i = 0; i < 50; i++) kept.push(Array.from({ length: 1000 }, () => ({}))); setImmediate(eat); };
  setImmediate(eat);`;

/** Requests that the origin has got and does not answer. */
const heldAtOrigin = (): number => origin.received.reduce((sum, text) => sum + text.split("GET /held ").length - 1, 0);

async function ask(port: number, path = "/"): Promise<string> {
  const client = new RawClient(port);
  try {
    return await client.send(GET.replace(" / ", ` ${path} `)).answer();
  } finally {
    client.close();
  }
}

/** Looks until `over`, and keeps what it saw. */
async function eventuallySeen(look: () => Promise<number>, seen: Set<number>, over: () => boolean): Promise<void> {
  const untilMs = performance.now() + WAIT_MS;
  while (!over() && performance.now() < untilMs) {
    seen.add(await look());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const scrape = async (address: string): Promise<string> => await (await fetch(`http://${address}/metrics`)).text();
const figure = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1]);

describe("a worker thread that dies", () => {
  it.each([
    ["of an exception", "error", THROW, "Error: injected", []],
    ["of a full heap", "memory", EAT, "Worker terminated due to reaching memory limit", ["--thread-heap-mb", "48"]],
    ["of an endless loop", "hang", LOOP, "it has taken no turn for 3000 ms", ["--thread-hang-ms", "3000"]],
  ])(
    "%s takes its own connections along and nobody else's, and is replaced",
    { timeout: 3 * WAIT_MS },
    async (_how, cause, code, why, flags) => {
      const { port, process: one, inspector, deaths, started } = await gateway(...flags);
      const clients = Array.from({ length: CLIENTS }, () => new RawClient(port));
      for (const client of clients) expect(await client.send(GET).answer()).toMatch(/fine$/);
      const before = heldAtOrigin();
      const held = Array.from({ length: HELD_AT_ONCE }, () => new RawClient(port).send(GET.replace(" / ", " /held ")));
      await eventually(() => heldAtOrigin() === before + HELD_AT_ONCE);
      expect(await ask(port, "/held")).toMatch(/^HTTP\/1.1 429 /);

      await inspector.runHeard(0, code);
      await eventually(() => deaths.length === 1, WAIT_MS);
      const [told] = deaths;
      expect(told).toMatchObject({
        level: "error",
        thread: expect.any(Number),
        cause,
        waitMs: 0,
        reason: expect.stringContaining(why),
      });
      const lost = clients.filter(({ closed, ended }) => closed || ended);
      const kept = clients.filter((client) => !lost.includes(client));
      expect([lost.length > 0, kept.length > 0]).toEqual([true, true]);
      for (const client of kept) expect(await client.send(GET).answer()).toMatch(/fine$/);
      expect((await fetch(`http://${started.readiness}/healthz/ready`)).status).toBe(200);

      await eventually(() => inspector.sessions.length === THREADS + 1);
      await expect
        .poll(async () => figure(await scrape(started.metrics), "tidegate_threads_serving"), { timeout: WAIT_MS })
        .toBe(THREADS);
      const text = await scrape(started.metrics);
      expect(figure(text, `tidegate_thread_restarts_total\\{cause="${cause}"\\}`)).toBe(1);
      // The dead thread's gauges are gone, what it had counted is not.
      const stillHeld = held.filter(({ closed, ended }) => !closed && !ended);
      expect(figure(text, "tidegate_downstream_connections")).toBe(kept.length + stillHeld.length);
      const total = [...text.matchAll(/^istio_requests_total\{[^}]*response_code="200"[^}]*\} (\d+)$/gm)];
      expect(total.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(CLIENTS + kept.length);
      // What it held of the quota is free again: the others may have it, in the new thread and in the old one.
      const more = Array.from({ length: HELD_AT_ONCE - stillHeld.length }, () =>
        new RawClient(port).send(GET.replace(" / ", " /held ")),
      );
      await eventually(() => heldAtOrigin() === before + HELD_AT_ONCE + more.length);
      expect(await ask(port, "/held")).toMatch(/^HTTP\/1.1 429 /);
      expect(more.filter(({ received, closed }) => received !== "" || closed)).toEqual([]);

      for (const client of [...clients, ...held, ...more]) client.close();
      inspector.close();
      one.child.kill("SIGTERM");
      await eventually(() => one.child.exitCode !== null, WAIT_MS);
      expect(one.child.exitCode).toBe(0);
    },
  );

  it("again and again is replaced ever later; with none alive the gateway is not ready, and then it is", {
    timeout: 3 * WAIT_MS,
  }, async () => {
    const { port, inspector, deaths, started } = await gateway();
    const readiness = async (): Promise<number> => (await fetch(`http://${started.readiness}/healthz/ready`)).status;
    const kill = async (session: number): Promise<void> => {
      const before = deaths.length;
      await eventually(() => inspector.sessions.length > session, WAIT_MS);
      // A thread that has just begun hears nothing yet.
      for (const untilMs = performance.now() + WAIT_MS; deaths.length === before && performance.now() < untilMs; ) {
        inspector.run(session, THROW);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    const waits = (): number[] => deaths.map(({ waitMs }) => waitMs);
    // Both, then both replacements, and theirs, so that at some point nobody serves.
    const seen = new Set<number>();
    const watched = eventuallySeen(readiness, seen, () => waits().length === 6);
    for (let session = 0; session < 6; session++) await kill(session);
    await watched;
    expect(seen).toContain(503);
    const sorted = waits().toSorted((a, b) => a - b);
    expect(sorted.slice(0, 2)).toEqual([0, 0]);
    expect(sorted.at(-1)).toBeGreaterThanOrEqual(100);
    await expect.poll(readiness, { timeout: WAIT_MS }).toBe(200);
    expect(await ask(port)).toMatch(/fine$/);
    inspector.close();
  });
});

describe("the main thread", () => {
  it("that comes upon a bug ends the process with a line that says why, so that whoever watches over it starts it again", async () => {
    const { process: one, inspector } = await gateway();
    inspector.runHere(THROW);
    // A process does not end while somebody debugs it.
    await eventually(() => one.output().includes("ends by a bug"));
    inspector.close();
    await eventually(() => one.child.exitCode !== null, WAIT_MS);
    expect(one.child.exitCode).toBe(70);
    expect(one.output()).toMatch(/"level":"error","message":"the gateway ends by a bug","error":"Error: injected/);
  });
});
