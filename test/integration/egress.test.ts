/** The egress gateway over loopback: a forward-proxy listener, real origins, and a resolver that the test owns. */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage } from "node:http";
import { createServer as createHttps } from "node:https";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTls, getCACertificates, setDefaultCACertificates, connect as tlsConnect } from "node:tls";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { loadServerIdentity } from "../../controlplane/distribute/server-identity.ts";
import type { EgressRule } from "../../gateway/core/ir/index.ts";
import { scryptHash } from "../../gateway/node/egress-auth.ts";
import {
  API,
  egressOf as config,
  TestEgress as Gateway,
  HOME,
  listeningAt as listening,
  OPEN_HOME,
  egressRuleAt as rule,
} from "../support/egress.ts";
import { SPELLINGS } from "../support/egress-attacks.ts";

/** A client connection that keeps what it has read. */
class Client {
  readonly socket: Socket;
  text = "";
  ended = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.socket = connect({ host: HOME, port, allowHalfOpen: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text) => {
      this.text += text;
      this.#wake();
    });
    for (const over of ["end", "close", "error"] as const) {
      this.socket.on(over, () => {
        this.ended = true;
        this.#wake();
      });
    }
  }

  /** Waits until what was read says so, or nothing more will come. */
  async until(enough: (text: string) => boolean): Promise<string> {
    while (!enough(this.text) && !this.ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.text;
  }

  /** One whole response with a Content-Length (or none), taken off the front. */
  async response(): Promise<{ status: number; head: string; body: string }> {
    await this.until((text) => {
      const end = text.indexOf("\r\n\r\n");
      return end !== -1 && text.length >= end + 4 + lengthIn(text.slice(0, end));
    });
    const end = this.text.indexOf("\r\n\r\n");
    const head = this.text.slice(0, end);
    const length = lengthIn(head);
    const body = this.text.slice(end + 4, end + 4 + length);
    this.text = this.text.slice(end + 4 + length);
    return { status: Number(head.slice(9, 12)), head, body };
  }

  async ask(text: string): Promise<{ status: number; head: string; body: string }> {
    this.socket.write(text);
    return this.response();
  }
}

function lengthIn(head: string): number {
  return Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
}

function asked(authority: string, path = "/", more = ""): string {
  return `GET http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${more}\r\n`;
}

function connectTo(authority: string, more = ""): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${more}\r\n`;
}

const gateways: Gateway[] = [];
const clients: Client[] = [];
const origins: Server[] = [];
let gateway = new Gateway();

function client(): Client {
  const made = new Client(gateway.port);
  clients.push(made);
  return made;
}

function origin<T extends Server>(server: T): T {
  origins.push(server);
  return server;
}

beforeEach(() => {
  gateway = new Gateway();
  gateways.push(gateway);
});

afterEach(() => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  for (const server of origins.splice(0)) server.close();
  for (const one of gateways.splice(0)) {
    one.close();
    expect(one.problems).toEqual([]);
  }
});

describe("plain http", () => {
  const seen: { url: string | undefined; host: string | undefined; headers: IncomingMessage["headers"] }[] = [];
  let port = 0;
  let authority = "";

  beforeEach(async () => {
    seen.length = 0;
    const server = origin(
      createHttp((incoming, response) => {
        seen.push({ url: incoming.url, host: incoming.headers.host, headers: incoming.headers });
        if (incoming.url === "/away") response.writeHead(302, { location: `http://${HOME}:${port}/inside`, "content-length": 0 });
        response.end(incoming.url === "/away" ? undefined : "fine");
      }),
    );
    port = await listening(server);
    authority = `${API}:${port}`;
  });

  it("goes out with the name that was allowed and without proxy fields, and a refusal says why", async () => {
    await gateway.open(config([rule(port, { methods: ["GET"], paths: [{ kind: "prefix", value: "/v1/" }] })]));
    const one = client();
    const secret = "Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\n";
    expect(await one.ask(asked(authority, "/v1/x?y=1", secret))).toMatchObject({ status: 200, body: "fine" });
    expect(seen).toMatchObject([{ url: "/v1/x?y=1", host: authority }]);
    expect(Object.keys(seen[0]!.headers)).not.toContain("proxy-authorization");
    expect(Object.keys(seen[0]!.headers)).not.toContain("proxy-connection");
    const refused = await one.ask(asked(authority, "/v2/x"));
    expect(refused).toMatchObject({ status: 403, body: expect.stringContaining("shop/p#rule") });
    expect(refused.head).toMatch(/x-tidegate-rule: shop\/p#rule/i);
    expect(refused.head).toMatch(/x-tidegate-reason: this path of api.example.com is not allowed/i);
    expect(await one.ask(asked(authority, "/v1/../v2/x"))).toMatchObject({ status: 403 });
    expect(seen.length).toBe(1);
    expect(gateway.decisions).toMatchObject([{ verdict: "allow" }, { verdict: "deny" }, { code: "path_not_canonical" }]);
  });

  it("decides the second request of a kept-alive connection afresh, and answers stay in order", async () => {
    await gateway.open(config([rule(port, {})]));
    const one = client();
    one.socket.write(asked(authority, "/1") + asked("other.example.com", "/2") + asked(authority, "/3"));
    expect([await one.response(), await one.response(), await one.response()].map(({ status }) => status)).toEqual([
      200, 403, 200,
    ]);
    expect(seen.map(({ url }) => url)).toEqual(["/1", "/3"]);
    expect(gateway.queries).toEqual([`${API}.`, `${API}.`]);
  });

  it("relays redirects and follows none", async () => {
    await gateway.open(config([rule(port, {})]));
    const answer = await client().ask(asked(authority, "/away"));
    expect(answer.status).toBe(302);
    expect(answer.head).toContain(`http://${HOME}:${port}/inside`);
    expect(seen.map(({ url }) => url)).toEqual(["/away"]);
  });

  it("is not rebound: the answer that turns inside is refused, and no name is resolved twice for one decision", async () => {
    await gateway.open(config([rule(port, {})]));
    gateway.zone.set(`${API}.`, [[HOME], ["10.0.0.1"], [HOME, "169.254.169.254"], ["::1"], [HOME]]);
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await client().ask(asked(authority))).status);
    expect(statuses).toEqual([200, 403, 403, 403, 200]);
    expect(gateway.queries.length).toBe(5);
    expect(gateway.decisions.filter(({ verdict }) => verdict === "allow")).toMatchObject([
      { address: `${HOME}:${port}`, opened_by: "shop/p#rule" },
      { address: `${HOME}:${port}` },
    ]);
  });

  it.each([
    ["duplicate Host", (a: string) => `GET http://${a}/ HTTP/1.1\r\nHost: ${a}\r\nHost: ${a}\r\n\r\n`],
    ["Host against target", (a: string) => `GET http://${a}/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n`],
    ["no Host", (a: string) => `GET http://${a}/ HTTP/1.1\r\n\r\n`],
    ["user information", (a: string) => asked(`x@${a}`)],
    ["user information that hides the host", (a: string) => asked(`${a}@evil.example.com`)],
    ["backslash", (a: string) => asked(`evil.example.com\\@${a}`)],
    ["tab in the target", (a: string) => asked(a, "/a\tb")],
    ["obs-fold", (a: string) => asked(a, "/", "X-A: 1\r\n folded\r\n")],
    ["origin form", (a: string) => `GET / HTTP/1.1\r\nHost: ${a}\r\n\r\n`],
    ["percent in the host", () => asked("api%2eexample.com")],
    ["trailing dot", (a: string) => asked(a.replace(":", ".:"))],
    ["decimal address", (a: string) => asked(a.replace(API, "2130706433"))],
    ["octal address", (a: string) => asked(a.replace(API, "0177.0.0.1"))],
    ["short address", (a: string) => asked(a.replace(API, "127.1"))],
    ["address that is not listed", (a: string) => asked(a.replace(API, HOME))],
    ["mapped address", (a: string) => asked(a.replace(API, "[::ffff:7f00:1]"))],
    ["CONNECT against Host", (a: string) => `CONNECT ${a} HTTP/1.1\r\nHost: evil.example.com\r\n\r\n`],
    ["CONNECT without port", () => connectTo(API)],
    ["CONNECT to a metadata address", () => connectTo("169.254.169.254:80")],
    ["CONNECT where only requests are allowed", (a: string) => connectTo(a)],
  ])("refuses: %s", async (_what, spelled) => {
    await gateway.open(config([rule(port, {})]));
    const answer = await client().ask(spelled(authority));
    expect([400, 403]).toContain(answer.status);
    expect(seen).toEqual([]);
    expect(gateway.queries).toEqual([]);
  });

  it.each(SPELLINGS)("refuses $what, in requests and in CONNECT", async ({ authority: spelled }) => {
    await gateway.open(config([rule(port, {}), rule(port, { name: "tcp", protocol: "tcp" })]));
    for (const form of [asked, connectTo]) {
      const answer = await client().ask(form(spelled(API, port)));
      expect([400, 403]).toContain(answer.status);
    }
    expect(seen).toEqual([]);
    expect(gateway.queries).toEqual([]);
  });

  it("asks for a proxy password where one decides, and takes the right one", async () => {
    const users = [{ name: "payments", passwordHash: await scryptHash("s3cret:word") }];
    await gateway.open({ ...config([rule(port, {})], { from: [{ kind: "proxyUser", name: "payments" }] }), users });
    const one = client();
    const challenge = await one.ask(asked(authority));
    expect(challenge.status).toBe(407);
    expect(challenge.head).toMatch(/proxy-authenticate: Basic realm="outside"/i);
    const header = (text: string): string => `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;
    expect((await one.ask(asked(authority, "/", header("payments:guess")))).status).toBe(407);
    expect((await one.ask(asked(authority, "/", header("payments:s3cret:word")))).status).toBe(200);
    expect((await one.ask(asked("other.example.com", "/", header("payments:s3cret:word")))).status).toBe(403);
    expect(gateway.decisions.at(-2)).toMatchObject({ verdict: "allow", user: "payments" });
    expect(JSON.stringify(gateway.decisions)).not.toContain("s3cret");
  });
});

describe("tunnels", () => {
  let folder = "";
  let identity = { ca: "", certificate: "", privateKey: "" };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "egress-"));
    identity = await loadServerIdentity(folder, [API, "other.example.com"], Date.now());
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** A TLS origin that sends back what it gets; how many connections said hello to it. */
  async function tlsOrigin(): Promise<{ port: number; greeted: string[] }> {
    const greeted: string[] = [];
    const server = origin(
      createTls({ key: identity.privateKey, cert: identity.certificate }, (socket) => {
        greeted.push(String(socket.servername));
        socket.on("error", () => undefined);
        socket.pipe(socket);
      }),
    );
    server.on("tlsClientError", () => undefined);
    return { port: await listening(server), greeted };
  }

  /** Raw bytes in, and what a raw origin got. */
  async function rawOrigin(
    answer?: (socket: Socket) => void,
  ): Promise<{ port: number; got: () => string; closed: () => number }> {
    let got = "";
    let closed = 0;
    const server = origin(
      createServer({ allowHalfOpen: true }, (socket) => {
        socket.on("data", (bytes) => {
          got += bytes.toString("latin1");
        });
        socket.on("error", () => undefined);
        socket.on("close", () => {
          closed += 1;
        });
        answer?.(socket);
      }),
    );
    return { port: await listening(server), got: () => got, closed: () => closed };
  }

  /** The first bytes of a real TLS client. */
  async function clientHello(serverName: string | undefined): Promise<Buffer> {
    const sink = origin(createServer());
    const port = await listening(sink);
    const accepted = once(sink, "connection") as Promise<[Socket]>;
    const made = tlsConnect({
      host: HOME,
      port,
      rejectUnauthorized: false,
      ...(serverName === undefined ? {} : { servername: serverName }),
    });
    made.on("error", () => undefined);
    const [socket] = await accepted;
    const [bytes] = (await once(socket, "data")) as [Buffer];
    made.destroy();
    socket.destroy();
    return bytes;
  }

  it("carry TLS end to end when SNI is the CONNECT name", async () => {
    const { port, greeted } = await tlsOrigin();
    await gateway.open(config([rule(port, { protocol: "https" })]));
    const plain = connect({ host: HOME, port: gateway.port });
    plain.write(connectTo(`${API}:${port}`));
    const [head] = (await once(plain, "data")) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1.1 200 /);
    const tunnel = tlsConnect({ socket: plain, servername: API, ca: identity.ca });
    await once(tunnel, "secureConnect");
    tunnel.write("hello");
    const [echo] = (await once(tunnel, "data")) as [Buffer];
    expect(echo.toString()).toBe("hello");
    expect(greeted).toEqual([API]);
    expect(gateway.decisions).toMatchObject([{ verdict: "allow", kind: "connect", rule: "shop/p#rule" }]);
    tunnel.destroy();
  });

  it.each([
    ["another SNI", () => clientHello("other.example.com"), "sni_mismatch"],
    ["no SNI", () => clientHello(undefined), "sni_missing"],
    ["no TLS", async () => Buffer.from("GET / HTTP/1.1\r\n\r\n"), "not_tls"],
  ] as const)("with %s are cut before the origin hears a byte", async (_what, hello, code) => {
    const raw = await rawOrigin();
    await gateway.open(config([rule(raw.port, { protocol: "https" })]));
    const one = client();
    expect((await one.ask(connectTo(`${API}:${raw.port}`))).status).toBe(200);
    one.socket.write(await hello());
    await one.until(() => false);
    expect(raw.got()).toBe("");
    expect(gateway.decisions).toMatchObject([{ verdict: "deny", code }]);
  });

  it("pass a ClientHello on as it came, however it was split, and nothing of it before it is whole", async () => {
    const hello = await clientHello(API);
    const raw = await rawOrigin((socket) => socket.on("data", () => socket.write("seen")));
    await gateway.open(config([rule(raw.port, { protocol: "https" })]));
    for (const cuts of [[1], [4, 6], [40, 41, 42], [hello.length - 1], [5, hello.length - 1]]) {
      const one = client();
      await one.ask(connectTo(`${API}:${raw.port}`));
      let from = 0;
      for (const to of [...cuts, hello.length]) {
        // Each piece is a packet of its own: written only when the one before has left.
        await new Promise<unknown>((resolve) => one.socket.write(hello.subarray(from, to), resolve));
        await new Promise<unknown>((resolve) => setImmediate(resolve));
        from = to;
      }
      expect(await one.until((text) => text.includes("seen"))).toContain("seen");
    }
    expect(raw.got()).toBe(hello.toString("latin1").repeat(5));
  });

  it("are looked into also when the ClientHello came together with the CONNECT", async () => {
    const raw = await rawOrigin();
    await gateway.open(config([rule(raw.port, { protocol: "https" })]));
    const one = client();
    one.socket.write(Buffer.concat([Buffer.from(connectTo(`${API}:${raw.port}`)), await clientHello("other.example.com")]));
    await one.until(() => false);
    expect(raw.got()).toBe("");
    expect(gateway.decisions).toMatchObject([{ code: "sni_mismatch" }]);
  });

  it("of a tcp rule let the origin speak first, and each side end on its own", async () => {
    const raw = await rawOrigin((socket) => {
      socket.write("220 ready");
      socket.on("end", () => socket.end("221 bye"));
    });
    await gateway.open(config([rule(raw.port, { protocol: "tcp" })]));
    const one = client();
    await one.ask(connectTo(`${API}:${raw.port}`));
    expect(await one.until((text) => text.includes("ready"))).toBe("220 ready");
    one.socket.end("QUIT");
    expect(await one.until(() => false)).toBe("220 ready221 bye");
    expect(raw.got()).toBe("QUIT");
  });

  it("give their place back when the client resets, when it leaves, and when nothing answers", async () => {
    const raw = await rawOrigin((socket) => socket.on("end", () => socket.end()));
    const unused = createServer();
    const dead = await listening(unused);
    unused.close();
    await once(unused, "close");
    await gateway.open(config([rule(raw.port, { protocol: "tcp" }), rule(dead, { name: "dead", protocol: "tcp" })]), {
      maxTunnels: 1,
    });
    for (let i = 1; i <= 6; i++) {
      const one = client();
      expect((await one.ask(connectTo(`${API}:${raw.port}`))).status).toBe(200);
      expect((await client().ask(connectTo(`${API}:${raw.port}`))).status).toBe(503);
      if (i % 2 === 0) one.socket.resetAndDestroy();
      else one.socket.destroy();
      // The gateway has let go once the origin's side is closed.
      await expect.poll(raw.closed).toBe(i);
      expect((await client().ask(connectTo(`${API}:${dead}`))).status).toBe(502);
    }
  });

  it("are refused in the answer to CONNECT wherever that can be decided by then", async () => {
    const { port, greeted } = await tlsOrigin();
    await gateway.open(
      config([rule(port, { protocol: "https" })], { deny: [{ hosts: ["bad.example.com"], ports: [], reason: "no" }] }),
    );
    gateway.zone.set("bad.example.com.", [[HOME]]);
    for (const authority of [
      `bad.example.com:${port}`,
      `other.example.com:${port}`,
      `${API}:22`,
      `${HOME}:${port}`,
      `[::1]:${port}`,
    ]) {
      const answer = await client().ask(connectTo(authority));
      expect(answer.status).toBe(403);
      expect(answer.head).toMatch(/x-tidegate-reason: .+/i);
    }
    gateway.zone.set(`${API}.`, [["10.0.0.1"]]);
    expect(await client().ask(connectTo(`${API}:${port}`))).toMatchObject({
      status: 403,
      body: expect.stringContaining("10.0.0.1"),
    });
    gateway.zone.delete(`${API}.`);
    expect((await client().ask(connectTo(`${API}:${port}`))).status).toBe(502);
    expect(greeted).toEqual([]);
    expect(gateway.decisions.length).toBe(7);
  });
});

describe("requests in the clear that go on over TLS", () => {
  const OTHER = "other.example.com";
  const trusted = getCACertificates("default");
  const seen: { name: unknown; host: string | undefined; headers: IncomingMessage["headers"]; url: string | undefined }[] = [];
  let folder = "";
  let identity = { ca: "", certificate: "", privateKey: "" };
  let port = 0;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "egress-"));
    identity = await loadServerIdentity(folder, [API, OTHER], Date.now());
    setDefaultCACertificates([...trusted, identity.ca]);
  });
  afterAll(() => {
    setDefaultCACertificates(trusted);
    rmSync(folder, { recursive: true });
  });

  beforeEach(async () => {
    seen.length = 0;
    port = await tlsOrigin(identity);
    gateway.secrets = join(folder, "secrets");
    mkdirSync(join(gateway.secrets, "shop", "api"), { recursive: true });
    writeFileSync(join(gateway.secrets, "shop", "api", "token"), "s3cret\n");
  });

  async function tlsOrigin({ certificate, privateKey }: typeof identity): Promise<number> {
    const server = createHttps({ key: privateKey, cert: certificate }, (incoming, response) => {
      const name = "servername" in incoming.socket ? incoming.socket.servername : undefined;
      seen.push({ name, host: incoming.headers.host, headers: incoming.headers, url: incoming.url });
      const away = incoming.url === "/away";
      response.writeHead(away ? 302 : 200, { "content-length": 4, ...(away ? { location: `https://${OTHER}:${port}/` } : {}) });
      response.end("fine");
    });
    server.on("tlsClientError", () => undefined);
    return listening(origin(server));
  }

  const inject = [{ header: "authorization", secret: { namespace: "shop", name: "api", key: "token" }, prefix: "Bearer " }];
  const originated = (over: Partial<EgressRule> = {}): EgressRule =>
    rule(port, { protocol: "https", originate: { tls: "simple" }, inject, ...over });

  it("reach the checked address with SNI and Host of the name, and with the rule's credential instead of the client's", async () => {
    await gateway.open(config([originated({ methods: ["GET"], paths: [{ kind: "prefix", value: "/v1/" }] })]));
    const one = client();
    const mine = "Authorization: Bearer mine\r\nX-Kept: yes\r\n";
    expect(await one.ask(asked(`${API}:${port}`, "/v1/x?y=1", mine))).toMatchObject({ status: 200, body: "fine" });
    expect(seen).toMatchObject([{ name: API, host: `${API}:${port}`, url: "/v1/x?y=1" }]);
    expect(seen[0]!.headers).toMatchObject({ authorization: "Bearer s3cret", "x-kept": "yes" });
    expect(await one.ask(asked(`${API}:${port}`, "/v2/x"))).toMatchObject({ status: 403 });
    expect(await client().ask(connectTo(`${API}:${port}`))).toMatchObject({ status: 403 });
    expect(seen.length).toBe(1);
    expect(gateway.decisions[0]).toMatchObject({ verdict: "allow", address: `${HOME}:${port}` });
    expect(JSON.stringify(gateway.decisions)).not.toContain("s3cret");
  });

  it("take a credential that has changed, and none of them goes without", async () => {
    await gateway.open(config([originated()]));
    const one = client();
    await one.ask(asked(`${API}:${port}`));
    writeFileSync(join(gateway.secrets, "shop", "api", "token"), "next one");
    await one.ask(asked(`${API}:${port}`));
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer s3cret", "Bearer next one"]);
    rmSync(join(gateway.secrets, "shop", "api", "token"));
    const refused = await one.ask(asked(`${API}:${port}`));
    expect(refused).toMatchObject({ status: 503, body: expect.stringContaining("shop/api, key token, is missing") });
    expect(refused.body).not.toMatch(/s3cret|next one/);
    expect(seen.length).toBe(2);
  });

  it("are decided afresh for each authority, and share no connection with another name at the same address", async () => {
    gateway.zone.set(`${OTHER}.`, [[HOME]]);
    await gateway.open(config([originated(), originated({ name: "other", hosts: [OTHER], inject: [] })]));
    const one = client();
    for (const host of [API, OTHER, API]) expect((await one.ask(asked(`${host}:${port}`))).status).toBe(200);
    expect((await one.ask(asked(`third.example.com:${port}`))).status).toBe(403);
    expect(seen.map(({ name, host }) => [name, host])).toEqual([API, OTHER, API].map((host) => [host, `${host}:${port}`]));
    expect(seen.map(({ headers }) => headers.authorization)).toEqual(["Bearer s3cret", undefined, "Bearer s3cret"]);
  });

  it("relay a redirect without following it, so no credential goes where it points", async () => {
    gateway.zone.set(`${OTHER}.`, [[HOME]]);
    await gateway.open(config([originated()]));
    const answer = await client().ask(asked(`${API}:${port}`, "/away"));
    expect(answer.status).toBe(302);
    expect(seen.map(({ url }) => url)).toEqual(["/away"]);
    expect((await client().ask(asked(`${OTHER}:${port}`))).status).toBe(403);
  });

  it("end at a certificate for another name, of an unknown authority, or at no TLS", async () => {
    const stranger = mkdtempSync(join(tmpdir(), "egress-"));
    const foreign = await tlsOrigin(await loadServerIdentity(stranger, [API], Date.now()));
    rmSync(stranger, { recursive: true });
    const plain = await listening(origin(createHttp((_, response) => response.end("plain"))));
    const unnamed = "unnamed.example.com";
    gateway.zone.set(`${unnamed}.`, [[HOME]]);
    const allow = [port, foreign, plain].map((at) => ({
      ...originated(),
      name: `r${at}`,
      hosts: [API, unnamed],
      ports: [at],
      addresses: [{ cidr: OPEN_HOME, ports: [at] }],
    }));
    await gateway.open(config(allow));
    for (const authority of [`${unnamed}:${port}`, `${API}:${foreign}`, `${API}:${plain}`]) {
      const answer = await client().ask(asked(authority));
      expect([authority, answer.status]).toEqual([authority, 502]);
      expect(answer.body).not.toContain("s3cret");
    }
    expect(seen).toEqual([]);
  });
});
