/**
 * A site and a cluster as they are shipped: client, ingress Worker in workerd, passport, gateway process of the cluster (over TLS, or through the tunnel that
 * it has opened), service. The site's snapshot comes from a real publisher through the site's real relay.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from "node:http";
import { connect, createServer as createProxy, type Server as TcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { PASSPORT_FIELD } from "../../gateway/core/identity/index.ts";
import { ok } from "../../gateway/core/result.ts";
import { writeCertificate } from "../support/certificate.ts";
import { TestControlPlane } from "../support/control.ts";
import { type Place, ROUTE_TIMEOUT_MS, siteSnapshot, startGateway, startSite } from "../support/edge-cluster.ts";
import { CLUSTER, eventually, freePort, listening, RawClient } from "../support/gateway.ts";
import { testSite } from "../support/passports.ts";
import { RELAY_TOKEN, untilSite } from "../support/relay-site.ts";
import type { Running } from "../tools/processes.ts";

const CLIENT = "198.51.100.7";
const MEBIBYTE = 1_048_576;

let directory: string;
let ports: Place["ports"];
let control: TestControlPlane;
let origin: Server;
let recorder: TcpServer;
let workerd: Running;
let gateway: Running;
/** What the service got. */
const received: IncomingMessage[] = [];
/** What went to the cluster's gateway by way of the recorder. */
let recorded = "";
let play: RequestListener = (_, response) => response.end("served");

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-cluster-"));
  origin = createServer((message, response) => {
    received.push(message);
    play(message, response);
  });
  origin.on("upgrade", (message, socket) => {
    received.push(message);
    const accept = createHash("sha1").update(`${message.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    const lines = ["upgrade: websocket", "connection: upgrade", `sec-websocket-accept: ${accept.digest("base64")}`];
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
    // Unmasked text frames of what comes masked.
    socket.on("data", (frame: Buffer) => {
      const mask = frame.subarray(2, 6);
      const payload = Buffer.from(frame.subarray(6)).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
      socket.write(Buffer.concat([Buffer.from([0x81, payload.length]), payload]));
    });
    socket.on("error", () => undefined);
  });
  recorder = createProxy((socket) => {
    const onward = connect({ port: ports.plain, host: "127.0.0.1" });
    socket.on("data", (bytes) => {
      recorded += bytes.toString("latin1");
    });
    socket.pipe(onward).pipe(socket);
    for (const one of [socket, onward]) one.on("error", () => undefined);
  });
  ports = {
    origin: await listening(origin),
    recorder: await listening(recorder),
    tls: await freePort(),
    plain: await freePort(),
    ingress: await freePort(),
    stranger: await freePort(),
    keyless: await freePort(),
  };
  const place = { directory, ports };
  const files = { key: join(directory, "tls.key"), certificate: join(directory, "tls.crt") };
  await writeCertificate(files, "localhost", ["localhost"]);
  const [europe, asia] = [await testSite("europe"), await testSite("asia", "europe-1")];
  gateway = await startGateway(place, europe.issuer, files);
  control = await TestControlPlane.start();
  workerd = await startSite(place, control.keys.pin, { europe: europe.jwk, stranger: asia.jwk }, files);
  const published = await control.publish(siteSnapshot(place));
  const edge = control.edge();
  edge.follow([{ name: "europe", url: `http://127.0.0.1:${ports.ingress}`, audience: "ingress", token: ok(RELAY_TOKEN) }]);
  await untilSite(edge, ({ known }) => known.state.kind === "synced" && `1.${known.state.held.version}` === published.id);
  await eventually(() => gateway.output().includes("tunnel open"), 20_000);
});
afterAll(async () => {
  origin?.closeAllConnections();
  origin?.close();
  recorder?.close();
  await Promise.all([workerd?.stop("SIGKILL"), gateway?.stop("SIGKILL"), control?.end()]);
  rmSync(directory, { recursive: true, force: true });
});
beforeEach(() => {
  received.length = 0;
  recorded = "";
  play = (_, response) => response.end("served");
});

// ── the client ───────────────────────────────────────────────────────────────

interface Ask {
  readonly at?: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}
interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

function ask(host: string, path: string, { at = ports.ingress, method = "GET", headers = {}, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fields = { host, "cf-connecting-ip": CLIENT, ...headers };
    const sent = request({ port: at, host: "127.0.0.1", path, method, headers: fields, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

type Line = Record<string, unknown>;
const linesOf = (text: string): readonly Line[] =>
  text.split("\n").flatMap((line) => (line.startsWith("{") && line.endsWith("}") ? [JSON.parse(line) as Line] : []));
const atEdge = (path: string) => linesOf(workerd.output()).filter((line) => line["path"] === path);
const atGateway = (path: string) =>
  linesOf(readFileSync(join(directory, "gateway.log"), "utf8")).filter((line) => line["path"] === path);
const passports = () => [...recorded.matchAll(new RegExp(`^${PASSPORT_FIELD}: (\\S+)\r$`, "gim"))].map(([, token]) => token);
const sha = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

// ── what holds ───────────────────────────────────────────────────────────────

describe.each(["tls", "tunnel"])("a request by way of the cluster's gateway: %s", (way) => {
  const host = `${way}.test`;

  it("has the route applied once, is from the client, and is told of on both sides", async () => {
    const answer = await ask(host, `/shop/${way}?q`, { headers: { [PASSPORT_FIELD]: "mine" } });
    expect([answer.status, answer.body.toString()]).toEqual([200, "served"]);
    expect(answer.headers["x-answered"]).toBe("edge");
    const [got] = received;
    expect(received).toHaveLength(1);
    expect(got?.url).toBe(`/inner/${way}?q`);
    expect(got?.headers).toMatchObject({ host: "inner.test", "x-once": "edge", "x-forwarded-for": CLIENT });
    expect(got?.headers[PASSPORT_FIELD]).toBeUndefined();
    await eventually(() => atEdge(`/shop/${way}?q`).length === 1 && atGateway(`/inner/${way}?q`).length === 1);
    expect(atEdge(`/shop/${way}?q`)[0]).toMatchObject({
      status: 200,
      route: `${way}-shop`,
      cluster: way,
      site: null,
      attempts: 1,
    });
    expect(atGateway(`/inner/${way}?q`)[0]).toMatchObject({
      status: 200,
      client: CLIENT,
      site: "europe",
      passport: expect.stringMatching(/^[0-9a-f-]{36}$/),
      route: null,
      cluster: CLUSTER,
    });
  });

  it("moves large bodies unaltered both ways, of known and of unknown length", async () => {
    play = (message, response) => {
      const parts: Buffer[] = [];
      message.on("data", (part: Buffer) => parts.push(part));
      message.on("end", () => {
        const whole = Buffer.concat(parts);
        response.writeHead(200, message.url === "/known" ? { "content-length": whole.length } : {}).end(whole);
      });
    };
    const body = Buffer.alloc(24 * MEBIBYTE, "tidegate ");
    for (const [path, headers] of [
      ["/known", {}],
      ["/unknown", { "transfer-encoding": "chunked" }],
    ] as const) {
      const answer = await ask(host, path, { method: "POST", body, headers });
      expect([answer.status, sha(answer.body)]).toEqual([200, sha(body)]);
      expect(answer.headers["content-length"]).toBe(path === "/known" ? String(body.length) : undefined);
    }
  });

  it("streams both ways at once: the service answers while the request is still coming", async () => {
    play = (message, response) => void message.pipe(response.writeHead(200));
    const parts: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const sent = request(
        { port: ports.ingress, host: "127.0.0.1", method: "POST", headers: { host }, agent: false },
        (response) => {
          response.on("data", (part: Buffer) => {
            if (parts.push(part.toString()) < 3) sent.write(`part ${parts.length}`);
            else sent.end();
          });
          response.on("end", resolve).on("error", reject);
        },
      );
      sent.on("error", reject);
      sent.write("part 0");
    });
    expect(parts).toEqual(["part 0", "part 1", "part 2"]);
  });

  it("content of a GET, answers without content, and the length of a HEAD", async () => {
    play = (message, response) =>
      void message.setEncoding("utf8").on("data", (text: string) => response.end(`${message.method} ${text}`));
    const headers = { "content-length": "7", expect: "100-continue" };
    expect((await ask(host, "/", { body: Buffer.from("content"), headers })).body.toString()).toBe("GET content");
    play = (message, response) => {
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.writeHead(message.method === "HEAD" ? 200 : 204, message.method === "HEAD" ? { "content-length": 42 } : {}).end();
    };
    const none = await ask(host, "/");
    expect([none.status, none.body.length, none.headers["set-cookie"]]).toEqual([204, 0, ["a=1", "b=2"]]);
    expect(await ask(host, "/", { method: "HEAD" })).toMatchObject({ status: 200, headers: { "content-length": "42" } });
  });

  it("ends when its time is over, and when the client leaves", async () => {
    let closed = 0;
    play = (message, response) => {
      response.on("close", () => closed++);
      if (message.url === "/leaves") response.writeHead(200).write("abc");
    };
    const startedMs = performance.now();
    expect((await ask(host, "/late")).status).toBe(504);
    expect(performance.now() - startedMs).toBeLessThan(ROUTE_TIMEOUT_MS + 2_000);
    await eventually(() => closed === 1);
    const client = new RawClient(ports.ingress).send(`GET /leaves HTTP/1.1\r\nhost: ${host}\r\n\r\n`);
    await client.until((text) => text.includes("abc"));
    client.socket.resetAndDestroy();
    await eventually(() => closed === 2);
  });

  it("an upload that breaks off never looks whole to the service", async () => {
    const ends: boolean[] = [];
    play = (message) => {
      message.on("data", () => undefined);
      message.on("close", () => ends.push(message.complete));
    };
    for (const framing of ["transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "content-length: 10\r\n\r\nabc"]) {
      const begun = received.length;
      const client = new RawClient(ports.ingress).send(`POST / HTTP/1.1\r\nhost: ${host}\r\n${framing}`);
      await eventually(() => received.length > begun);
      client.socket.resetAndDestroy();
      await eventually(() => ends.length > begun);
    }
    expect(ends).toEqual([false, false]);
  });

  it("an answer that breaks off is told by breaking off", async () => {
    play = (_, response) => void response.writeHead(200).write("abc", () => setTimeout(() => response.destroy(), 20));
    await expect(ask(host, "/")).rejects.toThrow();
  });

  it.each([
    ["//x", "//x"],
    ["/%2e/x", "/x"],
    ["/a/%2E%2e/b", "/b"],
    ["/a/../b", "/b"],
    ["/a//../b", "/a/b"],
    ["/a%2fb", "/a%2Fb"],
    ["/%zz", "/%zz"],
    ["/?", "/?"],
    ["/x?", "/x?"],
    ["/x??a=/../&&", "/x??a=/../&&"],
    ["/a[b]|c;d@e:f", "/a[b]|c;d@e:f"],
    ["/x?eq='a'", way === "tls" ? "/x?eq=%27a%27" : "/x?eq='a'"],
  ])("its passport is for the target that is really sent: %s", async (target, sent) => {
    const client = new RawClient(ports.ingress).send(`GET ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    expect(await client.end()).toMatch(/^HTTP\/1.1 200 /);
    expect(received.map(({ url }) => url)).toEqual([sent]);
  });
});

it("every attempt and every mirror has a passport of its own", async () => {
  let failures = 2;
  play = (_, response) => response.writeHead(failures-- > 0 ? 503 : 200).end("at last");
  const body = Buffer.from("kept for the next attempt");
  expect((await ask("recorded.test", "/again", { method: "PUT", body })).body.toString()).toBe("at last");
  expect(passports()).toHaveLength(3);
  play = (_, response) => response.end("served");
  for (const way of ["recorded", "tunnel", "tls"]) expect((await ask(`${way}.test`, "/twice")).status).toBe(200);
  await eventually(() => passports().length === 7 && received.length === 9);
  expect(new Set(passports()).size).toBe(7);
});

it("several attempts go through the tunnel, each taken", async () => {
  let failures = 2;
  play = (_, response) => response.writeHead(failures-- > 0 ? 503 : 200).end("at last");
  const body = Buffer.from("kept for the next attempt");
  expect((await ask("tunnel.test", "/again/tunnel", { method: "PUT", body })).body.toString()).toBe("at last");
  await eventually(() => atGateway("/again/tunnel").length === 3);
  expect(new Set(atGateway("/again/tunnel").map(({ passport }) => passport)).size).toBe(3);
});

it("a passport that somebody has captured is refused when it comes again", async () => {
  expect((await ask("recorded.test", "/captured")).status).toBe(200);
  const captured = `${recorded.slice(recorded.indexOf("GET /captured"), recorded.indexOf("\r\n\r\n"))}\r\nconnection: close\r\n\r\n`;
  expect(captured).toContain(`${PASSPORT_FIELD}: `);
  expect(await new RawClient(ports.plain).send(captured).end()).toMatch(/^HTTP\/1.1 403 /);
  await eventually(() => atGateway("/captured").some(({ reason }) => reason === "passport_replayed"));
  expect(received).toHaveLength(1);
});

it("a quota that the edge has charged is not charged again", async () => {
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) statuses.push((await ask("quota.test", "/")).status);
  expect(statuses).toEqual([200, 200, 200, 429]);
  expect(received).toHaveLength(3);
});

const HANDSHAKE =
  "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

it("a WebSocket goes by passport, its messages both ways", async () => {
  const client = new RawClient(ports.ingress).send(`GET /chat HTTP/1.1\r\nhost: tls.test\r\n${HANDSHAKE}\r\n\r\n`);
  const head = await client.until((text) => text.includes("\r\n\r\n"));
  expect(head).toMatch(/^HTTP\/1.1 101 /);
  expect(head).toMatch(/\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i);
  client.send("\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e");
  await client.until((text) => text.endsWith("\x81\x05hello"));
  client.close();
  // Handed on by the cluster's gateway, which has taken the passport out.
  expect(received.map(({ url, headers }) => [url, headers.via, headers[PASSPORT_FIELD]])).toEqual([
    ["/chat", "1.1 tidegate, 1.1 tidegate", undefined],
  ]);
  await eventually(() => atEdge("/chat").some(({ status }) => status === 101));
});

it("a WebSocket is not sent through a tunnel, and the log says why", async () => {
  const client = new RawClient(ports.ingress).send(`GET /chat HTTP/1.1\r\nhost: tunnel.test\r\n${HANDSHAKE}\r\n\r\n`);
  expect(await client.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1.1 501 /);
  expect(received).toEqual([]);
  await eventually(() => atEdge("/chat").some(({ reason }) => String(reason).includes("carries no websocket")));
  client.close();
});

describe("a site that may not", () => {
  it.each(["tls", "tunnel"])(
    "with another's key is refused by the cluster, and the client hears no more than that: %s",
    async (way) => {
      const answer = await ask(`${way}.test`, "/foreign", { at: ports.stranger });
      expect(answer.status).toBe(403);
      expect(answer.body.toString()).not.toMatch(/passport|signature|main|europe/);
      expect(received).toEqual([]);
      await eventually(() => atGateway("/foreign").some(({ reason }) => reason === "passport_bad_signature"));
    },
  );

  it.each(["tls", "tunnel"])("without a key sends nothing, and its log says what is missing: %s", async (way) => {
    const answer = await ask(`${way}.test`, `/keyless/${way}`, { at: ports.keyless });
    expect([answer.status, answer.body.toString()]).toEqual([501, expect.not.stringContaining("PASSPORT_KEY")]);
    expect(received).toEqual([]);
    await eventually(() => atEdge(`/keyless/${way}`).some(({ reason }) => String(reason).includes("bind PASSPORT_KEY")));
  });
});
