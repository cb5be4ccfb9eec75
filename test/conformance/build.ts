/** Short ways to write the parts of a snapshot. */
import {
  type Cluster,
  DEFAULT_SETTINGS,
  type ForwardAction,
  type QuotaPolicy,
  type RetryPolicy,
  type Route,
  type RouteMatch,
  type Settings,
  type Snapshot,
  type StringMatch,
  type VirtualHost,
} from "../../gateway/core/ir/index.ts";

const origin = { kind: "VirtualService", namespace: "demo", name: "shop" };

export const exact = (value: string): StringMatch => ({ kind: "exact", value });
export const prefix = (value: string): StringMatch => ({ kind: "prefix", value });
export const segments = (value: string): StringMatch => ({ kind: "segmentPrefix", value });
export const suffix = (value: string): StringMatch => ({ kind: "suffix", value });
export const regex = (value: string): StringMatch => ({ kind: "regex", value });
export const present: StringMatch = { kind: "present" };

export const NO_RETRY: RetryPolicy = {
  attempts: 0,
  on: [],
  statusCodes: [],
  backoffBaseMs: 25,
  backoffMaxMs: 250,
  nonIdempotent: false,
};

export function forward(cluster = "a", more: Partial<ForwardAction> = {}): ForwardAction {
  return { kind: "forward", destinations: [{ cluster, weight: 1 }], retry: NO_RETRY, mirrors: [], ...more };
}

export function route(id: string, matches: readonly RouteMatch[] = [], more: Partial<Route> = {}): Route {
  return { id, origin, matches, action: forward(), quotas: [], ...more };
}

/** Denies with 429 what is above `limits`, all requests together; `<namespace>/<name>` for an id. */
export function quotaPolicy(id: string, limits: QuotaPolicy["limits"], more: Partial<QuotaPolicy> = {}): QuotaPolicy {
  const [namespace = "", name = ""] = id.split("/");
  return {
    id,
    origin: { kind: "Quota", namespace, name },
    matches: [],
    key: [],
    limits,
    cost: { kind: "fixed", amount: 1 },
    unit: "requests",
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: { kind: "deny" },
    mode: "enforce",
    headers: "none",
    response: { status: 429 },
    ...more,
  };
}

export function virtualHost(domains: readonly string[], routes: readonly Route[], more: Partial<VirtualHost> = {}): VirtualHost {
  return { name: domains[0] ?? "none", domains, quotas: [], routes, ...more };
}

/** `a` has one endpoint, `pair` two in turn, `b` another one, `empty` none. */
const ENDPOINTS: { readonly [cluster: string]: readonly string[] } = {
  a: ["10.0.0.1:80"],
  b: ["10.0.0.2:80"],
  pair: ["10.0.1.1:80", "10.0.1.2:80"],
  empty: [],
};

function cluster(name: string): Cluster {
  return {
    name,
    host: `${name}.demo`,
    port: 80,
    origin,
    discovery: "static",
    loadBalancer: { policy: "round-robin" },
    pool: {
      connectTimeoutMs: 10_000,
      idleTimeoutMs: 60_000,
      maxConnections: 1024,
      maxPendingRequests: 1024,
      maxRequestsPerConnection: 0,
    },
    retryBudget: { percent: 20, minConcurrent: 3 },
  };
}

export interface SnapshotParts {
  readonly settings?: Partial<Settings>;
  readonly quotas?: readonly QuotaPolicy[];
  readonly tableQuotas?: readonly string[];
}

/** One route table behind a plain listener (service port 80) and a TLS one (443, every name). */
export function snapshot(virtualHosts: readonly VirtualHost[], parts: SnapshotParts = {}): Snapshot {
  const server = { name: "all", serverNames: ["*"], routeTable: "main" };
  const listener = { bind: "127.0.0.1", servers: [server], origins: [] };
  return {
    settings: { ...DEFAULT_SETTINGS, ...parts.settings },
    listeners: [
      { ...listener, name: "127.0.0.1:8080", port: 8080, servicePort: 80, protocol: "http" },
      { ...listener, name: "127.0.0.1:8443", port: 8443, servicePort: 443, protocol: "https" },
    ],
    routeTables: [{ name: "main", virtualHosts, quotas: parts.tableQuotas ?? [] }],
    clusters: Object.keys(ENDPOINTS).map(cluster),
    endpoints: Object.entries(ENDPOINTS).map(([name, addresses]) => ({
      cluster: name,
      endpoints: addresses.map((text) => {
        const [address = "", port = ""] = text.split(":");
        return { address, port: Number(port), weight: 1 };
      }),
    })),
    quotas: parts.quotas ?? [],
    egress: undefined,
  };
}

/** Everything for any host, by these routes. */
export function routes(...list: readonly Route[]): Snapshot {
  return snapshot([virtualHost(["*"], list)]);
}

/** One route that takes everything. */
export function only(more: Partial<Route>): Snapshot {
  return routes(route("r", [], more));
}
