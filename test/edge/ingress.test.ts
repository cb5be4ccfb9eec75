/** The ingress Worker in the real workerd: what it holds and follows, how it moves bytes, and its own routes. */
import { createHash } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chunkSnapshot } from "../../controlplane/snapshot/index.ts";
import { DEFAULT_SETTINGS, type Manifest, type Route, type Snapshot, upstreamBinding } from "../../gateway/core/ir/index.ts";
import { forward, only, prefix, quotaPolicy, route, routes, snapshot, virtualHost } from "../conformance/build.ts";
import { eventually, freePort, listening, RawClient } from "../support/gateway.ts";
import { type Keys, makeKey, manifestOf, pinOf, rootDocument, signManifest, signRoot } from "../support/snapshots.ts";
import { startWorkerd, type TestWorker } from "../support/workerd.ts";
import type { Running } from "../tools/processes.ts";

const SITE_HOST = "edge-eu.example.com";
const TOKENS = {
  RELAY_TOKEN: "relay-token-0123456789",
  BANK_TOKEN: "bank-token-0123456789",
  TUNNEL_TOKEN: "tunnel-token-0123456789",
};

let keys: Keys;
let root: Uint8Array;
let workerd: Running;
let origin: Server;
let port = 0;
let brokenPort = 0;
let controlPort = 0;
let version = 0;
/** What the origin does; each test sets its own. */
let play: RequestListener = (_, response) => response.end("ok");

beforeAll(async () => {
  keys = { root: [await makeKey()], online: [await makeKey()] };
  const document = rootDocument(keys);
  root = await signRoot(document, keys.root);
  origin = createServer((message, response) => play(message, response));
  origin.on("upgrade", (message, socket) => {
    const key = `${message.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    const protocol = message.headers["sec-websocket-protocol"];
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\nsec-websocket-protocol: ${protocol}\r\nx-forwarded-host-was: ${message.headers["x-forwarded-host"]}\r\n\r\n`,
    );
    // Unmasked text frames of what comes masked.
    socket.on("data", (frame: Buffer) => {
      const mask = frame.subarray(2, 6);
      const payload = Buffer.from(frame.subarray(6)).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
      socket.write(Buffer.concat([Buffer.from([0x81, payload.length]), payload]));
    });
    socket.on("error", () => undefined);
  });
  const originPort = await listening(origin);
  [port, brokenPort, controlPort] = [await freePort(), await freePort(), await freePort()];
  const bindings: TestWorker["bindings"] = {
    SITE: { kind: "text", value: "europe" },
    AUDIENCE: { kind: "text", value: "edge" },
    TRUST_ROOT: { kind: "text", value: await pinOf(document) },
    SITE_HOST: { kind: "text", value: SITE_HOST },
    CLIENT_ADDRESS: { kind: "text", value: "x-forwarded-for" },
    RELAY: { kind: "durableObject", className: "SnapshotRelay" },
    BANK: { kind: "durableObject", className: "QuotaBank" },
    TUNNELS: { kind: "durableObject", className: "TunnelHub" },
    [upstreamBinding("10.0.0.1", 80)]: { kind: "service", service: "origin" },
    ...Object.fromEntries(Object.entries(TOKENS).map(([name, value]) => [name, { kind: "text", value }] as const)),
  };
  const entry = "test/edge/workers/ingress.ts";
  workerd = await startWorkerd(mkdtempSync(join(tmpdir(), "tidegate-ingress-")), {
    workers: [
      { name: "ingress", entry, bindings, durableObjects: ["SnapshotRelay", "QuotaBank", "TunnelHub"] },
      { name: "broken", entry, bindings: { SITE: { kind: "text", value: "Not A Name" } }, durableObjects: ["SnapshotRelay"] },
    ],
    sockets: [
      { name: "http", address: `127.0.0.1:${port}`, service: "ingress" },
      { name: "broken", address: `127.0.0.1:${brokenPort}`, service: "broken" },
      { name: "control", address: `127.0.0.1:${controlPort}`, service: "ingress", entrypoint: "Control" },
    ],
    external: { origin: { address: `127.0.0.1:${originPort}` } },
    // The bank keeps its grants in SQLite, which needs a disk.
    storage: "storage",
  });
});
afterAll(async () => {
  origin.closeAllConnections();
  origin.close();
  await workerd?.stop();
});
beforeEach(() => {
  play = (_, response) => response.end("ok");
});

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

interface Publication {
  readonly mode?: "honest" | "throws";
  readonly change?: Partial<Manifest>;
  readonly alter?: (answer: Answer) => Answer;
}
interface Answer {
  readonly version: string;
  readonly manifest: Uint8Array;
  readonly chunks: readonly { readonly hash: string; readonly bytes: Uint8Array }[];
}

/** Puts a snapshot into the relay. Versions have gaps, so that none has to name its predecessor. */
async function publish(
  content: Snapshot,
  { mode = "honest", change = {}, alter = (answer) => answer }: Publication = {},
): Promise<string> {
  const nowS = Math.floor(Date.now() / 1000);
  version += 2;
  const listeners = content.listeners.filter(({ protocol }) => protocol === "http");
  const chunks = chunkSnapshot({ ...content, listeners });
  const manifest = manifestOf(chunks, { version, iat: nowS, nbf: nowS, ...change });
  const answer = alter({
    version: `1.${manifest.version}`,
    manifest: await signManifest(manifest, keys.online),
    chunks: chunks.map(({ ref, bytes }) => ({ hash: ref.hash, bytes })),
  });
  const body = {
    mode,
    answer: {
      version: answer.version,
      manifest: base64(answer.manifest),
      roots: [base64(root)],
      chunks: answer.chunks.map(({ hash, bytes }) => ({ hash, bytes: base64(bytes) })),
    },
  };
  await fetch(`http://127.0.0.1:${controlPort}/`, { method: "POST", body: JSON.stringify(body) });
  return `1.${version}`;
}

interface Got {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

function get(
  path: string,
  {
    host = "shop.example.com",
    method = "GET",
    headers = {},
    body,
    at = port,
  }: {
    readonly host?: string;
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: Buffer | string;
    readonly at?: number;
  } = {},
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { port: at, host: "127.0.0.1", path, method, headers: { host, ...headers }, agent: false },
      (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("error", reject);
        response.on("aborted", () => reject(new Error("cut short")));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
        );
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

const admin = (path: string, token?: string, method = "GET") =>
  get(`/.tidegate/${path}`, {
    host: SITE_HOST,
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  });

/** Asks until the gateway holds what was published. */
async function inForce(wanted: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { body } = await admin("ready");
    if ((JSON.parse(body.toString()) as { version: string | null }).version === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${wanted} never came into force: ${workerd.output().slice(-400)}`);
}

async function serve(...list: readonly Route[]): Promise<void> {
  await inForce(await publish(routes(...list)));
}

const direct = (text: string) => only({ action: { kind: "direct", status: 200, body: { text } } });

describe("before anything is in force", () => {
  it("says that there is no configuration, and is not ready", async () => {
    const answer = await get("/");
    expect([answer.status, answer.body.toString()]).toEqual([503, "there is no configuration yet\n"]);
    expect((await admin("ready")).status).toBe(503);
  });

  it("with wrong bindings it says so to nobody but the log, all at once", async () => {
    const answer = await get("/", { at: brokenPort });
    expect(answer.status).toBe(500);
    expect(answer.body.toString()).not.toContain("SITE");
    await eventually(() => /SITE must be .*TRUST_ROOT is not set/.test(workerd.output()));
  });

  it("a crowd of first requests asks the relay once", async () => {
    const asked = async () =>
      (await (await fetch(`http://127.0.0.1:${controlPort}/`)).json()) as { current: number; chunks: number };
    const before = await asked();
    const wanted = await publish(direct("first"));
    // The relay is left alone for a moment after it had nothing.
    await inForce(wanted);
    const answers = await Promise.all(Array.from({ length: 50 }, () => get("/")));
    expect(new Set(answers.map(({ body }) => body.toString()))).toEqual(new Set(["first"]));
    expect((await asked()).chunks - before.chunks).toBeLessThanOrEqual(2);
  });
});

describe("following", () => {
  it("a change is enforced within a second of being published, and no request fails meanwhile", async () => {
    await inForce(await publish(direct("v0")));
    const failed: unknown[] = [];
    let stopped = false;
    let seen = "";
    const load = Array.from({ length: 8 }, async () => {
      while (!stopped) {
        const answer = await get("/").catch((error: unknown) => ({ status: 0, body: String(error) }));
        if (answer.status !== 200) failed.push(answer);
        seen = answer.body.toString();
      }
    });
    const tookMs: number[] = [];
    for (let i = 1; i <= 5; i++) {
      await publish(direct(`v${i}`));
      const startedMs = performance.now();
      await eventually(() => seen === `v${i}`);
      tookMs.push(performance.now() - startedMs);
    }
    stopped = true;
    await Promise.all(load);
    expect(failed).toEqual([]);
    // A busy machine only adds to it.
    expect(Math.min(...tookMs)).toBeLessThan(1_000);
  });

  it.each<readonly [string, string, Publication]>([
    ["a rollback", "rollback", { change: { version: 1 } }],
    ["another pool's", "wrong_audience", { change: { aud: "other" } }],
    ["one for a newer reader", "reader_too_old", { change: { minReader: 99 } }],
    ["one from the future", "future_iat", { change: { iat: Math.floor(Date.now() / 1000) + 3_600 } }],
    [
      "an altered manifest",
      "bad_signature|malformed",
      { alter: (answer) => ({ ...answer, manifest: flipped(answer.manifest) }) },
    ],
    [
      "an altered chunk",
      "chunk_hash",
      { alter: (answer) => ({ ...answer, chunks: answer.chunks.map(({ hash, bytes }) => ({ hash, bytes: flipped(bytes) })) }) },
    ],
    ["missing chunks", "chunk_missing", { alter: (answer) => ({ ...answer, chunks: [] }) }],
  ])("a relay that brings %s is refused, and what is in force stays", async (_, code, publication) => {
    const good = await publish(direct("good"));
    await inForce(good);
    await publish(direct(`bad ${code}`), publication);
    let refused: { readonly code: string } | null = null;
    for (let i = 0; i < 300 && !new RegExp(`^(${code})$`).test(refused?.code ?? ""); i++) {
      const answer = await admin("stats", TOKENS.RELAY_TOKEN);
      refused = (JSON.parse(answer.body.toString()) as { refused: { code: string } | null }).refused;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(refused?.code).toMatch(new RegExp(`^(${code})$`));
    expect((await get("/")).body.toString()).toBe("good");
  });

  it("a relay that fails changes nothing", async () => {
    await inForce(await publish(direct("held")));
    await publish(direct("unreachable"), { mode: "throws" });
    for (let i = 0; i < 50; i++) expect((await get("/")).body.toString()).toBe("held");
  });
});

function flipped(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte));
}

describe("bytes", () => {
  const MEBIBYTE = Buffer.alloc(1_048_576, "tidegate ");

  it("streams both ways at once: the origin answers while the request is still coming", async () => {
    await serve(route("r"));
    play = (message, response) => {
      response.writeHead(200, { "content-type": "application/octet-stream" });
      message.pipe(response);
    };
    const received: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const sent = request(
        { port, host: "127.0.0.1", method: "POST", path: "/", headers: { host: "a.test" }, agent: false },
        (response) => {
          response.on("data", (part: Buffer) => {
            received.push(part.toString());
            if (received.length < 3) sent.write(`part ${received.length}`);
            else sent.end();
          });
          response.on("end", resolve);
          response.on("error", reject);
        },
      );
      sent.on("error", reject);
      sent.write("part 0");
    });
    expect(received).toEqual(["part 0", "part 1", "part 2"]);
  });

  it("moves large bodies unaltered, of known and of unknown length", async () => {
    await serve(route("r"));
    const whole = Buffer.concat(Array.from({ length: 16 }, () => MEBIBYTE));
    play = (message, response) => {
      const hash = createHash("sha256");
      message.on("data", (part: Buffer) => hash.update(part));
      message.on("end", () => {
        const known = message.url === "/known";
        response.writeHead(200, { "x-sha": hash.digest("hex"), ...(known ? { "content-length": whole.length } : {}) });
        response.end(whole);
      });
    };
    const expected = createHash("sha256").update(whole).digest("hex");
    for (const path of ["/known", "/unknown"]) {
      const headers = path === "/known" ? {} : { "transfer-encoding": "chunked" };
      const answer = await get(path, { method: "POST", body: whole, headers });
      expect(answer.headers["x-sha"]).toBe(expected);
      expect(createHash("sha256").update(answer.body).digest("hex")).toBe(expected);
      expect(answer.headers["content-length"]).toBe(path === "/known" ? String(whole.length) : undefined);
    }
  });

  it("hands a small body on part by part as it comes, however long that takes", async () => {
    await serve(route("r"));
    let goOn = () => undefined as unknown;
    play = (_, response) => {
      response.writeHead(200, { "content-length": 6 }).write("abc");
      goOn = () => response.end("def");
    };
    const client = new RawClient(port).send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    expect(await client.until((text) => text.endsWith("abc"))).toMatch(/content-length: 6\r\n/i);
    goOn();
    expect(await client.end()).toMatch(/\r\n\r\nabcdef$/);
    play = (_, response) => response.writeHead(200, { "content-length": 0 }).end();
    expect(await get("/")).toMatchObject({ status: 200, headers: { "content-length": "0" } });
  });

  it("hands many field lines of a request on as they are spelled, and none that was for this hop", async () => {
    await serve(route("r"));
    let lines: readonly string[] = [];
    play = (message, response) => {
      lines = message.rawHeaders;
      response.end("ok");
    };
    const sent = ["Accept: text/html", "X-Odd-Name: 1", "Cookie: a=1; b=2", "User-Agent: test", "TE: trailers"];
    const client = new RawClient(port).send(
      `GET / HTTP/1.1\r\nhost: a.test\r\n${sent.join("\r\n")}\r\nConnection: close\r\n\r\n`,
    );
    expect(await client.end()).toMatch(/ok$/);
    const named = (name: string) => lines.flatMap((line, i) => (i % 2 === 0 && line.toLowerCase() === name ? lines[i + 1] : []));
    expect(named("cookie")).toEqual(["a=1; b=2"]);
    expect([named("host"), named("te"), named("connection").includes("close")]).toEqual([["a.test"], [], false]);
    expect(lines).toEqual(expect.arrayContaining(["X-Odd-Name", "User-Agent"]));
  });

  it("sends nothing of one client's request with another's, however they come", async () => {
    await serve(route("r"));
    const own = ["authorization", "cookie", "x-request-id", "x-a", "x-b"];
    const wanted = new Map<string, Record<string, string | undefined>>();
    const got = new Map<string, Record<string, string | undefined>>();
    const pick = (headers: Readonly<Record<string, unknown>>) => Object.fromEntries(own.map((name) => [name, headers[name]]));
    play = (message, response) => {
      const path = message.url ?? "";
      // Some wait, so that others are sent meanwhile.
      setTimeout(() => response.end(path), path.length % 3);
      got.set(path, { ...pick(message.headers), via: message.headers.via, host: message.headers["x-forwarded-host"] } as never);
    };
    const ask = async (i: number) => {
      const chosen = own.filter((_, bit) => ((i * 7) >> bit) & 1);
      const headers = Object.fromEntries(chosen.map((name) => [name, `${name} of ${i % 5 === 0 ? "many" : i}`]));
      const path = `/${i}${"x".repeat(i % 4)}`;
      const host = `host-${i % 3}.example.com`;
      wanted.set(path, { ...pick(headers), via: "1.1 tidegate", host });
      expect((await get(path, { headers, host })).body.toString()).toBe(path);
    };
    for (let round = 0; round < 6; round++) await Promise.all(Array.from({ length: 32 }, (_, i) => ask(round * 32 + i)));
    for (const [path, lines] of wanted) {
      const { "x-request-id": id, ...others } = got.get(path) ?? {};
      const { "x-request-id": givenId, ...othersWanted } = lines;
      expect(others).toEqual(othersWanted);
      expect(givenId === undefined ? id?.length : id, path).toBe(givenId === undefined ? 36 : givenId);
    }
  }, 30_000);

  it("leaves encodings alone, whatever the client accepts", async () => {
    await serve(route("r"));
    const zipped = gzipSync("hello");
    let accepted: unknown;
    play = (message, response) => {
      accepted = message.headers["accept-encoding"];
      response.writeHead(200, { "content-encoding": "gzip", "content-length": zipped.length }).end(zipped);
    };
    for (const accept of [undefined, "gzip", "identity"]) {
      const answer = await get("/", { headers: accept === undefined ? {} : { "accept-encoding": accept } });
      expect(accepted).toBe(accept);
      expect(answer.body.equals(zipped)).toBe(true);
      expect(answer.headers).toMatchObject({ "content-encoding": "gzip", "content-length": String(zipped.length) });
    }
  });

  it("passes on several Set-Cookie, the length of a HEAD, and answers without content", async () => {
    await serve(route("r"));
    play = (message, response) => {
      const status = Number(message.url?.slice(1));
      response.setHeader("set-cookie", ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
      response.setHeader("etag", '"x"');
      if (message.method === "HEAD") response.setHeader("content-length", 42);
      response.writeHead(status).end();
    };
    for (const [path, method] of [
      ["/204", "GET"],
      ["/304", "GET"],
      ["/200", "HEAD"],
    ] as const) {
      const answer = await get(path, { method });
      expect(answer.status).toBe(Number(path.slice(1)));
      expect(answer.body).toHaveLength(0);
      expect(answer.headers["set-cookie"]).toEqual(["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
      expect(answer.headers.etag).toBe('"x"');
      if (method === "HEAD") expect(answer.headers["content-length"]).toBe("42");
    }
  });

  it("passes a body on whatever the method", async () => {
    await serve(route("r"));
    play = (message, response) =>
      void message.setEncoding("utf8").on("data", (text: string) => response.end(`${message.method} ${text}`));
    for (const method of ["GET", "DELETE", "PATCH", "OPTIONS"])
      expect((await get("/", { method, body: "content", headers: { "content-length": "7" } })).body.toString()).toBe(
        `${method} content`,
      );
  });

  it("redirects are the client's to follow", async () => {
    await serve(route("r"));
    play = (_, response) => response.writeHead(302, { location: "http://elsewhere.test/" }).end();
    expect(await get("/")).toMatchObject({ status: 302, headers: { location: "http://elsewhere.test/" } });
  });

  it("an origin that breaks off is told by breaking off", async () => {
    await serve(route("r"));
    play = (message, response) => {
      response.writeHead(200, message.url === "/known" ? { "content-length": 10 } : {});
      response.write("abc", () => setTimeout(() => response.destroy(), 20));
    };
    for (const path of ["/known", "/unknown"]) await expect(get(path)).rejects.toThrow();
    await eventually(() => (workerd.output().match(/"flags":"UC"/g) ?? []).length >= 2);
  });

  it.each(["fin", "rst"] as const)("breaks off without an access log, too, whoever moves the body: %s", async (end) => {
    const settings = { accessLog: { ...DEFAULT_SETTINGS.accessLog, enabled: false } };
    await inForce(await publish(snapshot([virtualHost(["*"], [route("r")])], { settings })));
    play = (message, response) => {
      const [, framing, when] = message.url?.split("/") ?? [];
      response.writeHead(200, framing === "length" ? { "content-length": 10 } : {});
      const cut = () => (end === "rst" ? response.socket?.resetAndDestroy() : response.destroy());
      response.write("abc", () =>
        when === "at-once" ? cut() : setTimeout(() => response.write("de", () => setTimeout(cut, 20)), 20),
      );
    };
    for (const path of ["/length/at-once", "/length/later", "/chunked/at-once", "/chunked/later"]) {
      const client = new RawClient(port).send(`GET ${path} HTTP/1.1\r\nhost: a.test\r\n\r\n`);
      const text = await client.end();
      // Closed by the gateway, without the chunk that would make it whole.
      expect([path, text.includes("\r\n0\r\n")]).toEqual([path, false]);
      if (path.startsWith("/length") && text !== "")
        expect([path, text.length]).not.toEqual([path, text.indexOf("\r\n\r\n") + 14]);
    }
  });

  it("a small answer that nobody waits for the end of comes as it is, part by part, and ends with its client", async () => {
    const settings = { accessLog: { ...DEFAULT_SETTINGS.accessLog, enabled: false } };
    await inForce(await publish(snapshot([virtualHost(["*"], [route("r")])], { settings })));
    let goOn = () => undefined as unknown;
    let closed = false;
    play = (_, response) => {
      response.on("close", () => {
        closed = true;
      });
      response.writeHead(200, { "content-length": 6, "x-a": "b" }).write("abc");
      goOn = () => response.end("def");
    };
    const begun = () => new RawClient(port).send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    const whole = begun();
    await whole.until((text) => text.endsWith("abc"));
    goOn();
    expect(await whole.end()).toMatch(/\r\nx-a: b\r\n.*\r\n\r\nabcdef$/is);
    closed = false;
    const leaving = begun();
    await leaving.until((text) => text.endsWith("abc"));
    leaving.socket.resetAndDestroy();
    await eventually(() => closed);
  });

  it("what a response brings besides its fields goes on: its reason, lines of one name, an encoding that nobody asked for", async () => {
    await serve(route("r", [], { responseHeaders: { set: [["x-two", "3"]], remove: ["server"] } }));
    play = (_, response) => {
      response.setHeader("x-two", ["1", "2"]).setHeader("set-cookie", ["a=1", "b=2"]).setHeader("server", "origin");
      response
        .writeHead(203, "Fine By Me", { "content-encoding": "br", "content-length": 3, "keep-alive": "timeout=7" })
        .end("abc");
    };
    const client = new RawClient(port).send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    const lines = (await client.end()).split("\r\n");
    expect(lines[0]).toBe("HTTP/1.1 203 Fine By Me");
    const named = (name: string) =>
      lines.filter((line) => line.toLowerCase().startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
    expect(named("set-cookie")).toEqual(["a=1", "b=2"]);
    expect(named("x-two")).toEqual(["3"]);
    expect(named("content-encoding")).toEqual(["br"]);
    expect(named("content-length")).toEqual(["3"]);
    for (const name of ["server", "keep-alive", "via"]) expect([name, named(name)]).toEqual([name, []]);
    expect(lines.at(-1)).toBe("abc");
  });

  it("of a response in which nothing is changed all goes on but what it says of its connection", async () => {
    const settings = { accessLog: { ...DEFAULT_SETTINGS.accessLog, enabled: false } };
    await inForce(await publish(snapshot([virtualHost(["*"], [route("r")])], { settings })));
    for (const hop of [{}, { "keep-alive": "timeout=7" }]) {
      play = (_, response) => {
        response.setHeader("set-cookie", ["a=1", "b=2"]).setHeader("connection", "close");
        response.writeHead(203, "Fine By Me", { "content-encoding": "br", "content-length": 3, ...hop }).end("abc");
      };
      const client = new RawClient(port);
      const answered = client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").until((text) => text.endsWith("\r\n\r\nabc"));
      const lines = (await answered).split("\r\n").slice(0, -2);
      expect(lines[0]).toBe("HTTP/1.1 203 Fine By Me");
      expect(
        lines
          .slice(1)
          .filter((line) => !/^date: /i.test(line))
          .map((line) => line.toLowerCase())
          .sort(),
      ).toEqual(["content-encoding: br", "content-length: 3", "set-cookie: a=1", "set-cookie: b=2"]);
      client.socket.destroy();
    }
    play = (_, response) => void response.writeHead(304, { etag: '"1"' }).end();
    expect(await get("/")).toMatchObject({ status: 304, headers: { etag: '"1"' } });
    play = (_, response) => void response.writeHead(200, { "content-length": 7 }).end();
    expect(await get("/", { method: "HEAD" })).toMatchObject({ status: 200, headers: { "content-length": "7" } });
  });

  it("clients that go away before there is an answer give back what was counted for them", async () => {
    const settings = { accessLog: { ...DEFAULT_SETTINGS.accessLog, enabled: false } };
    const content = snapshot([virtualHost(["*"], [route("r")])], { settings });
    const clusters = content.clusters.map((cluster) => ({ ...cluster, circuit: { maxRequests: 1 } }));
    await inForce(await publish({ ...content, clusters }));
    let came = 0;
    play = (message, response) => {
      if (message.url === "/silent") came++;
      else response.end("ok");
    };
    for (let i = 1; i <= 5; i++) {
      const client = new RawClient(port);
      client.send("GET /silent HTTP/1.1\r\nhost: a.test\r\n\r\n");
      await eventually(() => came === i);
      expect((await get("/")).status).toBe(503);
      client.socket.resetAndDestroy();
      let status = 503;
      for (const until = Date.now() + 30_000; status !== 200 && Date.now() < until; ) ({ status } = await get("/"));
      expect(status).toBe(200);
    }
  });

  it("a client that goes away unwatched ends its request, which is presumed gone when other tables are in force", async () => {
    const settings = { accessLog: { ...DEFAULT_SETTINGS.accessLog, enabled: false } };
    const content = snapshot([virtualHost(["*"], [route("r")])], { settings });
    await inForce(await publish(content));
    const presumedGone = async () => {
      const { body } = await admin("stats", TOKENS.RELAY_TOKEN);
      return (JSON.parse(body.toString()) as { presumedGone: number }).presumedGone;
    };
    let closed = false;
    play = (message, response) => {
      response.on("close", () => {
        closed = true;
      });
      if (message.url !== "/silent") response.end("ok");
    };
    const before = await presumedGone();
    const client = new RawClient(port).send("GET /silent HTTP/1.1\r\nhost: a.test\r\n\r\n");
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.socket.resetAndDestroy();
    await eventually(() => closed);
    await get("/");
    expect(await presumedGone()).toBe(before);
    await inForce(await publish(content));
    await get("/");
    expect(await presumedGone()).toBe(before + 1);
  });

  it("a request's time includes the answer's body", async () => {
    await serve(route("r", [], { action: forward("a", { timeoutMs: 300 }) }));
    play = (_, response) => void response.writeHead(200).write("abc");
    await expect(get("/")).rejects.toThrow();
    await eventually(() => workerd.output().includes('"flags":"UT"'));
  });

  it("a client that goes away takes its request to the origin along", async () => {
    await serve(route("r"));
    let closed = 0;
    play = (message, response) => {
      response.on("close", () => closed++);
      if (message.url === "/head") response.writeHead(200).write("abc");
    };
    for (const path of ["/head", "/silent"]) {
      const client = new RawClient(port);
      client.send(`GET ${path} HTTP/1.1\r\nhost: a.test\r\n\r\n`);
      if (path === "/head") await client.until((text) => text.includes("abc"));
      else await new Promise((resolve) => setTimeout(resolve, 100));
      client.socket.resetAndDestroy();
      await eventually(() => closed === (path === "/head" ? 1 : 2));
    }
    await eventually(() => (workerd.output().match(/"flags":"DC"/g) ?? []).length >= 2);
  });

  it("a body that is longer than it may be is refused, said or not", async () => {
    const settings = { http: { ...DEFAULT_SETTINGS.http, maxRequestBodyBytes: 1_000 } };
    await inForce(await publish(snapshot([virtualHost(["*"], [route("r")])], { settings })));
    const wholes: number[] = [];
    play = (message, response) => {
      let bytes = 0;
      message.on("data", (part: Buffer) => {
        bytes += part.length;
      });
      message.on("end", () => {
        wholes.push(bytes);
        response.end("took it");
      });
    };
    const fits = await get("/", { method: "POST", body: Buffer.alloc(1_000) });
    expect(fits.body.toString()).toBe("took it");
    for (const headers of [{}, { "transfer-encoding": "chunked" }] as Record<string, string>[]) {
      const answer = await get("/", { method: "POST", body: Buffer.alloc(1_001), headers });
      expect([answer.status, answer.body.toString()]).toEqual([413, "request body too large\n"]);
    }
    // Nothing that was cut reached the origin as if it were whole.
    expect(wholes).toEqual([1_000]);
  });

  it("an upload that breaks off never looks whole to the origin", async () => {
    await serve(route("r"));
    const ends: string[] = [];
    let began = 0;
    play = (message) => {
      began++;
      message.on("data", () => undefined);
      message.on("end", () => ends.push("whole"));
      message.on("close", () => ends.push(message.complete ? "complete" : "cut"));
    };
    for (const framing of ["transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", "content-length: 10\r\n\r\nabc"]) {
      const client = new RawClient(port).send(`POST / HTTP/1.1\r\nhost: a.test\r\n${framing}`);
      await eventually(() => began === (framing.startsWith("t") ? 1 : 2));
      client.socket.resetAndDestroy();
      await eventually(() => ends.length === (framing.startsWith("t") ? 1 : 2));
    }
    expect(ends).toEqual(["cut", "cut"]);
  });
});

describe("WebSockets", () => {
  const HANDSHAKE = [
    "host: shop.example.com",
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol: chat",
  ];
  const open = (path: string) => new RawClient(port).send(`GET ${path} HTTP/1.1\r\n${HANDSHAKE.join("\r\n")}\r\n\r\n`);

  it("go through, their messages both ways, by the route's rules", async () => {
    await serve(route("ws", [{ path: prefix("/ws") }], { responseHeaders: { set: [["x-route", "ws"]] } }));
    const client = open("/ws/chat");
    const head = await client.until((text) => text.includes("\r\n\r\n"));
    expect(head).toMatch(/^HTTP\/1.1 101 /);
    expect(head.toLowerCase()).toContain("sec-websocket-accept: s3ppLMBiTxaQ9kYGzzhZRbK+xOo=".toLowerCase());
    expect(head.toLowerCase()).toContain("sec-websocket-protocol: chat");
    expect(head.toLowerCase()).toContain("x-forwarded-host-was: shop.example.com");
    expect(head.toLowerCase()).toContain("x-route: ws");
    client.send("\x81\x85\x01\x02\x03\x04\x69\x67\x6f\x68\x6e");
    await client.until((text) => text.endsWith("\x81\x05hello"));
    client.close();
  });

  it("are refused by the same routes as anything else", async () => {
    await serve(route("ws", [{ path: prefix("/ws") }]));
    const client = open("/elsewhere");
    expect(await client.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1.1 404 /);
    client.close();
  });
});

describe("quotas", () => {
  it("of scope global are drawn from the site's bank, to the last request", async () => {
    const quota = quotaPolicy("shop/global", [{ name: "hour", amount: 5, perMs: 3_600_000, window: "rolling" }], {
      scope: "global",
      accuracy: { kind: "strict" },
    });
    const limited = snapshot([virtualHost(["*"], [route("r", [], { quotas: [quota.id] })])], { quotas: [quota] });
    await inForce(await publish(limited));
    // A bank that has yet to start may be too late for the first ones, and the rule says to deny those.
    const statuses: number[] = [];
    for (let i = 0; i < 60 && !statuses.includes(200); i++) {
      statuses.push((await get("/")).status);
      if (!statuses.includes(200)) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (let i = 0; i < 12; i++) statuses.push((await get("/")).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(5);
    expect(statuses.slice(-3)).toEqual([429, 429, 429]);
  });
});

describe("the site's own routes", () => {
  it("are at the site's host only; elsewhere the path is the routes' affair", async () => {
    await inForce(await publish(direct("a route")));
    expect((await get("/.tidegate/ready")).body.toString()).toBe("a route");
    expect(JSON.parse((await admin("ready")).body.toString())).toMatchObject({ ready: true, version: `1.${version}` });
    expect((await get("/", { host: SITE_HOST })).body.toString()).toBe("a route");
    expect((await admin("nothing-here", TOKENS.RELAY_TOKEN)).status).toBe(404);
  });

  it("hand nothing to an object without the token that is for it", async () => {
    for (const path of ["relay", "relay/chunks", "tunnel?cluster=main", "stats"]) {
      for (const token of [undefined, "", "wrong-token-0123456789", TOKENS.BANK_TOKEN]) {
        const answer = await admin(path, token);
        expect([path, answer.status]).toEqual([path, 401]);
      }
    }
    expect((await admin("bank", TOKENS.RELAY_TOKEN, "POST")).status).toBe(401);
  });

  it("hand a request on with its token, and say what the site does not have", async () => {
    expect(JSON.parse((await admin("relay", TOKENS.RELAY_TOKEN)).body.toString())).toMatchObject({ path: "/.tidegate/relay" });
    expect((await admin("tunnel?cluster=main", TOKENS.TUNNEL_TOKEN)).status).toBe(426);
    expect((await admin("bank", TOKENS.BANK_TOKEN, "POST")).status).toBe(400);
  });

  it("tell what was counted", async () => {
    const { body } = await admin("stats", TOKENS.RELAY_TOKEN);
    const stats = JSON.parse(body.toString()) as { requests: Record<string, number>; flags: Record<string, number> };
    expect(stats.requests["200"]).toBeGreaterThan(10);
    expect(stats.flags["DC"]).toBeGreaterThanOrEqual(2);
  });
});
