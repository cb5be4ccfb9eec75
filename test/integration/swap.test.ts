/**
 * Snapshots are swapped under load, and nobody notices: each version writes its number into everything that a request meets (path, host,
 * headers, backends, quota), so an answer made of two versions gives itself away.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ObjectsResponse, ObjectView } from "../../controlplane/api/index.ts";
import { type LoadAnswer, LoadDriver, type LoadFigures } from "../support/load.ts";
import { TestMesh } from "../support/mesh.ts";
import { type Running, start } from "../tools/processes.ts";

const SWAPS = 200;
const MIN_PER_SECOND = 2000;
/** What the driver offers: above what is asked for, below what two loaded cores can carry. */
const OFFERED_PER_SECOND = 2600;
/** To each gateway, kept alive; and to ingress, a new one for each request. */
const CONNECTIONS = 12;
const SHORT_LIVED = 2;
/** Worker threads of each gateway: they swap one after the other. */
const THREADS = 2;
const ORIGINS = 4;
const QUOTA_BASE = 10_000_000;

/** The version that is in force everywhere, and the newest that may be in force somewhere. */
let enforced = 0;
let offered = 0;
let directory = "";
let mesh: TestMesh;
let origins: Running;
let originPorts: readonly number[] = [];
let load: LoadDriver;
const told: string[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-swap-"));
  origins = start("origins", [process.execPath, join(import.meta.dirname, "../support/echo-origins/main.ts"), String(ORIGINS)]);
  const [line] = (await once(origins.child.stdout ?? process.stdin, "data")) as [Buffer];
  originPorts = JSON.parse(line.toString()) as number[];
  mesh = await TestMesh.prepare({
    directory,
    declared: [80],
    threads: THREADS,
    settings: `  explainHeaders: true\n  accessLog: { enabled: true, path: ${join(directory, "access.log")} }\n`,
  });
  writeFileSync(join(mesh.config, "constant.yaml"), constant());
  await mesh.startControl();
  await swap();
  await mesh.startGateway("ingress");
  await mesh.startGateway("egress");
  await mesh.untilSynced(2);
  const ingress = { port: mesh.ports.ingress["80"] ?? 0, sent: () => enforced, check: ingressProblem };
  const request = "GET /shop/item?id=7 HTTP/1.1\r\nhost: shop.test\r\n";
  load = new LoadDriver(
    [
      { ...ingress, connections: CONNECTIONS, request: `${request}\r\n` },
      { ...ingress, connections: SHORT_LIVED, request: `${request}connection: close\r\n\r\n` },
      {
        port: mesh.ports.egress,
        connections: CONNECTIONS,
        request: "GET http://api.example.com/item HTTP/1.1\r\nhost: api.example.com\r\n\r\n",
        sent: () => enforced,
        check: egressProblem,
      },
    ],
    OFFERED_PER_SECOND,
  );
  await load.start();
});

afterAll(async () => {
  await load?.stop();
  await mesh?.stop();
  await origins?.stop();
  rmSync(directory, { recursive: true, force: true });
  process.stdout.write(`${told.join("\n")}\n`);
});

it(`loses no request and mixes no versions while ${SWAPS} snapshots are swapped`, async () => {
  load.takeFigures();
  for (let i = 0; i < SWAPS; i += 1) {
    await swap();
    if (i % 4 === 3) await removeQuota();
  }
  expectFlawless(`${SWAPS} swaps`, load.takeFigures());
});

it("serves on while the control plane is killed, away and started again", async () => {
  await mesh.kill("control");
  await forMs(1500);
  await mesh.startControl();
  await mesh.untilSynced(2);
  await swap();
  expectFlawless("control plane killed and started again", load.takeFigures());
});

it("serves on while bad objects are applied, through the API and as files", async () => {
  const before = await versions();
  for (const bad of BAD) {
    const answer = await mesh.api.post<{ problems: unknown[] }>("/apply", {
      documents: [{ file: "bad.yaml", text: bad }],
      waitMs: 5000,
    });
    expect(answer.problems.length).toBeGreaterThan(0);
  }
  writeFileSync(join(mesh.config, "bad.yaml"), `${BAD.join("---\n")}---\n: {not yaml\n`);
  await forMs(1000);
  expect(await versions()).toEqual(before);
  expect(await shop()).toMatchObject({ accepted: false, programmed: [{ pool: "ingress" }] });
  await swap();
  rmSync(join(mesh.config, "bad.yaml"));
  await expect.poll(shop, { timeout: 20_000 }).toMatchObject({ accepted: true, programmed: [{ pool: "ingress" }] });
  await swap();
  expectFlawless("bad objects", load.takeFigures());
});

/** Applies the next version and waits until both gateways enforce it. */
async function swap(): Promise<void> {
  offered = enforced + 1;
  const { changes, problems, enforced: answer } = await mesh.apply(version(offered));
  expect(problems.filter((problem) => (problem as { severity: string }).severity === "error")).toEqual([]);
  expect(changes.every(({ change }) => change !== "refused")).toBe(true);
  expect(answer, mesh.output()).toMatchObject({ complete: true });
  enforced = offered;
}

async function removeQuota(): Promise<void> {
  const refs = [{ kind: "Quota", namespace: "test", name: "shop" }];
  expect(await mesh.api.post("/delete", { refs, waitMs: 5000 })).toMatchObject({ enforced: { complete: true } });
}

async function shop(): Promise<ObjectView["status"] | undefined> {
  const { items } = await mesh.api.get<ObjectsResponse>("/objects?kind=VirtualService&name=shop");
  return items[0]?.status;
}

async function versions(): Promise<(string | undefined)[]> {
  const { pools } = await mesh.untilSynced(2);
  return pools.map((pool) => pool.version);
}

function forMs(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

function expectFlawless(what: string, figures: LoadFigures): void {
  const { requests, failures, seconds, perSecond, slowestMs } = figures;
  told.push(
    `swap: ${what}: ${requests} requests in ${seconds.toFixed(1)} s (${Math.round(perSecond)}/s), ${failures} failed or mixed, slowest ${Math.round(slowestMs)} ms`,
  );
  expect(load.failed).toEqual([]);
  expect(failures).toBe(0);
  expect(perSecond).toBeGreaterThanOrEqual(MIN_PER_SECOND);
}

interface Echo {
  readonly origin: number;
  readonly path: string;
  readonly host: string;
  readonly version: string;
}

/** Which snapshot (by its own name) told which version; one name never stands for two. */
const versionOf = new Map<string, number>();

function ingressProblem({ status, head, body }: LoadAnswer, sent: number): string | undefined {
  if (status !== 200) return `status ${status}`;
  const echo = JSON.parse(body) as Echo;
  const one = Number(/\r\nx-answer-version: (\d+)\r\n/.exec(head)?.[1]);
  if (!(one >= sent && one <= offered)) return `version ${one}, though ${sent} was in force and ${offered} the newest`;
  if (echo.path !== `/v${one}/item?id=7` || echo.host !== `v${one}.test` || echo.version !== String(one))
    return `mixed with ${one}`;
  if (echo.origin !== one % ORIGINS && echo.origin !== (one + 1) % ORIGINS) return `version ${one} at a backend of another`;
  const quota = /\r\nratelimit-policy: [^\r]*;q=(\d+)/.exec(head)?.[1];
  if (quota !== undefined && Number(quota) !== QUOTA_BASE + one) return `version ${one} with the quota of another`;
  const snapshot = /\r\nx-tidegate-snapshot: ([^\r]*)\r\n/.exec(head)?.[1] ?? "";
  const known = versionOf.get(snapshot);
  if (snapshot === "" || (known !== undefined && known !== one)) return `snapshot ${snapshot} is ${known} and ${one}`;
  versionOf.set(snapshot, one);
  return undefined;
}

/** An egress rule opens the port of its own version only, so a policy of one version and an address of another refuse each other. */
function egressProblem({ status, body }: LoadAnswer, sent: number): string | undefined {
  if (status !== 200) return `status ${status}`;
  const { origin } = JSON.parse(body) as Echo;
  for (let one = sent; one <= offered; one += 1) if (one % ORIGINS === origin) return undefined;
  return `origin ${origin} is of no version from ${sent} to ${offered}`;
}

function constant(): string {
  const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: front, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
`;
  return [gateway, ...originPorts.map((port, i) => service(`origin-${i}`, `origin-${i}.test`, port, "MESH_INTERNAL"))].join(
    "---\n",
  );
}

function service(name: string, host: string, port: number, location: string): string {
  return `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: test }
spec:
  hosts: [${host}]
  location: ${location}
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${port} }]
  endpoints: [{ address: 127.0.0.1 }]
`;
}

/** Everything of one version: route, weights, backends, quota, egress rule and its address. */
function version(one: number): string {
  const own = originPorts[one % ORIGINS] ?? 0;
  const next = originPorts[(one + 1) % ORIGINS] ?? 0;
  const weight = 10 + (one % 80);
  const route = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: test }
spec:
  hosts: [shop.test]
  gateways: [front]
  http:
    - name: r${one}
      match: [{ uri: { prefix: /shop/ } }]
      rewrite: { uri: /v${one}/, authority: v${one}.test }
      headers: { request: { set: { x-version: "${one}" } }, response: { set: { x-answer-version: "${one}" } } }
      route:
        - { destination: { host: origin-${one % ORIGINS}.test, port: { number: 80 } }, weight: ${weight} }
        - { destination: { host: moving.test, port: { number: 80 } }, weight: ${100 - weight} }
`;
  const quota = `apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: shop, namespace: test }
spec:
  targets: [{ kind: VirtualService, name: shop, route: r${one} }]
  key: [{ clientIP: {} }]
  limits: [{ name: most, requests: ${QUOTA_BASE + one}, per: 1m }]
  headers: draft
`;
  const egress = `apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: out, namespace: test }
spec:
  from: [{ ipBlock: 127.0.0.0/8 }]
  allow:
    - name: v${one}
      hosts: [api.example.com]
      protocol: http
      ports: [80]
      methods: [GET]
      addresses: [{ cidr: 127.0.0.1/32, ports: [${own}] }]
      limits: [{ requests: ${QUOTA_BASE + one}, per: 1m }]
`;
  return [
    route,
    service("moving", "moving.test", next, "MESH_INTERNAL"),
    quota,
    egress,
    service("api", "api.example.com", own, "MESH_EXTERNAL"),
  ].join("---\n");
}

/** A wrong type, and an unknown field beside a public suffix: both by names that are in force. */
const BAD = [
  `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop, namespace: test }
spec: { hosts: shop.test, http: [] }
`,
  `apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: out, namespace: test }
spec: { allow: [{ hosts: [com], colour: blue }] }
`,
];
