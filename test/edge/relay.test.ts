/** The relay in the real workerd: the real control plane's client pushes, isolates ask, processes end in the middle. */
import { createHash } from "node:crypto";
import { createServer, request as httpRequest, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EdgeDistribution } from "../../controlplane/distribute/index.ts";
import { controlFrame, MAX_CONTROL_TEXT } from "../../gateway/core/ir/index.ts";
import { atBest } from "../support/at-best.ts";
import { TestControlPlane } from "../support/control.ts";
import { listening } from "../support/gateway.ts";
import { RELAY_TOKEN, TestSite, until, untilSite } from "../support/relay-site.ts";
import { egressConfig, egressRule, makeSnapshot } from "../support/snapshots.ts";

/** As the relay has it (gateway/edge/relay-watch.ts). */
const ENFORCED_WITHIN_MS = 3_000;

let control: TestControlPlane;
let site: TestSite;
let edge: EdgeDistribution;

beforeEach(async () => {
  control = await TestControlPlane.start();
  site = await TestSite.start({ pin: control.keys.pin });
  edge = control.edge();
});
afterEach(async () => {
  await control?.end();
  await site?.end();
});

const isSynced = (id: string) => (status: Parameters<Parameters<typeof untilSite>[1]>[0]) => {
  const { state } = status.known;
  return state.kind === "synced" && `${state.held.epoch}.${state.held.version}` === id;
};

describe("a push over a WebSocket", () => {
  it("is held by the site, and handed to isolates chunk by chunk as it was signed", async () => {
    const published = await control.publish(makeSnapshot(40));
    edge.follow([site.target()]);
    const { connection } = await untilSite(edge, isSynced(published.id));
    expect(connection?.via).toBe("websocket");
    const answer = await site.current();
    if (answer.kind !== "snapshot") throw new Error(answer.kind);
    expect(answer).toMatchObject({ version: published.id, manifest: Buffer.from(published.jws).toString() });
    expect(answer.roots).toEqual(control.keys.roots.map((root) => Buffer.from(root).toString()));
    for (const { hash, content } of answer.chunks) expect(createHash("sha256").update(content).digest("base64url")).toBe(hash);
    expect(answer.chunks.map(({ hash }) => hash).sort()).toEqual([...published.chunks.keys()].sort());
    expect(await site.current(published.id)).toEqual({ kind: "unchanged" });
    expect(await site.current("1.999")).toEqual({ kind: "unchanged" });
    const [one = ""] = published.chunks.keys();
    const asked = await site.get(`/chunks?hash=${one}&hash=${"a".repeat(42)}A`);
    expect(await asked.json()).toEqual([{ hash: one, bytes: published.chunks.get(one)?.byteLength }]);
  });

  it("of a second snapshot brings only what is missing, on both ways, and isolates that wait know it at once", async () => {
    const first = await control.publish(makeSnapshot(40));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const waiting = site.watch(first.id, 20_000);
    await until(
      () => site.get("/instance"),
      () => "the relay",
    );
    control.served.length = 0;
    const second = await control.publish(makeSnapshot(41));
    // Who is told nothing for as long as it waits is answered that nothing has changed.
    const answer = await waiting;
    const fresh = [...second.chunks.keys()].filter((hash) => !first.chunks.has(hash)).sort();
    expect(fresh.length).toBeLessThan(second.chunks.size);
    expect([...control.served].sort()).toEqual(fresh);
    expect(answer.kind === "snapshot" ? answer.chunks.map(({ hash }) => hash).sort() : answer).toEqual(fresh);
  });

  it("is in force when the isolates that waited are back with it, or all have had the time to ask", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    const begun = performance.now();
    await untilSite(edge, ({ known }) => known.enforced !== undefined);
    expect(performance.now() - begun).toBeGreaterThan(ENFORCED_WITHIN_MS - 500);
    let held = first.id;
    let routes = 6;
    const tookMs = await atBest(1_000, async () => {
      const isolates = [1, 2, 3].map(async () => {
        const answer = await site.watch(held, 20_000);
        return answer.kind === "snapshot" ? site.watch(answer.version, 3_000) : answer;
      });
      await new Promise((done) => setTimeout(done, 300));
      const pushed = performance.now();
      const next = await control.publish(makeSnapshot(routes++));
      const { known } = await untilSite(edge, ({ known: { enforced } }) => enforced?.version === next.manifest.version);
      const enforcedMs = performance.now() - pushed;
      expect(known.late).toBeUndefined();
      await Promise.all(isolates);
      held = next.id;
      return enforcedMs;
    });
    expect(tookMs).toBeLessThan(ENFORCED_WITHIN_MS - 1_000);
  });

  it("says so when an isolate does not come back", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const lost = site.watch(first.id, 20_000);
    await new Promise((done) => setTimeout(done, 300));
    const second = await control.publish(makeSnapshot(6));
    await lost;
    const { known } = await untilSite(edge, ({ known: { enforced } }) => enforced?.version === second.manifest.version);
    expect(known.late).toEqual({ watchers: 1, returned: 0 });
  });

  it("follows rotated trust roots", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const rotated = await control.rotate();
    await untilSite(edge, isSynced(rotated.id));
    expect((await site.state()).rootVersion).toBe(2);
    const answer = await site.current();
    expect(answer.kind === "snapshot" && answer.roots.length).toBe(2);
  });

  it("of chunks larger than a row", async () => {
    const hosts = (i: number) => Array.from({ length: 20 }, (_, j) => `api-${i}-${j}.some-partner.example.com`);
    const rules = Array.from({ length: 4_000 }, (_, i) => egressRule({ name: `rule-${i}`, hosts: hosts(i) }));
    const published = await control.publish(makeSnapshot(5, { egress: egressConfig(rules) }));
    expect(Math.max(...[...published.chunks.values()].map((chunk) => chunk.byteLength))).toBeGreaterThan(2_000_000);
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(published.id));
    const answer = await site.current();
    if (answer.kind !== "snapshot") throw new Error(answer.kind);
    for (const { hash, content } of answer.chunks) expect(createHash("sha256").update(content).digest("base64url")).toBe(hash);
  });

  it("whose rollout has not begun is taken when it begins", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const notBefore = Math.floor(Date.now() / 1000) + 3;
    const second = await control.publish(makeSnapshot(6), { salt: "s", percent: 100, notBefore });
    const { known } = await untilSite(edge, ({ known: { deferred } }) => deferred !== undefined);
    expect(known.deferred).toMatchObject({ notBeforeS: notBefore });
    expect(await site.current(first.id)).toEqual({ kind: "unchanged" });
    await untilSite(edge, isSynced(second.id));
    expect(Date.now()).toBeGreaterThanOrEqual(notBefore * 1000);
  });
});

describe("over HTTPS where no WebSocket gets through", () => {
  let proxy: Server;
  let proxyPort: number;
  const upgrades: number[] = [];

  beforeEach(async () => {
    upgrades.length = 0;
    proxy = createServer((request, response) => {
      const { method, headers, url } = request;
      const onward = httpRequest({ host: "127.0.0.1", port: site.port, method, path: url, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      onward.once("error", () => response.destroy());
      request.pipe(onward);
    });
    proxy.on("upgrade", (_request, socket) => {
      upgrades.push(Date.now());
      socket.end("HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
    proxyPort = await listening(proxy);
  });
  afterEach(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  it("the same push, news, and what is in force", async () => {
    const first = await control.publish(makeSnapshot(40));
    edge.follow([site.target({ url: `http://127.0.0.1:${proxyPort}` })]);
    expect((await untilSite(edge, isSynced(first.id))).connection?.via).toBe("https");
    expect(upgrades).toHaveLength(1);
    control.served.length = 0;
    const second = await control.publish(makeSnapshot(41));
    await untilSite(edge, isSynced(second.id));
    expect([...control.served].sort()).toEqual([...second.chunks.keys()].filter((hash) => !first.chunks.has(hash)).sort());
    await untilSite(edge, ({ known: { enforced } }) => enforced?.version === second.manifest.version);
    expect((await site.state()).enforced).toBe(true);
  });

  it("refusals, by name", async () => {
    const first = await control.publish(makeSnapshot(5));
    const second = await control.publish(makeSnapshot(6));
    edge.follow([site.target({ url: `http://127.0.0.1:${proxyPort}` })]);
    await untilSite(edge, isSynced(second.id));
    control.forged = { ref: { epoch: 1, version: 9 }, jws: first.jws };
    edge.published("ingress");
    const { known } = await untilSite(edge, ({ known: { state } }) => state.kind === "refused");
    expect(known.state).toMatchObject({ kind: "refused", detail: { code: "rollback" } });
    expect(await site.current(second.id)).toEqual({ kind: "unchanged" });
  });

  it("requests that are not what was agreed are answered with what is wrong", async () => {
    const status = async (path: string, init: RequestInit) => (await site.relay(path, init)).status;
    expect(await status("/offer", { method: "POST", body: "{}" })).toBe(400);
    expect(await status("/offer", { method: "POST", body: "x".repeat(MAX_CONTROL_TEXT + 1) })).toBe(413);
    expect(await status("/offer", { method: "GET" })).toBe(404);
    expect(await status("/chunks/../../state", { method: "PUT", body: "x" })).not.toBe(200);
    expect(await status("/chunks/short", { method: "PUT", body: "x" })).toBe(404);
    expect(await status(`/chunks/${"a".repeat(42)}A`, { method: "PUT", body: "[]" })).toBe(204);
    expect(await status(`/chunks/${"a".repeat(42)}A`, { method: "PUT", body: new Uint8Array(8_388_609) })).toBe(413);
    expect(await status("", {})).toBe(400);
    expect(await status("/state", { headers: { authorization: "Bearer wrong" } })).toBe(401);
    expect(await status("/state", { headers: { authorization: RELAY_TOKEN } })).toBe(401);
    expect(await status("/state", { headers: { authorization: "" } })).toBe(401);
    expect((await site.state()).held).toBeUndefined();
  });
});

describe("what ends in the middle", () => {
  it("workerd is killed in the middle of an offer: nothing half is in force, and only the rest is sent again", async () => {
    const first = await control.publish(makeSnapshot(40));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    edge.follow([]);
    const second = await control.publish(makeSnapshot(80));
    const raw = await site.dial();
    raw.offer([], second.jws);
    const { hashes } = await raw.heard("need");
    const [sent = ""] = hashes;
    raw.send(controlFrame({ type: "chunk", hash: sent, content: second.chunks.get(sent) ?? new Uint8Array() }));
    await new Promise((done) => setTimeout(done, 300));
    await site.kill();
    await site.run();
    expect(await site.current()).toMatchObject({ kind: "snapshot", version: first.id });
    control.served.length = 0;
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(second.id));
    expect([...control.served].sort()).toEqual(hashes.filter((hash) => hash !== sent).sort());
  });

  it("the object ends in the middle of an offer: the control plane is back by itself", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    for (let routes = 6; routes < 12; routes++) {
      const published = control.publish(makeSnapshot(routes));
      await site.get("/crash");
      await untilSite(edge, isSynced((await published).id));
    }
    expect((await site.state()).held?.version).toBe(7);
  });

  it("the control plane ends: the site serves on, and the next one goes on where it was", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    await edge.close();
    expect(await site.current()).toMatchObject({ version: first.id });
    const next = control.edge();
    next.follow([site.target()]);
    control.served.length = 0;
    await untilSite(next, isSynced(first.id));
    expect(control.served).toEqual([]);
  });

  it("the object sleeps while its connection stays open, and wakes with the next push", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    const before = await untilSite(edge, isSynced(first.id));
    await untilSite(edge, ({ known }) => known.enforced !== undefined);
    const instance = await site.instance();
    // workerd lets an object go that had nothing to do for 10 s.
    await new Promise((done) => setTimeout(done, 14_000));
    const second = await control.publish(makeSnapshot(6));
    const after = await untilSite(edge, isSynced(second.id));
    expect(await site.instance()).not.toBe(instance);
    expect(after.connection).toEqual(before.connection);
  });
});

describe("two control planes", () => {
  it("the newer connection replaces the older, which says so", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const other = control.edge();
    other.follow([site.target()]);
    await untilSite(other, isSynced(first.id));
    const { lastError } = await untilSite(edge, ({ connection }) => connection === undefined);
    expect(lastError).toContain("a newer connection of a control plane took the place of this one");
  });

  it("one with other keys is refused, and what is held stays", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    const stranger = await TestControlPlane.start();
    try {
      await stranger.publish(makeSnapshot(6));
      await stranger.publish(makeSnapshot(7));
      const other = stranger.edge();
      other.follow([site.target()]);
      const { known } = await untilSite(other, ({ known: { state } }) => state.kind === "refused");
      expect(known.state).toMatchObject({ detail: { code: "unknown_kid" } });
      expect(known.hello?.pin).toBe(control.keys.pin);
      expect(await site.current(first.id)).toEqual({ kind: "unchanged" });
    } finally {
      await stranger.end();
    }
  });
});

describe("a hostile control plane", () => {
  it.each<[string, string | Uint8Array<ArrayBuffer>]>([
    ["text that is no JSON", "{"],
    ["a relay's own message", '{"type":"pong"}'],
    ["a type that nobody knows", '{"type":"drop"}'],
    ["a field named in many bytes", JSON.stringify({ type: "manifest", jws: "x", ["\u20ac".repeat(70)]: 1 })],
    ["a frame too short for a chunk", new Uint8Array(3)],
    ["a chunk under no hash", new Uint8Array(100)],
    ["text above its limit", "x".repeat(MAX_CONTROL_TEXT + 1)],
  ])("%s ends the connection", async (_name, frame) => {
    const raw = await site.dial();
    await raw.heard("hello");
    raw.send(frame);
    expect((await raw.closed).code).toBe(4002);
    expect((await site.state()).held).toBeUndefined();
  });

  it("with the wrong token is not let in", async () => {
    await expect(site.dial("wrong")).rejects.toThrow();
    await expect(site.dial("")).rejects.toThrow();
  });

  it("rollback, other content, truncated chunks, another audience: refused by name", async () => {
    const first = await control.publish(makeSnapshot(5));
    const second = await control.publish(makeSnapshot(6));
    const raw = await site.dial();
    raw.offer(control.keys.roots, second.jws);
    for (const hash of (await raw.heard("need")).hashes) {
      raw.send(controlFrame({ type: "chunk", hash, content: second.chunks.get(hash) ?? new Uint8Array() }));
    }
    await raw.heard("ack");
    raw.offer([], first.jws);
    expect(await raw.heard("nack")).toMatchObject({ code: "rollback" });
    raw.messages.length = 0;
    raw.offer([], Buffer.from(Buffer.from(second.jws).toString().replace('"payload":"', '"payload":"A')));
    expect(await raw.heard("nack")).toMatchObject({ code: expect.stringMatching(/malformed|bad_signature/) });
    raw.messages.length = 0;
    const third = await control.publish(makeSnapshot(30));
    raw.offer([], third.jws);
    const [hash = ""] = (await raw.heard("need")).hashes;
    raw.send(controlFrame({ type: "chunk", hash, content: (third.chunks.get(hash) ?? new Uint8Array()).slice(0, -1) }));
    expect(await raw.heard("nack")).toMatchObject({ code: "chunk_size", snapshot: { version: 3 } });
    expect((await site.state()).held?.version).toBe(2);
    raw.close();
  });
});

describe("what a site is deployed with", () => {
  it("another audience: everything is forgotten, and offers are refused by name", async () => {
    const first = await control.publish(makeSnapshot(5));
    edge.follow([site.target()]);
    await untilSite(edge, isSynced(first.id));
    await site.kill();
    await site.run({ audience: "another" });
    const { known } = await untilSite(edge, ({ known: { state } }) => state.kind === "refused");
    expect(known.state).toMatchObject({ held: undefined, detail: { code: "wrong_audience" } });
    expect(known.hello?.audience).toBe("another");
    expect(await site.current()).toEqual({ kind: "none" });
  });

  it("a floor: nothing below it is taken", async () => {
    await control.publish(makeSnapshot(5));
    await site.kill();
    await site.run({ floor: "1.2" });
    edge.follow([site.target()]);
    const { known } = await untilSite(edge, ({ known: { state } }) => state.kind === "refused");
    expect(known.state).toMatchObject({ detail: { code: "rollback" } });
    const second = await control.publish(makeSnapshot(6));
    await untilSite(edge, isSynced(second.id));
  });
});
