import type { Cluster, Endpoint, LoadBalancer, RetryPolicy, Snapshot } from "../../../gateway/core/ir/index.ts";
import { forward, NO_RETRY, only } from "../build.ts";
import type { Case } from "../case.ts";

interface Change {
  readonly cluster?: Partial<Cluster>;
  readonly balancer?: Partial<LoadBalancer>;
  /** Localities of the two endpoints of `pair`. */
  readonly localities?: readonly [string, string];
  readonly locality?: string;
  readonly retry?: Partial<RetryPolicy>;
}

/** Everything goes to `pair`, with these changes. */
function pair({ cluster, balancer, localities, locality, retry }: Change): Snapshot {
  const base = only({ action: forward("pair", { retry: { ...NO_RETRY, ...retry } }) });
  const placed = (endpoints: readonly Endpoint[]) =>
    endpoints.map((endpoint, i) => ({ ...endpoint, ...(localities === undefined ? {} : { locality: localities[i] ?? "" }) }));
  return {
    ...base,
    settings: { ...base.settings, ...(locality === undefined ? {} : { locality }) },
    clusters: base.clusters.map((one) =>
      one.name === "pair" ? { ...one, ...cluster, loadBalancer: { ...one.loadBalancer, ...balancer } } : one,
    ),
    endpoints: base.endpoints.map((one) => (one.cluster === "pair" ? { ...one, endpoints: placed(one.endpoints) } : one)),
  };
}

const hashed = (on: NonNullable<LoadBalancer["hash"]>["on"]) =>
  pair({ balancer: { policy: "maglev", hash: { on, tableSize: 251 } } });
const sticky = hashed({ kind: "cookie", name: "lb", path: "/", ttlMs: 60_000 });
const far: Change = {
  balancer: { locality: { kind: "failover", regions: [] } },
  localities: ["eu/a", "us/a"],
  locality: "us/b",
};
const FIRST = "10.0.1.1:80";
const SECOND = "10.0.1.2:80";

export const balancing: readonly Case[] = [
  {
    name: "a client without the cookie gets one",
    snapshot: sticky,
    request: { fields: ["x-request-id", "1"] },
    dice: [0.5],
    expect: {
      status: 200,
      upstream: [{ absent: ["cookie"] }],
      fields: { "set-cookie": 'lb="8000000080000000"; Max-Age=60; Path=/; HttpOnly' },
    },
  },
  {
    name: "a client with the cookie keeps it",
    snapshot: sticky,
    request: { fields: ["cookie", "a=b; lb=42"] },
    expect: { status: 200, upstream: [{ fields: { cookie: "a=b; lb=42" } }], absent: ["set-cookie"] },
  },
  {
    name: "a cookie that is not to be set is not",
    snapshot: hashed({ kind: "cookie", name: "lb" }),
    request: {},
    expect: { status: 200, upstream: [{}], absent: ["set-cookie"] },
  },
  {
    name: "a retry of a hashed request has the same endpoint",
    snapshot: pair({
      balancer: { policy: "ring-hash", hash: { on: { kind: "query", name: "user" }, tableSize: 64 } },
      retry: { attempts: 1, on: ["5xx"] },
    }),
    request: { target: "/?user=ann" },
    origin: [{ status: 500 }, { status: 200 }],
    expect: { status: 200, upstream: [{}, {}] },
  },
  { name: "the near endpoint is taken", snapshot: pair(far), request: {}, expect: { status: 200, upstream: [{ to: SECOND }] } },
  {
    name: "without a locality of its own the gateway takes any",
    snapshot: pair({ ...far, locality: "" }),
    request: {},
    expect: { status: 200, upstream: [{ to: FIRST }] },
  },
  {
    name: "a retry goes on to the next level",
    snapshot: pair({ ...far, retry: { attempts: 1, on: ["5xx"], remoteLocalities: true } }),
    request: {},
    origin: [{ status: 500 }, { status: 200 }],
    expect: { status: 200, upstream: [{ to: SECOND }, { to: FIRST }] },
  },
  {
    name: "distribute leaves out what it does not name",
    snapshot: pair({ ...far, balancer: { locality: { kind: "distribute", rules: [{ from: "us", to: [["eu", 1]] }] } } }),
    request: {},
    expect: { status: 200, upstream: [{ to: FIRST }] },
  },
  {
    name: "an endpoint that fails is ejected within the request, and the retry goes elsewhere",
    snapshot: pair({
      cluster: {
        outlier: {
          consecutive5xx: 1,
          consecutiveGatewayErrors: 0,
          splitLocalOrigin: false,
          consecutiveLocalOriginFailures: 0,
          intervalMs: 1_000,
          baseEjectionMs: 1_000,
          maxEjectionPercent: 50,
        },
      },
      retry: { attempts: 3, on: ["5xx"], sameHosts: true },
    }),
    request: {},
    origin: [{ status: 500 }, { status: 500 }, { status: 200 }],
    expect: { status: 200, upstream: [{ to: FIRST }, { to: SECOND }, { to: SECOND }] },
  },
  {
    name: "everybody ejected, and no panic: nobody is there",
    snapshot: pair({
      balancer: { panicPercent: 0 },
      cluster: {
        outlier: {
          consecutive5xx: 0,
          consecutiveGatewayErrors: 0,
          splitLocalOrigin: true,
          consecutiveLocalOriginFailures: 1,
          intervalMs: 1_000,
          baseEjectionMs: 1_000,
          maxEjectionPercent: 100,
        },
      },
      retry: { attempts: 3, on: ["connect-failure"] },
    }),
    request: {},
    origin: [{ fails: "upstream_connect", sent: false }],
    expect: { status: 503, upstream: [{ to: FIRST }, { to: SECOND }], flags: "UH", reason: "none of 2 endpoints is healthy" },
  },
  {
    name: "more requests than a service takes",
    snapshot: pair({ cluster: { circuit: { maxRequests: 0 } } }),
    request: {},
    expect: { status: 503, upstream: [], flags: "UO", reason: "more than 0 requests to the service" },
  },
  {
    name: "as many requests as a service takes",
    snapshot: pair({ cluster: { circuit: { maxRequests: 1 } } }),
    request: {},
    expect: { status: 200, upstream: [{}] },
  },
  {
    name: "no retries are allowed at once",
    snapshot: pair({ cluster: { circuit: { maxRetries: 0 } }, retry: { attempts: 1, on: ["5xx"] } }),
    request: {},
    origin: [{ status: 500 }, { status: 200 }],
    expect: { status: 500, upstream: [{}], flags: "URX" },
  },
  {
    name: "an origin that limits rates is asked again",
    snapshot: pair({ retry: { attempts: 1, on: ["envoy-ratelimited"] } }),
    request: {},
    origin: [{ status: 429, fields: ["x-envoy-ratelimited", "true"] }, { status: 200 }],
    expect: { status: 200, upstream: [{ to: FIRST }, { to: SECOND }] },
  },
  {
    name: "any other 429 is not",
    snapshot: pair({ retry: { attempts: 1, on: ["envoy-ratelimited"] } }),
    request: {},
    origin: [{ status: 429 }, { status: 200 }],
    expect: { status: 429, upstream: [{}] },
  },
];
