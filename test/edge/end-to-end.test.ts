/**
 * The edge as users run it, in the real workerd, from the files that `tidegate edge` writes: client → ingress Worker → quota → passport → Node ingress →
 * service; a Worker → egress Worker → the world outside; and snapshots that are swapped while requests come in.
 */
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestSite } from "../support/edge-site.ts";
import { type LoadAnswer, LoadDriver } from "../support/load.ts";
import { TestMesh } from "../support/mesh.ts";
import { type Running, start } from "../tools/processes.ts";

const SWAPS = 60;
/** For each swap at least: enough that some meet it. How many a second there can be is the bench's to say. */
const MIN_PER_SWAP = 20;
/** What the driver offers: far below what the two gateways carry. */
const OFFERED_PER_SECOND = 700;
const CONNECTIONS = 8;
/** Soft TTL of an isolate: nothing older than what was in force so long ago is ever served. */
const STALE_MS = 2_000;
/** In an hour, over edge and cluster together. */
const QUOTA = 40;

interface Echo {
  readonly path: string;
  readonly host: string;
  readonly version: string;
}

let directory = "";
let mesh: TestMesh;
let site: TestSite;
let origins: Running;
let originPort = 0;
let accessLog = "";
/** The newest version that may be in force somewhere, and when each one was known to be in force. */
let offered = 0;
const enforcedAt = new Map<number, number>();

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-edge-"));
  accessLog = join(directory, "access.log");
  origins = start("origins", [process.execPath, join(import.meta.dirname, "../support/echo-origins/main.ts"), "1"]);
  const [line] = (await once(origins.child.stdout ?? process.stdin, "data")) as [Buffer];
  [originPort = 0] = JSON.parse(line.toString()) as number[];
  mesh = await TestMesh.prepare({
    directory,
    declared: [80],
    settings: `  explainHeaders: true\n  accessLog: { enabled: true, path: ${accessLog} }\n`,
  });
  site = await TestSite.prepare({
    directory,
    gateway: "front",
    ingressPort: mesh.ports.ingress["80"] ?? 0,
    guests: [{ name: "caller", entry: join(import.meta.dirname, "../../samples/bookinfo/edge/publisher.ts") }],
  });
  writeFileSync(join(mesh.config, "constant.yaml"), [constant(), site.yaml].join("---\n"));
  await mesh.startControl();
  await swap();
  await mesh.startGateway("ingress", site.gatewayFlags);
  await site.start(mesh.api);
  await mesh.untilSynced(2);
});

afterAll(async () => {
  await site?.stop();
  await mesh?.stop();
  await origins?.stop();
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
});

it("leads through the edge and the cluster's ingress to the service, with the edge's route applied once", async () => {
  const answer = await fetch(`${site.url}/shop/item?id=7`, { headers: { "x-tidegate-passport": "of.my.own" } });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({
    path: `/v${offered}/item?id=7`,
    host: `v${offered}.test`,
    version: String(offered),
  });
  expect(answer.headers.get("x-answer-version")).toBe(String(offered));
  expect(answer.headers.get("x-tidegate-snapshot")).toMatch(/^\d+\.\d+$/);
  await expect.poll(() => readFileSync(accessLog, "utf8"), { timeout: 30_000 }).toContain(`/v${offered}/item?id=7`);
});

it("says what it refuses in words", async () => {
  const answer = await fetch(`${site.url}/nothing-here`);
  expect([answer.status, await answer.text()]).toEqual([404, "no route\n"]);
});

it("counts a global quota once, wherever requests come in", async () => {
  const ask = async (base: string) =>
    await fetch(`${base}/limited/item`, { headers: { "x-api-key": "ann" } }).then(async (answer) => {
      await answer.arrayBuffer();
      return answer;
    });
  const ingress = `http://127.0.0.1:${mesh.ports.ingress["80"]}`;
  const answers: Response[] = [];
  for (let i = 0; i < 3 * QUOTA; i += 1) answers.push(await ask(i % 2 === 0 ? site.url : ingress));
  const admitted = answers.filter(({ status }) => status === 200).length;
  expect(admitted).toBeLessThanOrEqual(QUOTA);
  // What a gateway has leased and does not get to spend is lost to the others for a while.
  expect(admitted).toBeGreaterThanOrEqual(QUOTA * 0.9);
  // On a busy machine the bank may take longer than a request waits; nobody is let through on a guess then.
  const refused = answers.filter(({ status }) => status !== 200 && status !== 503);
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([429]));
  for (const answer of refused) expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
});

it("lets a Worker call out where an EgressPolicy lists it, and tells it why not elsewhere", async () => {
  const caller = `http://127.0.0.1:${site.guestPorts.get("caller")}`;
  const allowed = await fetch(`${caller}/localhost:${originPort}/books/1`);
  expect([allowed.status, await allowed.json()]).toEqual([200, expect.objectContaining({ path: "/books/1" })]);
  const path = await fetch(`${caller}/localhost:${originPort}/secrets/1`);
  expect([path.status, await path.text()]).toEqual([403, expect.stringContaining("denied: ")]);
  const host = await fetch(`${caller}/files.pastebin.example/x`);
  expect([host.status, await host.text()]).toEqual([403, expect.stringContaining("no paste sites")]);
});

it(`loses no request and mixes no versions while ${SWAPS} snapshots are swapped`, { timeout: 90_000 }, async () => {
  const load = new LoadDriver(
    [
      {
        port: site.port,
        connections: CONNECTIONS,
        request: `GET /shop/item?id=7 HTTP/1.1\r\nhost: shop.test\r\n\r\n`,
        sent: () => enforcedBefore(performance.now() - STALE_MS),
        check: problem,
      },
    ],
    OFFERED_PER_SECOND,
  );
  await load.start();
  load.takeFigures();
  for (let i = 0; i < SWAPS; i += 1) await swap();
  const { requests, failures, perSecond, seconds, slowestMs } = load.takeFigures();
  await load.stop();
  process.stdout.write(
    `edge swap: ${SWAPS} swaps, ${requests} requests in ${seconds.toFixed(1)} s (${Math.round(perSecond)}/s), ${failures} failed or mixed, slowest ${Math.round(slowestMs)} ms\n`,
  );
  expect(load.failed).toEqual([]);
  expect(failures).toBe(0);
  expect(requests).toBeGreaterThanOrEqual(SWAPS * MIN_PER_SWAP);
});

/** Applies the next version and waits until gateway and site enforce it. */
async function swap(): Promise<void> {
  offered += 1;
  const { changes, problems } = await mesh.apply(version(offered));
  expect(problems.filter((one) => one.severity === "error")).toEqual([]);
  expect(changes.every(({ change }) => change !== "refused")).toBe(true);
  enforcedAt.set(offered, performance.now());
}

function enforcedBefore(timeMs: number): number {
  let newest = 0;
  for (const [one, at] of enforcedAt) if (at <= timeMs && one > newest) newest = one;
  return newest;
}

/** Everything that a version writes has to be of one and the same version. */
function problem({ status, head, body }: LoadAnswer, oldest: number): string | undefined {
  if (status !== 200) return `status ${status}`;
  const echo = JSON.parse(body) as Echo;
  const one = Number(/\r\nx-answer-version: (\d+)\r\n/.exec(head)?.[1]);
  if (!(one >= oldest && one <= offered)) return `version ${one}, though ${oldest} was in force long before`;
  const whole = echo.path === `/v${one}/item?id=7` && echo.host === `v${one}.test` && echo.version === String(one);
  return whole ? undefined : `mixed with ${one}`;
}

function constant(): string {
  return `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: test }
spec:
  hosts: [origin.test]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${originPort} }]
  endpoints: [{ address: 127.0.0.1 }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: limited, namespace: test }
spec:
  hosts: ["*"]
  gateways: [front]
  http: [{ name: limited, match: [{ uri: { prefix: /limited/ } }], route: [{ destination: { host: origin.test, port: { number: 80 } } }] }]
---
apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: limited, namespace: test }
spec:
  targets: [{ kind: VirtualService, name: limited, route: limited }]
  key: [{ header: x-api-key }]
  limits: [{ name: hour, requests: ${QUOTA}, per: 1h }]
  scope: global
  accuracy: strict
  onStoreFailure: deny
---
apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: caller, namespace: test }
spec:
  from: [{ edgeService: caller }]
  allow: [{ name: books, hosts: [localhost], protocol: http, ports: [${originPort}], methods: [GET], paths: [/books/*] }]
  deny: [{ hosts: ["*.pastebin.example"], reason: no paste sites }]
`;
}

function version(one: number): string {
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: test }
spec:
  hosts: ["*"]
  gateways: [front]
  http:
    - name: r${one}
      match: [{ uri: { prefix: /shop/ } }]
      rewrite: { uri: /v${one}/, authority: v${one}.test }
      headers: { request: { set: { x-version: "${one}" } }, response: { set: { x-answer-version: "${one}" } } }
      route: [{ destination: { host: origin.test, port: { number: 80 } } }]
`;
}
