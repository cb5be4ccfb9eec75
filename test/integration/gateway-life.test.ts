import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { QuotaPolicy } from "../../gateway/core/ir/index.ts";
import { quotaPolicy } from "../conformance/build.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { Http2Client } from "../support/http2.ts";
import { accepts } from "../tools/processes.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

async function originOf(name: string): Promise<ScriptedOrigin> {
  const origin = await new ScriptedOrigin((socket) => socket.write(okAnswer(name))).start();
  opened.push(origin);
  return origin;
}

function gatewayOf(threads = 1): TestGateway {
  const gateway = testGateway(threads);
  opened.push({ stop: () => void gateway.engine.drain(0) });
  return gateway;
}

const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

/** Clients that send one request after another on connections of their own, and open a new one when they are told to close. */
class Load {
  answered = 0;
  readonly problems: string[] = [];
  #running = true;
  readonly #clients: Promise<void>[];

  constructor(port: number, clients: number, onAnswer: (answer: string) => void = () => undefined) {
    this.#clients = Array.from({ length: clients }, () => this.#client(port, onAnswer));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#clients);
  }

  async #client(port: number, onAnswer: (answer: string) => void): Promise<void> {
    let connection: RawClient | undefined;
    let connected = false;
    while (this.#running) {
      if (connection === undefined) {
        connection = new RawClient(port);
        const { socket } = connection;
        connected = await new Promise((resolve) => {
          socket.once("connect", () => resolve(true));
          socket.once("close", () => resolve(false));
        });
        if (!connected) return;
      }
      try {
        const answer = await connection.send(GET).answer();
        this.answered += 1;
        if (!answer.startsWith("HTTP/1.1 200")) this.problems.push(answer);
        onAnswer(answer);
        if (answer.includes("connection: close")) {
          connection.close();
          connection = undefined;
        }
      } catch (error) {
        this.problems.push(String(error));
        return;
      }
    }
    connection?.close();
  }
}

describe("snapshots", () => {
  it("swaps tables, backends and listeners under load without failing a request", async () => {
    const [one, two] = [await originOf("one"), await originOf("two")];
    const [port, other] = [await freePort(), await freePort()];
    const gateway = gatewayOf();
    const listeners = [testListener(port)];
    await gateway.install(testSnapshot({ listeners, originPorts: [one.port] }));
    const load = new Load(port, 8);
    for (let i = 0; i < 60; i++) {
      const originPorts = i % 3 === 0 ? [one.port] : i % 3 === 1 ? [two.port] : [one.port, two.port];
      const more = i % 2 === 0 ? [...listeners, testListener(other)] : listeners;
      await gateway.install(testSnapshot({ listeners: more, originPorts }));
      const { answered } = load;
      await eventually(() => load.answered > answered + 4 || load.problems.length > 0);
    }
    await load.stop();
    expect(load.problems).toEqual([]);
  });

  it("holds a request against one snapshot alone", async () => {
    const [one, two] = [await originOf("one"), await originOf("two")];
    const port = await freePort();
    const gateway = gatewayOf();
    const versionOf = (name: string) =>
      testSnapshot({
        listeners: [testListener(port)],
        originPorts: [name === "one" ? one.port : two.port],
        settings: { explainHeaders: true },
        routes: [testRoute(CLUSTER, {}, { responseHeaders: { set: [["x-route", name]] } })],
      });
    await gateway.install(versionOf("one"), "1.1");
    const mixed: string[] = [];
    const load = new Load(port, 6, (answer) => {
      const version = Number(/x-tidegate-snapshot: 1\.(\d+)/.exec(answer)?.[1]);
      const name = version % 2 === 1 ? "one" : "two";
      if (!answer.includes(`x-route: ${name}`) || !answer.endsWith(name)) mixed.push(answer);
    });
    for (let i = 2; i < 60; i++) {
      await gateway.install(versionOf(i % 2 === 1 ? "one" : "two"), `1.${i}`);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await load.stop();
    expect(mixed).toEqual([]);
    expect(load.problems).toEqual([]);
  });

  it("lets connections of a removed listener finish, and refuses new ones", async () => {
    const answers: (() => void)[] = [];
    const origin = await new ScriptedOrigin((socket) => answers.push(() => socket.write(okAnswer("late")))).start();
    opened.push(origin);
    const [kept, removed] = [await freePort(), await freePort()];
    const gateway = gatewayOf();
    await gateway.install(testSnapshot({ listeners: [testListener(kept), testListener(removed)], originPorts: [origin.port] }));
    const client = new RawClient(removed).send(GET);
    await eventually(() => answers.length === 1);
    await gateway.install(testSnapshot({ listeners: [testListener(kept)], originPorts: [origin.port] }));
    // Who comes while the listener looks for a quiet moment is still taken.
    while (await accepts(removed)) await new Promise((resolve) => setTimeout(resolve, 250));
    answers[0]?.();
    expect(await client.answer()).toMatch(/connection: close[\s\S]*late$/);
    client.close();
  });

  it("names a port that cannot be bound and serves the rest", async () => {
    const origin = await originOf("fine");
    const port = await freePort();
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    opened.push({ stop: () => void holder.close() });
    const taken = (holder.address() as { port: number }).port;
    const gateway = gatewayOf();
    const outcome = await gateway.engine.installSnapshot(
      testSnapshot({ listeners: [testListener(taken), testListener(port)], originPorts: [origin.port] }),
      "1.1",
      () => Promise.resolve(),
    );
    expect(outcome).toEqual({
      kind: "in-force",
      problems: [
        {
          name: `127.0.0.1:${taken}`,
          reason: `127.0.0.1:${taken} is in use by another process: stop that, or choose another port`,
        },
      ],
    });
    const client = new RawClient(port);
    expect(await client.send(GET).answer()).toMatch(/fine$/);
    client.close();
  });

  it("refuses a snapshot that does not compile, or cannot be persisted, and keeps serving the last one", async () => {
    const origin = await originOf("still here");
    const port = await freePort();
    const gateway = gatewayOf();
    const good = testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] });
    await gateway.install(good, "1.1");
    const bad = testSnapshot({
      listeners: [testListener(port)],
      originPorts: [origin.port],
      routes: [testRoute(CLUSTER, {}, { matches: [{ path: { kind: "regex", value: "(" } }] })],
    });
    expect(await gateway.engine.installSnapshot(bad, "1.2", () => Promise.resolve())).toMatchObject({ kind: "refused" });
    await expect(gateway.engine.installSnapshot(good, "1.3", () => Promise.reject(new Error("disk full")))).rejects.toThrow(
      "disk full",
    );
    expect(gateway.engine.status.version).toBe("1.1");
    const client = new RawClient(port);
    expect(await client.send(GET).answer()).toMatch(/still here$/);
    client.close();
  });
});

describe("threads", () => {
  it("serves one port from several threads, installs in all or in none, and adds their metrics up", async () => {
    const origin = await originOf("threaded");
    const port = await freePort();
    const gateway = gatewayOf(2);
    await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] }));
    const clients = Array.from({ length: 40 }, () => new RawClient(port));
    for (const client of clients) expect(await client.send(GET).answer()).toMatch(/threaded$/);
    await gateway.engine.sample();
    expect(gateway.metrics.exposition()).toContain("tidegate_downstream_connections 40\n");
    for (const client of clients) client.close();
    await eventually(() => /istio_requests_total\{[^}]*response_code="200"[^}]*\} 40\n/.test(gateway.metrics.exposition()));
    const bad = testSnapshot({
      listeners: [testListener(port)],
      originPorts: [origin.port],
      routes: [testRoute(CLUSTER, {}, { matches: [{ path: { kind: "regex", value: "[" } }] })],
    });
    expect(await gateway.engine.installSnapshot(bad, "1.9", () => Promise.resolve())).toMatchObject({ kind: "refused" });
  });

  it("names a busy port although threads share theirs", async () => {
    const origin = await originOf("x");
    const holder = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => holder.once("listening", resolve));
    opened.push({ stop: () => void holder.close() });
    const taken = (holder.address() as { port: number }).port;
    const gateway = gatewayOf(2);
    const outcome = await gateway.engine.installSnapshot(
      testSnapshot({ listeners: [testListener(taken)], originPorts: [origin.port] }),
      "1.1",
      () => Promise.resolve(),
    );
    expect(outcome.problems.map(({ name }) => name)).toEqual([`127.0.0.1:${taken}`]);
  });
});

/** What is left of a drain after this is cut; nothing is. */
const NO_CUT_MS = 30_000;

describe("draining", () => {
  for (const threads of [1, 2]) {
    it(`fails no request with ${threads} thread(s), while clients keep coming`, async () => {
      const origin = await originOf("to the end");
      const port = await freePort();
      const gateway = gatewayOf(threads);
      await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] }));
      const load = new Load(port, 8);
      await eventually(() => load.answered > 100);
      await gateway.engine.drain(NO_CUT_MS);
      await load.stop();
      expect(load.problems).toEqual([]);
      const late = new RawClient(port);
      await late.end();
      expect(late.received).toBe("");
    });
  }

  it("fails no request of HTTP/2 clients, which are told to go", async () => {
    const origin = await originOf("to the end");
    const port = await freePort();
    const gateway = gatewayOf();
    await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] }));
    const problems: string[] = [];
    let answered = 0;
    const told = new Set<Http2Client>();
    const clients = Array.from({ length: 4 }, async () => {
      const client = new Http2Client(`http://127.0.0.1:${port}`);
      client.session.on("goaway", (code) => code === 0 && told.add(client));
      const stream = async (): Promise<void> => {
        while (!client.session.closed) {
          const answer = await client.askUnlessTold({ ":path": "/", ":authority": "a.test" });
          if (answer === undefined) return;
          if (answer.status !== 200) throw new Error(`status ${answer.status}`);
          answered += 1;
        }
      };
      for (const ended of await Promise.allSettled([stream(), stream(), stream()]))
        if (ended.status === "rejected") problems.push(String(ended.reason));
      client.close();
    });
    await eventually(() => answered > 100);
    await gateway.engine.drain(NO_CUT_MS);
    await Promise.all(clients);
    expect(problems).toEqual([]);
    expect(told.size).toBe(4);
  });

  it("waits for a request in flight and cuts it at the deadline", async () => {
    const answers: (() => void)[] = [];
    const origin = await new ScriptedOrigin((socket) => answers.push(() => socket.write(okAnswer("late")))).start();
    opened.push(origin);
    const port = await freePort();
    const gateway = gatewayOf();
    await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] }));
    const [served, cut] = [new RawClient(port).send(GET), new RawClient(port).send(GET)];
    await eventually(() => answers.length === 2);
    const drained = gateway.engine.drain(600);
    answers[0]?.();
    answers[1] = () => undefined;
    const first = await Promise.race([served.answer(), cut.answer()]);
    expect(first).toMatch(/connection: close[\s\S]*late$/);
    await drained;
    await eventually(() => served.closed || served.ended);
    await eventually(() => cut.closed || cut.ended);
  });
});

describe("TLS", () => {
  it("picks certificates by name, reloads them, and refuses a bad one by name", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-tls-"));
    opened.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
    const certify = (file: string, name: string): Promise<void> =>
      writeCertificate({ key: join(directory, `${file}.key`), certificate: join(directory, `${file}.crt`) }, name);
    await certify("a", "a.test");
    await certify("b", "b.test");
    writeFileSync(join(directory, "bad.crt"), "not a certificate");
    writeFileSync(join(directory, "bad.key"), "not a key");
    const server = (name: string, serverNames: string[]) => ({
      name,
      serverNames,
      routeTable: "main",
      tls: {
        mode: "simple" as const,
        certificateFile: join(directory, `${name}.crt`),
        privateKeyFile: join(directory, `${name}.key`),
        minVersion: "TLSv1.2" as const,
        maxVersion: "TLSv1.3" as const,
        cipherSuites: [],
      },
    });
    const origin = await originOf("secret");
    const port = await freePort();
    const gateway = gatewayOf();
    const servers = [server("a", ["a.test"]), server("b", ["*"]), server("bad", ["bad.test"])];
    const outcome = await gateway.engine.installSnapshot(
      testSnapshot({ listeners: [testListener(port, { protocol: "https", servers })], originPorts: [origin.port] }),
      "1.1",
      () => Promise.resolve(),
    );
    expect(outcome.kind).toBe("in-force");
    expect(outcome.problems.map(({ name }) => name)).toEqual(["bad"]);

    const ask = (servername: string | undefined): Promise<{ name: unknown; answer: string }> =>
      new Promise((resolve, reject) => {
        const socket = connectTls({
          port,
          host: "127.0.0.1",
          rejectUnauthorized: false,
          ...(servername === undefined ? {} : { servername }),
        });
        let answer = "";
        socket.on("secureConnect", () => socket.write(`GET / HTTP/1.1\r\nhost: ${servername ?? "other.test"}\r\n\r\n`));
        socket.on("data", (bytes) => {
          answer += bytes.toString("latin1");
          if (!answer.endsWith("secret")) return;
          resolve({ name: socket.getPeerCertificate().subject["CN"], answer });
          socket.destroy();
        });
        socket.on("error", reject);
      });
    expect((await ask("a.test")).name).toBe("a.test");
    expect((await ask("other.test")).name).toBe("b.test");
    expect((await ask(undefined)).name).toBe("b.test");
    await expect(ask("bad.test")).rejects.toThrow();

    await certify("next", "a2.test");
    renameSync(join(directory, "next.key"), join(directory, "a.key"));
    renameSync(join(directory, "next.crt"), join(directory, "a.crt"));
    const until = performance.now() + 30_000;
    let name: unknown;
    while (name !== "a2.test" && performance.now() < until) {
      name = (await ask("a.test")).name;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(name).toBe("a2.test");
  });
});

describe("access log", () => {
  it("writes a line per request, and follows a rotation", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-log-"));
    opened.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
    const path = join(directory, "access.log");
    const origin = await originOf("logged");
    const port = await freePort();
    const gateway = gatewayOf();
    await gateway.install(
      testSnapshot({
        listeners: [testListener(port)],
        originPorts: [origin.port],
        settings: { accessLog: { enabled: true, path } },
      }),
    );
    const client = new RawClient(port);
    await client.send(GET).answer();
    await eventually(() => existsSync(path) && readFileSync(path, "utf8").endsWith("}\n"));
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({
      method: "GET",
      status: 200,
      route: "test/test/0",
      snapshot: "1.1",
    });
    renameSync(path, `${path}.1`);
    gateway.engine.reopenLogs();
    await client.send(GET).answer();
    await eventually(() => existsSync(path) && readFileSync(path, "utf8").endsWith("}\n"));
    client.close();
  });
});

describe("an expired section whose fail mode is closed", () => {
  const fresh = { kind: "fresh" } as const;
  const expired = { kind: "expired", forS: 1, failMode: "closed" } as const;
  const FRESH = { sections: { routes: fresh, egress: fresh, quota: fresh }, nextChangeS: undefined };

  it.each([1, 2])("routes nothing more, until it is fresh again (%i threads)", async (threads) => {
    const [origin, port] = [await originOf("ok"), await freePort()];
    const gateway = gatewayOf(threads);
    await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port] }));
    const ask = async () => (await new RawClient(port).send(GET).answer()).split(" ")[1];
    // A worker hears of it by a message: a few answers later at the most.
    const becomes = async (status: string) => {
      for (let tries = 0; tries < 100; tries++) if ((await ask()) === status) return;
      expect(await ask()).toBe(status);
    };
    expect(await ask()).toBe("200");
    gateway.engine.aged({ ...FRESH, sections: { ...FRESH.sections, routes: expired } });
    await becomes("503");
    gateway.engine.aged({ ...FRESH, sections: { ...FRESH.sections, routes: { ...expired, failMode: "keep" } } });
    await becomes("200");
  });

  it("leaves quotas to what each says about a store that fails", async () => {
    const [origin, port] = [await originOf("ok"), await freePort()];
    const gateway = gatewayOf();
    const quota = (name: string, kind: "allow" | "deny"): QuotaPolicy =>
      quotaPolicy(`test/${name}`, [{ name: "most", amount: 100, perMs: 60_000, window: "rolling" }], {
        onStoreFailure: { kind },
      });
    const to = (path: string, quotas: string[]) =>
      testRoute(CLUSTER, {}, { id: `test/test${path}`, matches: [{ path: { kind: "exact", value: path } }], quotas });
    const routes = [to("/open", ["test/open"]), to("/shut", ["test/shut"])];
    const snapshot = testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], routes });
    await gateway.install({ ...snapshot, quotas: [quota("open", "allow"), quota("shut", "deny")] });
    const ask = async (path: string) => {
      const answer = await new RawClient(port).send(`GET ${path} HTTP/1.1\r\nhost: a.test\r\n\r\n`).answer();
      return answer.split(" ")[1];
    };
    expect([await ask("/open"), await ask("/shut")]).toEqual(["200", "200"]);
    gateway.engine.aged({ ...FRESH, sections: { ...FRESH.sections, quota: expired } });
    expect([await ask("/open"), await ask("/shut")]).toEqual(["200", "503"]);
    gateway.engine.aged(FRESH);
    expect([await ask("/open"), await ask("/shut")]).toEqual(["200", "200"]);
  });
});
