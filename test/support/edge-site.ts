/** An edge site of a test's mesh: its secrets beside the control plane's state, and a real workerd run from the files that users get. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "../../controlplane/cli/client.ts";
import { localSiteChild, siteReady } from "../../controlplane/cli/edge-dev.ts";
import { findSite, readSecrets, siteCredentials, siteTrust, upstreamsOf } from "../../controlplane/cli/edge-site.ts";
import { bankTokenFile, type GuestWorker, makeSiteSecrets, type SiteFacts } from "../../controlplane/edge/index.ts";
import { type Running, start, untilPort } from "../tools/processes.ts";
import { freePort } from "./gateway.ts";

const NAMESPACE = "test";
const WAIT_MS = 60_000;

export interface TestSiteOptions {
  /** The mesh's: `control` below it is the control plane's state. */
  readonly directory: string;
  readonly name?: string;
  /** Gateway object, in namespace `test`, that the site serves. */
  readonly gateway: string;
  /** Port of the cluster's Node ingress; undefined: the site knows no cluster. */
  readonly ingressPort?: number;
  readonly guests?: readonly Omit<GuestWorker, "address">[];
}

export class TestSite {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  /** Ports of the guests by name. */
  readonly guestPorts: ReadonlyMap<string, number>;
  readonly #options: TestSiteOptions;
  #running: Running | undefined;

  private constructor(options: TestSiteOptions, port: number, guestPorts: ReadonlyMap<string, number>) {
    this.#options = options;
    this.name = options.name ?? "edge";
    this.port = port;
    this.guestPorts = guestPorts;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** Ports chosen and secrets made; the control plane may start after it. */
  static async prepare(options: TestSiteOptions): Promise<TestSite> {
    const guestPorts = new Map<string, number>();
    for (const { name } of options.guests ?? []) guestPorts.set(name, await freePort());
    const site = new TestSite(options, await freePort(), guestPorts);
    await makeSiteSecrets(site.#secrets, { namespace: NAMESPACE, name: site.name }, { rotate: false, proxyUsers: [] });
    return site;
  }

  /** The EdgeSite object. */
  get yaml(): string {
    const { gateway, ingressPort } = this.#options;
    const clusters =
      ingressPort === undefined ? "" : `  clusters: [{ name: main, ingress: http://127.0.0.1:${ingressPort}, via: passport }]\n`;
    return `apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: ${this.name}, namespace: ${NAMESPACE} }
spec:
  url: ${this.url}
  audience: ${this.audience}
  runtime: workerd
  egress: true
  gateways: [{ name: ${gateway} }]
${clusters}  credentials: { fromSecret: { name: ${this.name} } }
`;
  }

  /** For the Node gateways of the mesh. */
  get gatewayFlags(): readonly string[] {
    return ["--bank-token-file", bankTokenFile(this.#secrets, { namespace: NAMESPACE, name: this.name })];
  }

  get audience(): string {
    return `site-${this.name}`;
  }

  get running(): Running {
    if (this.#running === undefined) throw new Error("the site was not started");
    return this.#running;
  }

  /** Starts workerd; the site has its snapshot when this returns. */
  async start(api: ApiClient, options: { readonly cpus?: string } = {}): Promise<void> {
    const { directory, guests = [] } = this.#options;
    const site = await findSite(api, this.name, NAMESPACE);
    const secrets = readSecrets({ state: "", secrets: this.#secrets }, site, await siteCredentials(api));
    const folder = join(directory, `workerd-${this.name}`);
    mkdirSync(folder, { recursive: true });
    const placed = guests.map((guest) => ({ ...guest, address: `127.0.0.1:${this.guestPorts.get(guest.name) ?? 0}` }));
    const place = { port: this.port, guests: placed, folder, outputFile: join(folder, "log") };
    const trust = await siteTrust(api, site.audience);
    const upstreams = await upstreamsOf(api, site.audience, trust.floor);
    const { command, cwd, env } = await localSiteChild({ site, trust, secrets, upstreams, ...place }, process.env);
    this.#running = start(`edge site ${this.name}`, command, {
      cwd,
      env: { ...env } as NodeJS.ProcessEnv,
      ...(options.cpus !== undefined && { cpus: options.cpus }),
    });
    await untilPort(this.#running, this.port);
    await this.#untilReady(site);
  }

  /** At once by default: told to end, it would wait for the control plane's connection. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#running?.stop(signal);
    this.#running = undefined;
  }

  get #secrets(): string {
    return join(this.#options.directory, "control", "secrets");
  }

  async #untilReady(site: SiteFacts): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    while ((await siteReady(this.port, site)) === undefined) {
      if (performance.now() > deadline) throw new Error(`${this.name} has no snapshot: ${this.running.output()}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }
}
