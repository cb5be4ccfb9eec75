/** The control plane's side of a site against relays that are broken or hostile: each is left with the reason, and the control plane stays whole. */
import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { MAX_RELAY_MESSAGES } from "../../controlplane/distribute/edge-conversation.ts";
import { HttpsExchange } from "../../controlplane/distribute/edge-https.ts";
import { openSocket } from "../../controlplane/distribute/edge-socket.ts";
import type { EdgeDistribution, SiteStatus, SiteTarget } from "../../controlplane/distribute/index.ts";
import { MAX_RELAY_TEXT, RELAY_PING, RELAY_PONG, type RelayHello } from "../../gateway/core/ir/index.ts";
import { fail, ok } from "../../gateway/core/result.ts";
import { writeCertificate } from "../support/certificate.ts";
import { TestControlPlane } from "../support/control.ts";
import { listening } from "../support/gateway.ts";
import { HostileRelay, type HostileScript, type Peer } from "../support/hostile-relay.ts";
import { untilSite } from "../support/relay-site.ts";
import { makeSnapshot } from "../support/snapshots.ts";

const HELLO: RelayHello = {
  type: "hello",
  protocol: 1,
  site: "europe",
  audience: "ingress",
  pin: "p",
  rootVersion: 0,
  enforced: false,
  readerVersion: 1,
  software: "hostile",
};

/** Whatever comes is let be. */
const QUIET = { opened: () => undefined, received: () => undefined };

let control: TestControlPlane;
let edge: EdgeDistribution;
let relay: HostileRelay | undefined;

beforeAll(async () => {
  control = await TestControlPlane.start();
  await control.publish(makeSnapshot(3));
});
afterEach(async () => {
  await edge?.close();
  relay?.end();
  relay = undefined;
});
afterAll(async () => {
  await control?.end();
});

async function against(script: HostileScript, change: Partial<SiteTarget> = {}): Promise<HostileRelay> {
  relay = await HostileRelay.start(script);
  edge = control.edge();
  edge.follow([{ name: "europe", url: relay.url, audience: "ingress", token: ok("secret-token"), ...change }]);
  return relay;
}

const failed = (status: SiteStatus) => status.lastError !== undefined;
const reason = async () => (await untilSite(edge, failed)).lastError;
/** Answers the manifest, which follows the trust roots. */
const onManifest = (answer: (peer: Peer) => void) => (peer: Peer, frame: string | Buffer) => {
  if (String(frame).startsWith('{"type":"manifest"')) answer(peer);
};

describe("over a WebSocket", () => {
  it.each<[string, (peer: Peer) => void, string]>([
    ["text that is no JSON", (peer) => peer.send("{"), "a frame that cannot be read: frame: is not JSON"],
    ["a binary frame", (peer) => peer.binary(new Uint8Array(50)), "text frames only"],
    ["a type that nobody knows", (peer) => peer.send({ type: "run" }), "must be one of"],
    ["an answer before hello", (peer) => peer.send({ type: "ack", snapshot: { epoch: 1, version: 1 } }), "ack before hello"],
    ["hello twice", (peer) => [HELLO, HELLO].forEach((hello) => void peer.send(hello)), "a second hello"],
    ["another protocol", (peer) => peer.send({ ...HELLO, protocol: 7 }), "speaks relay protocol 7"],
    ["text above MAX_RELAY_TEXT", (peer) => peer.send("x".repeat(MAX_RELAY_TEXT + 1)), `at most ${MAX_RELAY_TEXT}`],
    ["a frame that claims 2^40 bytes", (peer) => peer.frame(1, new Uint8Array(1000), 2 ** 40), "the connection failed"],
    ["bytes that are no frame", (peer) => peer.raw("HTTP/1.1 200 OK\r\n\r\n"), "connection"],
    ["a text that is no UTF-8", (peer) => peer.frame(1, new Uint8Array([0xff, 0xfe])), "connection"],
    ["closing at once", (peer) => peer.close(1008, "go away"), "the relay closed the connection: go away (1008)"],
    ["a connection that breaks", (peer) => peer.destroy(), "connection"],
  ])("%s", async (_name, connected, expected) => {
    const hostile = await against({ connected });
    expect(await reason()).toContain(expected);
    expect(hostile.requests).toEqual([]);
  });

  it.each<[string, (peer: Peer) => void, string]>([
    ["asks for what is not in the offer", (peer) => peer.send(need(["A".repeat(43)])), "asked for a chunk that is not in"],
    ["closes in the middle of an offer", (peer) => peer.close(1011, "crashed"), "crashed (1011)"],
    ["breaks in the middle of an offer", (peer) => peer.destroy(), "connection"],
    [
      "floods",
      (peer) => {
        for (let i = 0; i <= MAX_RELAY_MESSAGES; i++) peer.send(RELAY_PONG);
      },
      `more than ${MAX_RELAY_MESSAGES} messages`,
    ],
  ])("%s", async (_name, answer, expected) => {
    await against({ connected: (peer) => peer.send(HELLO), frame: onManifest(answer) });
    expect(await reason()).toContain(expected);
  });

  it("comes back with a growing wait, and knows what was said before", async () => {
    const hostile = await against({
      connected: (peer) => peer.send({ ...HELLO, held: { epoch: 1, version: 7 } }),
      frame: onManifest((peer) => peer.close(1011, "again")),
    });
    await untilSite(edge, () => hostile.peers.length >= 3);
    const { known } = await untilSite(edge, ({ connection }) => connection === undefined);
    expect(known.hello?.held).toEqual({ epoch: 1, version: 7 });
  });

  it("answers in another order, or about what was never offered, move nothing", async () => {
    const old = { epoch: 1, version: 0 };
    await against({
      connected: (peer) => peer.send(HELLO),
      frame: onManifest((peer) => {
        peer.send({ type: "enforced", snapshot: { epoch: 9, version: 9 }, watchers: 0, returned: 0 });
        peer.send({ type: "nack", snapshot: old, code: "rollback", problems: [], partly: false });
        peer.send({ type: "deferred", snapshot: old, notBeforeS: 1 });
        peer.send({ type: "ack", snapshot: old });
      }),
    });
    const { known } = await untilSite(edge, ({ known: { state } }) => state.kind === "offered" && state.held !== undefined);
    expect(known.state).toMatchObject({ kind: "offered", offered: { epoch: 1, version: 1 }, held: old });
  });

  it("silence: pings go out, and the connection counts as dead when nothing comes back", async () => {
    relay = await HostileRelay.start({ connected: () => undefined });
    const timing = { connectMs: 5_000, pingMs: 50, maxSilenceMs: 400 };
    const end = await openSocket({ url: relay.url, token: "t" }, QUIET, timing).ended;
    expect(end).toMatchObject({ opened: true, reason: "the relay was silent for 0.4 s" });
    expect(relay.peers[0]?.received).toContain(RELAY_PING);
  });

  it("pongs keep it", async () => {
    relay = await HostileRelay.start({ connected: () => undefined, frame: (peer) => peer.send(RELAY_PONG) });
    const socket = openSocket({ url: relay.url, token: "t" }, QUIET, { connectMs: 5_000, pingMs: 50, maxSilenceMs: 400 });
    await new Promise((done) => setTimeout(done, 1_000));
    socket.end("enough");
    expect(await socket.ended).toMatchObject({ reason: "enough" });
  });

  it("an upgrade that is never answered", async () => {
    relay = await HostileRelay.start({ upgrade: () => undefined });
    const end = await openSocket({ url: relay.url, token: "t" }, QUIET, { connectMs: 200, pingMs: 50, maxSilenceMs: 400 }).ended;
    expect(end).toMatchObject({ opened: false, reason: "no WebSocket within 0.2 s" });
  });
});

describe("where the upgrade does not work, what the site answers over HTTPS says why", () => {
  const answering = (status: number, body: unknown, headers: Record<string, string> = {}): HostileScript => ({
    request: (_request, _body, response) =>
      void response.writeHead(status, headers).end(typeof body === "string" ? body : JSON.stringify(body)),
  });

  it.each<[string, HostileScript, string]>([
    ["a wrong token", answering(401, ""), "refuses the relay token"],
    ["no relay there", answering(404, ""), "is the edge Worker deployed there?"],
    ["a failure", answering(500, { detail: "binding SITE is not set" }), "status 500: binding SITE is not set"],
    ["a state that is no JSON", answering(200, "<html>"), "cannot be read: frame: is not JSON"],
    ["a state that is something else", answering(200, { type: "pong" }), "did not answer with its state"],
    ["no state", answering(204, ""), "did not answer with its state"],
    ["an endless answer", answering(200, "x".repeat(MAX_RELAY_TEXT + 1)), `more than ${MAX_RELAY_TEXT} bytes`],
    ["a connection that breaks", { request: (request) => void request.socket.destroy() }, "the site cannot be reached"],
  ])("%s", async (_name, script, expected) => {
    await against(script);
    const told = await reason();
    expect(told).toContain(expected);
    expect(told).not.toContain("secret-token");
  });

  it("a redirect is not followed, by neither way", async () => {
    const elsewhere = await HostileRelay.start(answering(200, HELLO));
    try {
      const head = `HTTP/1.1 307 Temporary Redirect\r\nlocation: ${elsewhere.url}/.tidegate/relay\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
      await against({
        upgrade: (socket) => void socket.end(head),
        request: (_request, _body, response) =>
          void response.writeHead(307, { location: `${elsewhere.url}/.tidegate/relay/state` }).end(),
      });
      expect(await reason()).toContain("redirects are not followed");
      expect(elsewhere.requests).toEqual([]);
      expect(elsewhere.peers).toEqual([]);
    } finally {
      elsewhere.end();
    }
  });

  it.each<[string, HostileScript["request"], string]>([
    [
      "an offer that is answered with nothing",
      (request, _body, response) => answer(request.method, response, 204),
      "did not say what became",
    ],
    [
      "chunks that are asked for again and again",
      (request, body, response) =>
        answer(request.method, response, 200, request.method === "POST" ? firstChunk(body) : undefined),
      "asked for a chunk twice",
    ],
  ])("%s", async (_name, request, expected) => {
    await against({ ...(request && { request }) });
    expect(await reason()).toContain(expected);
  });

  it("a request that is never answered", async () => {
    relay = await HostileRelay.start({ request: () => undefined });
    const exchange = new HttpsExchange({ url: relay.url, token: "t" }, QUIET, {
      requestMs: 200,
      pollMs: 50,
      upgradeAgainMs: 500,
    });
    expect(await exchange.run()).toEqual({ opened: false, reason: "the site did not answer in time" });
  });

  it("works for a while, then the WebSocket is tried again", async () => {
    relay = await HostileRelay.start(answering(200, HELLO));
    const exchange = new HttpsExchange({ url: relay.url, token: "t" }, QUIET, {
      requestMs: 5_000,
      pollMs: 50,
      upgradeAgainMs: 500,
    });
    expect(await exchange.run()).toEqual({ opened: true, reason: undefined });
    expect(new Set(relay.requests)).toEqual(new Set(["GET /.tidegate/relay/state"]));
  });

  it("the token goes to the site only, as bearer", async () => {
    const seen: (string | undefined)[] = [];
    await against({
      request: (request, _body, response) => {
        seen.push(request.headers.authorization);
        response.writeHead(500).end();
      },
    });
    await reason();
    expect(seen[0]).toBe("Bearer secret-token");
  });
});

describe("where a site is", () => {
  it.each([
    ["http://edge.example.com", "over https only"],
    ["ftp://127.0.0.1", "over https only"],
    ["no url", "is no URL"],
  ])("%s is not dialled", async (url, expected) => {
    edge = control.edge();
    edge.follow([{ name: "europe", url, audience: "ingress", token: ok("t") }]);
    expect(await reason()).toContain(expected);
  });

  it("a site without a token is not dialled either", async () => {
    const hostile = await against({}, { token: fail("there is no secrets/default/europe/relay-token") });
    expect(await reason()).toBe("there is no secrets/default/europe/relay-token");
    expect(hostile.requests).toEqual([]);
    edge.follow([{ name: "europe", url: hostile.url, audience: "ingress", token: ok("t") }]);
    expect(await reason()).toContain("is the edge Worker deployed there?");
  });

  it("a certificate that nobody vouches for", async () => {
    const files = { key: join(control.directory, "site.key"), certificate: join(control.directory, "site.pem") };
    await writeCertificate(files, "localhost", ["localhost"]);
    const pair = { cert: readFileSync(files.certificate), key: readFileSync(files.key) };
    const server = createTlsServer(pair, (_request, response) => void response.end());
    const port = await listening(server);
    try {
      edge = control.edge();
      edge.follow([{ name: "europe", url: `https://localhost:${port}`, audience: "ingress", token: ok("t") }]);
      expect(await reason()).toMatch(/cannot be reached: .*certificate/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("nobody listens", async () => {
    const gone = await HostileRelay.start({});
    gone.end();
    edge = control.edge();
    edge.follow([{ name: "europe", url: gone.url, audience: "ingress", token: ok("t") }]);
    expect(await reason()).toContain("the site cannot be reached: connect ECONNREFUSED");
  });
});

describe("sites come and go with configuration", () => {
  it("a new address is dialled, the old one left; a site that is gone is closed", async () => {
    const script: HostileScript = { connected: (peer) => peer.send(HELLO), frame: () => undefined };
    const first = await HostileRelay.start(script);
    const second = await HostileRelay.start(script);
    edge = control.edge();
    const target = { name: "europe", url: first.url, audience: "ingress", token: ok("t") };
    try {
      edge.follow([target]);
      await untilSite(edge, ({ connection }) => connection !== undefined);
      edge.follow([{ ...target }]);
      expect(first.peers).toHaveLength(1);
      edge.follow([{ ...target, url: second.url }]);
      await untilSite(edge, ({ url, connection }) => url === second.url && connection !== undefined);
      edge.follow([{ ...target, url: second.url, token: ok("rotated") }]);
      await untilSite(edge, ({ connection }) => connection !== undefined && second.peers.length === 2);
      edge.follow([]);
      expect(edge.status()).toEqual([]);
      expect(first.peers).toHaveLength(1);
    } finally {
      first.end();
      second.end();
    }
  });
});

function need(hashes: readonly string[]): unknown {
  return { type: "need", snapshot: { epoch: 1, version: 1 }, hashes };
}

function answer(method: string | undefined, response: ServerResponse, status: number, body?: unknown): void {
  if (method === "GET") response.writeHead(200).end(JSON.stringify(HELLO));
  else if (body === undefined) response.writeHead(204).end();
  else response.writeHead(status).end(JSON.stringify(body));
}

/** Asks for the first chunk that the offer names. */
function firstChunk(body: Buffer): unknown {
  const { jws } = JSON.parse(body.toString()) as { jws: string };
  const { payload } = JSON.parse(jws) as { payload: string };
  const manifest = JSON.parse(Buffer.from(payload, "base64url").toString()) as {
    sections: { routes: { chunks: { hash: string }[] } };
  };
  return need([manifest.sections.routes.chunks[0]?.hash ?? ""]);
}
