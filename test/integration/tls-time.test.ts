/** What takes a clock: keys of tickets that change with time, certificates that end while they are in force, handshakes that take too long. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectPlain, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, DEFAULT_CIPHERS } from "node:tls";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { CompiledListener } from "../../gateway/core/index.ts";
import type { ServerTls } from "../../gateway/core/ir/index.ts";
import { Deadlines } from "../../gateway/node/deadlines.ts";
import { PemFiles } from "../../gateway/node/pem-files.ts";
import { TlsTermination } from "../../gateway/node/tls.ts";
import { HANDSHAKE_TIMEOUT_MS } from "../../gateway/node/tls-handshake.ts";
import { serverSuites } from "../../gateway/node/tls-material.ts";
import { TICKET_PERIOD_MS, TICKET_SECRET_BYTES } from "../../gateway/node/tls-tickets.ts";
import { TestAuthority } from "../support/authority.ts";
import { testListener } from "../support/gateway.ts";

let directory: string;
let server: Server;
let termination: TlsTermination<string>;
let nowMs = Date.now();
const clock = { now: () => nowMs, unixMs: () => nowMs };
let deadlines: Deadlines;
/** Runs what the thread's timer was armed for. */
let timer: (() => void) | undefined;
const told: string[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-tls-unit-"));
  const issued = await (await TestAuthority.create()).issue({ days: [-1, 2] });
  writeFileSync(join(directory, "tls.crt"), issued.certificate);
  writeFileSync(join(directory, "tls.key"), issued.key);
  nowMs = Date.now();
  deadlines = new Deadlines(clock, armed);
  termination = new TlsTermination(
    {
      files: new PemFiles(directory),
      thread: { clock, deadlines },
      ticketSecret: new Uint8Array(TICKET_SECRET_BYTES),
      unixMs: () => nowMs,
      protocols: () => [],
    },
    {
      secured: (socket, { serverName, version }, given) => {
        told.push(`${given}: ${serverName} ${version} ${socket.isSessionReused() ? "resumed" : "new"}`);
        socket.on("error", () => undefined).resume();
        socket.end("x");
      },
      handshakeRefused: (reason, _serverName, given) => told.push(`${given}: ${reason}`),
      tlsProblemsChanged: () => undefined,
    },
  );
  termination.install(compiled());
  server = createServer({ allowHalfOpen: true }, (socket) => termination.acceptUnread(socket, "a"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(() => {
  server.close();
  termination.close();
  rmSync(directory, { recursive: true, force: true });
});

function armed(_delayMs: number, run: () => void): () => void {
  timer = run;
  return () => {
    timer = undefined;
  };
}

function compiled(): CompiledListener {
  const tls: ServerTls = {
    mode: "simple",
    certificateFile: join(directory, "tls.crt"),
    privateKeyFile: join(directory, "tls.key"),
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    cipherSuites: [],
  };
  const source = { name: "s", serverNames: ["s.test"], routeTable: "main", tls };
  const servers = { exact: new Map([["s.test", { source, table: undefined }]]), suffix: new Map(), any: undefined };
  return { source: testListener(1, { protocol: "https", servers: [source] }), servers } as unknown as CompiledListener;
}

function shake(session?: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const { port } = server.address() as AddressInfo;
    const socket = connect({
      port,
      host: "127.0.0.1",
      servername: "s.test",
      rejectUnauthorized: false,
      ...(session === undefined ? {} : { session }),
    });
    let fresh: Buffer | undefined;
    socket.on("session", (given) => {
      fresh = given;
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(fresh));
    socket.resume();
  });
}

test("a ticket is good until its key has changed; then its client shakes hands as if for the first time", async () => {
  told.length = 0;
  nowMs = TICKET_PERIOD_MS * Math.floor(nowMs / TICKET_PERIOD_MS);
  const session = await shake();
  nowMs += TICKET_PERIOD_MS - 1;
  await shake(session);
  nowMs += 1;
  await shake(session);
  expect(told).toEqual(["a: s.test TLSv1.3 new", "a: s.test TLSv1.3 resumed", "a: s.test TLSv1.3 new"]);
});

test("a certificate that ends while it is in force becomes a problem, and stays in force", async () => {
  expect(termination.problems).toEqual([]);
  const file = join(directory, "tls.crt");
  nowMs += 3 * 86_400_000;
  termination.install(compiled());
  expect(termination.problems).toEqual([{ name: "s", reason: expect.stringContaining(`certificate ${file} has expired on `) }]);
  told.length = 0;
  await shake();
  expect(told).toEqual(["a: s.test TLSv1.3 new"]);
});

test("a handshake that takes too long is given up, and one that is over is not", async () => {
  told.length = 0;
  await shake();
  expect(deadlines.size).toBe(0);
  const { port } = server.address() as AddressInfo;
  const slow = connectPlain(port, "127.0.0.1");
  slow.on("error", () => undefined);
  await vi.waitFor(() => expect(deadlines.size).toBe(1));
  nowMs += HANDSHAKE_TIMEOUT_MS - 1;
  timer?.();
  expect(told).toEqual(["a: s.test TLSv1.3 new"]);
  nowMs += 1;
  const gone = once(slow, "close");
  timer?.();
  await gone;
  await vi.waitFor(() => expect(told).toEqual(["a: s.test TLSv1.3 new", "a: the handshake was not over in time"]));
});

test("a connection counts as one of its server until it is closed, however its handshake ends", async () => {
  const { port } = server.address() as AddressInfo;
  const count = () => new Promise<number>((resolve) => server.getConnections((_error, open) => resolve(open)));
  const garbage = connectPlain(port, "127.0.0.1", () => garbage.end("no hello"));
  garbage.on("error", () => undefined);
  const client = connect({ port, host: "127.0.0.1", servername: "s.test", rejectUnauthorized: false });
  client.on("error", () => undefined).resume();
  await once(client, "end");
  await vi.waitFor(async () => expect(await count()).toBe(1));
  client.end();
  await vi.waitFor(async () => expect(await count()).toBe(0));
});

test("the suite that every client of TLS 1.3 has comes first, whatever the client would rather have", async () => {
  const { port } = server.address() as AddressInfo;
  const ciphers = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
  const client = connect({ port, host: "127.0.0.1", servername: "s.test", rejectUnauthorized: false, ciphers });
  client.on("error", () => undefined);
  await once(client, "secureConnect");
  expect(client.getCipher().name).toBe("TLS_AES_128_GCM_SHA256");
  client.destroy();
  expect([...serverSuites([])].sort()).toEqual(DEFAULT_CIPHERS.split(":").sort());
  const [first, second, third, ...rest] = serverSuites(["ECDHE-ECDSA-AES256-GCM-SHA384"]);
  expect([first, second, third].sort()).toEqual(ciphers.split(":").sort());
  expect([first, ...rest]).toEqual(["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"]);
});
