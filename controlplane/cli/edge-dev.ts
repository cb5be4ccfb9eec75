/** A site's workerd as a child of this process: its folder written, its secrets handed over by environment, its end the command's end. */
import { get } from "node:http";
import { join, resolve } from "node:path";
import {
  CONFIG_FILE,
  type GuestWorker,
  type SiteFacts,
  type SiteTrust,
  type SiteUpstream,
  workerdBinary,
  writeSiteConfig,
} from "../edge/index.ts";
import type { SecretValues } from "./edge-site.ts";
import { CliError } from "./output.ts";
import type { ChildSpec } from "./supervisor.ts";

export interface LocalSite {
  readonly site: SiteFacts;
  readonly trust: SiteTrust;
  readonly secrets: SecretValues;
  readonly port: number;
  readonly guests: readonly GuestWorker[];
  readonly upstreams: readonly SiteUpstream[];
  /** Folder for configuration, code and storage. */
  readonly folder: string;
  readonly outputFile: string;
}

/** What a site on this machine may reach besides public addresses: this machine, and the networks around it. */
const LOCAL_NETWORKS = ["127.0.0.0/8", "private"];
/** workerd ends when its last connection does, and the control plane keeps one open: requests get this long. */
const STOP_TIMEOUT_MS = 2_000;
const LOOPBACK = "127.0.0.1";

/** @throws CliError when workerd is not there or a Worker cannot be bundled */
export async function localSiteChild(local: LocalSite, env: Readonly<Record<string, string | undefined>>): Promise<ChildSpec> {
  const binary = workerdBinary();
  if (!binary.ok) throw new CliError(binary.error);
  const { site, trust, secrets, port, guests, upstreams, folder, outputFile } = local;
  const runtime = {
    ...{
      site,
      trust,
      guests,
      upstreams,
      credentials: Object.keys(secrets.credentials),
      allowNetworks: LOCAL_NETWORKS,
      storage: "storage",
    },
    address: `${LOOPBACK}:${port}`,
  };
  try {
    await writeSiteConfig(folder, runtime);
  } catch (error) {
    throw new CliError(`edge site ${site.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return {
    name: "edge",
    command: [binary.value, "serve", resolve(join(folder, CONFIG_FILE))],
    cwd: folder,
    env: { ...env, ...secrets.site, ...secrets.credentials },
    outputFile,
    stopTimeoutMs: STOP_TIMEOUT_MS,
  };
}

/** `checkout=src/checkout.ts` → a Worker beside the site, on the port given. */
export function guestWorker(text: string, port: number): GuestWorker {
  const [, name, entry] = /^([a-z][a-z0-9-]{0,31})=(.+)$/.exec(text) ?? [];
  if (name === undefined || entry === undefined || name === "ingress" || name === "egress") {
    throw new CliError(`--worker ${text}: write NAME=FILE, such as checkout=src/checkout.ts; ingress and egress are taken`, 2);
  }
  return { name, entry: resolve(entry), address: `${LOOPBACK}:${port}` };
}

/** Whether the site on this port has a snapshot in force: it says so under its own host, wherever that leads. */
export async function siteReady(port: number, { url }: SiteFacts): Promise<true | undefined> {
  const { host } = new URL(url);
  const status = await new Promise<number | undefined>((done, fail) => {
    const asked = get({ host: LOOPBACK, port, path: "/.tidegate/ready", headers: { host }, agent: false }, (answer) => {
      answer.resume();
      done(answer.statusCode);
    });
    asked.once("error", fail);
  });
  return status === 200 ? true : undefined;
}
