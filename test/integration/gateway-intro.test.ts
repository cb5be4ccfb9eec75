/** The Gateway that introductions to Istio show loads as it is: HTTP on two ports, HTTPS with files, MONGO, and a redirect to HTTPS. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type ConnectionOptions, connect as connectTls, type PeerCertificate } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ObjectView } from "../../controlplane/api/index.ts";
import { writeCertificate } from "../support/certificate.ts";
import { okAnswer, RawClient, ScriptedOrigin } from "../support/gateway.ts";
import { TestMesh } from "../support/mesh.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
let directory = "";
let mesh: TestMesh;
let origin: ScriptedOrigin;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-intro-"));
  const certs = join(directory, "certs");
  mkdirSync(certs);
  for (const name of ["server", "shop"]) await makeCertificate(certs, name, `${name}.example.com`);
  origin = await new ScriptedOrigin((socket, request) => socket.write(okAnswer(request.split(" ", 2)[1] ?? ""))).start();
  mesh = await TestMesh.prepare({ directory, declared: [80, 443, 9080, 2379] });
  writeFileSync(join(mesh.config, "gateway.yaml"), introduction(certs));
  writeFileSync(join(mesh.config, "second.yaml"), secondServer(certs));
  writeFileSync(join(mesh.config, "route.yaml"), route(origin.port));
  await mesh.startControl();
  await mesh.startGateway("ingress");
  await mesh.untilSynced(1);
});

afterAll(async () => {
  await mesh?.stop();
  origin?.stop();
  rmSync(directory, { recursive: true, force: true });
});

it("serves plain HTTP on the port that needs no redirect", async () => {
  const answer = await ask(bound("9080"), "shop.example.com");
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(answer).toContain("\r\n\r\n/cart?id=7");
});

it("sends plain HTTP on port 80 to HTTPS, on the port where that is bound", async () => {
  const answer = await ask(bound("80"), `shop.example.com:${bound("80")}`);
  expect(answer).toMatch(/^HTTP\/1\.1 301 Moved Permanently\r\n/);
  expect(answer).toContain(`\r\nlocation: https://shop.example.com:${bound("443")}/cart?id=7\r\n`);
  expect(origin.received.join("")).not.toContain(`host: shop.example.com:${bound("80")}`);
});

it("serves HTTPS with the certificate of the server whose host the client names", async () => {
  const any = await askTls("www.example.com");
  expect(any.subject).toBe("server.example.com");
  expect(any.answer).toContain("\r\n\r\n/cart?id=7");
  const shop = await askTls("shop.example.com");
  expect(shop.subject).toBe("shop.example.com");
  expect(shop.answer).toContain("\r\n\r\n/cart?id=7");
});

it("follows the redirect to an answer, as a client does", async () => {
  const moved = await ask(bound("80"), `shop.example.com:${bound("80")}`);
  const location = new URL(/\r\nlocation: ([^\r]*)/.exec(moved)?.[1] ?? "");
  const { answer } = await askTls(location.hostname, Number(location.port), location.host);
  expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
});

it("moves what comes to MONGO's port as it is", async () => {
  // Field names keep their case: nobody has read the message.
  const client = new RawClient(bound("2379"));
  const answer = await client.send("GET /opaque HTTP/1.1\r\nHost: Shop\r\n\r\n").answer();
  expect(answer).toContain("\r\n\r\n/opaque");
  expect(origin.received.join("")).toContain("GET /opaque HTTP/1.1\r\nHost: Shop\r\n\r\n");
  client.close();
});

it("is accepted and programmed, all of it", async () => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["controlplane/cli/main.ts", "get", "gateway", "my-gateway", "-n", "shop", "-o", "json", ...api()],
    { cwd: ROOT },
  );
  const { status, spec } = JSON.parse(stdout) as ObjectView;
  expect(status.accepted).toBe(true);
  expect(status.programmed).toMatchObject([{ pool: "ingress" }]);
  expect(status.problems).toEqual([]);
  expect(JSON.stringify(spec)).toContain("9080");
});

function bound(declared: string): number {
  return mesh.ports.ingress[declared] ?? 0;
}

function api(): string[] {
  return ["--api", `http://127.0.0.1:${mesh.ports.api}`, "--token-file", join(directory, "control", "api.token")];
}

async function ask(port: number, host: string): Promise<string> {
  const client = new RawClient(port);
  const answer = await client.send(request(host)).answer();
  client.close();
  return answer;
}

function request(host: string): string {
  return `GET /cart?id=7 HTTP/1.1\r\nhost: ${host}\r\n\r\n`;
}

async function askTls(servername: string, port = bound("443"), host = servername): Promise<{ subject: string; answer: string }> {
  const options: ConnectionOptions = {
    host: "127.0.0.1",
    port,
    servername,
    ca: ["server", "shop"].map((name) => readFileSync(join(directory, "certs", `${name}.pem`), "utf8")),
    // Whose certificate comes is what the test asks.
    checkServerIdentity: () => undefined,
  };
  return await new Promise((done, fail) => {
    let answer = "";
    const socket = connectTls(options, () => socket.write(request(host)));
    socket.on("data", (bytes: Buffer) => {
      answer += bytes.toString("latin1");
      if (!answer.includes("\r\n\r\n/cart?id=7")) return;
      const { subject } = socket.getPeerCertificate() as PeerCertificate;
      socket.destroy();
      done({ subject: String(subject.CN), answer });
    });
    socket.on("error", fail);
    socket.on("end", () => fail(new Error(`the connection ended after ${answer}`)));
  });
}

async function makeCertificate(folder: string, name: string, commonName: string): Promise<void> {
  await writeCertificate({ key: join(folder, `${name}-key.pem`), certificate: join(folder, `${name}.pem`) }, commonName);
}

function introduction(certs: string): string {
  return `apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: { name: my-gateway, namespace: shop }
spec:
  selector: { app: my-gateway-controller }
  servers:
    - port: { number: 80, name: http, protocol: HTTP }
      hosts: ["*"]
      tls: { httpsRedirect: true }
    - port: { number: 443, name: https, protocol: HTTPS }
      hosts: ["*"]
      tls: { mode: SIMPLE, serverCertificate: ${certs}/server.pem, privateKey: ${certs}/server-key.pem }
    - { port: { number: 9080, name: http-wildcard, protocol: HTTP }, hosts: ["*"] }
    - { port: { number: 2379, name: mongo, protocol: MONGO }, hosts: ["*"] }
`;
}

/** Another server on the same port, for one host: chosen by the name in the ClientHello. */
function secondServer(certs: string): string {
  return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: shop-only, namespace: shop }
spec:
  selector: { app: my-gateway-controller }
  servers:
    - port: { number: 443, name: https-shop, protocol: HTTPS }
      hosts: [shop.example.com]
      tls: { mode: SIMPLE, serverCertificate: ${certs}/shop.pem, privateKey: ${certs}/shop-key.pem }
`;
}

function route(originPort: number): string {
  return `apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: { name: all, namespace: shop }
spec:
  hosts: ["*"]
  gateways: [my-gateway, shop-only]
  http: [{ route: [{ destination: { host: origin.test, port: { number: 80 } } }] }]
  tcp: [{ match: [{ port: 2379 }], route: [{ destination: { host: origin.test, port: { number: 80 } } }] }]
---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: { name: origin, namespace: shop }
spec:
  hosts: [origin.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${originPort} }]
  endpoints: [{ address: 127.0.0.1 }]
`;
}
