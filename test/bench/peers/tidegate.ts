/** Our own gateway as it is released: built, configuration translated and signed, and put in force by the gateway process. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diskFiles } from "../../../controlplane/disk-files.ts";
import { statePaths } from "../../../controlplane/layout.ts";
import { buildSnapshots } from "../../../controlplane/offline.ts";
import { DEFAULT_KEY_PLAN, initKeys, writeSnapshotFile } from "../../../controlplane/snapshot/index.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { buildGateway } from "../../tools/release.ts";
import { hostName, QUOTA_PER_SECOND, type Routes, type Workload } from "../workload.ts";
import { idleAccessLog } from "./features.ts";
import type { Peer, PeerOptions, TlsFiles } from "./peer.ts";

export const OWN = "tidegate";

export const tidegate: Peer = {
  name: OWN,
  missing: () => undefined,
  async start(options) {
    const { workload, port, directory, cpus } = options;
    const home = join(directory, `tidegate-${port}`);
    mkdirSync(home, { recursive: true });
    const snapshot = join(home, "bench.snapshot");
    const log = join(home, "access.log");
    await writeSnapshot(snapshot, home, configuration(options, log));
    const command = [
      process.execPath,
      await builtGateway(directory),
      ...["--snapshot", snapshot, "--state", join(home, "gateway"), "--threads", String(workload.threads ?? 1)],
      ...["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"],
    ];
    const running = start("tidegate", command, { cpus });
    try {
      await untilPort(running, port);
    } catch (error) {
      await running.stop();
      throw error;
    }
    return { port, process: running, idleFeature: async () => idleAccessLog(workload, log) };
  },
};

/** Once for all rows of a run. */
async function builtGateway(directory: string): Promise<string> {
  const home = join(directory, "gateway");
  const main = join(home, "main.js");
  if (!existsSync(main)) await buildGateway(home);
  return main;
}

/** @throws Error that tells what translation did not take: a row about it then says so. */
async function writeSnapshot(file: string, home: string, text: string): Promise<void> {
  const state = join(home, "control");
  const keys = await initKeys(
    statePaths(state).keys,
    { ...DEFAULT_KEY_PLAN, iss: "cluster.local" },
    Math.floor(Date.now() / 1000),
  );
  if (!keys.ok) throw new Error(keys.error.map(({ problem }) => problem).join("; "));
  writeFileSync(join(home, "bench.yaml"), text);
  const documents = [{ file: "bench.yaml", text }];
  const built = await buildSnapshots({ documents, state, files: diskFiles, unixMs: Date.now, pools: ["ingress"] });
  const [published] = built.published;
  if (published === undefined || built.problems.length > 0) {
    throw new Error(built.failure ?? built.problems.map(({ path, message }) => `${path}: ${message}`).join("; "));
  }
  await writeSnapshotFile(file, published);
}

/** Declared ports, which the pool binds as the one of the bench. */
const SERVERS = {
  http1: { number: 80, protocol: "HTTP" },
  http2: { number: 80, protocol: "HTTP2" },
  tls: { number: 443, protocol: "HTTPS" },
  tcp: { number: 9000, protocol: "TCP" },
} as const;
const UPSTREAM_PROTOCOLS = { http1: "HTTP", http2: "GRPC", tcp: "TCP" } as const;

function configuration({ workload, port, originPort, tls }: PeerOptions, log: string): string {
  const { number, protocol } = SERVERS[workload.downstream];
  const documents = [
    `apiVersion: mesh.tidegate.dev/v1
kind: MeshConfig
metadata: { name: mesh, namespace: tidegate-system }
spec:
  gatewayPools: [{ name: ingress, labels: { istio: ingressgateway }, ports: { "${number}": ${port} } }]
  accessLog: { enabled: ${workload.policies}, path: ${log} }
`,
    `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bench, namespace: bench }
spec:
  selector: { istio: ingressgateway }
  servers:
    - port: { number: ${number}, name: bench, protocol: ${protocol} }
      hosts: ["*"]
${workload.downstream === "tls" ? serverTls(tls) : ""}`,
    `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: bench }
spec:
  hosts: [origin.bench.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: origin, protocol: ${UPSTREAM_PROTOCOLS[workload.upstream]}, targetPort: ${originPort} }]
  endpoints: [{ address: 127.0.0.1 }]
`,
    ...virtualServices(workload),
    ...(workload.policies ? [quotaOn(workload.routes?.hosts ?? 0)] : []),
  ];
  return documents.join("---\n");
}

function serverTls({ certificate, key }: TlsFiles): string {
  return `      tls: { mode: SIMPLE, serverCertificate: ${certificate}, privateKey: ${key} }\n`;
}

const DESTINATION = "route: [{ destination: { host: origin.bench.local, port: { number: 80 } } }]";

function virtualServices({ downstream, routes }: Workload): readonly string[] {
  if (downstream === "tcp") return [virtualService("bench", "*", "tcp", `    - ${DESTINATION}\n`)];
  if (routes === undefined) return [virtualService("bench", "*", "http", `    - { name: all, ${DESTINATION} }\n`)];
  if (routes.hosts === 0) return [virtualService("bench", "*", "http", httpRoutes(routes))];
  return Array.from({ length: routes.hosts }, (_, i) => virtualService(`bench-${i}`, hostName(i), "http", httpRoutes(routes)));
}

function virtualService(name: string, host: string, kind: "http" | "tcp", routes: string): string {
  return `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ${name}, namespace: bench }
spec:
  hosts: ["${host}"]
  gateways: [bench]
  ${kind}:
${routes}`;
}

function httpRoutes({ perHost }: Routes): string {
  const route = (i: number) => `    - { name: r${i}, match: [{ uri: { prefix: /r${i}/ } }], ${DESTINATION} }\n`;
  return Array.from({ length: perHost }, (_, i) => route(i)).join("");
}

/** One target for all virtual services, where there are many. */
function quotaOn(hosts: number): string {
  return `apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: bench, namespace: bench }
spec:
  targets: [{ kind: ${hosts === 0 ? "VirtualService" : "Gateway"}, name: bench }]
  key: [{ clientIP: {} }]
  limits: [{ name: most, requests: ${QUOTA_PER_SECOND}, per: 1s }]
  headers: none
`;
}
