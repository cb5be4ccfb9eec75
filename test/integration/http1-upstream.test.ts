import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { ClientTls } from "../../gateway/core/ir/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import {
  CLUSTER,
  eventually,
  freePort,
  listening,
  okAnswer,
  RawClient,
  ScriptedOrigin,
  testGateway,
  testListener,
  testRoute,
  testSnapshot,
} from "../support/gateway.ts";

const opened: { stop(): void }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.stop();
});

async function clientOf(originPort: number, change: Partial<Parameters<typeof testSnapshot>[0]>): Promise<RawClient> {
  const gateway = testGateway();
  opened.push({ stop: () => void gateway.engine.drain(0) });
  const port = await freePort();
  await gateway.install(testSnapshot({ listeners: [testListener(port)], originPorts: [originPort], ...change }));
  const client = new RawClient(port);
  opened.push({ stop: () => client.close() });
  return client;
}

describe("mirrors", () => {
  it("get a copy of the request and its body, and nobody waits for them", async () => {
    const origin = await new ScriptedOrigin((socket) => socket.write(okAnswer("real"))).start();
    opened.push(origin);
    const routes = [testRoute(CLUSTER, { mirrors: [{ cluster: CLUSTER, percent: 100 }] })];
    const client = await clientOf(origin.port, { routes });
    const post = "POST /copied HTTP/1.1\r\nhost: a.test\r\ncontent-length: 4\r\n\r\nbody";
    expect(await client.send(post).answer()).toMatch(/real$/);
    await eventually(() => origin.received.filter((text) => text.endsWith("\r\n\r\nbody")).length === 2);
    expect(origin.received).toHaveLength(2);
  });
});

describe("TLS to origins", () => {
  it("verifies the name by the authority it is given, and refuses another", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tidegate-origin-"));
    opened.push({ stop: () => rmSync(directory, { recursive: true, force: true }) });
    const [keyFile, caFile] = [join(directory, "key.pem"), join(directory, "cert.pem")];
    await writeCertificate({ key: keyFile, certificate: caFile }, "origin", ["origin.test"]);
    const names: unknown[] = [];
    const server = createServer({ key: readFileSync(keyFile), cert: readFileSync(caFile) }, (socket) => {
      names.push(socket.servername);
      socket.on("error", () => undefined);
      socket.on("data", () => socket.write(okAnswer("over TLS")));
    });
    const originPort = await listening(server);
    opened.push({ stop: () => void server.close() });
    const tls: ClientTls = {
      mode: "simple",
      serverName: "origin.test",
      subjectAltNames: [],
      caFile,
      minVersion: "TLSv1.2",
      insecureSkipVerify: false,
    };
    const get = "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    const good = await clientOf(originPort, { cluster: { tls } });
    expect(await good.send(get).answer()).toMatch(/over TLS$/);
    expect(await good.send(get).answer()).toMatch(/over TLS$/);
    expect(names).toEqual(["origin.test"]);
    const wrongName = await clientOf(originPort, { cluster: { tls: { ...tls, serverName: "other.test" } } });
    expect(await wrongName.send(get).answer()).toMatch(/^HTTP\/1\.1 503/);
    const wrongAltName = await clientOf(originPort, { cluster: { tls: { ...tls, subjectAltNames: ["spiffe://x"] } } });
    expect(await wrongAltName.send(get).answer()).toMatch(/^HTTP\/1\.1 503/);
  });
});
