/** One port in TLS, told apart by the name in the ClientHello: what goes through, what ends here, and what is turned away. */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Listener, ServerTls, Snapshot } from "../../gateway/core/ir/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  CLUSTER,
  freePort,
  listening,
  type TestGateway,
  testCluster,
  testGateway,
  testListener,
  testSnapshot,
} from "../support/gateway.ts";
import { connectionRoute, hashOf, passthrough, pattern, receive, tcpListener } from "../support/opaque.ts";
import { clientHello, records } from "../wire/client-hellos.ts";

const MIB = 1024 * 1024;
/** RFC 8446 6: alert, fatal, unrecognized_name. */
const UNRECOGNIZED_NAME = "1503030002" + "0270";
const NAMED = "outbound_.80_._.db.shop.svc.cluster.local";

let directory = "";
const file = (name: string): string => join(directory, name);
const cleanups: (() => unknown)[] = [];
/** Ends TLS itself and echoes, with the certificate of `origin.test`. */
let originPort = 0;
/** Echoes in clear. */
let plainPort = 0;
let port = 0;
let gateway: TestGateway;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-passthrough-"));
  for (const [name, names] of [
    ["origin", ["origin.test", "*.through.test", NAMED]],
    ["front", ["web.test", "db.test"]],
  ] as const)
    await writeCertificate({ key: file(`${name}.key`), certificate: file(`${name}.pem`) }, name, names);
  const key = readFileSync(file("origin.key"));
  const cert = readFileSync(file("origin.pem"));
  const origin = createTlsServer({ key, cert, allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  const plain = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  originPort = await listening(origin);
  plainPort = await listening(plain);
  port = await freePort();
  gateway = testGateway();
  await gateway.install(snapshot());
});

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

afterAll(async () => {
  await gateway?.engine.drain(50);
  rmSync(directory, { recursive: true, force: true });
});

function ends(): ServerTls {
  return {
    mode: "simple",
    certificateFile: file("front.pem"),
    privateKeyFile: file("front.key"),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    cipherSuites: [],
  };
}

function snapshot(change: Partial<Listener> = {}): Snapshot {
  const base = testSnapshot({ listeners: [], originPorts: [plainPort] });
  const servers: Listener["servers"] = [
    { name: "web", serverNames: ["web.test"], routeTable: "main", tls: ends() },
    { name: "db", serverNames: ["db.test"], tls: ends(), connections: [connectionRoute()] },
    passthrough("through", ["*.through.test"], [connectionRoute({ destinations: [{ cluster: "tls", weight: 1 }] })]),
    {
      name: "auto",
      serverNames: ["*.shop.svc.cluster.local"],
      tls: { mode: "auto-passthrough", hosts: ["*.shop.svc.cluster.local"] },
    },
  ];
  return {
    ...base,
    listeners: [testListener(port, { protocol: "tls", servers, ...change })],
    clusters: [...base.clusters, testCluster("tls"), testCluster(NAMED)],
    endpoints: [
      ...base.endpoints,
      ...["tls", NAMED].map((cluster) => ({ cluster, endpoints: [{ address: "127.0.0.1", port: originPort, weight: 1 }] })),
    ],
    routeTables: [
      {
        name: "main",
        quotas: [],
        virtualHosts: [
          {
            name: "any",
            domains: ["*"],
            quotas: [],
            routes: [
              {
                id: "hello",
                origin: { kind: "VirtualService", namespace: "test", name: "test" },
                matches: [],
                action: { kind: "direct", status: 200, body: { text: "by http" } },
                quotas: [],
              },
            ],
          },
        ],
      },
    ],
  };
}

function kept<T extends Socket>(socket: T): T {
  cleanups.push(() => socket.destroy());
  socket.on("error", () => undefined);
  return socket;
}

async function secure(servername: string, authority = "origin"): Promise<TLSSocket> {
  const ca = readFileSync(file(`${authority}.pem`));
  const socket = kept(connectTls({ socket: connect({ port, host: "127.0.0.1", allowHalfOpen: true }), servername, ca }));
  // The types leave out what `net` has.
  Object.assign(socket, { allowHalfOpen: true });
  await once(socket, "secureConnect");
  return socket;
}

/** What comes back of bytes on a bare connection until it ends, in hex. */
async function raw(pieces: readonly Uint8Array[]): Promise<string> {
  const socket = kept(connect({ port, host: "127.0.0.1", noDelay: true }));
  let received = "";
  socket.on("data", (bytes: Buffer) => {
    received += bytes.toString("hex");
  });
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve));
  return received;
}

describe("one port", () => {
  it("lets TLS through to the origin, whose certificate the client sees", async () => {
    const socket = await secure("a.through.test");
    expect(socket.getPeerCertificate().subject.CN).toBe("origin");
    socket.write("hello");
    expect(String((await once(socket, "data"))[0])).toBe("hello");
  });

  it("carries 8 MiB both ways through it, and each side ends by itself", async () => {
    const socket = await secure("b.through.test");
    const sent = pattern(8 * MIB);
    const received = receive(socket);
    socket.end(sent);
    expect(await received).toEqual({ bytes: sent.length, hash: hashOf(sent) });
  });

  it("ends TLS where a server says so, with HTTP in it", async () => {
    const socket = await secure("web.test", "front");
    socket.write("GET / HTTP/1.1\r\nhost: web.test\r\n\r\n");
    expect(String((await once(socket, "data"))[0])).toContain("by http");
  });

  it("ends TLS where a server says so, with anything in it", async () => {
    const socket = await secure("db.test", "front");
    expect(socket.alpnProtocol || false).toBe(false);
    const sent = pattern(2 * MIB);
    const received = receive(socket);
    socket.end(sent);
    expect(await received).toEqual({ bytes: sent.length, hash: hashOf(sent) });
  });

  it("lets the name say which cluster it is for", async () => {
    const socket = await secure(NAMED);
    socket.write("named");
    expect(String((await once(socket, "data"))[0])).toBe("named");
  });
});

describe("the ClientHello", () => {
  it("may come byte by byte, in records of any size", async () => {
    const behind = Promise.withResolvers<Buffer>();
    const spy = createServer((socket) => {
      let all: Buffer = Buffer.alloc(0);
      socket.on("data", (bytes: Buffer) => {
        all = Buffer.concat([all, bytes]);
        if (all.length >= hello.length) behind.resolve(all);
      });
      socket.on("error", () => undefined);
    });
    const hello = records(clientHello({ serverName: "spy.through.test" }), 20);
    const spyPort = await listening(spy);
    cleanups.push(() => spy.close());
    const base = snapshot();
    await gateway.install({
      ...base,
      endpoints: base.endpoints.map((entry) =>
        entry.cluster === "tls" ? { ...entry, endpoints: [{ address: "127.0.0.1", port: spyPort, weight: 1 }] } : entry,
      ),
    });
    cleanups.push(() => gateway.install(snapshot()));
    const socket = kept(connect({ port, host: "127.0.0.1", noDelay: true }));
    for (const byte of hello) {
      socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(Buffer.compare(await behind.promise, Buffer.from(hello))).toBe(0);
  });

  it.each([
    ["a name that no server has", { serverName: "nobody.test" }],
    ["no name", {}],
    ["an address for a name", { serverName: "127.0.0.1" }],
    ["a service that the hosts do not cover", { serverName: "outbound_.80_._.db.other.svc.cluster.local" }],
  ])("%s is answered with unrecognized_name", async (_what, parts) => {
    expect(await raw([records(clientHello(parts), 16_384)])).toBe(UNRECOGNIZED_NAME);
  });

  it("that names a cluster which is not there closes the connection", async () => {
    expect(await raw([records(clientHello({ serverName: "outbound_.81_._.db.shop.svc.cluster.local" }), 16_384)])).toBe("");
  });

  it.each(["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff"])("%j is none, and closes the connection", async (text) => {
    expect(await raw([Buffer.from(text, "latin1")])).toBe("");
  });
});

it("a client that has gone through sees nothing of a snapshot that takes its server away", async () => {
  const socket = await secure("stays.through.test");
  cleanups.push(() => gateway.install(snapshot()));
  const before = snapshot();
  const servers = before.listeners[0]?.servers.filter(({ name }) => name !== "through") ?? [];
  await gateway.install(snapshot({ servers }));
  socket.write("still here");
  expect(String((await once(socket, "data"))[0])).toBe("still here");
  expect(await raw([records(clientHello({ serverName: "stays.through.test" }), 16_384)])).toBe(UNRECOGNIZED_NAME);
});

it("bytes that come in clear are sent on in TLS where the cluster says so, and only to whom its certificate is for", async () => {
  const [good, bad] = [await freePort(), await freePort()];
  const base = testSnapshot({ listeners: [], originPorts: [originPort] });
  const tls = {
    mode: "simple",
    subjectAltNames: [],
    caFile: file("origin.pem"),
    minVersion: "TLSv1.2",
    insecureSkipVerify: false,
  } as const;
  const made = testGateway();
  cleanups.push(() => made.engine.drain(50));
  await made.install({
    ...base,
    listeners: [tcpListener(good), tcpListener(bad, [connectionRoute({ destinations: [{ cluster: "wrong", weight: 1 }] })])],
    clusters: [
      testCluster(CLUSTER, { tls: { ...tls, serverName: "origin.test" } }),
      testCluster("wrong", { tls: { ...tls, serverName: "other.test" } }),
    ],
    endpoints: [...base.endpoints, { cluster: "wrong", endpoints: [{ address: "127.0.0.1", port: originPort, weight: 1 }] }],
  });
  const socket = kept(connect({ port: good, host: "127.0.0.1", allowHalfOpen: true }));
  const sent = pattern(3 * MIB);
  const received = receive(socket);
  socket.end(sent);
  expect(await received).toEqual({ bytes: sent.length, hash: hashOf(sent) });
  const refused = kept(connect({ port: bad, host: "127.0.0.1" }));
  await new Promise((resolve) => refused.once("close", resolve));
  expect(refused.bytesRead).toBe(0);
});
