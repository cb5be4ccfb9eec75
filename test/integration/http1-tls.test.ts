/** Connections over TLS, as the rules of HTTP have them, looked at record by record: in TLS 1.2 the kind of a record is to be seen. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect as connectTls, createServer as createTlsServer, type TLSSocket } from "node:tls";
import { afterEach, expect, it } from "vitest";
import { writeCertificate } from "../support/certificate.ts";
import { eventually, freePort, listening, okAnswer, testGateway, testListener, testSnapshot } from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

const GET = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
const POOL = { connectTimeoutMs: 1000, idleTimeoutMs: 50, maxConnections: 8, maxPendingRequests: 8, maxRequestsPerConnection: 0 };
const ALERT = 21;

/** A gateway with TLS on either side, and somebody who listens there. `cut`: the origin closes after what it answers. */
async function start({ answer = okAnswer("ok"), cut = false } = {}) {
  const origins: TLSSocket[] = [];
  const directory = mkdtempSync(join(tmpdir(), "tidegate-tls-rules-"));
  opened.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
  const [privateKeyFile, certificateFile] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  await writeCertificate({ key: privateKeyFile, certificate: certificateFile }, "a.test", ["a.test"]);
  const origin = createTlsServer(
    { key: readFileSync(privateKeyFile), cert: readFileSync(certificateFile), maxVersion: "TLSv1.2" },
    (socket) => {
      origins.push(socket);
      socket.on("error", () => undefined);
      socket.on("data", () => (cut ? socket.end(answer) : socket.write(answer)));
    },
  );
  const toOrigin = await tee(await listening(origin));
  const port = await freePort();
  const toGateway = await tee(port);
  opened.push({ stop: () => void origin.close() }, toOrigin, toGateway);
  const versions = { minVersion: "TLSv1.2", maxVersion: "TLSv1.2", cipherSuites: [] } as const;
  const tls = { mode: "simple", certificateFile, privateKeyFile, ...versions } as const;
  const gateway = testGateway();
  opened.push({ stop: () => void gateway.engine.drain(0) });
  const verified = { mode: "simple", serverName: "a.test", subjectAltNames: [], caFile: certificateFile } as const;
  await gateway.install(
    testSnapshot({
      listeners: [
        testListener(port, { protocol: "https", servers: [{ name: "a", serverNames: ["*"], routeTable: "main", tls }] }),
      ],
      originPorts: [toOrigin.port],
      cluster: { tls: { ...verified, minVersion: "TLSv1.2", insecureSkipVerify: false }, pool: POOL },
    }),
  );
  const client = (options: ConnectionOptions = {}): TLSSocket => {
    const common = { port: toGateway.port, host: "127.0.0.1", rejectUnauthorized: false, servername: "a.test" } as const;
    const socket = connectTls({ ...common, maxVersion: "TLSv1.2", ...options });
    opened.push({ stop: () => socket.destroy() });
    socket.on("error", () => undefined);
    return socket;
  };
  return { client, origins, toOrigin, toGateway };
}

/** Stands between a client and the server at `port`, and keeps what each said. */
async function tee(port: number) {
  const asked: Buffer[] = [];
  const answered: Buffer[] = [];
  const server = createServer((socket) => {
    const peer = connect(port, "127.0.0.1");
    for (const one of [socket, peer]) one.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => asked.push(bytes)).pipe(peer);
    peer.on("data", (bytes: Buffer) => answered.push(bytes)).pipe(socket);
  });
  const own = await listening(server);
  return { port: own, asked, answered, stop: () => void server.close() };
}

/** Kind of the last TLS record. */
function lastRecord(chunks: readonly Buffer[]): number | undefined {
  const bytes = Buffer.concat(chunks);
  let kind: number | undefined;
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) kind = bytes[at];
  return kind;
}

function heard(socket: TLSSocket): () => string {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
  });
  return () => text;
}

it("connections end with a closure alert, on either side", async () => {
  const { client, toOrigin, toGateway } = await start();
  const socket = client();
  const answer = heard(socket);
  socket.write(GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
  await new Promise((resolve) => socket.once("end", resolve));
  expect(answer()).toMatch(/\r\n\r\nok$/);
  expect(lastRecord(toGateway.answered)).toBe(ALERT);
  await eventually(() => lastRecord(toOrigin.asked) === ALERT);
});

it("a response that only the connection's end ends, cut by its origin, has no closure alert", async () => {
  const { client, toGateway } = await start({
    answer: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    cut: true,
  });
  const socket = client();
  const answer = heard(socket);
  socket.write("GET / HTTP/1.0\r\nhost: a.test\r\n\r\n");
  await new Promise((resolve) => socket.once("close", resolve));
  expect(answer()).toMatch(/\r\n\r\nabc$/);
  expect(lastRecord(toGateway.answered)).not.toBe(ALERT);
});

it("clients cannot renegotiate", async () => {
  const { client } = await start();
  const socket = client();
  const answer = heard(socket);
  socket.write(GET);
  await eventually(() => answer().endsWith("ok"));
  const again = await new Promise((resolve) => {
    socket.once("error", (error: Error & { code?: string }) => resolve(error.code));
    socket.once("close", () => resolve("closed"));
    socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error === null ? "renegotiated" : "refused"));
  });
  expect(again).not.toBe("renegotiated");
});

it("origins cannot renegotiate", async () => {
  const { client, origins } = await start();
  const socket = client();
  const answer = heard(socket);
  socket.write(GET);
  await eventually(() => answer().endsWith("ok"));
  const [origin] = origins;
  const again = await new Promise((resolve) => {
    origin?.once("error", (error: Error & { code?: string }) => resolve(error.code));
    origin?.once("close", () => resolve("closed"));
    origin?.once("secure", () => resolve("renegotiated"));
    origin?.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error === null ? "renegotiated" : "refused"));
  });
  expect(again).not.toBe("renegotiated");
  // To the library the refusal is an error on which nothing follows.
  origin?.destroy();
  await new Promise((resolve) => setTimeout(resolve, 2 * POOL.idleTimeoutMs));
  socket.write(GET);
  await eventually(() => answer().match(/\r\n\r\nok/g)?.length === 2);
});

it("versions before TLS 1.2 are refused", async () => {
  const { client } = await start();
  const socket = client({ minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
  const outcome = await new Promise((resolve) => {
    socket.once("secureConnect", () => resolve("connected"));
    socket.once("error", (error: Error & { code?: string }) => resolve(error.code));
    socket.once("close", () => resolve("closed"));
  });
  expect(outcome).not.toBe("connected");
});
