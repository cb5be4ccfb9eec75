/** TLS from a gateway to its origins: whom it believes, what it shows, and what a request is told when either fails. */
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer, type Server, type TLSSocket, type TlsOptions } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ClientTls } from "../../gateway/core/ir/index.ts";
import { type Issued, TestAuthority } from "../support/authority.ts";
import { CertificateFolder } from "../support/certificate-folder.ts";
import {
  eventually,
  freePort,
  okAnswer,
  RawClient,
  type TestGateway,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";

let files: CertificateFolder;
let authority: TestAuthority;
let other: TestAuthority;
let server: Issued;
const ORIGIN = "origin.test";

beforeAll(async () => {
  files = new CertificateFolder("tls-origins");
  [authority, other] = [await TestAuthority.create("one"), await TestAuthority.create("other")];
  server = await authority.issue({
    use: "server",
    names: [
      { type: "dns", value: ORIGIN },
      { type: "url", value: "spiffe://mesh/ns/a/sa/origin" },
    ],
  });
  save("ca.pem", authority.certificate);
  save("other.pem", other.certificate);
  saveIssued("client", await authority.issue({ commonName: "gateway", use: "client" }));
  saveIssued("stranger", await other.issue({ commonName: "stranger", use: "client" }));
  return () => files.remove();
});

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

const path = (file: string) => files.path(file);
const save = (file: string, text: string) => files.save(file, text);
const saveIssued = (name: string, issued: Issued) => files.saveIssued(name, issued);

const tls = (over: Partial<ClientTls> = {}): ClientTls => ({
  mode: "simple",
  serverName: ORIGIN,
  subjectAltNames: [],
  caFile: path("ca.pem"),
  minVersion: "TLSv1.2",
  insecureSkipVerify: false,
  ...over,
});

const mutual = (name: string, over: Partial<ClientTls> = {}): ClientTls =>
  tls({ mode: "mutual", certificateFile: path(`${name}.crt`), privateKeyFile: path(`${name}.key`), ...over });

interface Origin {
  readonly port: number;
  /** Common names of the certificates that connections have shown, in order; undefined: none. */
  readonly shown: (string | undefined)[];
  readonly resumed: boolean[];
  readonly names: unknown[];
  readonly sockets: Set<TLSSocket>;
}

async function originWith(options: TlsOptions = {}): Promise<Origin> {
  const origin: Origin = { port: 0, shown: [], resumed: [], names: [], sockets: new Set() };
  const listening: Server = createServer({ cert: server.certificate, key: server.key, ...options }, (socket) => {
    origin.shown.push(socket.getPeerX509Certificate()?.subject?.match(/CN=(\w+)/)?.[1]);
    origin.resumed.push(socket.isSessionReused());
    origin.names.push(socket.servername);
    origin.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", () => socket.write(okAnswer("over TLS")));
  });
  listening.on("tlsClientError", (_error, socket) => socket.destroy());
  await once(listening.listen(0, "127.0.0.1"), "listening");
  opened.push({
    stop: () => {
      listening.close();
      for (const socket of origin.sockets) socket.destroy();
    },
  });
  return { ...origin, port: (listening.address() as AddressInfo).port };
}

interface Asked {
  readonly gateway: TestGateway;
  readonly problems: readonly { readonly name: string; readonly reason: string }[];
  /** One request over a client connection of its own. */
  answer(): Promise<string>;
  /** Lines of the access log. */
  log(): Promise<readonly Record<string, unknown>[]>;
}

let count = 0;

async function towards(origin: Origin, clientTls: ClientTls, secrets?: string): Promise<Asked> {
  const gateway = testGateway(1, undefined, secrets);
  opened.push({ stop: () => void gateway.engine.drain(0) });
  const port = await freePort();
  const log = path(`access-${count++}.log`);
  const snapshot = testSnapshot({
    listeners: [testListener(port)],
    originPorts: [origin.port],
    cluster: { tls: clientTls },
    settings: { accessLog: { enabled: true, path: log } },
  });
  const { problems } = await gateway.engine.installSnapshot(snapshot, "1.1", () => Promise.resolve());
  return {
    gateway,
    problems,
    async answer() {
      const client = new RawClient(port);
      const text = await client.send("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").end();
      client.close();
      return text;
    },
    async log() {
      let text = "";
      await eventually(() => {
        text = existsSync(log) ? readFileSync(log, "utf8") : "";
        return text.endsWith("\n");
      });
      return text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
  };
}

describe("whom a gateway believes", () => {
  it.each<[string, Partial<ClientTls>, RegExp | undefined]>([
    ["a certificate for the name", {}, undefined],
    ["one of the names that are listed", { subjectAltNames: ["x.test", "spiffe://mesh/ns/a/sa/origin"] }, undefined],
    ["anybody, where it is told to", { insecureSkipVerify: true, serverName: "other.test" }, undefined],
    ["not a certificate for another name", { serverName: "other.test" }, /altnames/],
    ["none of the names that are listed", { subjectAltNames: ["spiffe://mesh/ns/a/sa"] }, /none of the certificate's names/],
    ["not another authority", {}, /self[- ]signed|unable to/],
  ])("%s", async (what, over, problem) => {
    const origin = await originWith();
    const given = what === "not another authority" ? { caFile: path("other.pem") } : over;
    const { caFile: _ca, ...unchecked } = tls(given);
    const asked = await towards(origin, given.insecureSkipVerify ? unchecked : tls(given));
    const answer = await asked.answer();
    if (problem === undefined) {
      expect(answer).toMatch(/over TLS$/);
      expect(origin.names[0]).toBe(given.serverName ?? ORIGIN);
      return;
    }
    expect(answer).toMatch(/^HTTP\/1.1 503 /);
    const [line] = await asked.log();
    expect(line?.["flags"]).toMatch(/^(URX,)?UF/);
    expect(line?.["reason"]).toMatch(problem);
  });

  it("nobody whose certificate is on a list, from the moment the list says so", async () => {
    save("crl.pem", await authority.revoke(["7f"]));
    const origin = await originWith();
    const asked = await towards(origin, tls({ crlFile: path("crl.pem") }));
    expect(await asked.answer()).toMatch(/over TLS$/);
    // The next request needs a connection of its own, with a session to resume.
    const closeAll = () => {
      for (const socket of origin.sockets) socket.destroy();
    };
    closeAll();
    save("crl.pem", await authority.revoke([server.serial]));
    await untilMatch(/^HTTP\/1.1 503 /, async () => {
      closeAll();
      return await asked.answer();
    });
    await untilMatch(/revoked/, async () => JSON.stringify((await asked.log()).map((line) => line["reason"])));
  });
});

describe("what a gateway shows", () => {
  it("its certificate, to origins that ask, also when a session is resumed", async () => {
    const origin = await originWith({ requestCert: true, rejectUnauthorized: true, ca: authority.certificate });
    const asked = await towards(origin, mutual("client"));
    expect(await asked.answer()).toMatch(/over TLS$/);
    for (const socket of origin.sockets) socket.destroy();
    await untilMatch(/over TLS$/, () => asked.answer());
    expect(origin.shown).toEqual(["gateway", "gateway"]);
    expect(origin.resumed).toEqual([false, true]);
  });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("and hears when that is not enough: %s", async (maxVersion) => {
    const origin = await originWith({ requestCert: true, rejectUnauthorized: true, ca: authority.certificate, maxVersion });
    const asked = await towards(origin, tls());
    expect(await asked.answer()).toMatch(/^HTTP\/1.1 503 /);
    const [line] = await asked.log();
    expect(line?.["flags"]).toMatch(/UF/);
    expect(line?.["reason"]).toMatch(/alert/);
  });

  it("the one of its files, for new connections from then on; old ones live on", async () => {
    saveIssued("swapped", await authority.issue({ commonName: "before", use: "client" }));
    const origin = await originWith({ requestCert: true, rejectUnauthorized: true, ca: authority.certificate });
    const asked = await towards(origin, mutual("swapped"));
    expect(await asked.answer()).toMatch(/over TLS$/);
    save("swapped.crt", "half a fi");
    await eventually(() =>
      asked.gateway.logged.some((line) => line.includes("is not a PEM certificate; what was read before stays")),
    );
    saveIssued("swapped", await authority.issue({ commonName: "after", use: "client" }));
    await untilMatch(/after/, async () => {
      expect(await asked.answer()).toMatch(/over TLS$/);
      // One that is idle is used again until somebody closes it.
      for (const socket of origin.sockets) socket.destroy();
      origin.sockets.clear();
      return origin.shown.join();
    });
  });
});

describe("files that cannot be used", () => {
  it("are a problem of the cluster, and requests get 503 with the reason until they can", async () => {
    const secrets = path("secrets");
    const secret = (key: string) => `secret:shop/origin/${key}`;
    const origin = await originWith({ requestCert: true, rejectUnauthorized: true, ca: authority.certificate });
    const asked = await towards(
      origin,
      mutual("client", {
        caFile: secret("ca.crt"),
        crlFile: secret("ca.crl"),
        certificateFile: secret("tls.crt"),
        privateKeyFile: secret("tls.key"),
      }),
      secrets,
    );
    expect(asked.problems).toEqual([
      { name: "outbound|80||origin.test", reason: `authorities ${secrets}/shop/origin/ca.crt cannot be read: it does not exist` },
    ]);
    expect(await asked.answer()).toMatch(/^HTTP\/1.1 503 /);
    const [line] = await asked.log();
    expect(line?.["flags"]).toMatch(/UF/);
    expect(line?.["reason"]).toContain("shop/origin/ca.crt cannot be read: it does not exist");
    mkdirSync(join(secrets, "shop", "origin"), { recursive: true });
    save("secrets/shop/origin/ca.crt", authority.certificate);
    const issued = await authority.issue({ commonName: "secret", use: "client" });
    save("secrets/shop/origin/tls.crt", issued.certificate);
    save("secrets/shop/origin/tls.key", issued.key);
    await untilMatch(/over TLS$/, () => asked.answer());
    expect(origin.shown).toEqual(["secret"]);
  });
});

async function untilMatch(wanted: RegExp, asked: () => Promise<string>): Promise<void> {
  const untilMs = performance.now() + 30_000;
  let last = "";
  while (performance.now() < untilMs) {
    last = await asked();
    if (wanted.test(last)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect(last).toMatch(wanted);
}
