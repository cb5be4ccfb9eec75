/** One site on a workerd of one's own: both gateway Workers, the objects that they share, and the sockets in front. */
import { resolve } from "node:path";
import { type Bundle, bundleProblem, bundleWorker } from "./bundle.ts";
import { type SiteFacts, type SiteTrust, siteVariables } from "./site.ts";
import { SITE_SECRETS } from "./site-secrets.ts";
import type { SiteUpstream } from "./upstreams.ts";
import type { WorkerdBinding, WorkerdConfig, WorkerdSocket, WorkerdWorker } from "./workerd.ts";

const ROOT = resolve(import.meta.dirname, "..", "..");

/** Services of the configuration, and the names of the Workers' files. */
export const INGRESS = "ingress";
export const EGRESS = "egress";
export const ENTRIES: Readonly<Record<typeof INGRESS | typeof EGRESS, string>> = {
  ingress: resolve(ROOT, "gateway", "edge", "ingress.ts"),
  egress: resolve(ROOT, "gateway", "edge", "egress.ts"),
};

/** Durable Objects of a site; all live in the ingress Worker's script, where the egress Worker finds them. */
export const SITE_OBJECTS = { RELAY: "SnapshotRelay", BANK: "QuotaBank", TUNNELS: "TunnelHub" } as const;
/** What the egress Worker has to do with: it dials no cluster. */
export const EGRESS_OBJECTS = ["RELAY", "BANK"] as const;

/** Entry of the egress Worker for bindings: the default one is for callers over HTTPS. */
export const EGRESS_ENTRY = "Egress";
/** Where those ask, at the site's host. */
export const EGRESS_PATH = "/.tidegate/proxy/";

/** Another Worker of the same process, whose way out is the egress Worker. */
export interface GuestWorker {
  readonly name: string;
  /** Source file. */
  readonly entry: string;
  /** `host:port`. */
  readonly address: string;
}

export interface SiteRuntime {
  readonly site: SiteFacts;
  readonly trust: SiteTrust;
  /** `host:port` of the ingress. */
  readonly address: string;
  readonly tls?: WorkerdSocket["tls"];
  /** `host:port` of the egress for callers over HTTPS; undefined: only Workers of this process call out. */
  readonly egressAddress?: string;
  /** Names of credentials that the egress injects, as the Worker knows them. */
  readonly credentials: readonly string[];
  /** Networks that may be reached besides the public ones. */
  readonly allowNetworks: readonly string[];
  readonly guests: readonly GuestWorker[];
  /** Servers that are told another Host than their own name. */
  readonly upstreams: readonly SiteUpstream[];
  /** Folder for the objects' storage. */
  readonly storage: string;
}

/** Secrets come from the environment of the process: the configuration may be shown to anybody. */
export function siteWorkerd(runtime: SiteRuntime): WorkerdConfig {
  const { site, trust, address, tls, egressAddress, credentials, guests, upstreams } = runtime;
  const texts = Object.entries({ ...siteVariables(site, trust), ...selfHosted(runtime) }).map(
    ([name, value]) => [name, { kind: "text", value }] as const,
  );
  const secrets = (names: readonly string[]) => names.map((name) => [name, { kind: "fromEnvironment", variable: name }] as const);
  const objects = Object.entries(SITE_OBJECTS).map(([name, className]) => [name, { kind: "durableObject", className }] as const);
  const servers = upstreams.map(({ binding }) => [binding, { kind: "service", service: binding }] as const);
  const ingress: WorkerdWorker = {
    name: INGRESS,
    file: "ingress.js",
    bindings: Object.fromEntries<WorkerdBinding>([...texts, ...secrets(Object.values(SITE_SECRETS)), ...objects, ...servers]),
    durableObjects: Object.values(SITE_OBJECTS),
  };
  const shared = EGRESS_OBJECTS.map(
    (name) => [name, { kind: "durableObject", className: SITE_OBJECTS[name], worker: INGRESS }] as const,
  );
  const egress: WorkerdWorker = {
    name: EGRESS,
    file: "egress.js",
    bindings: Object.fromEntries<WorkerdBinding>([...texts, ...secrets(credentials), ...shared]),
  };
  return {
    workers: [ingress, egress, ...guests.map(guest)],
    sockets: [
      { name: INGRESS, address, service: INGRESS, ...(tls && { tls }) },
      ...(egressAddress === undefined ? [] : [{ name: EGRESS, address: egressAddress, service: EGRESS }]),
      ...guests.map(({ name, address }): WorkerdSocket => ({ name, address, service: name })),
    ],
    external: Object.fromEntries(
      upstreams.map(({ binding, address, certificateHost }) => [
        binding,
        { address, ...(certificateHost !== undefined && { https: { certificateHost } }) },
      ]),
    ),
    allowNetworks: runtime.allowNetworks,
    storage: runtime.storage,
  };
}

/** What differs where no Cloudflare stands in front: who says what the client's address is, and whether addresses may be dialled as such. */
function selfHosted({ allowNetworks }: SiteRuntime): Readonly<Record<string, string>> {
  return { CLIENT_ADDRESS: "x-forwarded-for", ALLOW_IP_UPSTREAMS: allowNetworks.length > 0 ? "1" : "0" };
}

/** `props` name the caller, as `edgeService` of an EgressPolicy does; the guest cannot change them, and has no other way out. */
function guest({ name }: GuestWorker): WorkerdWorker {
  const egress = { service: EGRESS, entrypoint: EGRESS_ENTRY, props: { service: name } };
  return { name, file: `${name}.js`, bindings: { EGRESS: { kind: "service", ...egress } }, outbound: egress };
}

/** @throws Error when a Worker cannot be bundled, or the bundle is not fit to be shipped */
export async function siteBundles(guests: readonly GuestWorker[]): Promise<ReadonlyMap<string, string>> {
  const gateways = await Promise.all(
    Object.entries(ENTRIES).map(async ([name, entry]) => [name, shippable(name, await bundleWorker(entry))] as const),
  );
  const others = await Promise.all(guests.map(async ({ name, entry }) => [name, (await bundleWorker(entry)).code] as const));
  return new Map([...gateways, ...others].map(([name, code]) => [`${name}.js`, code]));
}

function shippable(name: string, bundle: Bundle): string {
  const problem = bundleProblem(bundle);
  if (problem !== undefined) throw new Error(`${name}: ${problem}`);
  return bundle.code;
}
