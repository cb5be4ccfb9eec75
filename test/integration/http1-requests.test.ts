import { afterEach, describe, expect, it } from "vitest";
import { atBest } from "../support/at-best.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  type TestGateway,
  type TestSnapshot,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) one.stop();
});

async function start(
  play: ConstructorParameters<typeof ScriptedOrigin>[0],
  change: Partial<TestSnapshot> = {},
): Promise<{ gateway: TestGateway; origin: ScriptedOrigin; port: number; client(): RawClient }> {
  const origin = await new ScriptedOrigin(play).start();
  const port = await freePort();
  const gateway = testGateway();
  await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [origin.port], ...change }));
  opened.push(origin, { stop: () => void gateway.engine.drain(0) });
  return {
    gateway,
    origin,
    port,
    client: () => {
      const client = new RawClient(port);
      opened.push({ stop: () => client.close() });
      return client;
    },
  };
}

const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

describe("requests and responses", () => {
  it("passes a request on and its response back, over kept-alive connections both ways", async () => {
    const { origin, client } = await start((socket) => socket.write(okAnswer("hello")));
    const one = client();
    for (let i = 0; i < 3; i++) {
      expect(await one.send(GET).answer()).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nhello$/);
    }
    expect(origin.sockets).toHaveLength(1);
    expect(origin.received[0]).toContain("GET / HTTP/1.1\r\nhost: a.test\r\n");
  });

  it("reads heads and bodies that arrive byte by byte", async () => {
    const { origin, client } = await start((socket, request) => socket.write(okAnswer(request.slice(-4))));
    const one = client();
    for (const byte of "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody") {
      one.send(byte);
      await new Promise(setImmediate);
    }
    expect(await one.answer()).toMatch(/body$/);
    expect(origin.received[0]).toContain("content-length: 4\r\n\r\nbody");
  });

  it("answers pipelined requests in order", async () => {
    let count = 0;
    const { client } = await start((socket) => socket.write(okAnswer(`answer ${++count}`)));
    const one = client().send(GET + GET + GET);
    for (let i = 1; i <= 3; i++) expect(await one.answer()).toMatch(new RegExp(`answer ${i}$`));
  });

  it("passes chunked bodies and trailers on, both ways", async () => {
    const { origin, client } = await start((socket) =>
      socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n"),
    );
    const one = client().send("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    expect(await one.answer()).toMatch(/transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n/);
    expect(origin.received[0]).toMatch(/transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n$/);
  });

  it("sends HEAD answers without a body and keeps the connection", async () => {
    const { client } = await start((socket, request) =>
      socket.write(request.startsWith("HEAD") ? "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" : okAnswer("hello")),
    );
    const one = client().send("HEAD / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    await one.until((text) => text.endsWith("\r\n\r\n"));
    expect(one.received).toContain("content-length: 5");
    one.received = "";
    expect(await one.send(GET).answer()).toMatch(/hello$/);
  });

  it("passes interim responses on, and gives the go-ahead itself", async () => {
    const { origin, client } = await start((socket) =>
      socket.write(`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${okAnswer("done")}`),
    );
    const one = client().send("POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    await one.until((text) => text.startsWith("HTTP/1.1 100 Continue\r\n\r\n"));
    one.send("hi");
    await one.until((text) => text.endsWith("done"));
    expect(one.received).toContain("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK");
    expect(origin.received[0]).not.toContain("expect");
  });

  it("ends the connection for a client of HTTP/1.0, and marks the end of a body without length by it", async () => {
    const { client } = await start((socket) => {
      socket.end("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    const one = client().send("GET / HTTP/1.0\r\nhost: a.test\r\n\r\n");
    expect(await one.end()).toMatch(/connection: close\r\n\r\nuntil the end$/);
  });

  it("turns a body that ends with the origin's connection into chunks", async () => {
    const { client } = await start((socket) => {
      socket.end("HTTP/1.1 200 OK\r\n\r\nabc");
    });
    expect(await client().send(GET).answer()).toMatch(/transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n$/);
  });

  it("never ends a cut response as if it were whole", async () => {
    const { client } = await start((socket) => {
      socket.end("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    });
    const one = client().send(GET);
    await one.end();
    expect(one.received).toContain("3\r\nabc\r\n");
    expect(one.received).not.toContain("\r\n0\r\n");
  });

  it("refuses what is no request, and says why", async () => {
    const { gateway, client } = await start(() => undefined);
    const one = client().send("GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n");
    expect(await one.end()).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n[\s\S]*duplicate_host/);
    await gateway.engine.sample();
    expect(gateway.metrics.exposition()).toContain('tidegate_malformed_requests_total{response_code="400"} 1');
  });

  it("relays an answer that comes before the request's body has, and then ends the connection", async () => {
    const { client } = await start(() => undefined);
    const { origin, client: client2 } = await start(() => undefined);
    void client;
    origin.server.removeAllListeners("connection");
    origin.server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.write(okAnswer("enough")));
    });
    const one = client2().send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1000000\r\n\r\nfirst part");
    expect(await one.answer()).toMatch(/enough$/);
    one.send("x".repeat(200_000));
    await one.end();
  });

  it("tells the origin when the client goes away", async () => {
    const { origin, client } = await start(() => undefined);
    const one = client().send(GET);
    await eventually(() => (origin.received[0] ?? "").includes("\r\n\r\n"));
    const gone = new Promise((resolve) => origin.sockets[0]?.once("end", resolve));
    one.close();
    await gone;
  });
});

describe("bodies", () => {
  it("streams a large response to a slow reader without keeping it", async () => {
    const size = 64 * 1024 * 1024;
    const { port } = await start((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`);
      const part = Buffer.alloc(64 * 1024, 120);
      let left = size;
      const more = (): void => {
        while (left > 0) {
          left -= part.length;
          if (!socket.write(part)) {
            socket.once("drain", more);
            return;
          }
        }
      };
      more();
    });
    const one = new RawClient(port, false);
    const before = process.memoryUsage();
    one.send(GET);
    await eventually(() => one.bytes > 0);
    one.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const held = process.memoryUsage();
    // The kernel's buffers and two high-water marks, not the body.
    expect(held.arrayBuffers + held.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(24 * 1024 * 1024);
    one.socket.resume();
    await eventually(() => one.bytes > size, 20_000);
    one.close();
  });

  it("streams a large request to a slow origin without keeping it", async () => {
    const size = 32 * 1024 * 1024;
    const { origin, port } = await start(() => undefined);
    let taken = 0;
    origin.server.removeAllListeners("connection");
    origin.server.on("connection", (socket) => {
      socket.on("error", () => undefined);
      socket.pause();
      setTimeout(() => socket.resume(), 200);
      socket.on("data", (bytes) => {
        taken += bytes.length;
        if (taken > size) socket.write(okAnswer("thanks"));
      });
    });
    const one = new RawClient(port);
    one.send(`PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: ${size}\r\n\r\n`);
    const part = Buffer.alloc(64 * 1024, 120);
    for (let sent = 0; sent < size; sent += part.length) {
      if (!one.socket.write(part)) await new Promise((resolve) => one.socket.once("drain", resolve));
    }
    expect(await one.answer()).toMatch(/thanks$/);
    one.close();
  });
});

describe("connections to origins", () => {
  it("sends an idempotent request again when a kept-alive connection turns out to be closed", async () => {
    const { origin, client } = await start((socket, _request, connection) => {
      if (connection === 0 && origin.received[0]?.match(/GET/g)?.length === 2) socket.resetAndDestroy();
      else socket.write(okAnswer(`connection ${connection}`));
    });
    const one = client();
    expect(await one.send(GET).answer()).toMatch(/connection 0$/);
    expect(await one.send(GET).answer()).toMatch(/connection 1$/);
  });

  it("does not send a request again that may have been carried out", async () => {
    const { origin, client } = await start((socket, request) => {
      if (request.startsWith("POST")) socket.resetAndDestroy();
      else socket.write(okAnswer("get"));
    });
    const one = client();
    await one.send(GET).answer();
    expect(await one.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n\r\n").answer()).toMatch(/^HTTP\/1\.1 503/);
    expect(origin.received.join("").match(/POST/g)).toHaveLength(1);
  });

  it("retries on another endpoint when one cannot be reached, with the body it kept", async () => {
    const nobody = await freePort();
    const { origin, gateway, port } = await start((socket, request) => socket.write(okAnswer(request.slice(-4))));
    const retry = {
      attempts: 2,
      on: ["connect-failure" as const],
      statusCodes: [],
      backoffBaseMs: 1,
      backoffMaxMs: 2,
      nonIdempotent: false,
    };
    await gateway.install(
      testSnapshot({
        listeners: [testListener(port)],
        originPorts: [nobody, origin.port],
        routes: [testRoute(CLUSTER, { retry })],
      }),
    );
    for (let i = 0; i < 4; i++) {
      const one = new RawClient(port);
      one.send("PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nbody");
      expect(await one.answer()).toMatch(/body$/);
      one.close();
    }
  });

  it("lets requests wait when there are enough connections, and refuses when too many wait", async () => {
    const waiting: (() => void)[] = [];
    const { client } = await start((socket) => waiting.push(() => socket.write(okAnswer("ok"))), {
      cluster: {
        pool: {
          connectTimeoutMs: 1000,
          idleTimeoutMs: 60_000,
          maxConnections: 1,
          maxPendingRequests: 1,
          maxRequestsPerConnection: 0,
        },
      },
    });
    const [one, two, three] = [client().send(GET), client(), client()];
    await eventually(() => waiting.length === 1);
    two.send(GET);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await three.send(GET).answer()).toMatch(/^HTTP\/1\.1 503/);
    waiting.shift()?.();
    expect(await one.answer()).toMatch(/^HTTP\/1\.1 200/);
    await eventually(() => waiting.length === 1);
    waiting.shift()?.();
    expect(await two.answer()).toMatch(/^HTTP\/1\.1 200/);
  });
});

describe("time", () => {
  const short = { headerTimeoutMs: 80, idleTimeoutMs: 120, streamIdleTimeoutMs: 150 };

  it("answers 408 to a head that does not come to its end", async () => {
    const { client } = await start(() => undefined, { http: short });
    const began = performance.now();
    const one = client().send("GET / HTTP/1.1\r\nhost: ");
    expect(await one.end()).toMatch(/^HTTP\/1\.1 408/);
    expect(performance.now() - began).toBeGreaterThan(70);
  });

  it("closes an idle connection", async () => {
    const { client } = await start((socket) => socket.write(okAnswer("x")), { http: short });
    const began = performance.now();
    const one = client().send(GET);
    await one.answer();
    expect(await one.end()).toBe("");
    expect(performance.now() - began).toBeGreaterThan(100);
  });

  it("answers 504 when the origin says nothing, and 408 when the client does", async () => {
    const { client } = await start(() => undefined, { http: short });
    expect(await client().send(GET).end()).toMatch(/^HTTP\/1\.1 504/);
    const post = client().send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nabc");
    expect(await post.end()).toMatch(/^HTTP\/1\.1 408/);
  });

  it("keeps to a route's timeout within ten milliseconds or so", async () => {
    const { client } = await start(() => undefined, { routes: [testRoute(CLUSTER, { timeoutMs: 60 })] });
    const took = await atBest(70, async () => {
      const one = client();
      const began = performance.now();
      expect(await one.send(GET).answer()).toMatch(/^HTTP\/1\.1 504/);
      const tookMs = performance.now() - began;
      expect(tookMs).toBeGreaterThanOrEqual(59);
      return tookMs;
    });
    expect(took).toBeLessThan(110);
  });
});

describe("sizes around those of buffers", () => {
  const sizes = [65_535, 65_536, 65_537, 131_072, 300_001];

  it("passes every byte on, both ways, with a length and in chunks", async () => {
    const { client } = await start((socket, request) => {
      const body = request.slice(request.indexOf("\r\n\r\n") + 4);
      if (!request.includes("chunked")) socket.write(okAnswer(body), "latin1");
      else socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${body}`, "latin1");
    });
    const one = client();
    for (const size of sizes) {
      const body = Array.from({ length: size }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
      const counted = await one.send(`PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: ${size}\r\n\r\n${body}`).answer();
      expect(counted.endsWith(`\r\n\r\n${body}`)).toBe(true);
      const chunks = `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
      const chunked = await one.send(`PUT / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n${chunks}`).answer();
      const told = chunked.slice(chunked.indexOf("\r\n\r\n") + 4).replaceAll(/[0-9a-f]+\r\n([a-z]*)\r\n/g, "$1");
      expect(told === body).toBe(true);
    }
  });
});
