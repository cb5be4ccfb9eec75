import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { Exchange, ExchangeEnd, Step, TunnelStep, TunnelVerdict } from "../../gateway/core/index.ts";
import { DEFAULT_SETTINGS } from "../../gateway/core/ir/index.ts";
import { ClientSocket } from "../../gateway/node/client-socket.ts";
import { type HttpListener, ServerConnection } from "../../gateway/node/http1.ts";
import { createHttpThread } from "../../gateway/node/thread.ts";
import { RequestParserSettings } from "../../gateway/wire/index.ts";
import { eventually, freePort, listening, RawClient, ScriptedOrigin, testCluster } from "../support/gateway.ts";

const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

/** An exchange that tunnels to a port by the rule it is given. */
class TunnelExchange implements Exchange {
  readonly #port: number;
  readonly #change: Partial<TunnelStep>;
  readonly #ends: ExchangeEnd[];

  constructor(port: number, change: Partial<TunnelStep>, ends: ExchangeEnd[]) {
    this.#port = port;
    this.#change = change;
    this.#ends = ends;
  }

  start(): Step {
    const endpoint = {
      key: "t|127.0.0.1|1",
      address: "127.0.0.1",
      port: this.#port,
      weight: 1,
      active: 0,
      runtime: undefined,
    };
    return {
      kind: "tunnel",
      target: { endpoint, pool: testCluster("t").pool, tls: undefined },
      head: { status: 200, fields: [], body: { kind: "none" } },
      inspect: () => ({ kind: "allow" }),
      ...this.#change,
    };
  }
  responded(): Step {
    return this.failed();
  }
  failed(): Step {
    return { kind: "respond", head: { status: 503, fields: [], body: { kind: "length", bytes: 2 } }, body: "no", close: true };
  }
  timer(): Step {
    return this.failed();
  }
  resumed(): Step {
    return this.failed();
  }
  finished(end: ExchangeEnd): void {
    this.#ends.push({ ...end });
  }
}

async function proxy(originPort: number, change: Partial<TunnelStep> = {}) {
  const ends: ExchangeEnd[] = [];
  const thread = createHttpThread((error) => {
    throw error;
  });
  const listener: HttpListener = {
    factory: { open: () => new TunnelExchange(originPort, change, ends) },
    parser: new RequestParserSettings(),
    settings: { ...DEFAULT_SETTINGS.http, streamIdleTimeoutMs: 300 },
    draining: false,
    refused: () => undefined,
    closed: () => undefined,
    http2InClear: false,
    becomeHttp2: () => undefined,
  };
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    new ServerConnection(new ClientSocket(socket), listener, thread, {
      listener: "l",
      peer: { address: "127.0.0.1", port: 1 },
      local: { address: "127.0.0.1", port: 2 },
      scheme: "http",
    });
  });
  const port = await listening(server);
  opened.push(server);
  return { port, ends };
}

function echo(): Promise<ScriptedOrigin> {
  const origin = new ScriptedOrigin(() => undefined);
  origin.server.removeAllListeners("connection");
  origin.server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  opened.push(origin.server);
  return origin.start();
}

const CONNECT = "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n";

describe("tunnels", () => {
  it("moves bytes both ways, those that came with the CONNECT too, and ends each direction alone", async () => {
    const origin = await echo();
    const { port, ends } = await proxy(origin.port);
    const client = new RawClient(port).send(`${CONNECT}early `);
    await client.until((text) => text.includes("\r\n\r\n"));
    client.send("late");
    await client.until((text) => text.endsWith("early late"));
    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n\r\nearly late$/);
    client.socket.end(" last");
    expect(await client.end()).toMatch(/early late last$/);
    await eventually(() => ends.length === 1);
    expect(ends).toEqual([{ outcome: "complete", requestBytes: 15, responseBytes: 15 }]);
  });

  it("forwards nothing before the first bytes are agreed to, and nothing at all when they are denied", async () => {
    const origin = new ScriptedOrigin(() => undefined);
    opened.push(origin.server);
    await origin.start();
    const seen: string[] = [];
    const inspect = (bytes: Uint8Array): TunnelVerdict => {
      seen.push(Buffer.from(bytes).toString());
      return bytes.length < 6 ? { kind: "more" } : { kind: "deny", reason: "no", farewell: Buffer.from("alert") };
    };
    const { port, ends } = await proxy(origin.port, { inspect });
    const client = new RawClient(port).send(CONNECT);
    await client.until((text) => text.includes("\r\n\r\n"));
    client.send("abc");
    await eventually(() => seen.length === 1);
    client.send("def");
    expect(await client.end()).toMatch(/\r\n\r\nalert$/);
    expect(seen).toEqual(["abc", "abcdef"]);
    expect(origin.received).toEqual([""]);
    await eventually(() => ends.length === 1);
    expect(ends[0]?.outcome).toBe("protocol_error");
  });

  it("answers when the dial fails", async () => {
    const { port } = await proxy(await freePort());
    expect(await new RawClient(port).send(CONNECT).end()).toMatch(/^HTTP\/1\.1 503[\s\S]*no$/);
  });

  it("resets the one side when the other is reset", async () => {
    const sockets: Socket[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.push(socket.on("error", () => undefined));
      socket.write("hello");
    });
    opened.push(server);
    const { port, ends } = await proxy(await listening(server), { opaque: true });
    const tunnelled = async () => {
      const client = new RawClient(port).send(CONNECT);
      const reset = new Promise<string | undefined>((resolve) => {
        client.socket.once("error", (error: Error & { code?: string }) => resolve(error.code));
        client.socket.once("end", () => resolve("ended in order"));
      });
      await client.until((text) => text.endsWith("hello"));
      return { client, reset };
    };
    const { reset } = await tunnelled();
    sockets[0]?.resetAndDestroy();
    expect(await reset).toBe("ECONNRESET");
    const { client } = await tunnelled();
    const [origin] = sockets.slice(-1);
    const told = new Promise((resolve) => origin?.once("error", (error: Error & { code?: string }) => resolve(error.code)));
    client.socket.resetAndDestroy();
    expect(await told).toBe("ECONNRESET");
    await eventually(() => ends.length === 2);
    expect(ends.map(({ outcome }) => outcome)).toEqual(["upstream_cut", "client_gone"]);
  });

  it("closes a tunnel on which nothing moves", async () => {
    const origin = await echo();
    const { port, ends } = await proxy(origin.port, { opaque: true });
    const client = new RawClient(port).send(CONNECT);
    await client.until((text) => text.includes("\r\n\r\n"));
    const began = performance.now();
    await client.end();
    expect(performance.now() - began).toBeGreaterThan(250);
    expect(ends[0]?.outcome).toBe("timeout");
  });
});
