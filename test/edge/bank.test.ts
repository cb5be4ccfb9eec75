/** One limit over sites, isolates and Node gateways, in the real workerd: what is admitted over all of them, and how often the bank is asked for it. */
import { mkdtempSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { MAX_BATCH_BYTES } from "../../gateway/core/index.ts";
import type { QuotaPolicy } from "../../gateway/core/ir/index.ts";
import {
  CLUSTER,
  freePort,
  listening,
  type TestGateway,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { Running } from "../tools/processes.ts";

const BANK_PATH = "/.tidegate/bank";
const TOKEN = "bank-token-of-the-test";
/** Longer than by default: nobody is to be refused because this machine is busy. */
const DEADLINE_MS = 2000;
const SITES = 4;
const LIMIT = 300;

const HOUR = { name: "hour", amount: LIMIT, perMs: 3_600_000, window: "rolling" } as const;

function policy(change: Partial<QuotaPolicy> = {}): QuotaPolicy {
  return {
    id: "shop/global",
    origin: { kind: "Quota", namespace: "shop", name: "global" },
    matches: [],
    key: [{ kind: "header", name: "x-key" }],
    limits: [HOUR],
    cost: { kind: "header", name: "x-cost", max: 50, default: 1 },
    unit: "requests",
    overrides: [],
    whenKeyMissing: "share",
    scope: "global",
    accuracy: { kind: "strict" },
    onStoreFailure: { kind: "deny" },
    mode: "enforce",
    headers: "draft",
    response: { status: 429 },
    ...change,
  };
}

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

interface Sites {
  readonly ports: readonly number[];
  readonly workerd: Running;
}

/** Workers of several sites in one workerd, the first of which keeps the banks; all of them know the quotas. */
async function startSites(
  quotas: readonly QuotaPolicy[],
  options: {
    readonly directory?: string;
    readonly ports?: readonly number[];
    readonly bankUrl?: string;
    readonly count?: number;
  } = {},
): Promise<Sites> {
  const { bankUrl, count = SITES, directory = mkdtempSync(join(tmpdir(), "tidegate-bank-")) } = options;
  const ports = options.ports ?? (await Promise.all(Array.from({ length: count }, () => freePort())));
  const names = ports.map((_, i) => `site${i}`);
  const bank =
    bankUrl === undefined
      ? { BANK: { kind: "durableObject", className: "QuotaBank", worker: "site0" } as const }
      : { BANK_URL: { kind: "text", value: bankUrl } as const };
  const workerd = await startWorkerd(directory, {
    workers: names.map((name) => ({
      name,
      entry: "test/edge/workers/bank.ts",
      bindings: {
        ...bank,
        BANK_TOKEN: { kind: "text", value: TOKEN },
        QUOTAS: { kind: "json", value: quotas },
        DEADLINE_MS: { kind: "text", value: String(DEADLINE_MS) },
      },
      ...(name === "site0" && bankUrl === undefined ? { durableObjects: ["QuotaBank"] } : {}),
    })),
    sockets: names.map((name, i) => ({ name, address: `127.0.0.1:${ports[i]}`, service: name })),
    allowNetworks: ["private"],
    storage: "storage",
  });
  ended.push(() => workerd.stop());
  return { ports, workerd };
}

/** A Node gateway that answers by itself what its quota lets through. */
async function startNode(
  quota: QuotaPolicy,
  bankPort: number,
  threads = 1,
  deadlineMs = DEADLINE_MS,
): Promise<{ readonly port: number; readonly gateway: TestGateway }> {
  const port = await freePort();
  const gateway = testGateway(threads, { token: TOKEN, deadlineMs });
  ended.push(() => gateway.engine.drain(100));
  const snapshot = testSnapshot({
    listeners: [testListener(port)],
    originPorts: [],
    routes: [testRoute(CLUSTER, {}, { action: { kind: "direct", status: 200 }, quotas: [quota.id] })],
    settings: { quotaBank: { url: `http://127.0.0.1:${bankPort}${BANK_PATH}` } },
  });
  await gateway.install({ ...snapshot, quotas: [quota] });
  return { port, gateway };
}

class Tally {
  readonly statuses = new Map<number, number>();

  of(status: number): number {
    return this.statuses.get(status) ?? 0;
  }

  /** Sends requests to ports in turn, so many at once. */
  async load(ports: readonly number[], requests: number, atOnce: number, key = "k"): Promise<void> {
    let sent = 0;
    const one = async (): Promise<void> => {
      while (sent < requests) {
        const port = ports[sent++ % ports.length] ?? 0;
        const status = await ask(port, key);
        this.statuses.set(status, this.of(status) + 1);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, one));
  }
}

async function ask(port: number, key: string): Promise<number> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/?key=${key}`, { headers: { "x-key": key }, redirect: "manual" });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

interface Usage {
  readonly asked: number;
  readonly denied: number;
  readonly failed: number;
}

async function usageOf(port: number): Promise<Usage> {
  return (await (await fetch(`http://127.0.0.1:${port}/usage`)).json()) as Usage;
}

describe("a strict limit over sites and Node gateways", () => {
  it("admits exactly as much as it says out of ten times as many at once, and asks the bank once per lease", async () => {
    const { ports } = await startSites([policy()]);
    const node = await startNode(policy(), ports[0] ?? 0, 2);
    const all = [...ports, node.port];
    const tally = new Tally();
    await tally.load(all, 10 * LIMIT, 200);
    // What a holder was given ahead of need goes to the next who come.
    for (const port of all) await tally.load([port], LIMIT, 20);
    expect(tally.of(200)).toBe(LIMIT);
    expect(tally.of(429)).toBe(10 * LIMIT + all.length * LIMIT - LIMIT);
    const usages = await Promise.all(ports.map(usageOf));
    for (const { asked, denied, failed } of usages) {
      expect(failed).toBe(0);
      // Leases shrink as what is left does: a handful each, not one per request.
      expect(asked - denied).toBeLessThan(LIMIT / SITES / 2);
    }
  });
});

describe("a bank that is killed in the middle", () => {
  it("knows what it has granted when it is back, and admits no more than is left", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-bank-"));
    const first = await startSites([policy()], { directory });
    const node = await startNode(policy(), first.ports[0] ?? 0);
    const tally = new Tally();
    await tally.load([...first.ports, node.port], LIMIT / 2, 40);
    expect(tally.of(200)).toBe(LIMIT / 2);
    const load = tally.load([...first.ports, node.port], LIMIT / 2, 20);
    await first.workerd.stop("SIGKILL");
    await load;
    // The isolates' leases are gone with them: for their life nobody else gets those, and afterwards, for a window, neither.
    await startSites([policy()], { directory, ports: first.ports });
    await tally.load([...first.ports, node.port], 3 * LIMIT, 40);
    expect(tally.of(200)).toBeLessThanOrEqual(LIMIT);
    expect(tally.of(200)).toBeGreaterThan(LIMIT / 2);
    // Keys that nobody held anything of have lost nothing.
    const fresh = new Tally();
    await fresh.load([...first.ports, node.port], LIMIT, 40, "another");
    expect(fresh.of(200)).toBeGreaterThan(LIMIT * 0.9);
  });
});

describe("a limit whose windows go by", () => {
  const WINDOW_MS = 2000;
  const PER_WINDOW = 60;
  const WINDOWS = 4;

  it.each([
    ["strict", { kind: "strict" } as const, PER_WINDOW],
    ["bounded by 20 %", { kind: "bounded", percent: 20 } as const, PER_WINDOW * 1.2],
  ])("is kept in every one of them, and used: %s", async (_name, accuracy, most) => {
    const limits = [{ name: "short", amount: PER_WINDOW, perMs: WINDOW_MS, window: "rolling" as const }];
    const quota = policy({ limits, accuracy });
    const { ports } = await startSites([quota], { count: 3 });
    const node = await startNode(quota, ports[0] ?? 0);
    const admitted: { readonly fromMs: number; readonly toMs: number }[] = [];
    const untilMs = performance.now() + WINDOWS * WINDOW_MS;
    const client = async (port: number): Promise<void> => {
      while (performance.now() < untilMs) {
        const fromMs = performance.now();
        if ((await ask(port, "k")) === 200) admitted.push({ fromMs, toMs: performance.now() });
        else await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    await Promise.all([...ports, node.port].flatMap((port) => [client(port), client(port)]));
    // Charged some time between being sent and being answered: what lies wholly in a window was charged in it.
    const worst = admitted.map(
      ({ fromMs }) => admitted.filter((one) => one.fromMs >= fromMs && one.toMs < fromMs + WINDOW_MS).length,
    );
    expect(Math.max(...worst)).toBeLessThanOrEqual(most);
    expect(admitted.length).toBeGreaterThan(0.6 * PER_WINDOW * WINDOWS);
  });
});

/** Stands between a gateway and its bank: some calls reach the bank, and their answers never come back. */
class Cutter {
  readonly #server: Server;
  readonly #bankPort: number;
  readonly #sockets = new Set<Socket>();
  /** Every so many calls one is cut; 0: none, 1: all. */
  every = 0;
  calls = 0;
  cut = 0;

  constructor(bankPort: number) {
    this.#bankPort = bankPort;
    this.#server = createServer((client) => this.#serve(client));
  }

  async start(): Promise<number> {
    const port = await listening(this.#server);
    ended.push(async () => {
      for (const socket of this.#sockets) socket.destroy();
      this.#server.close();
    });
    return port;
  }

  #serve(client: Socket): void {
    const bank = connect({ host: "127.0.0.1", port: this.#bankPort });
    let isCut = false;
    for (const socket of [client, bank]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        bank.destroy();
      });
    }
    client.on("data", (bytes: Buffer) => {
      if (bytes.includes(`POST ${BANK_PATH}`)) {
        this.calls++;
        isCut = this.every > 0 && this.calls % this.every === 0;
      }
      bank.write(bytes);
    });
    bank.on("data", (bytes: Buffer) => {
      if (!isCut) client.write(bytes);
      else {
        this.cut++;
        client.destroy();
      }
    });
  }
}

describe("answers that are lost on the way", () => {
  it("are asked for again and given once: nothing is admitted twice, nothing is lost", async () => {
    const { ports } = await startSites([policy()]);
    const cutter = new Cutter(ports[0] ?? 0);
    const node = await startNode(policy(), await cutter.start());
    cutter.every = 3;
    const tally = new Tally();
    for (let round = 0; round < 60 && tally.of(200) < LIMIT; round++) {
      await tally.load([node.port], 10, 2);
      // A key whose ask has failed is not asked for again at once.
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(cutter.cut).toBeGreaterThan(2);
    expect(tally.of(200)).toBe(LIMIT);
    await tally.load([...ports, node.port], LIMIT, 20);
    expect(tally.of(200)).toBe(LIMIT);
    // One call per lease, and one more for each that was cut.
    expect(cutter.calls - cutter.cut).toBeLessThan(LIMIT / 5);
  });
});

describe("a site whose banks are at another site", () => {
  it("draws on them over HTTP, and its limit is the same one", async () => {
    const here = await startSites([policy()], { count: 2 });
    const there = await startSites([policy()], { count: 2, bankUrl: `http://127.0.0.1:${here.ports[0]}${BANK_PATH}` });
    const all = [...here.ports, ...there.ports];
    const tally = new Tally();
    await tally.load(all, 4 * LIMIT, 60);
    for (const port of all) await tally.load([port], LIMIT, 20);
    expect(tally.of(200)).toBe(LIMIT);
    const [usage] = await Promise.all(there.ports.map(usageOf));
    expect(usage?.asked).toBeGreaterThan(1);
  });
});

describe("the bank's door", () => {
  const post = (port: number, body: string, token = TOKEN) =>
    fetch(`http://127.0.0.1:${port}${BANK_PATH}`, { method: "POST", headers: { authorization: `Bearer ${token}` }, body });
  const askFor = (change: object) =>
    JSON.stringify({
      holder: "h",
      asks: [{ id: "h.1", quota: "shop/global", limit: "hour", key: "k", need: 1, wanted: 1, debt: 0, ended: [], ...change }],
    });

  it("opens to the token only, and reads nothing that is no batch", async () => {
    const { ports } = await startSites([policy()], { count: 1 });
    const port = ports[0] ?? 0;
    expect((await post(port, askFor({}), "guess")).status).toBe(401);
    expect((await post(port, "{")).status).toBe(400);
    expect((await post(port, askFor({ need: -1 }))).status).toBe(400);
    expect((await post(port, `"${"x".repeat(MAX_BATCH_BYTES)}"`)).status).toBe(413);
    expect((await fetch(`http://127.0.0.1:${port}${BANK_PATH}`, { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(
      405,
    );
  });

  it("takes a limit's numbers from its own snapshot, whatever an asker says", async () => {
    const { ports } = await startSites([policy({ overrides: [{ key: ["small"], limits: [{ ...HOUR, amount: 2 }] }] })], {
      count: 1,
    });
    const port = ports[0] ?? 0;
    const answerTo = async (change: object) => {
      const body = (await (await post(port, askFor(change))).json()) as {
        answers: readonly { granted: number; problem?: string }[];
      };
      return body.answers[0];
    };
    expect(await answerTo({ key: "small", need: 3, amount: 1000, perMs: 1 })).toMatchObject({ granted: 0 });
    expect(await answerTo({ id: "h.2", key: "small", need: 2 })).toMatchObject({ granted: 2 });
    expect(await answerTo({ id: "h.2", key: "small", need: 2 })).toMatchObject({ granted: 2 });
    expect(await answerTo({ id: "h.3", key: "small", need: 1 })).toMatchObject({ granted: 0 });
    expect(await answerTo({ limit: "other" })).toMatchObject({
      granted: 0,
      problem: expect.stringContaining("shop/global#other"),
    });
  });
});

/** A deadline that no busy machine takes up by itself. */
const LONG_MS = 2_000;

describe("a bank that is not there", () => {
  it("costs a Node gateway's requests no more than the deadline, and onStoreFailure decides", async () => {
    const local = policy({ onStoreFailure: { kind: "local", percent: 10 } });
    const node = await startNode(local, await freePort());
    const tally = new Tally();
    await tally.load([node.port], LIMIT, 10);
    expect(tally.of(200)).toBe(LIMIT / 10);
    expect(tally.of(429)).toBe(LIMIT - LIMIT / 10);
    expect(node.gateway.logged.join()).toContain("the quota bank does not answer");
    expect(node.gateway.logged.join()).not.toContain(TOKEN);
  });

  it("and takes calls but never answers keeps one request of a key waiting, and that no longer than the deadline", async () => {
    const silent = createServer((socket) => void socket.on("error", () => undefined));
    const port = await listening(silent);
    ended.push(async () => void silent.close());
    const node = await startNode(policy({ onStoreFailure: { kind: "allow" } }), port, 1, LONG_MS);
    expect(await ask(node.port, "warm")).toBe(200);
    const tookMs: number[] = [];
    for (let i = 0; i < 20; i++) {
      const fromMs = performance.now();
      expect(await ask(node.port, "k")).toBe(200);
      tookMs.push(performance.now() - fromMs);
    }
    expect(tookMs[0]).toBeGreaterThanOrEqual(LONG_MS - 10);
    expect(Math.max(...tookMs.slice(1))).toBeLessThan(LONG_MS - 10);
  });
});
