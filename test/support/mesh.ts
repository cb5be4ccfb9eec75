/** A mesh of real processes on free ports: control plane, ingress and egress gateway, all state in a directory of its own. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ChangeResponse, JoinTokenResponse, StatusResponse } from "../../controlplane/api/index.ts";
import { ApiClient } from "../../controlplane/cli/client.ts";
import { type Running, start, untilPort } from "../tools/processes.ts";
import { freePort } from "./gateway.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");
const WAIT_MS = 30_000;
const POLL_MS = 50;

export interface MeshPorts {
  readonly api: number;
  readonly grpc: number;
  /** Declared port to bound port of the ingress pool. */
  readonly ingress: Readonly<Record<string, number>>;
  readonly egress: number;
  readonly admin: { readonly ingress: number; readonly egress: number };
}

export interface MeshOptions {
  readonly directory: string;
  /** Ports that Gateway objects of the test declare. */
  readonly declared: readonly number[];
  /** Further fields of MeshConfig's spec, as YAML with two spaces in front. */
  readonly settings?: string;
  /** Worker threads of each gateway; default 1. */
  readonly threads?: number;
  /** The gateways' program; default: its sources. */
  readonly gateway?: string;
}

export class TestMesh {
  readonly ports: MeshPorts;
  /** The watched directory of YAML. */
  readonly config: string;
  readonly #directory: string;
  readonly #threads: number;
  readonly #gateway: string;
  readonly #running = new Map<string, Running>();
  #api: ApiClient | undefined;

  private constructor(
    { directory, threads = 1, gateway = "gateway/node/main.ts" }: Pick<MeshOptions, "directory" | "threads" | "gateway">,
    ports: MeshPorts,
  ) {
    this.#directory = directory;
    this.#threads = threads;
    this.#gateway = gateway;
    this.ports = ports;
    this.config = join(directory, "config");
  }

  /** Ports chosen and MeshConfig written; nothing runs yet. */
  static async prepare({ declared, settings = "", ...options }: MeshOptions): Promise<TestMesh> {
    const ingress: Record<string, number> = {};
    for (const port of declared) ingress[port] = await freePort();
    const ports = {
      api: await freePort(),
      grpc: await freePort(),
      ingress,
      egress: await freePort(),
      admin: { ingress: await freePort(), egress: await freePort() },
    };
    const mesh = new TestMesh(options, ports);
    mkdirSync(mesh.config, { recursive: true });
    writeFileSync(join(mesh.config, "mesh.yaml"), meshConfig(ports, settings));
    return mesh;
  }

  get api(): ApiClient {
    if (this.#api === undefined) throw new Error("the control plane was not started");
    return this.#api;
  }

  async startControl(): Promise<void> {
    const state = join(this.#directory, "control");
    const control = this.#start("control", [
      "controlplane/main.ts",
      ...["--state", state, "--config", this.config, "--log-format", "json"],
      ...["--api-port", String(this.ports.api), "--grpc-port", String(this.ports.grpc)],
    ]);
    await untilPort(control, this.ports.api);
    this.#api = new ApiClient(`http://127.0.0.1:${this.ports.api}`, readFileSync(join(state, "api.token"), "utf8").trim());
  }

  /** Asked again, it starts the next process of the same gateway, which takes over. */
  async startGateway(pool: "ingress" | "egress", flags: readonly string[] = []): Promise<Running> {
    const { token } = await this.api.post<JoinTokenResponse>("/join-tokens", { pool });
    const tokenFile = join(this.#directory, `${pool}.join-token`);
    writeFileSync(tokenFile, token, { mode: 0o600 });
    return this.#start(pool, [
      this.#gateway,
      ...["--pool", pool, "--gateway-id", `${pool}-1`, "--control", `127.0.0.1:${this.ports.grpc}`],
      ...["--state", join(this.#directory, pool), "--join-token-file", tokenFile],
      ...[
        "--admin-port",
        String(this.ports.admin[pool]),
        "--metrics-port",
        "0",
        "--readiness-port",
        "0",
        "--threads",
        String(this.#threads),
      ],
      ...flags,
    ]);
  }

  /** Resolves when this many gateways enforce their pool's newest snapshot. */
  async untilSynced(gateways: number, withinMs = 60_000): Promise<StatusResponse> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const status = await this.api.get<StatusResponse>("/status");
      const synced = status.pools.flatMap((pool) => pool.gateways).filter(({ state }) => state === "synced");
      if (synced.length >= gateways) return status;
      if (performance.now() > deadline) throw new Error(`not synced: ${JSON.stringify(status.pools)}\n${this.output()}`);
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  /** Applies a YAML text; returns when all connected gateways enforce it, or tells that they do not. */
  apply(text: string): Promise<ChangeResponse> {
    return this.api.post<ChangeResponse>("/apply", { documents: [{ file: "test.yaml", text }], waitMs: WAIT_MS });
  }

  async kill(name: "control" | "ingress" | "egress"): Promise<void> {
    await this.#running.get(name)?.stop("SIGKILL");
    this.#running.delete(name);
  }

  /** What the processes said last, for failure messages. */
  output(): string {
    return [...this.#running].map(([name, one]) => `--- ${name}\n${one.output().slice(-2000)}`).join("\n");
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.values()].toReversed().map((one) => one.stop()));
    this.#running.clear();
  }

  #start(name: string, args: readonly string[]): Running {
    const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("TIDEGATE_")));
    const running = start(name, [process.execPath, ...args], { cwd: ROOT, env });
    this.#running.set(name, running);
    return running;
  }
}

function meshConfig(ports: MeshPorts, settings: string): string {
  return `apiVersion: mesh.tidegate.dev/v1
kind: MeshConfig
metadata: { name: mesh, namespace: tidegate-system }
spec:
  gatewayPools:
    - { name: ingress, labels: { istio: ingressgateway, app: my-gateway-controller }, ports: ${JSON.stringify(ports.ingress)} }
    - { name: egress, role: egress, labels: { istio: egressgateway }, forwardProxyPort: ${ports.egress} }
${settings}`;
}
