/** Clients that are slow at what they send or take, and connections that grow old: each meets its limit, and only it does. */
import { connect as connectHttp2 } from "node:http2";
import { afterEach, describe, expect, it } from "vitest";
import {
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestSnapshot,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

async function start(http: TestSnapshot["http"], play: ConstructorParameters<typeof ScriptedOrigin>[0]) {
  const origin = await new ScriptedOrigin(play).start();
  const port = await freePort();
  const gateway = testGateway();
  await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], ...(http && { http }) }));
  opened.push(origin, { stop: () => void gateway.engine.drain(0) });
  const client = (keep = true): RawClient => {
    const one = new RawClient(port, keep);
    opened.push({ stop: () => one.close() });
    return one;
  };
  return { origin, client, port };
}

const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1000\r\n\r\n";
/** Sends a byte now and then, until it is told to stop. */
function drip(client: RawClient, everyMs: number): () => void {
  const timer = setInterval(() => client.send("x"), everyMs);
  opened.push({ stop: () => clearInterval(timer) });
  return () => clearInterval(timer);
}

describe("bodies", () => {
  it("that come too slowly are answered with 408, although something comes all the time", async () => {
    const { client, origin } = await start({ minBodyRateBytes: 1000, bodyRateGraceMs: 150 }, () => undefined);
    const one = client().send(POST);
    const stop = drip(one, 10);
    expect(await one.end()).toMatch(/^HTTP\/1\.1 408 /);
    stop();
    // The origin never takes the part for the whole.
    await eventually(() => origin.sockets[0]?.destroyed === true || origin.sockets[0]?.readableEnded === true);
  });

  it("in chunks, too", async () => {
    const { client } = await start({ minBodyRateBytes: 1000, bodyRateGraceMs: 150 }, () => undefined);
    const one = client().send("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n3e8\r\n");
    drip(one, 10);
    expect(await one.end()).toMatch(/^HTTP\/1\.1 408 /);
  });

  it("that come in time pass, and the next request has its own time", async () => {
    const { client } = await start({ minBodyRateBytes: 1000, bodyRateGraceMs: 1000 }, (socket) => socket.write(okAnswer("ok")));
    const one = client();
    for (let i = 0; i < 2; i++) {
      one.send(POST).send("x".repeat(500));
      await new Promise((resolve) => setTimeout(resolve, 600));
      expect(await one.send("x".repeat(500)).answer()).toMatch(/^HTTP\/1\.1 200 /);
    }
  });

  it("that a slow origin holds up are not the client's fault", async () => {
    const size = 16 * 1024 * 1024;
    const { client, origin } = await start({ minBodyRateBytes: 1000, bodyRateGraceMs: 100 }, () => undefined);
    let taken = 0;
    origin.server.removeAllListeners("connection");
    origin.server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      socket.pause();
      setTimeout(() => socket.resume(), 500);
      socket.on("data", (bytes) => {
        taken += bytes.length;
        if (taken > size) socket.write(okAnswer("thanks"));
      });
    });
    const one = client().send(`PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: ${size}\r\n\r\n`);
    one.socket.write(Buffer.alloc(size, 120));
    expect(await one.answer()).toMatch(/thanks$/);
  });
});

describe("responses", () => {
  const SIZE = 32 * 1024 * 1024;
  const endless: ConstructorParameters<typeof ScriptedOrigin>[0] = (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${SIZE}\r\n\r\n`);
    socket.write(Buffer.alloc(SIZE, 120));
  };

  it("that a client does not take end with its connection", async () => {
    const { client, origin } = await start({ writeStallTimeoutMs: 200 }, endless);
    const one = client(false).send(GET);
    await eventually(() => one.bytes > 0);
    one.socket.pause();
    await eventually(() => origin.sockets[0]?.destroyed === true);
    one.socket.resume();
    await one.end();
    expect(one.bytes).toBeLessThan(SIZE);
  });

  it("that a client takes slowly go on", async () => {
    const { client } = await start({ writeStallTimeoutMs: 1000 }, endless);
    const one = client(false).send(GET);
    for (let turn = 0; turn < 4; turn++) {
      const taken = one.bytes;
      await eventually(() => one.bytes > taken);
      one.socket.pause();
      await new Promise((resolve) => setTimeout(resolve, 300));
      one.socket.resume();
    }
    await eventually(() => one.bytes > SIZE, 15_000);
  });

  it("a last answer on its way to a slow client is not torn down after two seconds", async () => {
    const size = 8 * 1024 * 1024;
    const { client } = await start({ writeStallTimeoutMs: 10_000 }, (socket) => socket.write(okAnswer("x".repeat(size))));
    const one = client(false).send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    await eventually(() => one.bytes > 0);
    one.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    one.socket.resume();
    await one.end();
    expect(one.bytes).toBeGreaterThan(size);
  }, 20_000);
});

describe("connections", () => {
  it("end with the last of maxRequestsPerConnection answers", async () => {
    const { client } = await start({ maxRequestsPerConnection: 2 }, (socket) => socket.write(okAnswer("ok")));
    const one = client();
    expect(await one.send(GET).answer()).not.toContain("connection: close");
    expect(await one.send(GET + GET).answer()).toContain("connection: close");
    expect(await one.end()).toBe("");
  });

  it("end at their maxConnectionDurationMs when idle, and with the next answer when not", async () => {
    const { client } = await start({ maxConnectionDurationMs: 200 }, (socket, request) => {
      setTimeout(() => socket.write(okAnswer("ok")), request.startsWith("GET /late") ? 300 : 0);
    });
    const began = performance.now();
    const idle = client().send(GET);
    await idle.answer();
    expect(await idle.end()).toBe("");
    expect(performance.now() - began).toBeGreaterThan(150);
    const busy = client().send(GET);
    await busy.answer();
    expect(await busy.send(GET.replace("/", "/late")).answer()).toContain("connection: close");
    expect(await busy.end()).toBe("");
  });

  it("over HTTP/2 are told to go, and finish what they are at", async () => {
    const play: ConstructorParameters<typeof ScriptedOrigin>[0] = (socket) => socket.write(okAnswer("ok"));
    for (const [http, requests] of [
      [{ maxRequestsPerConnection: 2 }, 2],
      [{ maxConnectionDurationMs: 200 }, 1],
    ] as const) {
      const { port } = await start(http, play);
      const session = connectHttp2(`http://127.0.0.1:${port}`);
      opened.push({ stop: () => session.destroy() });
      session.on("error", () => undefined);
      const gone = new Promise<number>((resolve) => session.once("goaway", resolve));
      for (let i = 0; i < requests; i++) {
        const stream = session.request({ ":path": "/", ":authority": "a.test" });
        let body = "";
        for await (const part of stream) body += String(part);
        expect(body).toBe("ok");
      }
      expect(await gone).toBe(0);
    }
  });
});
