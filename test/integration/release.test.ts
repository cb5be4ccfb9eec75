/** The gateway as it is built for release does what its sources do where files are looked for at run time: threads, packages that are loaded late, and steering. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { eventually, RawClient } from "../support/gateway.ts";
import { TestMesh } from "../support/mesh.ts";
import { buildGateway } from "../tools/release.ts";

const DIST = resolve(import.meta.dirname, "..", "..", "dist");
/** A process starts, or ends: a busy machine takes its time. */
const WAIT_MS = 60_000;

const CONFIGURATION = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: test }
spec:
  hosts: ["*"]
  gateways: [front]
  http: [{ directResponse: { status: 200, body: { string: built } } }]
`;

it("enrols, serves in two threads and takes over from itself", { timeout: 3 * WAIT_MS }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "tg-release-"));
  mkdirSync(DIST, { recursive: true });
  // Within the project, where the packages with native code are.
  const built = mkdtempSync(join(DIST, "test-"));
  await buildGateway(built);
  const mesh = await TestMesh.prepare({ directory, declared: [80], threads: 2, gateway: join(built, "main.js") });
  try {
    writeFileSync(join(mesh.config, "shop.yaml"), CONFIGURATION);
    await mesh.startControl();
    const before = await mesh.startGateway("ingress");
    await mesh.untilSynced(1, WAIT_MS);
    const next = await mesh.startGateway("ingress");
    await eventually(() => before.child.exitCode !== null, WAIT_MS);
    expect(before.child.exitCode, before.output()).toBe(0);
    expect(next.output()).toContain('"message":"took over"');
    const client = new RawClient(mesh.ports.ingress["80"] ?? 0);
    expect(await client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").answer()).toMatch(/built$/);
    client.close();
    expect(before.output() + next.output()).not.toMatch(/"level":"error"|may be reset|not spread evenly/);
  } finally {
    await mesh.stop();
    for (const place of [directory, built]) rmSync(place, { recursive: true, force: true });
  }
});
