/** A site and a cluster for tests: the ingress Worker in workerd, the cluster's gateway as a process, and the snapshots of both. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chunkSnapshot, writeSnapshotFile } from "../../controlplane/snapshot/index.ts";
import {
  type Cluster,
  type ClusterVia,
  type PassportIssuer,
  type QuotaPolicy,
  type Route,
  type Snapshot,
  upstreamBinding,
} from "../../gateway/core/ir/index.ts";
import { forward, NO_RETRY, prefix, quotaPolicy, route, snapshot, virtualHost } from "../conformance/build.ts";
import { type Running, start } from "../tools/processes.ts";
import { CLUSTER, testCluster, testListener, testSnapshot } from "./gateway.ts";
import { RELAY_TOKEN } from "./relay-site.ts";
import { bytesByHash, makeKey, manifestOf, signManifest } from "./snapshots.ts";
import { startWorkerd, type TestWorker } from "./workerd.ts";

const MAIN = new URL("../../gateway/node/main.ts", import.meta.url).pathname;
const TUNNEL_TOKEN = "tunnel-token-of-the-test";
/** Behind a binding, so that what goes to the cluster's gateway can be looked at. */
const RECORDED = "10.0.0.9";
/** Of routes that have one. */
export const ROUTE_TIMEOUT_MS = 400;
const WORKERS = ["ingress", "stranger", "keyless"] as const;

/** Where everything is; all of it on loopback. */
export interface Place {
  readonly directory: string;
  readonly ports: Readonly<Record<"origin" | "tls" | "plain" | "recorder" | (typeof WORKERS)[number], number>>;
}
interface CertificateFiles {
  readonly key: string;
  readonly certificate: string;
}
/** Private JWKs, of the site and of another one. */
interface SiteKeys {
  readonly europe: string;
  readonly stranger: string;
}

function quota(amount: number): QuotaPolicy {
  return quotaPolicy("shop/both", [{ name: "l", amount, perMs: 600_000, window: "rolling" }], {
    key: [{ kind: "clientIp", v4Prefix: 32, v6Prefix: 64 }],
  });
}

/** Takes passports of the site and routes nothing else. The quota that it shares with the site would be spent by one request. */
export async function startGateway(place: Place, issuer: PassportIssuer, files: CertificateFiles): Promise<Running> {
  const { directory, ports } = place;
  const tls = {
    mode: "simple",
    certificateFile: files.certificate,
    privateKeyFile: files.key,
    minVersion: "TLSv1.2",
    maxVersion: "TLSv1.3",
    cipherSuites: [],
  } as const;
  const secure = testListener(ports.tls, {
    protocol: "https",
    servers: [{ name: "tls", serverNames: ["*"], routeTable: "main", tls }],
  });
  const base = testSnapshot({
    listeners: [secure, testListener(ports.plain)],
    originPorts: [ports.origin],
    routes: [],
    settings: {
      passports: { audience: "main", issuers: [issuer] },
      accessLog: { enabled: true, path: join(directory, "gateway.log") },
    },
  });
  const content: Snapshot = {
    ...base,
    routeTables: base.routeTables.map((table) => ({
      ...table,
      virtualHosts: [virtualHost(["quota.test"], [], { quotas: ["shop/both"] })],
    })),
    quotas: [quota(1)],
  };
  const chunks = chunkSnapshot(content);
  const file = join(directory, "snapshot.json");
  const jws = await signManifest(manifestOf(chunks, { version: 1 }), [await makeKey()]);
  await writeSnapshotFile(file, { jws, chunks: bytesByHash(chunks) });
  writeFileSync(join(directory, "token"), TUNNEL_TOKEN);
  const tunnel = ["--tunnel", `ws://127.0.0.1:${ports.ingress}`, "--tunnel-token-file", join(directory, "token")];
  const unused = ["--admin-port", "0", "--metrics-port", "0", "--readiness-port", "0"];
  return start("gateway", [process.execPath, MAIN, "--snapshot", file, ...unused, ...tunnel], { cwd: directory });
}

/** Three Workers over one relay: as it is meant to be, with another site's key, and with neither key nor tunnels. */
export function startSite(place: Place, pin: string, keys: SiteKeys, files: CertificateFiles): Promise<Running> {
  const { directory, ports } = place;
  const text = (value: string) => ({ kind: "text", value }) as const;
  const durableObjects = ["SnapshotRelay", "QuotaBank", "TunnelHub"];
  const bindings: TestWorker["bindings"] = {
    SITE: text("europe"),
    AUDIENCE: text("ingress"),
    TRUST_ROOT: text(pin),
    SITE_HOST: text(`127.0.0.1:${ports.ingress}`),
    CLIENT_ADDRESS: text("cf-connecting-ip"),
    RELAY_TOKEN: text(RELAY_TOKEN),
    RELAY: { kind: "durableObject", className: "SnapshotRelay", worker: "ingress" },
    [upstreamBinding(RECORDED, 443)]: { kind: "service", service: "recorder" },
  };
  const meant: TestWorker["bindings"] = {
    TUNNEL_TOKEN: text(TUNNEL_TOKEN),
    TUNNELS: { kind: "durableObject", className: "TunnelHub", worker: "ingress" },
  };
  const entry = "gateway/edge/ingress.ts";
  return startWorkerd(directory, {
    workers: [
      { name: "ingress", entry, bindings: { ...bindings, ...meant, PASSPORT_KEY: text(keys.europe) }, durableObjects },
      { name: "stranger", entry, bindings: { ...bindings, ...meant, PASSPORT_KEY: text(keys.stranger) } },
      { name: "keyless", entry, bindings },
    ],
    sockets: WORKERS.map((name) => ({ name, address: `127.0.0.1:${ports[name]}`, service: name })),
    external: { recorder: { address: `127.0.0.1:${ports.recorder}` } },
    allowNetworks: ["private"],
    trustedCertificates: [readFileSync(files.certificate, "utf8")],
    storage: "storage",
  });
}

/** A host and a cluster for each way; one host has a quota. */
export function siteSnapshot({ ports }: Place): Snapshot {
  const via = (kind: ClusterVia["kind"]): Partial<Cluster> => ({
    via: { kind, cluster: "main", destination: CLUSTER },
    tls: { mode: "simple", subjectAltNames: [], minVersion: "TLSv1.2", insecureSkipVerify: false },
    discovery: "dns",
  });
  const clusters = [
    testCluster("tls", via("passport")),
    testCluster("recorded", via("passport")),
    testCluster("tunnel", via("tunnel")),
  ];
  const hosts = ["tls", "recorded", "tunnel"].map((name) => virtualHost([`${name}.test`], routesTo(name)));
  const limited = virtualHost(["quota.test"], [route("limited", [], { action: forward("tls"), quotas: ["shop/both"] })]);
  const base = snapshot([...hosts, limited], {
    quotas: [quota(3)],
    settings: { accessLog: { enabled: true, path: "-" } },
  });
  return {
    ...base,
    listeners: base.listeners.filter(({ protocol }) => protocol === "http"),
    clusters,
    endpoints: [
      { cluster: "tls", endpoints: [{ address: "localhost", port: ports.tls, weight: 1 }] },
      { cluster: "recorded", endpoints: [{ address: RECORDED, port: 443, weight: 1 }] },
      { cluster: "tunnel", endpoints: [{ address: "main", port: 443, weight: 1 }] },
    ],
  };
}

function routesTo(cluster: string): readonly Route[] {
  const retry = { ...NO_RETRY, attempts: 2, on: ["5xx"] } as const;
  return [
    route(`${cluster}-shop`, [{ path: prefix("/shop/") }], {
      action: forward(cluster, { rewrite: { path: "/inner/", authority: "inner.test" } }),
      requestHeaders: { add: [["x-once", "edge"]] },
      responseHeaders: { add: [["x-answered", "edge"]] },
    }),
    route(`${cluster}-again`, [{ path: prefix("/again") }], { action: forward(cluster, { retry }) }),
    route(`${cluster}-late`, [{ path: prefix("/late") }], { action: forward(cluster, { timeoutMs: ROUTE_TIMEOUT_MS }) }),
    route(`${cluster}-twice`, [{ path: prefix("/twice") }], {
      action: forward(cluster, { mirrors: [{ cluster: "recorded", percent: 100 }] }),
    }),
    route(cluster, [], { action: forward(cluster) }),
  ];
}
