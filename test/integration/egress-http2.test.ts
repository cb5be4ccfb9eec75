/** The egress gateway spoken to in HTTP/2 (prior knowledge): CONNECT as a stream (RFC 9113 8.5) and requests, by the same rules as in HTTP/1.1. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttp } from "node:http";
import { type ClientHttp2Stream, constants } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createServer as createTls, connect as tlsConnect } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadServerIdentity } from "../../controlplane/distribute/server-identity.ts";
import { scryptHash } from "../../gateway/node/egress-auth.ts";
import { API, egressOf, egressRuleAt, listeningAt, TestEgress } from "../support/egress.ts";
import { Http2Client } from "../support/http2.ts";

const { NGHTTP2_CONNECT_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } = constants;

const cleanups: (() => unknown)[] = [];
let gateway = new TestEgress();
let folder = "";
let identity = { ca: "", certificate: "", privateKey: "" };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tidegate-egress-http2-"));
  identity = await loadServerIdentity(folder, [API, "other.example.com"], Date.now());
});
afterAll(() => rmSync(folder, { recursive: true }));
beforeEach(() => {
  gateway = new TestEgress();
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  gateway.close();
  expect(gateway.problems).toEqual([]);
});

function client(): Http2Client {
  const made = new Http2Client(`http://127.0.0.1:${gateway.port}`);
  cleanups.push(() => made.close());
  return made;
}

async function listen(server: Server): Promise<number> {
  cleanups.push(() => server.close());
  return listeningAt(server);
}

interface RawOrigin {
  readonly port: number;
  readonly sockets: Socket[];
  /** Bytes of all connections. */
  readonly got: () => string;
  readonly errors: string[];
}

async function rawOrigin(play: (socket: Socket) => void = () => undefined): Promise<RawOrigin> {
  const sockets: Socket[] = [];
  const errors: string[] = [];
  let got = "";
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    cleanups.push(() => socket.destroy());
    socket.on("data", (bytes) => {
      got += bytes.toString("latin1");
    });
    socket.on("error", (error: Error & { code?: string }) => errors.push(error.code ?? ""));
    play(socket);
  });
  return { port: await listen(server), sockets, got: () => got, errors };
}

interface Connected {
  readonly stream: ClientHttp2Stream;
  readonly status: number;
  readonly reset: Promise<number>;
}

async function connect(by: Http2Client, authority: string, fields: Record<string, string> = {}): Promise<Connected> {
  const stream = by.stream({ ":method": "CONNECT", ":authority": authority, ...fields });
  const reset = new Promise<number>((resolve) => stream.once("close", () => resolve(stream.rstCode)));
  const [headers] = (await once(stream, "response")) as [{ ":status"?: number }];
  return { stream, status: Number(headers[":status"]), reset };
}

async function textOf(stream: ClientHttp2Stream): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += String(chunk);
  return text;
}

/** The first bytes of a real TLS client. */
async function clientHello(serverName: string): Promise<Buffer> {
  const server = createServer();
  const port = await listen(server);
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const made = tlsConnect({ host: "127.0.0.1", port, servername: serverName });
  made.on("error", () => undefined);
  const [socket] = await accepted;
  const [bytes] = (await once(socket, "data")) as [Buffer];
  made.destroy();
  socket.destroy();
  return bytes;
}

describe("CONNECT", () => {
  it("carries TLS end to end when SNI is the CONNECT name, next to other streams", async () => {
    const server = createTls({ key: identity.privateKey, cert: identity.certificate }, (socket) => socket.pipe(socket));
    const port = await listen(server);
    await gateway.open(egressOf([egressRuleAt(port, { protocol: "https" })]));
    const one = client();
    const echoes = await Promise.all(
      ["first", "second"].map(async (text) => {
        const { stream, status } = await connect(one, `${API}:${port}`);
        expect(status).toBe(200);
        const tunnel = tlsConnect({ socket: stream as Duplex, servername: API, ca: identity.ca });
        await once(tunnel, "secureConnect");
        tunnel.write(text);
        const [echo] = (await once(tunnel, "data")) as [Buffer];
        tunnel.destroy();
        return echo.toString();
      }),
    );
    expect(echoes).toEqual(["first", "second"]);
    const allowed = { verdict: "allow", kind: "connect", rule: "shop/p#rule" };
    expect(gateway.decisions).toMatchObject([allowed, allowed]);
  });

  it.each([
    ["another SNI", () => clientHello("other.example.com"), "sni_mismatch"],
    ["no TLS", async () => Buffer.from("GET / HTTP/1.1\r\n\r\n"), "not_tls"],
  ] as const)("with %s is cut before the origin hears a byte, and its connection lives on", async (_what, hello, code) => {
    const raw = await rawOrigin();
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "https" })]));
    const one = client();
    const { stream, status } = await connect(one, `${API}:${raw.port}`);
    expect(status).toBe(200);
    stream.write(await hello());
    stream.resume();
    await once(stream, "close");
    expect(raw.got()).toBe("");
    expect(gateway.decisions).toMatchObject([{ verdict: "deny", code }]);
    expect((await connect(one, `${API}:${raw.port}`)).status).toBe(200);
  });

  it("looks into what came before the tunnel stood, and passes it on as it came", async () => {
    const hello = await clientHello(API);
    const raw = await rawOrigin((socket) => socket.once("data", () => socket.write("seen")));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "https" })]));
    const stream = client().stream({ ":method": "CONNECT", ":authority": `${API}:${raw.port}` });
    for (const byte of hello.subarray(0, 8)) stream.write(Uint8Array.of(byte));
    stream.write(hello.subarray(8));
    expect(String((await once(stream, "data"))[0])).toBe("seen");
    expect(raw.got()).toBe(hello.toString("latin1"));
  });

  it("is refused in its own answer wherever that can be decided by then", async () => {
    const raw = await rawOrigin();
    const users = [{ name: "payments", passwordHash: await scryptHash("word") }];
    const from = [{ kind: "proxyUser", name: "payments" }] as const;
    await gateway.open({ ...egressOf([egressRuleAt(raw.port, { protocol: "tcp" })], { from }), users });
    const one = client();
    const challenged = await connect(one, `${API}:${raw.port}`);
    expect(challenged.status).toBe(407);
    const header = { "proxy-authorization": `Basic ${Buffer.from("payments:word").toString("base64")}` };
    const elsewhere = await connect(one, `other.example.com:${raw.port}`, header);
    expect(elsewhere.status).toBe(403);
    expect(await textOf(elsewhere.stream)).toContain("other.example.com");
    expect((await connect(one, `${API}:${raw.port}`, header)).status).toBe(200);
    expect(gateway.decisions).toMatchObject([{ verdict: "deny" }, { verdict: "deny" }, { verdict: "allow", user: "payments" }]);
    expect(raw.sockets.length).toBe(1);
  });

  it("lets each side end its direction alone", async () => {
    const raw = await rawOrigin((socket) => {
      socket.write("220 ready");
      socket.on("end", () => socket.end("221 bye"));
    });
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]));
    const { stream, reset } = await connect(client(), `${API}:${raw.port}`);
    expect(String((await once(stream, "data"))[0])).toBe("220 ready");
    stream.end("quit");
    expect(await textOf(stream)).toBe("221 bye");
    expect(await reset).toBe(NGHTTP2_NO_ERROR);
    expect(raw.got()).toBe("quit");
  });

  it("moves more than any window holds, both ways at once", async () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, "tide");
    const raw = await rawOrigin((socket) => socket.pipe(socket));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]));
    const { stream } = await connect(client(), `${API}:${raw.port}`);
    stream.end(bytes);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  });

  it("is not bounded by the largest body of a request", async () => {
    const raw = await rawOrigin((socket) => socket.pipe(socket));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]), { http: { maxRequestBodyBytes: 1000 } });
    const { stream } = await connect(client(), `${API}:${raw.port}`);
    stream.end(Buffer.alloc(5000, "x"));
    expect((await textOf(stream)).length).toBe(5000);
  });

  it("an origin that resets its connection resets the stream, and the reset of a stream resets the origin's connection", async () => {
    const raw = await rawOrigin((socket) => socket.write("220 ready"));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]));
    const one = client();
    const first = await connect(one, `${API}:${raw.port}`);
    await once(first.stream, "data");
    raw.sockets[0]?.resetAndDestroy();
    expect(await first.reset).toBe(NGHTTP2_CONNECT_ERROR);
    const second = await connect(one, `${API}:${raw.port}`);
    await once(second.stream, "data");
    second.stream.destroy(new Error("gives up"));
    await expect.poll(() => raw.errors).toEqual(["ECONNRESET"]);
  });

  it("is over when its client's connection is, and gives its place back", async () => {
    const raw = await rawOrigin((socket) => socket.write("220 ready"));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]), { maxTunnels: 1 });
    const one = client();
    const { stream } = await connect(one, `${API}:${raw.port}`);
    await once(stream, "data");
    expect((await connect(one, `${API}:${raw.port}`)).status).toBe(503);
    one.close();
    await expect.poll(() => raw.sockets[0]?.destroyed).toBe(true);
    expect((await connect(client(), `${API}:${raw.port}`)).status).toBe(200);
  });

  it("that ends in a field section is broken, on both sides", async () => {
    const raw = await rawOrigin((socket) => socket.write("220 ready"));
    await gateway.open(egressOf([egressRuleAt(raw.port, { protocol: "tcp" })]));
    const one = client();
    const stream = one.session.request(
      { ":method": "CONNECT", ":authority": `${API}:${raw.port}` },
      { waitForTrailers: true, endStream: false },
    );
    const reset = new Promise<number>((resolve) => stream.once("close", () => resolve(stream.rstCode)));
    stream.on("error", () => undefined);
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
    await once(stream, "data");
    stream.end("x");
    expect(await reset).toBe(NGHTTP2_PROTOCOL_ERROR);
    await expect.poll(() => raw.errors).toEqual(["ECONNRESET"]);
  });

  it("where nobody listens, or nobody has an address, is answered", async () => {
    const sink = createServer();
    const port = await listeningAt(sink);
    sink.close();
    await gateway.open(egressOf([egressRuleAt(port, { protocol: "tcp", hosts: [API, "nowhere.example.com"] })]));
    const one = client();
    expect((await connect(one, `${API}:${port}`)).status).toBe(502);
    expect((await connect(one, `nowhere.example.com:${port}`)).status).toBe(502);
  });
});

describe("requests", () => {
  it("are taken by `:scheme` and `:authority` as if they came in absolute form", async () => {
    const seen: (string | undefined)[] = [];
    const server = createHttp((incoming, response) => {
      seen.push(incoming.url, incoming.headers.host, incoming.headers.via);
      response.end("fine");
    });
    const port = await listen(server);
    await gateway.open(egressOf([egressRuleAt(port, { paths: [{ kind: "prefix", value: "/v1/" }] })]));
    const one = client();
    const get = { ":authority": `${API}:${port}`, ":scheme": "http" };
    expect(await one.ask({ ...get, ":path": "/v1/x" })).toMatchObject({ status: 200, body: Buffer.from("fine") });
    expect(seen).toEqual(["/v1/x", `${API}:${port}`, expect.stringMatching(/^2 /)]);
    expect((await one.ask({ ...get, ":path": "/v2/x" })).status).toBe(403);
    expect((await one.ask({ ...get, ":authority": "127.0.0.1", ":path": "/v1/x" })).status).toBe(403);
    expect(gateway.decisions).toMatchObject([{ verdict: "allow", kind: "http" }, { verdict: "deny" }, { verdict: "deny" }]);
  });

  it("for https are refused in the clear: that takes a tunnel", async () => {
    await gateway.open(egressOf([egressRuleAt(443, { protocol: "https" })]));
    const answer = await client().ask({ ":authority": API, ":scheme": "https", ":path": "/" });
    expect(answer.status).toBe(501);
    expect(String(answer.body)).toContain("CONNECT");
  });

  it("for another protocol by extended CONNECT are not offered", async () => {
    await gateway.open(egressOf([egressRuleAt(80, {})]));
    const one = client();
    await once(one.session, "remoteSettings");
    expect(one.session.remoteSettings.enableConnectProtocol).toBe(false);
  });
});
