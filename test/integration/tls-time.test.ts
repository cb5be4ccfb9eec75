/** What takes a clock: keys of tickets that change with time, certificates that end while they are in force. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { CompiledListener } from "../../gateway/core/index.ts";
import type { ServerTls } from "../../gateway/core/ir/index.ts";
import { PemFiles } from "../../gateway/node/pem-files.ts";
import { TlsTermination } from "../../gateway/node/tls.ts";
import { TICKET_PERIOD_MS, TICKET_SECRET_BYTES } from "../../gateway/node/tls-tickets.ts";
import { TestAuthority } from "../support/authority.ts";
import { testListener } from "../support/gateway.ts";

let directory: string;
let server: Server;
let termination: TlsTermination<string>;
let nowMs = Date.now();
const told: string[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-tls-unit-"));
  const issued = await (await TestAuthority.create()).issue({ days: [-1, 2] });
  writeFileSync(join(directory, "tls.crt"), issued.certificate);
  writeFileSync(join(directory, "tls.key"), issued.key);
  nowMs = Date.now();
  termination = new TlsTermination(
    {
      files: new PemFiles(directory),
      ticketSecret: new Uint8Array(TICKET_SECRET_BYTES),
      unixMs: () => nowMs,
      protocols: () => [],
    },
    {
      secured: (socket, { serverName, version }, given) => {
        told.push(`${given}: ${serverName} ${version} ${socket.isSessionReused() ? "resumed" : "new"}`);
        socket.on("error", () => undefined).end("x");
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
