/** From an accepted change to ten connected gateways enforcing it: real processes, real disks, the operator's API. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ChangeResponse, GatewayView, JoinTokenResponse, StatusResponse } from "../../controlplane/api/index.ts";
import { ApiClient } from "../../controlplane/cli/client.ts";
import { type Running, start, untilPort } from "../tools/processes.ts";
import { percentile } from "./statistics.ts";

export interface Propagation {
  readonly gateways: number;
  readonly changes: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const GATEWAYS = 10;
const API_PORT = 19_080;
const GRPC_PORT = 19_012;
const WAIT_MS = 10_000;

export async function measurePropagation(directory: string, changes: number, say: (text: string) => void): Promise<Propagation> {
  say(`propagation: ${GATEWAYS} gateways, ${changes} changes`);
  const state = join(directory, "propagation");
  const config = join(state, "config");
  mkdirSync(config, { recursive: true });
  // Ten gateways on one machine cannot share the port: nine enforce all of it but the listener, and say so.
  writeFileSync(join(config, "mesh.yaml"), MESH);
  const running: Running[] = [];
  try {
    const control = start("control plane", [
      process.execPath,
      "controlplane/main.ts",
      ...[
        "--state",
        join(state, "control"),
        "--config",
        config,
        "--api-port",
        String(API_PORT),
        "--grpc-port",
        String(GRPC_PORT),
      ],
    ]);
    running.push(control);
    await untilPort(control, API_PORT);
    const api = new ApiClient(`http://127.0.0.1:${API_PORT}`, readFileSync(join(state, "control", "api.token"), "utf8").trim());
    const { token } = await api.post<JoinTokenResponse>("/join-tokens", { pool: "ingress", uses: GATEWAYS });
    const tokenFile = join(state, "join-token");
    writeFileSync(tokenFile, token);
    for (let i = 0; i < GATEWAYS; i += 1) running.push(gateway(i, state, tokenFile));
    await untilSynced(api);
    const times: number[] = [];
    for (let change = 0; change <= changes; change += 1) {
      const documents = [{ file: "bench.yaml", text: routeTo(change) }];
      const started = performance.now();
      const answer = await api.post<ChangeResponse>("/apply", { documents, waitMs: WAIT_MS });
      const took = performance.now() - started;
      if (!enforced(answer)) throw new Error(`not enforced: ${JSON.stringify(answer)}`);
      if (change > 0) times.push(took);
    }
    return { gateways: GATEWAYS, changes, p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
  } finally {
    await Promise.all(running.toReversed().map((one) => one.stop()));
  }
}

function gateway(index: number, state: string, tokenFile: string): Running {
  return start(`gateway ${index}`, [
    process.execPath,
    "gateway/node/main.ts",
    ...["--pool", "ingress", "--gateway-id", `bench-${index}`, "--control", `127.0.0.1:${GRPC_PORT}`],
    ...["--state", join(state, `gateway-${index}`), "--join-token-file", tokenFile],
    ...["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"],
  ]);
}

function isInForce({ state }: GatewayView): boolean {
  return state === "synced" || state === "partial";
}

function enforced({ enforced: answer, snapshots }: ChangeResponse): boolean {
  const newest = snapshots.find(({ pool }) => pool === "ingress")?.version;
  return answer?.gateways.every((gateway) => isInForce(gateway) && gateway.version === newest) === true;
}

async function untilSynced(api: ApiClient): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { pools } = await api.get<StatusResponse>("/status");
    const gateways = pools.flatMap((pool) => pool.gateways);
    if (gateways.filter(isInForce).length === GATEWAYS) return;
    if (Date.now() > deadline) throw new Error(`gateways did not become synced: ${JSON.stringify(gateways)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const MESH = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: bench }
spec:
  hosts: [origin.bench.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP }]
  endpoints: [{ address: 127.0.0.1 }]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bench, namespace: bench }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*.bench.local"] }]
`;

/** Each change moves one route. */
function routeTo(change: number): string {
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bench, namespace: bench }
spec:
  hosts: [www.bench.local]
  gateways: [bench]
  http:
    - match: [{ uri: { prefix: /v${change}/ } }]
      route: [{ destination: { host: origin.bench.local, port: { number: 80 } } }]
`;
}
