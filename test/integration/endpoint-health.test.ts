/** Endpoints that fail, are checked, or are behind a name: over sockets, in one thread and in two. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttp2Server } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import type { Cluster, HealthCheck, HealthProbe } from "../../gateway/core/ir/index.ts";
import type { EngineOptions } from "../../gateway/node/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import { NameServer } from "../support/dns-server.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  listening,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

interface Running {
  readonly gateway: TestGateway;
  readonly port: number;
  /** One request over a connection of its own: the answer's last line, or its status. */
  ask(): Promise<string>;
  install(change: Partial<Parameters<typeof testSnapshot>[0]>): Promise<void>;
}

async function run(
  originPorts: readonly number[],
  cluster: Partial<Cluster>,
  { threads = 1, more = {}, addresses }: { threads?: number; more?: Partial<EngineOptions>; addresses?: readonly string[] } = {},
): Promise<Running> {
  const gateway = testGateway(threads, undefined, "/nonexistent", more);
  opened.push({ stop: () => void gateway.engine.drain(0) });
  const port = await freePort();
  const install = async (change: Partial<Parameters<typeof testSnapshot>[0]>): Promise<void> => {
    const snapshot = testSnapshot({ listeners: [testListener(port)], originPorts, cluster, ...change });
    const [list] = snapshot.endpoints;
    const endpoints = list!.endpoints.map((endpoint, i) => ({ ...endpoint, address: addresses?.[i] ?? endpoint.address }));
    await gateway.install({ ...snapshot, endpoints: [{ cluster: CLUSTER, endpoints }] });
  };
  await install({});
  const ask = async (): Promise<string> => {
    const client = new RawClient(port);
    const answer = await client.send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").answer();
    client.close();
    return answer.startsWith("HTTP/1.1 200") ? (answer.split("\r\n").at(-1) ?? "") : answer.slice(9, 12);
  };
  return { gateway, port, ask, install };
}

async function origin(name: string, answer: () => string = () => okAnswer(name)): Promise<ScriptedOrigin> {
  const started = await new ScriptedOrigin((socket) => socket.write(answer())).start();
  opened.push(started);
  return started;
}

const FAILURE = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
const outlier = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 0,
  intervalMs: 50,
  baseEjectionMs: 300,
  maxEjectionPercent: 50,
};
const judged: Partial<Cluster> = { outlier, loadBalancer: { policy: "round-robin", panicPercent: 0 } };

async function states({ gateway }: Running): Promise<readonly string[]> {
  return (await gateway.engine.endpoints()).map(({ state }) => state);
}

async function metric({ gateway }: Running, series: string): Promise<number> {
  await gateway.engine.sample();
  const line = gateway.metrics
    .exposition()
    .split("\n")
    .find((one) => one.startsWith(series));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

describe("outlier detection", () => {
  it("takes an endpoint out that fails, and lets it back; everybody can see that", async () => {
    let failing = true;
    const [bad, good] = [await origin("bad", () => (failing ? FAILURE : okAnswer("bad"))), await origin("good")];
    const running = await run([bad.port, good.port], judged);
    for (let i = 0; i < 4; i++) await running.ask();
    expect(await states(running)).toEqual(["ejected", "healthy"]);
    expect(await metric(running, `tidegate_cluster_endpoints{cluster="${CLUSTER}",state="ejected"}`)).toBe(1);
    expect(await metric(running, `tidegate_cluster_endpoints{cluster="${CLUSTER}",state="total"}`)).toBe(2);
    expect(await metric(running, "tidegate_endpoint_ejections_total")).toBe(1);
    expect(running.gateway.logged.join()).toContain("an endpoint is ejected");
    for (let i = 0; i < 6; i++) expect(await running.ask()).toBe("good");
    // A snapshot that changes nothing about it does not let it back.
    await running.install({ routes: [testRoute(CLUSTER, { timeoutMs: 5_000 })] });
    expect(await states(running)).toEqual(["ejected", "healthy"]);
    failing = false;
    const answers: string[] = [];
    const until = performance.now() + 30_000;
    while (!answers.includes("bad") && performance.now() < until) answers.push(await running.ask());
    expect(answers).toContain("bad");
    expect(answers).not.toContain("500");
  });

  it("spares the last half, and counts that", async () => {
    const [one, other] = [await origin("one", () => FAILURE), await origin("other", () => FAILURE)];
    const running = await run([one.port, other.port], { ...judged, outlier: { ...outlier, baseEjectionMs: 60_000 } });
    for (let i = 0; i < 8; i++) expect(await running.ask()).toBe("500");
    expect((await states(running)).filter((state) => state === "ejected")).toHaveLength(1);
    expect(await metric(running, "tidegate_endpoint_ejections_spared_total")).toBeGreaterThan(0);
  });

  it("is told to the other threads", async () => {
    const [bad, good] = [await origin("bad", () => FAILURE), await origin("good")];
    const running = await run(
      [bad.port, good.port],
      { ...judged, outlier: { ...outlier, consecutive5xx: 1, baseEjectionMs: 60_000 } },
      { threads: 2 },
    );
    let last = "";
    for (let i = 0; i < 20 && last !== "500"; i++) last = await running.ask();
    expect(last).toBe("500");
    await eventually(() => running.gateway.logged.some((line) => line.startsWith("an endpoint is ejected")));
    // One round of messages to both threads, behind the news.
    await running.gateway.engine.endpoints();
    const answers = await Promise.all(Array.from({ length: 20 }, () => running.ask()));
    expect(new Set(answers)).toEqual(new Set(["good"]));
  });
});

const timing: Omit<HealthCheck, "probe"> = {
  intervalMs: 20,
  timeoutMs: 1_000,
  jitterPercent: 0,
  unhealthyThreshold: 2,
  healthyThreshold: 1,
};
const checked = (probe: HealthProbe, more: Partial<HealthCheck> = {}): Partial<Cluster> => ({
  healthCheck: { ...timing, probe, ...more },
  loadBalancer: { policy: "round-robin", panicPercent: 0 },
});

async function until(running: Running, wanted: readonly string[]): Promise<void> {
  const endMs = performance.now() + 30_000;
  let seen: readonly string[] = [];
  while (performance.now() < endMs) {
    seen = await states(running);
    if (seen.join() === wanted.join()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(seen).toEqual(wanted);
}

describe("active checks", () => {
  it("by HTTP: path, Host and statuses as asked; requests follow", async () => {
    let status = 404;
    const well = await origin("well");
    const sick = await origin("sick", () => `HTTP/1.1 ${status} X\r\ncontent-length: 4\r\n\r\nsick`);
    const probe: HealthProbe = {
      kind: "http",
      path: "/up?x=1",
      host: "probe.test",
      statuses: [
        [200, 299],
        [304, 304],
      ],
    };
    const running = await run([well.port, sick.port], checked(probe));
    await until(running, ["healthy", "unhealthy"]);
    expect((await running.gateway.engine.endpoints())[1]).toMatchObject({ reason: "status 404" });
    expect(sick.received[0]).toMatch(/^GET \/up\?x=1 HTTP\/1\.1\r\nhost: probe\.test\r\nuser-agent: tidegate-health-check\r\n/);
    for (let i = 0; i < 4; i++) expect(await running.ask()).toBe("well");
    status = 204;
    await until(running, ["healthy", "healthy"]);
    expect(await metric(running, `tidegate_health_checks_total{cluster="${CLUSTER}",outcome="failure"}`)).toBeGreaterThan(0);
    // A new thread's endpoints, or those of a new cluster, learn what is known.
    status = 404;
    await until(running, ["healthy", "unhealthy"]);
    await running.install({
      cluster: {
        ...checked(probe),
        pool: { ...testSnapshot({ listeners: [], originPorts: [] }).clusters[0]!.pool, maxConnections: 7 },
      },
    });
    expect(await states(running)).toEqual(["healthy", "unhealthy"]);
  });

  it("by HTTP: what is no HTTP, and what never answers, is not well", async () => {
    const garbage = await origin("garbage", () => "hello\r\n\r\n");
    const silent = await origin("silent", () => "");
    const probe: HealthProbe = { kind: "http", path: "/", statuses: [[200, 299]] };
    const running = await run([garbage.port, silent.port], checked(probe, { timeoutMs: 100 }));
    await until(running, ["unhealthy", "unhealthy"]);
    const reasons = (await running.gateway.engine.endpoints()).map(({ reason }) => reason);
    expect(reasons[0]).toMatch(/^no HTTP: /);
    expect(reasons[1]).toBe("no answer within 100 ms");
    expect(await running.ask()).toBe("503");
  });

  it("by TCP, and at a port of its own", async () => {
    const well = await origin("well");
    const closed = await freePort();
    const running = await run([well.port, closed], checked({ kind: "tcp" }));
    await until(running, ["healthy", "unhealthy"]);
    const other = await run([well.port], checked({ kind: "tcp" }, { port: closed }));
    await until(other, ["unhealthy"]);
  });

  it("over TLS, where the cluster has it: the certificate is checked as for requests", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-check-"));
    opened.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
    const [key, certificate] = [join(directory, "key.pem"), join(directory, "cert.pem")];
    await writeCertificate({ key, certificate }, "origin", ["origin.test"]);
    const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => socket.write(okAnswer("over TLS")));
    });
    const port = await listening(server);
    opened.push({ stop: () => void server.close() });
    const tls = {
      mode: "simple",
      subjectAltNames: [],
      caFile: certificate,
      minVersion: "TLSv1.2",
      insecureSkipVerify: false,
    } as const;
    const probe: HealthProbe = { kind: "http", path: "/", statuses: [[200, 200]] };
    const good = await run([port], { ...checked(probe), tls: { ...tls, serverName: "origin.test" } });
    await until(good, ["healthy"]);
    const bad = await run([port], { ...checked(probe), tls: { ...tls, serverName: "other.test" } });
    await until(bad, ["unhealthy"]);
  });

  it("by HTTP/2, where the service speaks that", async () => {
    let status = 200;
    const asked: string[] = [];
    const server = createHttp2Server((request, response) => {
      asked.push(`${request.authority} ${request.url}`);
      response.writeHead(status).end();
    });
    const port = await listening(server);
    opened.push({ stop: () => void server.close() });
    const probe: HealthProbe = { kind: "http", path: "/up", host: "probe.test", statuses: [[200, 299]] };
    const running = await run([port], { ...checked(probe), protocol: "http2" });
    await until(running, ["healthy"]);
    await eventually(() => asked.length > 0);
    expect(asked[0]).toBe("probe.test /up");
    status = 503;
    await until(running, ["unhealthy"]);
    const closed = await run([await freePort()], { ...checked(probe), protocol: "http2" });
    await until(closed, ["unhealthy"]);
  });

  it("by gRPC's health protocol: service, SERVING and all else", async () => {
    const statuses = new Map([["shop.Cart", 1]]);
    const asked: string[] = [];
    const server = new Server();
    server.addService(
      {
        Check: {
          path: "/grpc.health.v1.Health/Check",
          requestStream: false,
          responseStream: false,
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (bytes: Buffer) => bytes,
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      },
      {
        Check: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
          const service = call.request.subarray(2).toString();
          asked.push(`${service} ${call.getHost()}`);
          const status = statuses.get(service);
          if (status === undefined) answer({ code: 5, details: "unknown service" });
          else answer(null, Buffer.from([0x08, status]));
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    opened.push({ stop: () => server.forceShutdown() });
    const running = await run([port], checked({ kind: "grpc", service: "shop.Cart", authority: "cart.test" }));
    await eventually(() => asked.length > 0);
    expect(asked[0]).toBe("shop.Cart cart.test");
    await until(running, ["healthy"]);
    statuses.set("shop.Cart", 2);
    await until(running, ["unhealthy"]);
    expect((await running.gateway.engine.endpoints())[0]?.reason).toBe("gRPC health NOT_SERVING");
    const unknown = await run([port], checked({ kind: "grpc", service: "shop.None" }));
    await until(unknown, ["unhealthy"]);
    expect((await unknown.gateway.engine.endpoints())[0]?.reason).toBe("unknown service");
  });
});

describe("connections", () => {
  it("older than they may be are not used again", async () => {
    const only = await origin("only");
    const pool = {
      connectTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      maxConnections: 8,
      maxPendingRequests: 8,
      maxRequestsPerConnection: 0,
    };
    const keepAlive = { idleMs: 60_000, intervalMs: 10_000, probes: 3 };
    const running = await run([only.port], { pool: { ...pool, maxConnectionMs: 100, keepAlive } });
    expect(await running.ask()).toBe("only");
    expect(await running.ask()).toBe("only");
    expect(only.sockets).toHaveLength(1);
    await eventually(() => only.sockets[0]!.readableEnded);
    expect(await running.ask()).toBe("only");
    expect(only.sockets).toHaveLength(2);
  });
});

describe("names", () => {
  const named = async (zones: [string, { a?: string[]; ttlS: number }][]): Promise<NameServer> => {
    const server = await new NameServer().start();
    opened.push(server);
    for (const [name, zone] of zones) server.zones.set(name, zone);
    return server;
  };

  it("stand for all their addresses, asked for once in a process, however many threads", async () => {
    const server = await named([["many.origin.test", { a: ["127.0.0.1", "127.0.0.2"], ttlS: 60 }]]);
    const here = await origin("here");
    const running = await run(
      [here.port],
      { discovery: "dns" },
      { threads: 2, more: { nameServers: [server.address] }, addresses: ["many.origin.test"] },
    );
    await until(running, ["healthy", "healthy"]);
    expect((await running.gateway.engine.endpoints()).map(({ address, hostname }) => `${hostname} ${address}`)).toEqual([
      "many.origin.test 127.0.0.1",
      "many.origin.test 127.0.0.2",
    ]);
    expect(server.asked.sort()).toEqual(["many.origin.test 1", "many.origin.test 28"]);
  });

  it("with DNS_ROUND_ROBIN stand for the first", async () => {
    const server = await named([["many.origin.test", { a: ["127.0.0.1", "127.0.0.2"], ttlS: 60 }]]);
    const here = await origin("here");
    const running = await run(
      [here.port],
      { discovery: "logical-dns" },
      { more: { nameServers: [server.address] }, addresses: ["many.origin.test"] },
    );
    await eventually(() => server.asked.length === 2);
    await until(running, ["healthy"]);
    expect(await running.ask()).toBe("here");
  });

  it("that do not resolve are answered with 503 and flag DF, at once", async () => {
    const server = await named([]);
    const running = await run(
      [80],
      { discovery: "dns" },
      { more: { nameServers: [server.address] }, addresses: ["gone.origin.test"] },
    );
    await eventually(() => running.gateway.logged.some((line) => line.startsWith("an endpoint's name does not resolve")));
    const client = new RawClient(running.port);
    opened.push({ stop: () => client.close() });
    expect(await client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(
      /^HTTP\/1\.1 503.*upstream name does not resolve\n$/s,
    );
    await running.gateway.engine.sample();
    expect(running.gateway.metrics.exposition()).toMatch(/istio_requests_total\{.*response_flags="DF".*\} 1/);
  });

  it("the system's own names are the system's to resolve", async () => {
    const here = await origin("here");
    const running = await run([here.port], { discovery: "dns" }, { addresses: ["localhost"] });
    for (let i = 0; i < 5; i++) expect(await running.ask()).toBe("here");
  });
});
