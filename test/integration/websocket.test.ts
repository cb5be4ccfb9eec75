/** WebSocket through the gateway: HTTP/1.1 and HTTP/2 on either side. Frames are not looked at, so the tests move bytes. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { constants, type ServerHttp2Stream } from "node:http2";
import { createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterProtocol } from "../../gateway/core/ir/index.ts";
import { quotaPolicy } from "../conformance/build.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  listening,
  RawClient,
  type TestGateway,
  type TestSnapshot,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { Http2Client, Http2Origin } from "../support/http2.ts";

const opened: (() => unknown)[] = [];
afterEach(() => {
  for (const close of opened.splice(0).reverse()) close();
});

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE = `GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${KEY}\r\nsec-websocket-protocol: chat\r\n\r\n`;
const CONNECT = { ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/chat", ":authority": "a.test" };
const OFFER = { ...CONNECT, "sec-websocket-version": "13", "sec-websocket-protocol": "chat" };

/** Echoes in capitals, and says goodbye when the client has ended. */
function speak(peer: {
  on(event: "data", take: (bytes: Buffer) => void): unknown;
  on(event: "end", run: () => void): unknown;
  write(text: string): unknown;
  end(text: string): unknown;
}): void {
  peer.write("hello;");
  peer.on("data", (bytes) => peer.write(bytes.toString("latin1").toUpperCase()));
  peer.on("end", () => peer.end("bye"));
}

interface Origin {
  readonly port: number;
  readonly heads: string[];
  readonly sockets: (Socket | ServerHttp2Stream)[];
}

async function http1Origin(
  answer = (accept: string) =>
    `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\nsec-websocket-protocol: chat\r\n\r\n`,
): Promise<Origin> {
  const heads: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    let head = "";
    const read = (bytes: Buffer): void => {
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      heads.push(head);
      const key = /sec-websocket-key: (\S+)/i.exec(head)?.[1] ?? "";
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      const text = answer(accept);
      socket.write(text);
      head = "";
      if (!text.startsWith("HTTP/1.1 101")) return;
      socket.off("data", read);
      speak(socket);
    };
    socket.on("data", read);
  });
  opened.push(
    () => server.close(),
    () => {
      for (const socket of sockets) socket.destroy();
    },
  );
  return { port: await listening(server), heads, sockets };
}

async function http2Origin(enableConnectProtocol = true): Promise<Origin> {
  const heads: string[] = [];
  const sockets: ServerHttp2Stream[] = [];
  const origin = await new Http2Origin(
    (stream, headers) => {
      sockets.push(stream);
      heads.push(JSON.stringify(headers));
      stream.respond({ ":status": 200, ...(headers[":method"] === "CONNECT" ? { "sec-websocket-protocol": "chat" } : {}) });
      if (headers[":method"] === "CONNECT") speak(stream);
      else stream.end("plain");
    },
    { settings: { enableConnectProtocol } },
  ).start();
  opened.push(() => origin.close());
  return { port: origin.port, heads, sockets };
}

async function serve(
  originPort: number,
  protocol: ClusterProtocol,
  change: Partial<TestSnapshot> = {},
): Promise<{ readonly port: number; readonly gateway: TestGateway }> {
  const port = await freePort();
  const gateway = testGateway();
  const routes = [testRoute(CLUSTER, { timeoutMs: 300 })];
  await gateway.install(
    testSnapshot({ listeners: [testListener(port)], originPorts: [originPort], cluster: { protocol }, routes, ...change }),
  );
  opened.push(() => void gateway.engine.drain(0));
  return { port, gateway };
}

function http1Client(port: number): RawClient {
  const client = new RawClient(port);
  opened.push(() => client.close());
  return client;
}

async function http2Stream(port: number) {
  const client = new Http2Client(`http://127.0.0.1:${port}`);
  opened.push(() => client.close());
  await once(client.session, "remoteSettings");
  expect(client.session.remoteSettings.enableConnectProtocol).toBe(true);
  const stream = client.stream(OFFER);
  let received = "";
  stream.on("data", (bytes: Buffer) => {
    received += bytes.toString("latin1");
  });
  return { stream, received: () => received };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(["http1", "http2"] as const)("to an origin of %s", (protocol) => {
  const start = () => (protocol === "http1" ? http1Origin() : http2Origin());

  it("from a client of HTTP/1.1: bytes both ways, longer than the route's timeout, each direction with an end of its own", async () => {
    const origin = await start();
    const { port } = await serve(origin.port, protocol);
    const client = http1Client(port).send(UPGRADE);
    const head = await client.until((text) => text.endsWith("hello;"));
    expect(head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/);
    expect(head).toMatch(/\r\nupgrade: websocket\r\n/);
    expect(head).toMatch(/\r\nconnection: upgrade\r\n/);
    expect(head).toContain(`\r\nsec-websocket-accept: ${ACCEPT}\r\n`);
    expect(head).toContain("\r\nsec-websocket-protocol: chat\r\n");
    await pause(400);
    client.send("still here;");
    await client.until((text) => text.endsWith("STILL HERE;"));
    client.socket.end("last words;");
    expect(await client.end()).toMatch(/LAST WORDS;bye$/);
    if (protocol === "http2") expect(origin.heads[0]).not.toContain("sec-websocket-key");
    else expect(origin.heads[0]).toContain(`sec-websocket-key: ${KEY}`);
  });

  it("from a client of HTTP/2: the same by extended CONNECT", async () => {
    const origin = await start();
    const { port } = await serve(origin.port, protocol);
    const { stream, received } = await http2Stream(port);
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect(headers[":status"]).toBe(200);
    expect(headers["sec-websocket-protocol"]).toBe("chat");
    expect(headers).not.toHaveProperty("sec-websocket-accept");
    expect(headers).not.toHaveProperty("upgrade");
    await eventually(() => received() === "hello;");
    await pause(400);
    stream.write("still here;");
    await eventually(() => received() === "hello;STILL HERE;");
    stream.end("last words;");
    await once(stream, "end");
    expect(received()).toBe("hello;STILL HERE;LAST WORDS;bye");
  });

  it("moves much, and no more than there is room for", async () => {
    const origin = await start();
    const { port } = await serve(origin.port, protocol);
    const client = http1Client(port).send(UPGRADE);
    await client.until((text) => text.endsWith("hello;"));
    client.received = "";
    const text = "x".repeat(3_000_000);
    client.socket.end(text);
    expect(await client.end()).toBe(`${text.toUpperCase()}bye`);
  });

  it("ends the other side when one is cut, and tells it in the log", async () => {
    const origin = await start();
    const { port, gateway } = await serve(origin.port, protocol);
    const client = http1Client(port).send(UPGRADE);
    await client.until((text) => text.endsWith("hello;"));
    client.socket.resetAndDestroy();
    await eventually(() => origin.sockets[0]?.destroyed === true);
    const { stream } = await http2Stream(port);
    await once(stream, "response");
    const gone = new Promise((resolve) => stream.once("close", resolve));
    const socket = origin.sockets[1];
    if (socket !== undefined && "resetAndDestroy" in socket) socket.resetAndDestroy();
    else socket?.close(constants.NGHTTP2_INTERNAL_ERROR);
    await gone;
    // One was cut by the client, one by the origin: two series.
    const counted = /istio_requests_total\{[^}]*response_code="101"[^}]*\} 1/g;
    await eventually(() => [...gateway.metrics.exposition().matchAll(counted)].length === 2);
  });

  it("closes what nobody has said anything on for too long", async () => {
    const origin = await start();
    const { port } = await serve(origin.port, protocol, { http: { streamIdleTimeoutMs: 150 } });
    const client = http1Client(port).send(UPGRADE);
    await client.until((text) => text.endsWith("hello;"));
    await client.end();
    await eventually(() => origin.sockets[0]?.destroyed === true);
  });
});

describe.each(["http1", "http2"] as const)("a quota of concurrent requests, from a client of %s", (speaks) => {
  const quota = quotaPolicy("test/sockets", [{ name: "open", amount: 1, perMs: 0, window: "rolling" }], { unit: "concurrent" });

  /** A socket through the gateway, or the status with which it was refused; and two ways to end it. */
  async function open(port: number) {
    if (speaks === "http1") {
      const client = http1Client(port).send(UPGRADE);
      const [head = ""] = (await client.until((text) => text.includes("\r\n\r\n"))).split("\r\n");
      return { status: Number(head.slice(9, 12)), end: () => client.socket.end(), cut: () => client.socket.destroy() };
    }
    const client = new Http2Client(`http://127.0.0.1:${port}`);
    opened.push(() => client.close());
    await once(client.session, "remoteSettings");
    const stream = client.stream(OFFER);
    stream.resume();
    const [headers] = (await once(stream, "response")) as [{ ":status"?: number }];
    return { status: Number(headers[":status"]), end: () => stream.end(), cut: () => stream.close(constants.NGHTTP2_CANCEL) };
  }

  it("counts one for as long as it is open, and gives its place back however it ends", async () => {
    const origin = await http1Origin();
    const port = await freePort();
    const gateway = testGateway();
    opened.push(() => void gateway.engine.drain(0));
    const routes = [testRoute(CLUSTER, {}, { quotas: ["test/sockets"] })];
    const snapshot = testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], routes });
    await gateway.install({ ...snapshot, quotas: [quota] });
    const accepted = speaks === "http1" ? 101 : 200;
    let socket = await open(port);
    for (const way of ["end", "cut", "origin"] as const) {
      expect((await open(port)).status, way).toBe(429);
      if (way === "origin") (origin.sockets.at(-1) as Socket).resetAndDestroy();
      else socket[way]();
      const again = async () => {
        socket = await open(port);
        return socket.status;
      };
      await expect.poll(again, { message: way }).toBe(accepted);
    }
  });
});

describe("what is no WebSocket", () => {
  it("an origin that answers otherwise is passed on, and the connection lives on", async () => {
    const origin = await http1Origin(() => "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    const { port } = await serve(origin.port, "http1");
    const client = http1Client(port);
    expect(await client.send(UPGRADE).answer()).toMatch(/^HTTP\/1\.1 403 Forbidden\r\n.*no$/s);
    expect(await client.send(UPGRADE).answer()).toMatch(/^HTTP\/1\.1 403 /);
  });

  it("an origin whose echo is wrong, or that knows no extended CONNECT, is not spoken through", async () => {
    const wrong = await http1Origin(
      () => "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n",
    );
    expect(
      await http1Client((await serve(wrong.port, "http1")).port)
        .send(UPGRADE)
        .answer(),
    ).toMatch(/^HTTP\/1\.1 502 /);
    const old = await http2Origin(false);
    const { port } = await serve(old.port, "http2");
    expect(await http1Client(port).send(UPGRADE).answer()).toMatch(/^HTTP\/1\.1 502 /);
    expect(old.heads).toEqual([]);
  });

  it("other upgrades are requests as any", async () => {
    const origin = await http1Origin(() => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    const { port } = await serve(origin.port, "http1");
    const client = http1Client(port);
    expect(await client.send(UPGRADE.replace("upgrade: websocket", "upgrade: foo")).answer()).toMatch(/^HTTP\/1\.1 200 OK/);
    expect(origin.heads[0]).not.toMatch(/^upgrade:/im);
    const other = new Http2Client(`http://127.0.0.1:${port}`);
    opened.push(() => other.close());
    await once(other.session, "remoteSettings");
    expect((await other.ask({ ...CONNECT, ":protocol": "foo" })).status).toBe(501);
  });
});
