/** Keys, roots, manifests and snapshots for tests, benchmarks and fuzzing: honest ones, and the parts to forge others from. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";
import {
  type Chunk,
  canonicalJson,
  DEFAULT_AGES,
  EVERYWHERE_AT_ONCE,
  makeManifest,
  type Signer,
  signDocument,
} from "../../controlplane/snapshot/index.ts";
import type {
  AcceptContext,
  EgressConfig,
  EgressRule,
  Manifest,
  RootDocument,
  RootKey,
  Route,
  Snapshot,
  TrustRoot,
} from "../../gateway/core/ir/index.ts";
import { DEFAULT_SETTINGS, DEFAULT_SNAPSHOT_LIMITS, MANIFEST_TYP, openRoot, ROOT_TYP } from "../../gateway/core/ir/index.ts";

export const NOW_S = 1_800_000_000;
// The runtimes' types disagree about what backs the bytes of an encoder.
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
export const json = (value: unknown): Uint8Array => utf8(canonicalJson(value));

export interface TestKey extends Signer {
  readonly public: RootKey;
}

export async function makeKey(alg: "EdDSA" | "ES256" = "EdDSA"): Promise<TestKey> {
  const pair = await generateKeyPair(alg, { extractable: true, ...(alg === "EdDSA" ? { crv: "Ed25519" } : {}) });
  const jwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { kid, alg, key: pair.privateKey, public: { ...jwk, kid, alg } as RootKey };
}

export interface Keys {
  readonly root: readonly TestKey[];
  readonly online: readonly TestKey[];
}

/** A root document by which every online key has every section role. */
export function rootDocument(keys: Keys, change: Partial<RootDocument> = {}): RootDocument {
  const kids = keys.online.map((key) => key.kid);
  return {
    version: 1,
    iss: "mesh.test",
    epoch: 1,
    expires: NOW_S + 86_400,
    keys: [...keys.root, ...keys.online].map((key) => key.public),
    roles: {
      root: { kids: keys.root.map((key) => key.kid), threshold: 1 },
      routes: { kids, threshold: 1 },
      egress: { kids, threshold: 1, wideningThreshold: 1 },
      quota: { kids, threshold: 1 },
    },
    ...change,
  };
}

export async function pinOf(document: unknown): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", json(document) as Uint8Array<ArrayBuffer>)).toString("base64url");
}

export async function signRoot(document: unknown, signers: readonly Signer[]): Promise<Uint8Array> {
  return signDocument(json(document), ROOT_TYP, signers);
}

export async function makeRoot(keys: Keys, change: Partial<RootDocument> = {}): Promise<TrustRoot> {
  const document = rootDocument(keys, change);
  const opened = await openRoot(await signRoot(document, keys.root), await pinOf(document));
  if (!opened.ok) throw new Error(opened.error.detail);
  return opened.value;
}

export function manifestOf(chunks: readonly Chunk[], change: Partial<Manifest> = {}): Manifest {
  const base = makeManifest({
    iss: "mesh.test",
    pool: "edge",
    epoch: 1,
    version: 1,
    prevHash: null,
    nowS: NOW_S,
    ages: DEFAULT_AGES,
    chunks,
    rollout: EVERYWHERE_AT_ONCE,
    policyClass: "widening",
  });
  return { ...base, ...change };
}

export const signManifest = (manifest: unknown, signers: readonly Signer[]): Promise<Uint8Array> =>
  signDocument(json(manifest), MANIFEST_TYP, signers);

export const bytesByHash = (chunks: readonly Chunk[]): ReadonlyMap<string, Uint8Array> =>
  new Map(chunks.map((chunk) => [chunk.ref.hash, chunk.bytes]));

export function contextOf(root: TrustRoot, change: Partial<AcceptContext> = {}): AcceptContext {
  return {
    root,
    audience: "edge",
    accepted: undefined,
    floor: undefined,
    nowS: NOW_S,
    clockSkewS: 30,
    limits: DEFAULT_SNAPSHOT_LIMITS,
    purpose: "update",
    gatewayId: "gw-1",
    held: undefined,
    ...change,
  };
}

const origin = { kind: "VirtualService", namespace: "shop", name: "shop" };

export function egressRule(change: Partial<EgressRule> = {}): EgressRule {
  return {
    name: "stripe",
    hosts: ["api.stripe.com"],
    ports: [443],
    protocol: "https",
    methods: [],
    paths: [],
    addresses: [],
    quotas: [],
    ...change,
  };
}

export function egressConfig(allow: readonly EgressRule[] = [egressRule()]): EgressConfig {
  return {
    policies: [
      {
        id: "shop/payments",
        origin: { kind: "EgressPolicy", namespace: "shop", name: "payments" },
        namespace: "shop",
        floor: false,
        from: [{ kind: "proxyUser", name: "payments" }],
        mode: "enforce",
        allow,
        deny: [{ hosts: ["*.pastebin.example"], ports: [], reason: "no paste sites" }],
      },
    ],
    staticHosts: [{ host: "db.example", endpoints: [{ address: "10.0.0.1", port: 5432 }] }],
    users: [{ name: "payments", passwordHash: "scrypt$1$1$1$YQ==$YQ==" }],
    realm: "tidegate",
  };
}

/** One route as translation makes them: header, query and path matches, two destinations, header operations, retries. */
export function makeRoute(id: number): Route {
  return {
    id: `shop/shop/route-${id}`,
    name: `route-${id}`,
    origin: { ...origin, path: `spec.http[${id}]` },
    matches: [
      {
        path: { kind: "prefix", value: `/api/v1/resource-${id}/` },
        method: { kind: "exact", value: "GET" },
        headers: [{ name: "x-tenant", match: { kind: "exact", value: `tenant-${id % 50}` } }],
      },
    ],
    action: {
      kind: "forward",
      destinations: [
        { cluster: `outbound|80|v1|svc-${id % 200}.shop.svc.cluster.local`, weight: 90 },
        { cluster: `outbound|80|v2|svc-${id % 200}.shop.svc.cluster.local`, weight: 10 },
      ],
      timeoutMs: 15_000,
      retry: {
        attempts: 2,
        on: ["connect-failure", "refused-stream"],
        statusCodes: [],
        backoffBaseMs: 25,
        backoffMaxMs: 250,
        nonIdempotent: false,
      },
      mirrors: [],
    },
    requestHeaders: { set: [["x-route", `route-${id}`]] },
    quotas: [],
  };
}

/** A snapshot with so many routes, ten to a virtual host, 200 services of two subsets. */
export function makeSnapshot(routes: number, change: Partial<Snapshot> = {}): Snapshot {
  const hosts = Math.max(1, Math.ceil(routes / 10));
  const names = Array.from({ length: Math.min(200, Math.max(1, routes)) }, (_, i) => i);
  const clusters = names.flatMap((i) =>
    ["v1", "v2"].map((subset) => ({ i, subset, name: `outbound|80|${subset}|svc-${i}.shop.svc.cluster.local` })),
  );
  return {
    settings: DEFAULT_SETTINGS,
    listeners: [
      {
        name: "0.0.0.0:8080",
        bind: "0.0.0.0",
        port: 8080,
        servicePort: 80,
        protocol: "http",
        servers: [{ name: "http", serverNames: ["*"], routeTable: "http.80" }],
        origins: [{ kind: "Gateway", namespace: "shop", name: "public" }],
      },
    ],
    routeTables: [
      {
        name: "http.80",
        quotas: [],
        virtualHosts: Array.from({ length: hosts }, (_, h) => ({
          name: `host-${h}.example.com`,
          domains: [`host-${h}.example.com`],
          quotas: [],
          routes: Array.from({ length: Math.min(10, routes - h * 10) }, (_, r) => makeRoute(h * 10 + r)),
        })),
      },
    ],
    clusters: clusters.map(({ i, subset, name }) => ({
      name,
      host: `svc-${i}.shop.svc.cluster.local`,
      port: 80,
      subset,
      origin: { kind: "Service", namespace: "shop", name: `svc-${i}` },
      discovery: "static" as const,
      loadBalancer: { policy: "least-request" as const },
      pool: {
        connectTimeoutMs: 10_000,
        idleTimeoutMs: 60_000,
        maxConnections: 1_024,
        maxPendingRequests: 1_024,
        maxRequestsPerConnection: 0,
      },
      retryBudget: { percent: 20, minConcurrent: 3 },
    })),
    endpoints: clusters.map(({ i, subset, name }) => ({
      cluster: name,
      endpoints: [0, 1, 2].map((n) => ({ address: `10.${i % 256}.${subset === "v1" ? 1 : 2}.${n + 1}`, port: 8080, weight: 1 })),
    })),
    quotas: [],
    egress: undefined,
    ...change,
  };
}
