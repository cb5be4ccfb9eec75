/** HTTP/2 on either side of the gateway, with Node's own library as client and as origin. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttp1 } from "node:http";
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream, sensitiveHeaders } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ClusterProtocol } from "../../gateway/core/ir/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  listening,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  type TestSnapshot,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";
import { answerOf, Http2Client, Http2Origin } from "../support/http2.ts";
import {
  block,
  END_HEADERS,
  END_STREAM,
  type Fields,
  frame,
  GET as GET_HTTPS,
  HEADERS,
  PREFACE,
  settings,
} from "../support/http2-frames.ts";

const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM, NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR } = constants;
const run = promisify(execFile);
const directory = mkdtempSync(join(tmpdir(), "tidegate-http2-"));
const files = { key: join(directory, "key.pem"), certificate: join(directory, "cert.pem") };
let identity: { readonly key: string; readonly cert: string };

const opened: (() => unknown)[] = [];
beforeAll(async () => {
  await writeCertificate(files, "localhost", ["localhost", "a.test", "b.test"]);
  identity = { key: readFileSync(files.key, "utf8"), cert: readFileSync(files.certificate, "utf8") };
});
afterEach(() => {
  for (const close of opened.splice(0).reverse()) close();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

interface Served {
  readonly gateway: TestGateway;
  readonly port: number;
  client(): Http2Client;
}

async function serve(originPort: number, protocol: ClusterProtocol, change: Partial<TestSnapshot> = {}): Promise<Served> {
  const port = await freePort();
  const gateway = testGateway();
  const { cluster, ...rest } = change;
  await gateway.install(
    testSnapshot({ listeners: [testListener(port)], originPorts: [originPort], cluster: { protocol, ...cluster }, ...rest }),
  );
  opened.push(() => void gateway.engine.drain(0));
  return {
    gateway,
    port,
    client: () => {
      const client = new Http2Client(`http://127.0.0.1:${port}`);
      opened.push(() => client.close());
      return client;
    },
  };
}

async function http2Origin(...parameters: ConstructorParameters<typeof Http2Origin>): Promise<Http2Origin> {
  const origin = await new Http2Origin(...parameters).start();
  opened.push(() => origin.close());
  return origin;
}

/** Answers with what it was asked, whatever it is asked by. */
function echo(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const path = headers[":path"] ?? "";
  if (path === "/nothing") stream.respond({ ":status": 204 }, { endStream: true });
  else if (path === "/unchanged") stream.respond({ ":status": 304, etag: '"x"' }, { endStream: true });
  else {
    if (path === "/hints") stream.additionalHeaders({ ":status": 103, link: "</style.css>" });
    const wait = headers[":method"] !== "HEAD";
    stream.respond({ ":status": 200, "x-seen": JSON.stringify(headers) }, { endStream: !wait, waitForTrailers: wait });
    let trailers: IncomingHttpHeaders = {};
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "7", "x-told": trailers["x-asked"] ?? "nothing" }));
    stream.pipe(stream);
  }
}

/** The same by HTTP/1.1. */
async function http1Echo(): Promise<number> {
  const server = createHttp1((request, response) => {
    const path = request.url ?? "";
    if (path === "/nothing") response.writeHead(204).end();
    else if (path === "/unchanged") response.writeHead(304, { etag: '"x"' }).end();
    else {
      if (path === "/hints") response.writeEarlyHints({ link: "</style.css>" });
      response.writeHead(200, { "x-seen": JSON.stringify(request.headers) });
      request.on("end", () => response.addTrailers({ "x-sum": "7", "x-told": request.trailers["x-asked"] ?? "nothing" }));
      request.pipe(response);
    }
  });
  opened.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return listening(server);
}

/** RFC 9113 6.9.1. */
const WIDEST_WINDOW = 2 ** 31 - 1;
/** In clear. */
const GET_HTTP: Fields = GET_HTTPS.map((field) => (field[0] === ":scheme" ? [":scheme", "http"] : field));
const GET = { ":path": "/", ":authority": "a.test" };
const POST = { ":method": "POST", ":path": "/echo", ":authority": "a.test" };

describe.each(["http1", "http2"] as const)("HTTP/2 to the gateway, %s to the origin", (protocol) => {
  const originPort = async () => (protocol === "http1" ? http1Echo() : (await http2Origin(echo)).port);

  it("carries bodies and trailers both ways", async () => {
    const client = (await serve(await originPort(), protocol)).client();
    const body = Buffer.alloc(700_000, "0123456789abcdef");
    const answer = await client.ask(POST, { body, trailers: { "x-asked": "yes" } });
    expect(answer.status).toBe(200);
    expect(answer.body.equals(body)).toBe(true);
    expect(answer.trailers).toMatchObject({ "x-sum": "7", "x-told": "yes" });
  });

  it("answers what has no content, and passes 1xx on", async () => {
    const client = (await serve(await originPort(), protocol)).client();
    expect(await client.ask({ ...GET, ":path": "/nothing" })).toMatchObject({ status: 204, body: Buffer.alloc(0) });
    expect(await client.ask({ ...GET, ":path": "/unchanged" })).toMatchObject({ status: 304, headers: { etag: '"x"' } });
    expect(await client.ask({ ...GET, ":method": "HEAD" })).toMatchObject({ status: 200, body: Buffer.alloc(0) });
    expect(await client.ask({ ...GET, ":path": "/hints" })).toMatchObject({ status: 200, interims: [103] });
  });

  it("says in Via what each message came by, and keeps fields of connections to itself", async () => {
    const client = (await serve(await originPort(), protocol)).client();
    const answer = await client.ask({ ...GET, te: "trailers", cookie: ["a=1", "b=2"] });
    const seen = JSON.parse(String(answer.headers["x-seen"])) as Record<string, string>;
    expect(seen["via"]).toBe("2 tidegate");
    expect(seen["cookie"]).toBe("a=1; b=2");
    expect(seen[protocol === "http1" ? "host" : ":authority"]).toBe("a.test");
    expect(seen["te"]).toBe("trailers");
    expect(answer.headers).not.toHaveProperty("connection");
    expect(answer.headers).not.toHaveProperty("transfer-encoding");
  });

  it("is told in the access log as what it came by", async () => {
    const path = join(directory, `access-${protocol}.log`);
    const settings = { accessLog: { enabled: true, path } };
    const client = (await serve(await originPort(), protocol, { settings })).client();
    await client.ask(POST, { body: "hello" });
    await eventually(() => existsSync(path) && readFileSync(path, "utf8").endsWith("}\n"));
    const line = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    expect(line).toMatchObject({ protocol: "HTTP/2", method: "POST", status: 200, request_bytes: 5, response_bytes: 5 });
  });

  it("carries many requests at once", async () => {
    const client = (await serve(await originPort(), protocol)).client();
    const answers = await Promise.all(Array.from({ length: 90 }, (_, i) => client.ask(POST, { body: `${i} `.repeat(1000 + i) })));
    answers.forEach((answer, i) => {
      expect(answer.body.toString()).toBe(`${i} `.repeat(1000 + i));
    });
  });
});

describe("HTTP/1.1 to the gateway, HTTP/2 to the origin", () => {
  it("carries bodies, trailers, 1xx and empty answers", async () => {
    const { port } = await serve((await http2Origin(echo)).port, "http2");
    const client = new RawClient(port);
    opened.push(() => client.close());
    const post =
      "POST /echo HTTP/1.1\r\nhost: a.test\r\nte: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-asked: yes\r\n\r\n";
    const echoed = await client.send(post).answer();
    expect(echoed).toMatch(
      /^HTTP\/1\.1 200 OK\r\n.*transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\nx-told: yes\r\n\r\n$/s,
    );
    client.send("GET /hints HTTP/1.1\r\nhost: a.test\r\n\r\n");
    await client.until((text) => /103 Early Hints.*\r\n\r\nHTTP\/1\.1 200 OK.*\r\n0\r\n\r\n$/s.test(text));
    client.received = "";
    expect(await client.send("GET /nothing HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/^HTTP\/1\.1 204 No Content\r\n/);
    expect(await client.send("HEAD / HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  it("opens another connection when one is full, and waits when it may not", async () => {
    const held: ServerHttp2Stream[] = [];
    const origin = await http2Origin((stream) => held.push(stream));
    const cluster = { http2: { maxConcurrentStreams: 2 }, pool: { ...POOL, maxConnections: 2 } };
    const client = (await serve(origin.port, "http2", { cluster })).client();
    const answers = Array.from({ length: 5 }, () => client.ask(GET));
    await eventually(() => held.length === 4);
    expect(origin.sessions.length).toBe(2);
    for (const stream of held.splice(0)) stream.respond({ ":status": 200 }, { endStream: true });
    await eventually(() => held.length === 1);
    held[0]?.respond({ ":status": 200 }, { endStream: true });
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200);
    expect(origin.sessions.length).toBe(2);
  });

  it("gives a connection as many requests as it may have, and then another one its turn", async () => {
    const origin = await http2Origin((stream) => stream.respond({ ":status": 200 }, { endStream: true }));
    const cluster = { pool: { ...POOL, maxRequestsPerConnection: 2 } };
    const client = (await serve(origin.port, "http2", { cluster })).client();
    const perSession = new Map<unknown, number>();
    origin.server.on("stream", ({ session }) => perSession.set(session, (perSession.get(session) ?? 0) + 1));
    for (let i = 0; i < 3; i++) expect((await client.ask(GET)).status).toBe(200);
    for (const { status } of await Promise.all(Array.from({ length: 5 }, () => client.ask(GET)))) expect(status).toBe(200);
    expect([...perSession.values()]).toEqual([2, 2, 2, 2]);
    await eventually(() => origin.sessions.every((session) => session.destroyed));
  });

  it("speaks the client's protocol where the cluster says so", async () => {
    const origin = await http2Origin(echo);
    const { port, client } = await serve(origin.port, "client");
    expect((await client().ask(GET)).status).toBe(200);
    const http1 = new RawClient(port);
    opened.push(() => http1.close());
    // The origin knows no HTTP/1.1.
    expect(await http1.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/^HTTP\/1\.1 50[23] /);
  });
});

const POOL = {
  connectTimeoutMs: 1000,
  idleTimeoutMs: 60_000,
  maxConnections: 1024,
  maxPendingRequests: 1024,
  maxRequestsPerConnection: 0,
};

describe("what goes wrong", () => {
  it("tells the origin that the client gave up, and the client that the origin did", async () => {
    const codes: number[] = [];
    const origin = await http2Origin((stream) => {
      stream.on("close", () => codes.push(stream.rstCode));
      stream.respond({ ":status": 200, "content-length": "100" });
      stream.write("begun");
      if (stream.id === 3) setImmediate(() => stream.close(NGHTTP2_CANCEL));
    });
    const client = (await serve(origin.port, "http2")).client();
    const first = client.stream(GET, true);
    await once(first, "data");
    first.close(NGHTTP2_CANCEL);
    await eventually(() => codes.length === 1);
    expect(codes[0]).toBe(NGHTTP2_CANCEL);
    const second = client.stream(GET, true);
    second.resume();
    await new Promise((resolve) => second.once("close", resolve));
    expect(second.rstCode).toBe(NGHTTP2_INTERNAL_ERROR);
  });

  it("ends the origin's HTTP/1.1 request when an HTTP/2 client resets", async () => {
    const origin = await new ScriptedOrigin(
      (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
    ).start();
    opened.push(() => origin.stop());
    const client = (await serve(origin.port, "http1")).client();
    const stream = client.stream(GET, true);
    await once(stream, "data");
    stream.close(NGHTTP2_CANCEL);
    await eventually(() => origin.sockets[0]?.readableEnded === true || origin.sockets[0]?.destroyed === true);
  });

  it("sends again what the origin refused to look at, whatever it is", async () => {
    let asked = 0;
    const origin = await http2Origin((stream, headers) => {
      asked += 1;
      if (asked === 1) stream.close(NGHTTP2_REFUSED_STREAM);
      else echo(stream, headers);
    });
    const client = (await serve(origin.port, "http2")).client();
    const answer = await client.ask({ ...POST, ":path": "/once" }, { body: "" });
    expect(answer.status).toBe(200);
    expect(asked).toBe(2);
  });

  it("goes on over a new connection after the origin's GOAWAY, and finishes what is under way", async () => {
    const held: ServerHttp2Stream[] = [];
    const origin = await http2Origin((stream) => held.push(stream));
    const client = (await serve(origin.port, "http2")).client();
    const first = client.ask(GET);
    await eventually(() => held.length === 1);
    origin.sessions[0]?.goaway(NGHTTP2_NO_ERROR);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const second = client.ask(GET);
    await eventually(() => held.length === 2);
    expect(origin.sessions.length).toBe(2);
    for (const stream of held) stream.respond({ ":status": 200 }, { endStream: true });
    expect((await first).status).toBe(200);
    expect((await second).status).toBe(200);
  });

  it("answers 503 when the origin is not there, and 502 when it speaks something else", async () => {
    const client = (await serve(await freePort(), "http2")).client();
    expect((await client.ask(GET)).status).toBe(503);
    const garbage = await new ScriptedOrigin(() => undefined).start();
    garbage.server.on("connection", (socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    opened.push(() => garbage.stop());
    expect((await (await serve(garbage.port, "http2")).client().ask(GET)).status).toBe(502);
  });

  it("answers by the same limits as over HTTP/1.1", async () => {
    const origin = await http2Origin((stream) => void stream.resume());
    const http = {
      maxHeaderBytes: 2048,
      maxHeaderCount: 20,
      maxRequestBodyBytes: 1000,
      requestTimeoutMs: 150,
      maxConcurrentStreams: 2,
    };
    const { client } = await serve(origin.port, "http2", { http });
    expect((await client().ask({ ...GET, "x-large": "x".repeat(1900) })).status).toBe(431);
    expect((await client().ask({ ...POST, "content-length": "1001" }, { body: "x".repeat(1001) })).status).toBe(413);
    expect((await client().ask(POST, { body: "x".repeat(1001) })).status).toBe(413);
    const slow = client().stream(POST);
    slow.write("x");
    expect((await answerOf(slow)).status).toBe(408);
    const crowd = client();
    await once(crowd.session, "remoteSettings");
    expect(crowd.session.remoteSettings.maxConcurrentStreams).toBe(2);
  });

  it("times out what the origin does not answer", async () => {
    const codes: number[] = [];
    const origin = await http2Origin((stream) => {
      stream.on("close", () => codes.push(stream.rstCode));
    });
    const { client } = await serve(origin.port, "http2", { routes: [testRoute(CLUSTER, { timeoutMs: 100 })] });
    expect((await client().ask(GET)).status).toBe(504);
    await eventually(() => codes[0] === NGHTTP2_CANCEL);
  });

  it("closes a connection that says nothing, and one whose bytes are no HTTP/2", async () => {
    const { port } = await serve(await freePort(), "http1", { http: { headerTimeoutMs: 100, idleTimeoutMs: 200 } });
    const silent = new RawClient(port);
    const wrong = new RawClient(port);
    opened.push(
      () => silent.close(),
      () => wrong.close(),
    );
    wrong.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    await wrong.end();
    // SETTINGS, then GOAWAY.
    expect(wrong.received.slice(3, 4)).toBe("\x04");
    silent.send("PRI * HTTP/2.0\r\n\r\n");
    await silent.end();
  });
});

describe("backpressure", () => {
  /** No multiple of a window: where the end would have to wait for room, Node resets the stream (with no error) instead of ending it. */
  const SIZE = 200 * 60_000;
  /** Windows, socket buffers of four sockets, and what Node's streams keep. */
  const HELD = 9 * 1024 * 1024;

  describe("with windows that are never used up, so that nobody says anything but what he sends", () => {
    // Node counts what it buffers itself against a limit of its own, in megabytes.
    const wide = { settings: { initialWindowSize: WIDEST_WINDOW }, maxSessionMemory: 1_000 };
    const large = Buffer.alloc(64 * 1024 * 1024, "0123456789abcdef");

    it("a large response comes whole", async () => {
      const origin = createHttp1((_, response) => response.end(large));
      opened.push(() => origin.close());
      const { port } = await serve(await listening(origin), "http1");
      const client = new Http2Client(`http://127.0.0.1:${port}`, wide);
      opened.push(() => client.close());
      client.session.on("connect", () => client.session.setLocalWindowSize(WIDEST_WINDOW));
      expect((await client.ask(GET)).body.equals(large)).toBe(true);
    });

    it("a large request comes whole", async () => {
      const origin = await http2Origin((stream) => {
        let bytes = 0;
        stream.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
        });
        stream.on("end", () => {
          stream.respond({ ":status": 200 });
          stream.end(String(bytes));
        });
      }, wide);
      origin.server.on("session", (session) => session.setLocalWindowSize(WIDEST_WINDOW));
      const { port } = await serve(origin.port, "http2");
      const answer = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: large });
      expect(await answer.text()).toBe(String(large.length));
    });
  });

  it.each(["http1", "http2"] as const)("a slow reader holds the %s origin back", async (protocol) => {
    let written = 0;
    const chunk = Buffer.alloc(60_000, 1);
    const pour = (sink: {
      write(bytes: Buffer): boolean;
      once(event: "drain", run: () => void): unknown;
      end(): unknown;
    }): void => {
      while (written < SIZE) {
        written += chunk.length;
        if (!sink.write(chunk)) {
          sink.once("drain", () => pour(sink));
          return;
        }
      }
      sink.end();
    };
    const port =
      protocol === "http2"
        ? (
            await http2Origin((stream) => {
              stream.respond({ ":status": 200 });
              pour(stream);
            })
          ).port
        : await (async () => {
            const server = createHttp1((_, response) => pour(response));
            opened.push(
              () => server.closeAllConnections(),
              () => server.close(),
            );
            return listening(server);
          })();
    const client = (await serve(port, protocol)).client();
    const stream = client.stream(GET, true);
    await once(stream, "response");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(HELD);
    let read = 0;
    stream.on("data", (bytes: Buffer) => {
      read += bytes.length;
    });
    await once(stream, "end");
    expect(read).toBe(SIZE);
  });

  it.each(["http1", "http2"] as const)("a slow %s origin holds the client back", async (protocol) => {
    let start: () => void = () => undefined;
    let received = 0;
    const take = (source: NodeJS.ReadableStream, done: () => void): void => {
      source.pause();
      start = () => {
        source.on("data", (bytes: Buffer) => {
          received += bytes.length;
        });
        source.on("end", done);
        source.resume();
      };
    };
    const port =
      protocol === "http2"
        ? (await http2Origin((stream) => take(stream, () => stream.respond({ ":status": 200 }, { endStream: true })))).port
        : await (async () => {
            const server = createHttp1((request, response) => take(request, () => response.end("ok")));
            opened.push(
              () => server.closeAllConnections(),
              () => server.close(),
            );
            return listening(server);
          })();
    const client = (await serve(port, protocol)).client();
    const stream = client.stream(POST);
    const answer = answerOf(stream);
    let sent = 0;
    const chunk = Buffer.alloc(60_000, 1);
    const pour = (): void => {
      while (sent < SIZE) {
        sent += chunk.length;
        if (!stream.write(chunk)) {
          stream.once("drain", pour);
          return;
        }
      }
      stream.end();
    };
    pour();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(sent).toBeLessThan(HELD);
    start();
    expect((await answer).status).toBe(200);
    expect(received).toBe(SIZE);
  });
});

it("fields that no table may keep (RFC 7541 7.1.3) go on with the mark that they came with, and secrets get one in any case", async () => {
  const marked = (fields: object) => (fields as { [sensitiveHeaders]?: readonly string[] })[sensitiveHeaders]?.toSorted();
  const came: (readonly string[] | undefined)[] = [];
  const origin = await http2Origin((stream, headers) => {
    came.push(marked(headers));
    const fields = { "set-cookie": "id=1; Secure", "x-token": "t", "x-plain": "p", [sensitiveHeaders]: ["x-token"] };
    stream.respond({ ":status": 200, ...fields }, { endStream: true });
  });
  const { port, client } = await serve(origin.port, "http2");
  const socket = connect(port, "127.0.0.1");
  opened.push(() => socket.destroy());
  // Literals with indexing (0x40) and never indexed (0x10), twice: what had got into a table would come out of that.
  const indexed: Fields = [...GET_HTTP, ["authorization", "Basic eDp5"], ["cookie", "pin=1234"], ["x-plain", "p"]];
  const both = Buffer.concat([block(indexed, 0x40), block([["x-key", "k"]], 0x10)]);
  const request = (stream: number) => frame(HEADERS, END_STREAM | END_HEADERS, stream, both);
  socket.write(Buffer.concat([PREFACE, settings(), request(1), request(3)]));
  await eventually(() => came.length === 2);
  for (const names of came) expect(names).toEqual(["authorization", "cookie", "x-key"]);
  const answers = [await client().ask(GET), await client().ask(GET)];
  for (const { headers } of answers) expect(marked(headers)).toEqual(["set-cookie", "x-token"]);
});

describe("connections", () => {
  it("drain: what is under way is finished, and the client is told to go", async () => {
    const held: ServerHttp2Stream[] = [];
    const origin = await http2Origin((stream) => held.push(stream));
    const { gateway, client } = await serve(origin.port, "http2");
    const one = client();
    const answer = one.ask(GET);
    await eventually(() => held.length === 1);
    const told = once(one.session, "goaway");
    const drained = gateway.engine.drain(5000);
    await told;
    held[0]?.respond({ ":status": 200 }, { endStream: true });
    expect((await answer).status).toBe(200);
    await drained;
  });

  it("over TLS: either protocol by ALPN, and HTTP/2 to the origin the same way", async () => {
    const origin = await http2Origin(echo, {}, identity);
    const { port } = await serveTls(origin.port);
    const client = new Http2Client(`https://localhost:${port}`, { ca: identity.cert });
    opened.push(() => client.close());
    const answer = await client.ask(GET);
    expect(answer.status).toBe(200);
    const old = await new Promise<string>((resolve, reject) => {
      const request = httpsRequest({ port, host: "localhost", ca: identity.cert, headers: { host: "a.test" } }, (response) => {
        response.resume();
        resolve(`${response.httpVersion} ${response.statusCode}`);
      });
      request.on("error", reject).end();
    });
    expect(old).toBe("1.1 200");
  });

  it("an origin that does not agree to HTTP/2 is not spoken to in it", async () => {
    const { createServer } = await import("node:https");
    const server = createServer(identity, (_, response) => response.end("ok"));
    opened.push(
      () => server.closeAllConnections(),
      () => server.close(),
    );
    const { port } = await serveTls(await listening(server));
    const client = new Http2Client(`https://localhost:${port}`, { ca: identity.cert });
    opened.push(() => client.close());
    expect((await client.ask(GET)).status).toBe(503);
  });

  it("421: a connection for one server is not for the hosts of another, in either protocol", async () => {
    const { port } = await serveTls((await http2Origin(echo, {}, identity)).port, ["a.test", "b.test", "*"]);
    const client = new Http2Client(`https://localhost:${port}`, { ca: identity.cert, servername: "a.test" });
    opened.push(() => client.close());
    expect((await client.ask(GET)).status).toBe(200);
    expect((await client.ask({ ...GET, ":authority": "a.test:8443" })).status).toBe(200);
    expect((await client.ask({ ...GET, ":authority": "b.test" })).status).toBe(421);
    expect((await client.ask({ ...GET, ":authority": "c.test" })).status).toBe(421);
    const old = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const options = { port, host: "localhost", servername: "a.test", ca: identity.cert, headers: { host } };
        const request = httpsRequest(options, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on("error", reject).end();
      });
    expect(await old("a.test")).toBe(200);
    expect(await old("b.test")).toBe(421);
    // Nobody is told in the clear that he asks for something behind TLS.
    const clear = (await serve((await http2Origin(echo)).port, "http2")).client();
    expect((await clear.ask({ ...GET, ":scheme": "https" })).status).toBe(421);
  });

  it("curl: prior knowledge, and no upgrade in clear", async () => {
    const { port } = await serve((await http2Origin(echo)).port, "http2");
    const url = `http://127.0.0.1:${port}/`;
    const told = async (...options: string[]) =>
      (await run("curl", ["-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", ...options, url])).stdout;
    expect(await told("--http2-prior-knowledge")).toBe("2 200");
    expect(await told("--http2")).toBe("1.1 200");
  });

  it("a preface that comes in pieces is one all the same, and so is a method that begins alike", async () => {
    const { port } = await serve((await http2Origin(echo)).port, "http2");
    const client = new RawClient(port);
    const other = new RawClient(port);
    opened.push(
      () => client.close(),
      () => other.close(),
    );
    for (const part of ["P", "RI", " * HTTP/2.0\r\n\r\nSM\r\n\r", "\n", "\0\0\0\x04\0\0\0\0\0"]) {
      client.send(part);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // SETTINGS, and the acknowledgement of the client's.
    await client.until((text) => text.includes("\0\0\0\x04\x01\0\0\0\0"));
    for (const part of ["P", "R", "OPFIND / HTTP/1.1\r\nhost: a.test\r\n\r\n"]) {
      other.send(part);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(await other.answer()).toMatch(/^HTTP\/1\.1 200 /);
  });
});

async function serveTls(originPort: number, names: readonly string[] = ["*"]): Promise<{ readonly port: number }> {
  const port = await freePort();
  const gateway = testGateway();
  const servers = names.map((name) => ({
    name,
    serverNames: [name],
    routeTable: "main",
    tls: {
      mode: "simple",
      certificateFile: files.certificate,
      privateKeyFile: files.key,
      minVersion: "TLSv1.2",
      maxVersion: "TLSv1.3",
      cipherSuites: [],
    } as const,
  }));
  const tls = {
    mode: "simple",
    serverName: "localhost",
    subjectAltNames: [],
    caFile: files.certificate,
    minVersion: "TLSv1.2",
    insecureSkipVerify: false,
  } as const;
  await gateway.install(
    testSnapshot({
      listeners: [testListener(port, { protocol: "https", servicePort: 443, servers })],
      originPorts: [originPort],
      cluster: { protocol: "http2", tls },
    }),
  );
  opened.push(() => void gateway.engine.drain(0));
  return { port };
}
