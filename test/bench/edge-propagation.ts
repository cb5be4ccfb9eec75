/** From the operator's commit to the first request that a site holds against it: control plane, relay and isolate as real processes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ChangeResponse } from "../../controlplane/api/index.ts";
import { TestSite } from "../support/edge-site.ts";
import { TestMesh } from "../support/mesh.ts";
import { percentile } from "./statistics.ts";

export interface ClassTimes {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface EdgePropagation {
  /** Of each class. */
  readonly changes: number;
  /** A change that may let more out. */
  readonly widening: ClassTimes;
  /** A change that takes something away. */
  readonly narrowing: ClassTimes;
}

/** How often a client looks, and so how exact a time is. */
const LOOK_MS = 5;
const WAIT_MS = 60_000;

export async function measureEdgePropagation(directory: string, changes: number): Promise<EdgePropagation> {
  const mesh = await TestMesh.prepare({ directory, declared: [80] });
  const site = await TestSite.prepare({ directory, gateway: "bench" });
  try {
    writeFileSync(join(mesh.config, "bench.yaml"), [GATEWAY, site.yaml].join("---\n"));
    await mesh.startControl();
    await apply(mesh, version(0, true));
    await site.start(mesh.api);
    await until(site, 0, 200);
    const times = { widening: [] as number[], narrowing: [] as number[] };
    for (let i = 1; i <= changes; i += 1) {
      times.widening.push(await timed(mesh, site, i, true));
      times.narrowing.push(await timed(mesh, site, i, false));
    }
    return { changes, widening: figures(times.widening), narrowing: figures(times.narrowing) };
  } finally {
    await site.stop();
    await mesh.stop();
  }
}

/** The clock starts before the commit is sent: what the API takes for it counts. */
async function timed(mesh: TestMesh, site: TestSite, i: number, open: boolean): Promise<number> {
  const started = performance.now();
  const [enforced] = await Promise.all([until(site, i, open ? 200 : 404), apply(mesh, version(i, open))]);
  return enforced - started;
}

/** @returns when the first answer of the version was there */
async function until(site: TestSite, i: number, status: number): Promise<number> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const answer = await fetch(`${site.url}/v${i}`);
    await answer.arrayBuffer();
    if (answer.status === status) return performance.now();
    if (performance.now() > deadline) throw new Error(`change ${i} is not in force after ${WAIT_MS} ms: ${answer.status}`);
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
}

async function apply(mesh: TestMesh, text: string): Promise<void> {
  const answer = await mesh.api.post<ChangeResponse>("/apply", { documents: [{ file: "bench.yaml", text }] });
  const errors = answer.problems.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
}

function figures(times: readonly number[]): ClassTimes {
  return { p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
}

const GATEWAY = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bench, namespace: test }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
`;

/** Open: the route is there, and another host may be called. Closed: the route is taken away, and egress stays as it is. */
function version(i: number, open: boolean): string {
  const route = `    - { match: [{ uri: { exact: /v${i} } }], directResponse: { status: 200, body: { string: "${i}" } } }`;
  const rest = `    - { match: [{ uri: { exact: /always } }], directResponse: { status: 200, body: { string: here } } }`;
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bench, namespace: test }
spec:
  hosts: ["*"]
  gateways: [bench]
  http:
${open ? `${route}\n` : ""}${rest}
---
apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: bench, namespace: test }
spec:
  from: [{ edgeService: bench }]
  allow: [{ name: v${i}, hosts: [v${i}.example.com] }]
`;
}
