/** The egress Worker in workerd: a Worker that calls by its binding, one that can call in no other way, strangers, and callers over HTTP. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { loadServerIdentity } from "../../controlplane/distribute/index.ts";
import { bundleWorker } from "../../controlplane/edge/index.ts";
import { chunkSnapshot, DEFAULT_AGES, EVERYWHERE_AT_ONCE, makeManifest } from "../../controlplane/snapshot/index.ts";
import type { EgressConfig, EgressPolicy, EgressRule } from "../../gateway/core/ir/index.ts";
import { SPELLINGS } from "../support/egress-attacks.ts";
import { freePort, RawClient } from "../support/gateway.ts";
import { type Keys, makeKey, makeSnapshot, pinOf, rootDocument, signManifest, signRoot } from "../support/snapshots.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { Running } from "../tools/processes.ts";

const SITE = "europe";
const SECRET = "sk_live_edge";
const TOKEN = "correct-horse-battery";
const LOCAL = "localhost";

interface Outcome {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly error?: string;
  readonly message?: string;
}

const seen: IncomingMessage[] = [];
let folder = "";
let plain: Server;
let secure: Server;
let foreign: Server;
let keys: Keys;
let pin = "";
let version = 0;
let workerd: Running;
let ports = { relay: 0, caller: 0, confined: 0, proxy: 0, plain: 0, secure: 0, foreign: 0 };
let authority = "";

function answer(incoming: IncomingMessage, response: ServerResponse): void {
  seen.push(incoming);
  if (incoming.url === "/away") response.writeHead(302, { location: `http://${LOCAL}:${ports.secure}/inside` }).end();
  else if (incoming.url === "/long") response.writeHead(200, { "content-length": 5000 }).end();
  else if (incoming.url === "/gone") response.writeHead(410).end("gone");
  else if (incoming.url === "/proxy") response.writeHead(407, { "proxy-authenticate": "Basic" }).end("who are you?");
  else if (incoming.url === "/packed")
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("packed ".repeat(100)));
  else if (incoming.method === "POST") incoming.pipe(response);
  else response.end("fine");
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** RFC 6455 4.2.2; then one text frame, whatever comes. */
function speakWebSocket(server: Server): void {
  server.on("upgrade", (incoming, socket) => {
    seen.push(incoming);
    const key = `${incoming.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.on("error", () => undefined);
    socket.once("data", () => socket.write(Buffer.from([0x81, 2, 0x68, 0x69])));
  });
}

function rule(over: Partial<EgressRule>): EgressRule {
  const base = { name: "rule", hosts: [LOCAL], ports: [ports.plain], protocol: "http" as const };
  return { ...base, methods: [], paths: [], addresses: [], quotas: [], ...over };
}

const inject = [{ header: "authorization", secret: { namespace: "shop", name: "api", key: "token" }, prefix: "Bearer " }];

function config(allow: readonly EgressRule[], over: Partial<EgressPolicy> = {}): EgressConfig {
  const policy: EgressPolicy = {
    id: "shop/p",
    origin: { kind: "EgressPolicy", namespace: "shop", name: "p" },
    namespace: "shop",
    floor: false,
    from: [{ kind: "edgeService", name: "checkout" }],
    mode: "enforce",
    allow,
    deny: [],
    ...over,
  };
  return { policies: [policy], staticHosts: [], users: [], realm: "edge" };
}

/** Puts a configuration in force: the relay has it, and the isolate answers by it. */
async function enforce(egress: EgressConfig, quotas: ReturnType<typeof makeSnapshot>["quotas"] = []): Promise<void> {
  version += 10;
  const base = makeSnapshot(1, { egress, quotas });
  const chunks = chunkSnapshot({ ...base, settings: { ...base.settings, explainHeaders: true } });
  const manifest = makeManifest({
    iss: "mesh.test",
    pool: SITE,
    epoch: 1,
    version,
    prevHash: null,
    nowS: Math.floor(Date.now() / 1000),
    ages: DEFAULT_AGES,
    chunks,
    rollout: EVERYWHERE_AT_ONCE,
    policyClass: "widening",
  });
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  const written = {
    version: `1.${version}`,
    manifest: base64(await signManifest(manifest, keys.online)),
    roots: [base64(await signRoot(rootDocument(keys), keys.root))],
    chunks: chunks.map(({ ref, bytes }) => ({ hash: ref.hash, bytes: base64(bytes) })),
  };
  const put = await fetch(`http://127.0.0.1:${ports.relay}/`, { method: "PUT", body: JSON.stringify(written) });
  expect(put.status).toBe(200);
  const inForce = async (): Promise<string | undefined> =>
    (await call({ by: "NOBODY", url: "http://nowhere.example/" })).headers["x-tidegate-snapshot"];
  await vi.waitFor(async () => expect(await inForce()).toBe(`1.${version}`), { timeout: 20_000 });
}

async function call(what: object, port = ports.caller): Promise<Outcome> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: JSON.stringify(what) });
  return (await response.json()) as Outcome;
}

function bindings(siteHost: string) {
  return {
    SITE: { kind: "text", value: SITE },
    AUDIENCE: { kind: "text", value: SITE },
    TRUST_ROOT: { kind: "text", value: pin },
    SITE_HOST: { kind: "text", value: siteHost },
    RELAY: { kind: "durableObject", className: "SnapshotRelay", worker: "relay" },
    SECRET_SHOP_API_TOKEN: { kind: "fromEnvironment", variable: "TEST_SECRET" },
    PROXY_TOKEN_BATCH_1: { kind: "fromEnvironment", variable: "TEST_TOKEN" },
  } as const;
}

async function startSite(directory: string, allowNetworks: readonly string[]): Promise<Running> {
  const reached = { service: "egress", entrypoint: "Egress" };
  return startWorkerd(
    directory,
    {
      workers: [
        {
          name: "relay",
          entry: "test/edge/workers/fixed-relay.ts",
          bindings: { SITE: { kind: "text", value: SITE }, RELAY: { kind: "durableObject", className: "SnapshotRelay" } },
          durableObjects: ["SnapshotRelay"],
        },
        { name: "egress", entry: "gateway/edge/egress.ts", bindings: bindings(`127.0.0.1:${ports.proxy}`) },
        {
          name: "caller",
          entry: "test/edge/workers/caller.ts",
          bindings: {
            EGRESS: { kind: "service", ...reached, props: { service: "checkout" } },
            STRANGER: { kind: "service", ...reached, props: { service: "other" } },
            NOBODY: { kind: "service", ...reached },
          },
        },
        {
          name: "confined",
          entry: "test/edge/workers/caller.ts",
          bindings: {},
          outbound: { ...reached, props: { service: "checkout" } },
        },
      ],
      sockets: [
        { name: "relay", address: `127.0.0.1:${ports.relay}`, service: "relay" },
        { name: "caller", address: `127.0.0.1:${ports.caller}`, service: "caller" },
        { name: "confined", address: `127.0.0.1:${ports.confined}`, service: "confined" },
        { name: "proxy", address: `127.0.0.1:${ports.proxy}`, service: "egress" },
      ],
      allowNetworks,
      trustedCertificates: [authority],
    },
    { TEST_SECRET: SECRET, TEST_TOKEN: TOKEN },
  );
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "egress-edge-"));
  keys = { root: [await makeKey()], online: [await makeKey()] };
  pin = await pinOf(rootDocument(keys));
  const identity = await loadServerIdentity(join(folder, "a"), [LOCAL], Date.now());
  const other = await loadServerIdentity(join(folder, "b"), [LOCAL], Date.now());
  authority = identity.ca;
  plain = createHttp(answer);
  speakWebSocket(plain);
  secure = createHttps({ key: identity.privateKey, cert: identity.certificate }, answer);
  foreign = createHttps({ key: other.privateKey, cert: other.certificate }, answer);
  const [relay, caller, confined, proxy] = [await freePort(), await freePort(), await freePort(), await freePort()];
  ports = {
    relay,
    caller,
    confined,
    proxy,
    plain: await listening(plain),
    secure: await listening(secure),
    foreign: await listening(foreign),
  };
  workerd = await startSite(join(folder, "site"), ["127.0.0.0/8"]);
});

afterAll(async () => {
  await workerd?.stop();
  for (const server of [plain, secure, foreign]) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true });
});

beforeEach(() => {
  seen.length = 0;
});

describe("without a snapshot", () => {
  it("nothing is let out", async () => {
    expect(await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.plain}/` })).toMatchObject({
      status: 403,
      headers: { "x-tidegate-reason": "this site has no snapshot yet" },
    });
    expect(seen).toEqual([]);
  });
});

describe("a Worker with a binding", () => {
  it("reaches what its rule lists, with the rule's credential in place of its own", async () => {
    await enforce(config([rule({ methods: ["GET", "POST"], paths: [{ kind: "prefix", value: "/v1/" }], inject })]));
    const url = `http://${LOCAL}:${ports.plain}/v1/x?y=1`;
    expect(await call({ by: "EGRESS", url, headers: { authorization: "Bearer mine", "x-kept": "yes" } })).toMatchObject({
      status: 200,
      body: "fine",
    });
    expect(seen).toMatchObject([
      {
        url: "/v1/x?y=1",
        headers: { host: `${LOCAL}:${ports.plain}`, authorization: `Bearer ${SECRET}`, "x-kept": "yes", via: "1.1 tidegate" },
      },
    ]);
    const told = workerd.output();
    expect(told).toContain(
      `"listener":"binding","service":"checkout","kind":"http","method":"GET","authority":"${LOCAL}:${ports.plain}","verdict":"allow"`,
    );
    expect(told).not.toContain(SECRET);
    const body = "x".repeat(300_000);
    expect((await call({ by: "EGRESS", url, method: "POST", body })).body).toBe(body);
    expect(seen.at(-1)?.headers).toMatchObject({ "content-length": String(body.length) });
    for (const [wrong, reason] of [
      [{ method: "PUT" }, "method PUT"],
      [{ url: url.replace("v1", "v2") }, "path"],
      [{ url: `http://${LOCAL}:${ports.secure}/v1/x` }, `port ${ports.secure}`],
      [{ url: url.replace(LOCAL, "other.example") }, "other.example"],
      [{ url: `https://${LOCAL}:${ports.plain}/v1/x` }, "https"],
    ] as const) {
      const refused = await call({ by: "EGRESS", url, ...wrong });
      expect(refused).toMatchObject({
        status: 403,
        headers: { "x-tidegate-reason": expect.stringContaining(reason), "x-tidegate-rule": expect.stringContaining("shop/p") },
      });
    }
    expect(seen.length).toBe(2);
  });

  it("is known by what its binding says: another's name and no name reach nothing", async () => {
    await enforce(config([rule({})]));
    const url = `http://${LOCAL}:${ports.plain}/`;
    for (const by of ["STRANGER", "NOBODY"]) {
      expect(await call({ by, url, headers: { "x-tidegate-service": "checkout" } })).toMatchObject({ status: 403 });
    }
    expect(seen).toEqual([]);
  });

  it("cannot send another Host than its URL's, nor have the runtime go elsewhere", async () => {
    await enforce(config([rule({})]));
    const url = `http://${LOCAL}:${ports.plain}/`;
    const headers = { host: `evil.example:${ports.plain}` };
    expect(await call({ by: "EGRESS", url, headers, cf: { resolveOverride: "evil.example" } })).toMatchObject({ status: 200 });
    expect(seen.map(({ headers: { host } }) => host)).toEqual([`${LOCAL}:${ports.plain}`]);
    expect(
      await call({ by: "EGRESS", url: `http://evil.example:${ports.plain}/`, headers: { host: `${LOCAL}:${ports.plain}` } }),
    ).toMatchObject({ status: 403 });
    expect(seen.length).toBe(1);
  });

  it("gets redirects as they are, and where they point is decided when it asks", async () => {
    await enforce(config([rule({ inject })]));
    const away = { url: `http://${LOCAL}:${ports.plain}/away` };
    expect(await call({ by: "EGRESS", ...away })).toMatchObject({
      status: 302,
      headers: { location: `http://${LOCAL}:${ports.secure}/inside` },
    });
    expect(await call({ by: "EGRESS", ...away, redirect: "follow" })).toMatchObject({ status: 403 });
    expect(seen.map(({ url }) => url)).toEqual(["/away", "/away"]);
  });

  it("speaks to hosts with TLS, or has the gateway do so, and their certificates are checked", async () => {
    const both = [ports.secure, ports.foreign];
    await enforce(config([rule({ protocol: "https", ports: both, originate: { tls: "simple" }, inject })]));
    for (const scheme of ["https", "http"]) {
      expect(await call({ by: "EGRESS", url: `${scheme}://${LOCAL}:${ports.secure}/v1/x` })).toMatchObject({
        status: 200,
        body: "fine",
      });
      expect(await call({ by: "EGRESS", url: `${scheme}://${LOCAL}:${ports.foreign}/v1/x` })).toMatchObject({ status: 502 });
    }
    expect(seen.map(({ headers }) => [headers.host, headers.authorization])).toEqual(
      [1, 2].map(() => [`${LOCAL}:${ports.secure}`, `Bearer ${SECRET}`]),
    );
    await enforce(config([rule({ protocol: "https", ports: both })]));
    expect((await call({ by: "EGRESS", url: `https://${LOCAL}:${ports.secure}/` })).status).toBe(200);
    expect((await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.secure}/` })).status).toBe(403);
  });

  it("learns of lengths, of errors and of what is compressed as the host says them", async () => {
    await enforce(config([rule({})]));
    const url = `http://${LOCAL}:${ports.plain}`;
    expect(await call({ by: "EGRESS", url: `${url}/long`, method: "HEAD" })).toMatchObject({
      status: 200,
      headers: { "content-length": "5000" },
      body: "",
    });
    expect(await call({ by: "EGRESS", url: `${url}/gone` })).toMatchObject({ status: 410, body: "gone" });
    expect(await call({ by: "EGRESS", url: `${url}/proxy` })).toMatchObject({ status: 502 });
    expect(await call({ by: "EGRESS", url: `${url}/packed` })).toMatchObject({ status: 200, body: "packed ".repeat(100) });
  });

  it("keeps to the quota of its rule", async () => {
    const [quota] = [
      {
        id: "shop/p#rule",
        origin: { kind: "EgressPolicy", namespace: "shop", name: "p" },
        matches: [],
        key: [],
        limits: [{ name: "limit-1", amount: 2, perMs: 3_600_000, window: "rolling" }],
        cost: { kind: "fixed", amount: 1 },
        unit: "requests",
        overrides: [],
        whenKeyMissing: "share",
        scope: "local",
        onStoreFailure: { kind: "deny" },
        mode: "enforce",
        headers: "both",
        response: { status: 429 },
      },
    ] as const;
    await enforce(config([rule({ quotas: [quota.id] })]), [quota]);
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) statuses.push((await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.plain}/` })).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect(seen.length).toBe(2);
  });

  it("opens WebSockets where it may send requests", async () => {
    await enforce(config([rule({ paths: [{ kind: "exact", value: "/socket" }], inject })]));
    const headers = { upgrade: "websocket" };
    expect(await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.plain}/socket`, headers })).toMatchObject({
      status: 101,
      message: "hi",
    });
    expect(seen[0]?.headers.authorization).toBe(`Bearer ${SECRET}`);
    expect(await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.plain}/other`, headers })).toMatchObject({ status: 403 });
    expect(seen.length).toBe(1);
  });
});

describe("a Worker whose every way out is the egress Worker", () => {
  it("reaches with fetch what is allowed, redirects included, and opens no connections", async () => {
    await enforce(config([rule({})]));
    const url = `http://${LOCAL}:${ports.plain}`;
    expect(await call({ by: "fetch", url: `${url}/` }, ports.confined)).toMatchObject({ status: 200, body: "fine" });
    expect(await call({ by: "fetch", url: `${url}/away`, redirect: "follow" }, ports.confined)).toMatchObject({ status: 403 });
    expect(await call({ by: "fetch", url: `http://127.0.0.1:${ports.plain}/` }, ports.confined)).toMatchObject({ status: 403 });
    expect(await call({ by: "connect", url: `127.0.0.1:${ports.plain}` }, ports.confined)).toMatchObject({
      error: expect.any(String),
    });
    expect(seen.map(({ url: path }) => path)).toEqual(["/", "/away"]);
  });
});

describe("the proxy endpoint", () => {
  const credentials = (text: string): string =>
    `x-tidegate-proxy-authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;
  const MINE = credentials(`batch-1:${TOKEN}`);

  /** Raw, so that nothing in between mends the target. */
  async function ask(client: RawClient, target: string, fields = MINE): Promise<{ status: number; text: string }> {
    const from = client.received.length;
    client.send(`GET /.tidegate/proxy/${target} HTTP/1.1\r\nHost: 127.0.0.1:${ports.proxy}\r\n${fields}\r\n`);
    const whole = await client.until((received) => {
      const text = received.slice(from);
      const end = text.indexOf("\r\n\r\n");
      const length = Number(/^content-length: (\d+)/im.exec(text)?.[1] ?? 0);
      if (/^transfer-encoding: chunked/im.test(text)) return text.endsWith("0\r\n\r\n");
      return end !== -1 && text.length >= end + 4 + length;
    });
    const text = whole.slice(from);
    return { status: Number(text.slice(9, 12)), text };
  }

  /** On a connection of its own. */
  async function opened(use: (client: RawClient) => Promise<void>): Promise<void> {
    const client = new RawClient(ports.proxy);
    try {
      await use(client);
    } finally {
      client.close();
    }
  }

  it("takes users by their tokens, and forgets about those at once", async () => {
    await enforce(config([rule({})], { from: [{ kind: "proxyUser", name: "batch-1" }] }));
    const target = `http/${LOCAL}:${ports.plain}/v1/x?y=1`;
    await opened(async (client) => {
      expect((await ask(client, target)).status).toBe(200);
      expect((await ask(client, target, "")).status).toBe(407);
      for (const wrong of [`batch-1:${TOKEN}x`, `batch-1:`, `other:no user has this token`]) {
        expect((await ask(client, target, credentials(wrong))).status).toBe(407);
      }
      expect((await ask(client, target, MINE + MINE)).status).toBe(407);
      // The same binding, and no user that a policy names.
      expect((await ask(client, target, credentials(`batch_1:${TOKEN}`))).status).toBe(403);
      expect((await ask(client, `http/other.example/`)).status).toBe(403);
      expect((await ask(client, target, `${MINE}CF-Connecting-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n`)).status).toBe(
        200,
      );
    });
    expect(seen.map(({ url }) => url)).toEqual(["/v1/x?y=1", "/v1/x?y=1"]);
    const told = JSON.stringify(seen.map(({ headers }) => headers));
    for (const secret of [TOKEN, Buffer.from(`batch-1:${TOKEN}`).toString("base64"), "192.0.2.1"])
      expect(told).not.toContain(secret);
    expect(workerd.output()).not.toContain(TOKEN);
  });

  it("answers for its own host and form only", async () => {
    await opened(async (client) => {
      client.send(`GET /.tidegate/proxy/http/${LOCAL}:${ports.plain}/ HTTP/1.1\r\nHost: ${LOCAL}:${ports.proxy}\r\n${MINE}\r\n`);
      expect(await client.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1.1 404 /);
    });
    for (const target of [
      `${LOCAL}:${ports.plain}/`,
      `HTTP/${LOCAL}:${ports.plain}/`,
      `http/${LOCAL}:${ports.plain}`,
      `http//${LOCAL}:${ports.plain}/`,
      `ftp/${LOCAL}:${ports.plain}/`,
      `http:/${LOCAL}:${ports.plain}/`,
    ]) {
      await opened(async (client) => expect([400, 403, 404]).toContain((await ask(client, target)).status));
    }
    expect(seen).toEqual([]);
  });

  describe("told of a host that is written otherwise", () => {
    beforeAll(() => enforce(config([rule({})], { from: [{ kind: "proxyUser", name: "batch-1" }] })));

    it.each(SPELLINGS)("refuses $what", async ({ authority: spelled }) => {
      await opened(async (client) => {
        const { status } = await ask(client, `http/${spelled(LOCAL, ports.plain)}/`);
        expect([400, 403, 404]).toContain(status);
        expect((await ask(client, `http/${LOCAL}:${ports.plain}/`)).status).toBe(200);
      });
      expect(seen.length).toBe(1);
    });
  });

  it.each(["/v1/../v2", "/v1/%2e%2e/v2", "/v1/..%2fv2", "/v1//v2", "/v1\\..\\v2", "/v1/%00", "/v2"])(
    "refuses the path %s under a rule for /v1/",
    async (path) => {
      await enforce(
        config([rule({ paths: [{ kind: "prefix", value: "/v1/" }] })], { from: [{ kind: "proxyUser", name: "batch-1" }] }),
      );
      await opened(async (client) =>
        expect([400, 403]).toContain((await ask(client, `http/${LOCAL}:${ports.plain}${path}`)).status),
      );
      expect(seen).toEqual([]);
    },
  );
});

describe("the runtime", () => {
  it("connects to no private address by default, whatever a name leads to", async () => {
    await workerd.stop();
    version = 0;
    workerd = await startSite(join(folder, "strict"), []);
    await enforce(config([rule({})]));
    const outcome = await call({ by: "EGRESS", url: `http://${LOCAL}:${ports.plain}/` });
    expect(outcome.status).toBe(502);
    expect(workerd.output()).toContain("a host was not reached");
    expect(seen).toEqual([]);
  });

  it("loads a bundle within its budget, without codecs and without Node", async () => {
    const { gzipBytes, inputs } = await bundleWorker("gateway/edge/egress.ts");
    expect(gzipBytes).toBeLessThan(250 * 1024);
    expect(inputs.filter((path) => /gateway\/(wire|node)\//.test(path))).toEqual([]);
  });
});
