/** Connections that begin with a PROXY protocol header: from the load balancer in front, and towards origins. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ClientTls, Listener, Snapshot } from "../../gateway/core/ir/index.ts";
import { type ProxyHeader, readProxyHeader, writeProxyHeader } from "../../gateway/wire/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  freePort,
  listening,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";
import { Http2Client, Http2Origin } from "../support/http2.ts";
import { connectionRoute, passthrough, tcpListener } from "../support/opaque.ts";

const CLIENT = { address: "203.0.113.7", port: 51_234 };
const VIRTUAL = { address: "198.51.100.9", port: 443 };
const V1 = writeProxyHeader(1, CLIENT, VIRTUAL);
const V2 = writeProxyHeader(2, CLIENT, VIRTUAL);
/** Version 2, LOCAL: a health check of the load balancer itself. */
const LOCAL = writeProxyHeader(2, { address: "", port: 0 }, VIRTUAL);

let directory = "";
const file = (name: string): string => join(directory, name);
const originTls = (): ClientTls => ({
  mode: "simple",
  serverName: "web.test",
  subjectAltNames: [],
  caFile: file("cert.pem"),
  minVersion: "TLSv1.2",
  insecureSkipVerify: false,
});
const cleanups: (() => unknown)[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-proxy-protocol-"));
  await writeCertificate({ key: file("key.pem"), certificate: file("cert.pem") }, "web.test", ["web.test"]);
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function gateway(snapshot: Snapshot): Promise<TestGateway> {
  const made = testGateway();
  cleanups.push(() => made.engine.drain(50));
  await made.install(snapshot);
  return made;
}

/** An origin that answers every request with the X-Forwarded-For that it got. */
async function httpOrigin(): Promise<ScriptedOrigin> {
  const origin = await new ScriptedOrigin((socket, request) => {
    socket.write(okAnswer(/x-forwarded-for: (.*)\r\n/.exec(request)?.[1] ?? "nobody"));
  }).start();
  cleanups.push(() => origin.stop());
  return origin;
}

const GET = "GET / HTTP/1.1\r\nhost: web.test\r\n\r\n";
const closed = (made: TestGateway, flags: string): RegExp | string =>
  made.metrics
    .exposition()
    .split("\n")
    .find((line) => line.startsWith("istio_tcp_connections_closed_total") && line.includes(`"${flags}"`)) ?? "";

describe("from in front", () => {
  async function http(change: Partial<Listener> = {}): Promise<{ port: number; made: TestGateway }> {
    const origin = await httpOrigin();
    const port = await freePort();
    const listener = testListener(port, { proxyProtocol: "accept", ...change });
    return { port, made: await gateway(testSnapshot({ listeners: [listener], originPorts: [origin.port] })) };
  }

  it.each([
    ["version 1", V1, CLIENT.address],
    ["version 2", V2, CLIENT.address],
    ["LOCAL: the connection's own address counts", LOCAL, "127.0.0.1"],
  ])("%s", async (_what, header, address) => {
    const { port } = await http();
    const client = new RawClient(port);
    cleanups.push(() => client.socket.destroy());
    client.socket.write(Buffer.concat([header, Buffer.from(GET)]));
    expect(await client.answer()).toContain(`\r\n\r\n${address}`);
    client.send(GET);
    expect(await client.answer()).toContain(`\r\n\r\n${address}`);
  });

  it("is read byte by byte, and the request after it, too", async () => {
    const { port } = await http();
    const client = new RawClient(port);
    cleanups.push(() => client.socket.destroy());
    for (const byte of Buffer.concat([V2, Buffer.from(GET)])) {
      client.socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await client.answer()).toContain(CLIENT.address);
  });

  it.each([
    ["missing", GET],
    ["malformed", `PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n${GET}`],
  ])("%s: the connection is closed, and counted", async (_what, text) => {
    const { port, made } = await http();
    const client = new RawClient(port);
    client.send(text);
    expect(await client.end()).toBe("");
    await made.engine.sample();
    expect(closed(made, "DPE")).toMatch(/ 1$/);
  });

  it("stands before TLS that ends here", async () => {
    const origin = await httpOrigin();
    const port = await freePort();
    const tls = {
      mode: "simple",
      certificateFile: file("cert.pem"),
      privateKeyFile: file("key.pem"),
      minVersion: "TLSv1.2",
      maxVersion: "TLSv1.3",
      cipherSuites: [],
    } as const;
    const servers = [{ name: "web", serverNames: ["web.test"], routeTable: "main", tls }];
    await gateway(
      testSnapshot({
        listeners: [testListener(port, { protocol: "https", servers, proxyProtocol: "accept" })],
        originPorts: [origin.port],
      }),
    );
    const below = connect({ port, host: "127.0.0.1" });
    cleanups.push(() => below.destroy());
    below.write(V2);
    const socket = connectTls({ socket: below, servername: "web.test", ca: readFileSync(file("cert.pem")) });
    socket.write(GET);
    expect(String((await once(socket, "data"))[0])).toContain(CLIENT.address);
  });

  it("decides about routes of connections, plain and in TLS that goes through", async () => {
    const heard: string[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (bytes: Buffer) => {
        heard.push(bytes.toString("latin1"));
        socket.end("ok");
      });
    });
    const originPort = await listening(server);
    cleanups.push(() => server.close());
    const [plain, through] = [await freePort(), await freePort()];
    const routes = [
      connectionRoute({ matches: [{ sourceSubnets: ["203.0.113.0/24"], destinationSubnets: ["198.51.100.9/32"] }] }),
    ];
    await gateway(
      testSnapshot({
        listeners: [
          tcpListener(plain, routes, { proxyProtocol: "accept" }),
          testListener(through, {
            protocol: "tls",
            servers: [passthrough("through", ["*.test"], routes)],
            proxyProtocol: "accept",
          }),
        ],
        originPorts: [originPort],
      }),
    );
    const answer = async (port: number, bytes: Uint8Array): Promise<string> => {
      const client = new RawClient(port);
      cleanups.push(() => client.socket.destroy());
      client.socket.write(bytes);
      return client.end();
    };
    expect(await answer(plain, Buffer.concat([V1, Buffer.from("early")]))).toBe("ok");
    expect(await answer(plain, Buffer.concat([LOCAL, Buffer.from("own address")]))).toBe("");
    expect(heard).toEqual(["early"]);
    const below = connect({ port: through, host: "127.0.0.1" });
    cleanups.push(() => below.destroy());
    below.write(V1);
    const socket = connectTls({ socket: below, servername: "a.test", rejectUnauthorized: false });
    socket.on("error", () => undefined);
    await expect.poll(() => heard.length).toBe(2);
    // The header is taken off, the ClientHello is not.
    expect(heard[1]?.startsWith("\x16\x03")).toBe(true);
  });
});

describe("towards origins", () => {
  /** The first bytes that an origin gets, and its socket. */
  async function listener(): Promise<{ port: number; first: Promise<{ bytes: Buffer; socket: Socket }> }> {
    const first = Promise.withResolvers<{ bytes: Buffer; socket: Socket }>();
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (bytes: Buffer) => {
        socket.pause();
        first.resolve({ bytes, socket });
      });
      cleanups.push(() => socket.destroy());
    });
    const port = await listening(server);
    cleanups.push(() => server.close());
    return { port, first: first.promise };
  }

  it.each([
    ["v1", 1],
    ["v2", 2],
  ] as const)(
    "TCP: version %s tells the client's address, before the client has said anything",
    async (proxyProtocol, version) => {
      const origin = await listener();
      const port = await freePort();
      await gateway(testSnapshot({ listeners: [tcpListener(port)], originPorts: [origin.port], cluster: { proxyProtocol } }));
      const client = new RawClient(port);
      cleanups.push(() => client.socket.destroy());
      const { bytes } = await origin.first;
      expect(readProxyHeader(bytes)).toEqual({
        kind: "header",
        bytes: bytes.length,
        header: {
          version,
          source: { address: "127.0.0.1", port: client.socket.localPort },
          destination: { address: "127.0.0.1", port },
        },
      });
    },
  );

  it("TCP: what came in by a header goes out by one, in front of TLS", async () => {
    const origin = await listener();
    const port = await freePort();
    const tls = originTls();
    await gateway(
      testSnapshot({
        listeners: [tcpListener(port, undefined, { proxyProtocol: "accept" })],
        originPorts: [origin.port],
        cluster: { proxyProtocol: "v2", tls },
      }),
    );
    const client = new RawClient(port);
    cleanups.push(() => client.socket.destroy());
    client.socket.write(Buffer.concat([V1, Buffer.from("secret")]));
    const { bytes, socket } = await origin.first;
    const reading = readProxyHeader(bytes);
    expect(reading).toMatchObject({ kind: "header", header: { source: CLIENT, destination: VIRTUAL } });
    if (reading.kind !== "header") return;
    const rest = bytes.subarray(reading.bytes);
    if (rest.length > 0) socket.unshift(rest);
    const ended = new TLSSocket(socket, {
      isServer: true,
      key: readFileSync(file("key.pem")),
      cert: readFileSync(file("cert.pem")),
    });
    ended.on("error", () => undefined);
    expect(String((await once(ended, "data"))[0])).toBe("secret");
  });

  /** An origin that reads the header of each connection, and answers requests with whom it told of and which connection it was. */
  async function tellingOrigin(): Promise<{ port: number; told: (ProxyHeader | "gone")[] }> {
    const told: (ProxyHeader | "gone")[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      const at = told.length;
      let header: ProxyHeader | undefined;
      socket.on("data", (bytes: Buffer) => {
        let rest = bytes;
        if (header === undefined) {
          const reading = readProxyHeader(bytes);
          if (reading.kind !== "header") return void socket.destroy();
          header = reading.header;
          told[at] = header;
          rest = bytes.subarray(reading.bytes);
        }
        if (rest.length > 0) socket.write(okAnswer(`${header.source?.address}:${header.source?.port} ${at}`));
      });
      socket.on("close", () => {
        told[at] = "gone";
      });
      cleanups.push(() => socket.destroy());
    });
    const port = await listening(server);
    cleanups.push(() => server.close());
    return { port, told };
  }

  async function ask(client: RawClient): Promise<string> {
    client.send(GET);
    return (await client.answer()).split("\r\n\r\n")[1] ?? "";
  }

  it.each(["v1", "v2"] as const)(
    "HTTP: %s tells the client, whose connection carries its requests alone",
    async (proxyProtocol) => {
      const origin = await tellingOrigin();
      const port = await freePort();
      await gateway(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], cluster: { proxyProtocol } }));
      const [one, two] = [new RawClient(port), new RawClient(port)];
      cleanups.push(() => two.socket.destroy());
      // One after the other, so that the second could have the connection of the first.
      expect(await ask(one)).toBe(`127.0.0.1:${one.socket.localPort} 0`);
      expect(await ask(two)).toBe(`127.0.0.1:${two.socket.localPort} 1`);
      expect(await ask(one)).toBe(`127.0.0.1:${one.socket.localPort} 0`);
      expect(origin.told[0]).toMatchObject({ destination: { address: "127.0.0.1", port } });
      one.socket.destroy();
      await expect.poll(() => origin.told).toEqual(["gone", expect.anything()]);
      expect(await ask(two)).toBe(`127.0.0.1:${two.socket.localPort} 1`);
    },
  );

  it("HTTP: what came in by a header goes out by one", async () => {
    const origin = await tellingOrigin();
    const port = await freePort();
    const listener = testListener(port, { proxyProtocol: "accept" });
    await gateway(testSnapshot({ listeners: [listener], originPorts: [origin.port], cluster: { proxyProtocol: "v2" } }));
    const client = new RawClient(port);
    cleanups.push(() => client.socket.destroy());
    client.socket.write(V1);
    expect(await ask(client)).toBe(`${CLIENT.address}:${CLIENT.port} 0`);
    expect(origin.told[0]).toMatchObject({ version: 2, destination: VIRTUAL });
  });

  it("HTTP: another version begins with another connection", async () => {
    const origin = await tellingOrigin();
    const port = await freePort();
    const of = (proxyProtocol: "v1" | "v2") =>
      testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], cluster: { proxyProtocol } });
    const made = await gateway(of("v1"));
    const client = new RawClient(port);
    cleanups.push(() => client.socket.destroy());
    expect(await ask(client)).toMatch(/ 0$/);
    await made.install(of("v2"));
    expect(await ask(client)).toMatch(/ 1$/);
    expect(origin.told[1]).toMatchObject({ version: 2 });
    await expect.poll(() => origin.told[0]).toBe("gone");
  });

  it("HTTP/2 in TLS on both sides: the header stands before TLS, and streams of one client share", async () => {
    const headers: ProxyHeader[] = [];
    const origin = await new Http2Origin(
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.end("ok");
      },
      {},
      { key: readFileSync(file("key.pem"), "utf8"), cert: readFileSync(file("cert.pem"), "utf8") },
    ).start();
    cleanups.push(() => origin.close());
    const front = createServer((socket) => {
      socket.on("error", () => undefined);
      cleanups.push(() => socket.destroy());
      socket.once("data", (bytes: Buffer) => {
        const reading = readProxyHeader(bytes);
        if (reading.kind !== "header") return void socket.destroy();
        headers.push(reading.header);
        socket.pause();
        socket.unshift(bytes.subarray(reading.bytes));
        origin.server.emit("connection", socket);
      });
    });
    const frontPort = await listening(front);
    cleanups.push(() => front.close());
    const port = await freePort();
    const tls = originTls();
    await gateway(
      testSnapshot({
        listeners: [testListener(port)],
        originPorts: [frontPort],
        cluster: { proxyProtocol: "v2", tls, protocol: "http2" },
      }),
    );
    const [one, two] = [new Http2Client(`http://127.0.0.1:${port}`), new Http2Client(`http://127.0.0.1:${port}`)];
    cleanups.push(
      () => one.close(),
      () => two.close(),
    );
    const get = { ":authority": "web.test", ":path": "/" };
    const answers = await Promise.all([one.ask(get), one.ask(get), two.ask(get)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    const ports = [one, two].map(({ session }) => session.socket.localPort);
    expect(headers.map(({ source }) => source?.port).sort()).toEqual(ports.sort());
  });

  it("nothing listens: the request is answered, and nothing else breaks", async () => {
    const [port, nobody] = [await freePort(), await freePort()];
    const tls = { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: true } as const;
    for (const cluster of [{ proxyProtocol: "v1" }, { proxyProtocol: "v1", tls }] as const) {
      const made = await gateway(testSnapshot({ listeners: [testListener(port)], originPorts: [nobody], cluster }));
      const client = new RawClient(port);
      client.send(GET);
      expect(await client.answer()).toMatch(/^HTTP\/1.1 503 /);
      client.socket.destroy();
      await made.engine.drain(50);
    }
  });

  it.each([
    ["http", { kind: "http", path: "/", statuses: [[200, 200]] }],
    ["http over HTTP/2", { kind: "http", path: "/", statuses: [[200, 200]] }],
    ["tcp", { kind: "tcp" }],
  ] as const)("a health check by %s begins with a header that tells of no client", async (what, probe) => {
    const origin = await listener();
    const port = await freePort();
    const healthCheck = {
      probe,
      intervalMs: 60_000,
      timeoutMs: 500,
      jitterPercent: 0,
      unhealthyThreshold: 1,
      healthyThreshold: 1,
    };
    const protocol = what === "http over HTTP/2" ? "http2" : "http1";
    await gateway(
      testSnapshot({
        listeners: [testListener(port)],
        originPorts: [origin.port],
        cluster: { proxyProtocol: "v2", healthCheck, protocol },
      }),
    );
    const { bytes } = await origin.first;
    expect(readProxyHeader(bytes)).toMatchObject({ kind: "header", header: { version: 2, source: undefined } });
  });
});
