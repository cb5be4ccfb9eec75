/** Our own gateway as a user runs it: configuration translated, signed, and put in force by the gateway process. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { diskFiles } from "../../../controlplane/disk-files.ts";
import { statePaths } from "../../../controlplane/layout.ts";
import { buildSnapshots } from "../../../controlplane/offline.ts";
import { DEFAULT_KEY_PLAN, initKeys, writeSnapshotFile } from "../../../controlplane/snapshot/index.ts";
import { start, untilPort } from "../../tools/processes.ts";
import { QUOTA_PER_SECOND, type Workload } from "../workload.ts";
import type { Peer } from "./peer.ts";

export const tidegate: Peer = {
  name: "tidegate",
  missing: () => undefined,
  async start({ workload, port, originPort, directory, cpu }) {
    const home = join(directory, `tidegate-${port}`);
    mkdirSync(home, { recursive: true });
    const snapshot = join(home, "bench.snapshot");
    await writeSnapshot(snapshot, home, configuration(workload, port, originPort, join(home, "access.log")));
    const running = start(
      "tidegate",
      [
        process.execPath,
        "gateway/node/main.ts",
        ...["--snapshot", snapshot, "--state", join(home, "gateway")],
        ...["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"],
      ],
      { cpu },
    );
    await untilPort(running, port);
    return running;
  },
};

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

function configuration(workload: Workload, port: number, originPort: number, log: string): string {
  const destination = "route: [{ destination: { host: origin.bench.local, port: { number: 80 } } }]";
  const routes =
    workload.routes === 0
      ? `    - { name: all, ${destination} }`
      : Array.from(
          { length: workload.routes },
          (_, i) => `    - { name: r${i}, match: [{ uri: { prefix: /r${i}/ } }], ${destination} }`,
        ).join("\n");
  const quota = `---
apiVersion: mesh.tidegate.dev/v1
kind: Quota
metadata: { name: bench, namespace: bench }
spec:
  targets: [{ kind: VirtualService, name: bench }]
  key: [{ clientIP: {} }]
  limits: [{ name: most, requests: ${QUOTA_PER_SECOND}, per: 1s }]
  headers: none
`;
  return `apiVersion: mesh.tidegate.dev/v1
kind: MeshConfig
metadata: { name: mesh, namespace: tidegate-system }
spec:
  gatewayPools: [{ name: ingress, labels: { istio: ingressgateway }, ports: { "80": ${port} } }]
  accessLog: { enabled: ${workload.policies}, path: ${log} }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: bench, namespace: bench }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["*"] }]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: origin, namespace: bench }
spec:
  hosts: [origin.bench.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${originPort} }]
  endpoints: [{ address: 127.0.0.1 }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bench, namespace: bench }
spec:
  hosts: ["*"]
  gateways: [bench]
  http:
${routes}
${workload.policies ? quota : ""}`;
}
