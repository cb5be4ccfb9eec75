/** Connections that begin with a PROXY protocol header: from the load balancer in front, and towards origins. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Listener, Snapshot } from "../../gateway/core/ir/index.ts";
import { readProxyHeader, writeProxyHeader } from "../../gateway/wire/index.ts";
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
import { connectionRoute, passthrough, tcpListener } from "../support/opaque.ts";

const CLIENT = { address: "203.0.113.7", port: 51_234 };
const VIRTUAL = { address: "198.51.100.9", port: 443 };
const V1 = writeProxyHeader(1, CLIENT, VIRTUAL);
const V2 = writeProxyHeader(2, CLIENT, VIRTUAL);
/** Version 2, LOCAL: a health check of the load balancer itself. */
const LOCAL = writeProxyHeader(2, { address: "", port: 0 }, VIRTUAL);

let directory = "";
const file = (name: string): string => join(directory, name);
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
    const tls = {
      mode: "simple",
      serverName: "web.test",
      subjectAltNames: [],
      caFile: file("cert.pem"),
      minVersion: "TLSv1.2",
      insecureSkipVerify: false,
    } as const;
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
});
