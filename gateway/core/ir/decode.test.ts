import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunkSnapshot } from "../../../controlplane/snapshot/index.ts";
import { egressConfig, json, makeRoute, makeSnapshot, utf8 } from "../../../test/support/snapshots.ts";
import type { Issue } from "../result.ts";
import { array, boolean, integer, oneOf, runCheck, text } from "./decode/check.ts";
import { object, optional, variants } from "./decode/object.ts";
import { chunkKey, DECODE_LIMITS, decodeChunks, decodeSnapshot, MAX_ISSUES } from "./decode.ts";
import type { ChunkKind, ChunkRef, Snapshot } from "./manifest.ts";
import type { QuotaPolicy } from "./policy.ts";
import type { Route } from "./route.ts";

const ref = (kind: ChunkKind, name = "all"): ChunkRef => ({ kind, name, hash: `${kind}-${name}`, bytes: 2 });
/** The items written with names, as one value. */
const content = (items: unknown, shared: readonly unknown[] = []) => json({ items: [items], shared });
const problemsOf = (kind: ChunkKind, resources: unknown, shared: readonly unknown[] = []): readonly Issue[] => {
  const decoded = decodeChunks([{ ref: ref(kind), bytes: content(resources, shared) }]);
  return decoded.ok ? [] : decoded.error;
};
const snapshotOf = (snapshot: Snapshot) => decodeSnapshot(chunkSnapshot(snapshot));
const table = (route: unknown) => [
  { name: "t", quotas: [], virtualHosts: [{ name: "h", domains: ["h.example"], quotas: [], routes: [route] }] },
];

const quota: QuotaPolicy = {
  id: "shop/per-user",
  origin: { kind: "Quota", namespace: "shop", name: "per-user" },
  matches: [{ path: { kind: "segmentPrefix", value: "/v1" } }],
  key: [
    { kind: "header", name: "x-user" },
    { kind: "clientIp", v4Prefix: 32, v6Prefix: 64 },
  ],
  limits: [
    { name: "burst", amount: 20, perMs: 1_000, window: "smooth", burst: 5 },
    { name: "daily", amount: 5_000, perMs: 86_400_000, window: "calendar", timeZone: "Europe/Zurich", calendarUnit: "day" },
  ],
  cost: { kind: "header", name: "x-cost", max: 50, default: 1 },
  unit: "requests",
  overrides: [{ key: ["jason", null], limits: [] }],
  whenKeyMissing: "share",
  scope: "local",
  onStoreFailure: { kind: "local", percent: 25 },
  mode: "enforce",
  headers: "both",
  response: { status: 429, body: "slow down" },
};

/** Every optional field and every variant of a route at least once. */
const fullRoutes: readonly Route[] = [
  {
    ...makeRoute(1),
    matches: [
      {
        name: "m",
        path: { kind: "regex", value: "/a+" },
        ignorePathCase: false,
        method: { kind: "exact", value: "GET", ignoreCase: true },
        scheme: { kind: "exact", value: "https" },
        authority: { kind: "suffix", value: ".example" },
        headers: [{ name: "x-a", match: { kind: "present" }, invert: true }],
        query: [{ name: "Q", match: { kind: "prefix", value: "" } }],
        port: 80,
      },
    ],
    action: {
      kind: "forward",
      destinations: [
        {
          cluster: "c",
          weight: 1,
          authority: "c.example",
          requestHeaders: { remove: ["x-b"] },
          responseHeaders: { add: [["x-c", "1"]] },
        },
      ],
      rewrite: { path: "/b", pathRegex: { match: "a", substitution: "\\1" }, authority: "b.example" },
      timeoutMs: 5,
      retry: {
        attempts: 1,
        on: ["5xx"],
        statusCodes: [503],
        perTryTimeoutMs: 2,
        backoffBaseMs: 1,
        backoffMaxMs: 2,
        nonIdempotent: true,
      },
      mirrors: [{ cluster: "m", percent: 12.5 }],
    },
    responseHeaders: { set: [[":authority", "x"]] },
    cors: {
      allowOrigins: [{ kind: "exact", value: "https://a.example" }],
      allowMethods: ["GET"],
      allowHeaders: ["X-A"],
      exposeHeaders: [],
      maxAgeS: 5,
      allowCredentials: true,
      unmatchedPreflights: "ignore",
    },
    fault: { delay: { ms: 5, percent: 0.1 }, abort: { status: 503, percent: 100 } },
  },
  {
    ...makeRoute(2),
    action: { kind: "redirect", status: 308, scheme: "https", authority: "a.example", port: "from-request", prefix: "/x" },
  },
  { ...makeRoute(3), action: { kind: "redirect", status: 301, port: 8443, path: "/y" } },
  { ...makeRoute(4), action: { kind: "direct", status: 200, body: { text: "hello" } } },
  { ...makeRoute(5), action: { kind: "direct", status: 204, body: { base64: "aGk=" } } },
];

describe("what decodes", () => {
  test("a whole snapshot comes back as it was", () => {
    const base = makeSnapshot(0);
    const full: Snapshot = {
      ...makeSnapshot(30),
      listeners: [
        ...base.listeners,
        {
          name: "0.0.0.0:8443",
          bind: "0.0.0.0",
          port: 8443,
          servicePort: 443,
          protocol: "https",
          servers: [
            {
              name: "https",
              serverNames: ["*.example.com"],
              routeTable: "full",
              tls: {
                mode: "simple",
                certificateFile: "a.crt",
                privateKeyFile: "a.key",
                minVersion: "TLSv1.2",
                maxVersion: "TLSv1.3",
                cipherSuites: [],
              },
            },
          ],
          origins: [],
        },
        {
          name: "127.0.0.1:3128",
          bind: "127.0.0.1",
          port: 3128,
          servicePort: 3128,
          protocol: "forward-proxy",
          servers: [],
          origins: [],
        },
      ],
      routeTables: [
        {
          name: "full",
          quotas: ["shop/per-user"],
          virtualHosts: [
            { name: "h", domains: ["*"], httpsRedirect: { status: 301, port: 8443 }, quotas: [], routes: fullRoutes },
          ],
        },
      ],
      quotas: [quota],
      egress: egressConfig(),
    };
    const decoded = snapshotOf(full);
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
    expect(decoded.value.routeTables).toEqual(full.routeTables);
    expect(decoded.value.egress).toEqual(full.egress);
    expect(decoded.value.quotas).toEqual(full.quotas);
    expect(decoded.value.listeners).toHaveLength(3);
    expect(decoded.value.clusters).toHaveLength(full.clusters.length);
  });

  test("a table in several chunks is one table again", () => {
    const big = makeSnapshot(1_000);
    const chunks = chunkSnapshot(big);
    expect(chunks.filter((chunk) => chunk.ref.kind === "routes").length).toBeGreaterThan(5);
    const decoded = decodeSnapshot(chunks);
    if (!decoded.ok) throw new Error(JSON.stringify(decoded.error));
    expect(decoded.value.routeTables).toHaveLength(1);
    const names = (snapshot: Snapshot) => snapshot.routeTables[0]!.virtualHosts.map((host) => host.name).sort();
    expect(names(decoded.value)).toEqual(names(big));
  });
});

describe("what is refused, with its place", () => {
  const route = (change: object) => table({ ...makeRoute(1), ...change });
  const CASES: readonly [string, ChunkKind, unknown, string, RegExp][] = [
    ["not an array", "routes", {}, "routes/all", /must be an array, is object/],
    ["unknown field", "routes", route({ weight: 1 }), 'routes/all[0].virtualHosts[0].routes[0]."weight"', /unknown field/],
    ["missing field", "routes", route({ quotas: undefined }), "routes/all[0].virtualHosts[0].routes[0].quotas", /missing/],
    [
      "null for absent",
      "routes",
      route({ fault: null }),
      "routes/all[0].virtualHosts[0].routes[0].fault",
      /must be an object, is null/,
    ],
    ["wrong type", "routes", route({ id: 5 }), "routes/all[0].virtualHosts[0].routes[0].id", /must be a string, is number/],
    [
      "unknown action",
      "routes",
      route({ action: { kind: "teleport" } }),
      "routes/all[0].virtualHosts[0].routes[0].action.kind",
      /one of forward/,
    ],
    [
      "action by prototype",
      "routes",
      route({ action: { kind: "toString" } }),
      "routes/all[0].virtualHosts[0].routes[0].action.kind",
      /one of/,
    ],
    [
      "no destination",
      "routes",
      route({ action: { ...makeRoute(1).action, destinations: [] } }),
      "routes/all[0].virtualHosts[0].routes[0].action.destinations",
      /at least 1/,
    ],
    [
      "a line break in a value",
      "routes",
      route({ requestHeaders: { set: [["a", "b\r\nc: d"]] } }),
      "routes/all[0].virtualHosts[0].routes[0].requestHeaders.set[0][1]",
      /control/,
    ],
    [
      "upper case field name",
      "routes",
      route({ requestHeaders: { remove: ["X-A"] } }),
      "routes/all[0].virtualHosts[0].routes[0].requestHeaders.remove[0]",
      /lower case/,
    ],
    [
      "a status out of range",
      "routes",
      route({ action: { kind: "direct", status: 99 } }),
      "routes/all[0].virtualHosts[0].routes[0].action.status",
      /from 200 to 599/,
    ],
    [
      "not base64",
      "routes",
      route({ action: { kind: "direct", status: 200, body: { base64: "?" } } }),
      "routes/all[0].virtualHosts[0].routes[0].action.body.base64",
      /base64/,
    ],
    [
      "percent over 100",
      "routes",
      route({ fault: { abort: { status: 500, percent: 101 } } }),
      "routes/all[0].virtualHosts[0].routes[0].fault.abort.percent",
      /0 to 100/,
    ],
    [
      "one route id twice",
      "routes",
      [
        {
          name: "t",
          quotas: [],
          virtualHosts: [{ name: "h", domains: ["*"], quotas: [], routes: [makeRoute(1), makeRoute(1)] }],
        },
      ],
      "routes/all[0].virtualHosts[0].routes[1]",
      /more than once/,
    ],
    [
      "a URL for a domain",
      "routes",
      [{ name: "t", quotas: [], virtualHosts: [{ name: "h", domains: ["HTTP://x"], quotas: [], routes: [] }] }],
      "routes/all[0].virtualHosts[0].domains[0]",
      /lower case host/,
    ],
    [
      "clear server on https",
      "listeners",
      [{ ...makeSnapshot(0).listeners[0], protocol: "https" }],
      "listeners/all[0].servers[0].tls",
      /required/,
    ],
    [
      "http without server",
      "listeners",
      [{ ...makeSnapshot(0).listeners[0], servers: [] }],
      "listeners/all[0].servers",
      /exactly one/,
    ],
    ["port 0", "listeners", [{ ...makeSnapshot(0).listeners[0], port: 0 }], "listeners/all[0].port", /from 1 to 65535/],
    ["two settings", "settings", [makeSnapshot(0).settings, makeSnapshot(0).settings], "settings/all", /at most 1/],
    [
      "a fractional weight",
      "endpoints",
      [{ cluster: "c", endpoints: [{ address: "10.0.0.1", port: 1, weight: 0.5 }] }],
      "endpoints/all[0].endpoints[0].weight",
      /integer/,
    ],
    [
      "an override of other length",
      "quotas",
      [{ ...quota, overrides: [{ key: ["a"], limits: [] }] }],
      "quotas/all[0].overrides[0].key",
      /2 item/,
    ],
    [
      "two limits of one name",
      "quotas",
      [{ ...quota, limits: [quota.limits[0], quota.limits[0]] }],
      "quotas/all[0].limits[1]",
      /more than once/,
    ],
    [
      "a user twice",
      "egress",
      [{ ...egressConfig(), users: [egressConfig().users[0], egressConfig().users[0]] }],
      "egress/all[0].users[1]",
      /more than once/,
    ],
  ];
  test.each(CASES)("%s", (_name, kind, resources, path, problem) => {
    const problems = problemsOf(kind, resources);
    expect(problems.map((issue) => issue.path)).toContain(path);
    expect(problems.find((issue) => issue.path === path)?.problem).toMatch(problem);
  });

  test("every problem at once", () => {
    const problems = problemsOf("routes", table({ ...makeRoute(1), id: "", extra: 1, matches: 5, fault: { delay: {} } }));
    expect(problems).toHaveLength(5);
  });

  test("__proto__ and constructor are unknown fields, and change nothing", () => {
    const bytes = utf8('{"items":[[{"__proto__":{"name":"t"},"constructor":{},"virtualHosts":[],"quotas":[]}]],"shared":[]}');
    const decoded = decodeChunks([{ ref: ref("routes"), bytes }]);
    expect(decoded).toMatchObject({ ok: false });
    expect(decoded.ok ? [] : decoded.error.map((issue) => issue.problem)).toEqual([
      "unknown field",
      "unknown field",
      "required field is missing",
    ]);
    expect(({} as { name?: string }).name).toBeUndefined();
  });

  test("a secret is never repeated in a problem", () => {
    const users = [{ name: "payments", passwordHash: `scrypt$secret${"x".repeat(2_000)}` }];
    expect(JSON.stringify(problemsOf("egress", [{ ...egressConfig(), users }]))).not.toContain("secret");
  });

  test("deep nesting", () => {
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    for (const text of [deep, `{"items":${deep},"shared":[]}`, `{"items":[1,-1],"shared":[${deep}]}`]) {
      expect(decodeChunks([{ ref: ref("routes"), bytes: utf8(text) }]).ok).toBe(false);
    }
  });
});

describe("across chunks", () => {
  const chunk = (kind: ChunkKind, name: string, resources: unknown) => ({ ref: ref(kind, name), bytes: content(resources) });
  const settings = chunk("settings", "all", [makeSnapshot(0).settings]);
  const part = (name: string, domain: string, quotas: readonly string[] = []) =>
    chunk("routes", name, [{ name: "t", quotas, virtualHosts: [{ name, domains: [domain], quotas: [], routes: [] }] }]);
  const cluster = makeSnapshot(1).clusters[0];
  const CASES: readonly [string, readonly ReturnType<typeof chunk>[], RegExp][] = [
    ["no settings", [], /settings exactly once/],
    ["settings twice", [settings, chunk("settings", "b", [makeSnapshot(0).settings])], /settings exactly once/],
    [
      "egress twice",
      [settings, chunk("egress", "a", [egressConfig()]), chunk("egress", "b", [egressConfig([])])],
      /at most once/,
    ],
    ["a domain in two chunks of a table", [settings, part("a", "x.example"), part("b", "x.example")], /two virtual hosts/],
    ["quotas that differ", [settings, part("a", "x.example"), part("b", "y.example", ["q/q"])], /disagree/],
    ["a cluster twice", [settings, chunk("clusters", "a", [cluster]), chunk("clusters", "b", [cluster])], /more than once/],
  ];
  test.each(CASES)("%s", (_name, chunks, problem) => {
    const decoded = decodeSnapshot(chunks);
    expect(decoded.ok ? "" : decoded.error.map((issue) => issue.problem).join()).toMatch(problem);
  });

  test("the same bytes as two kinds are two chunks", () => {
    expect(chunkKey({ kind: "routes", hash: "h" })).not.toBe(chunkKey({ kind: "clusters", hash: "h" }));
  });
});

describe("limits", () => {
  test("at most MAX_ISSUES problems are listed, the others counted", () => {
    const problems = problemsOf(
      "endpoints",
      Array.from({ length: MAX_ISSUES + 50 }, () => 1),
    );
    expect(problems).toHaveLength(MAX_ISSUES + 1);
    expect(problems.at(-1)?.problem).toBe("50 more problems are not listed");
  });

  test("past MAX_ISSUES a wrong resource is still wrong: nothing is read out of it", () => {
    const junk = Array.from({ length: MAX_ISSUES + 5 }, () => ({}));
    for (const kind of ["quotas", "listeners", "egress", "routes"] as const) {
      expect(problemsOf(kind, kind === "egress" ? [{ policies: junk }] : junk).length).toBe(MAX_ISSUES + 1);
    }
    const hosts = [...junk, { name: "h", domains: ["*"], quotas: [], routes: [{}] }];
    expect(problemsOf("routes", [{ name: "t", quotas: [], virtualHosts: hosts }])).toHaveLength(MAX_ISSUES + 1);
  });

  const long = (limit: number) => "x".repeat(limit + 1);
  const many = (limit: number, item: unknown) => Array.from({ length: limit + 1 }, () => item);
  const host = (change: object) => [
    { name: "t", quotas: [], virtualHosts: [{ name: "h", domains: ["*"], quotas: [], routes: [], ...change }] },
  ];
  const withRoute = (change: object) => host({ routes: [{ ...makeRoute(1), ...change }] });
  const simple = { mode: "simple", certificateFile: "c", privateKeyFile: "k", minVersion: "TLSv1.2", maxVersion: "TLSv1.3" };
  const withTls = (change: object) => {
    const [listener] = makeSnapshot(0).listeners;
    const server = { ...listener?.servers[0], tls: { ...simple, cipherSuites: [], ...change } };
    return [{ ...listener, protocol: "https", servers: [server] }];
  };
  const withQuota = (change: object) => [{ ...quota, ...change }];
  const withEgress = (change: object) => [{ ...egressConfig(), ...change }];
  const withPolicy = (change: object) => withEgress({ policies: [{ ...egressConfig().policies[0], ...change }] });
  const withCluster = (change: object) => [{ ...makeSnapshot(1).clusters[0], ...change }];
  const hashed = (policy: string, tableSize: number) => ({ policy, hash: { on: { kind: "source-ip" }, tableSize } });
  const forward = makeRoute(1).action;
  // What a snapshot may say altogether is in decode-shared.test.ts.
  type Limit = Exclude<keyof typeof DECODE_LIMITS, "snapshotSize">;
  const OVER: { readonly [name in Limit]: readonly [ChunkKind, (limit: number) => unknown] } = {
    nameLength: ["routes", (limit) => withRoute({ id: long(limit) })],
    hostLength: ["routes", (limit) => host({ domains: [long(limit)] })],
    textLength: ["routes", (limit) => withRoute({ matches: [{ path: { kind: "regex", value: long(limit) } }] })],
    bodyLength: ["routes", (limit) => withRoute({ action: { kind: "direct", status: 200, body: { text: long(limit) } } })],
    listeners: ["listeners", (limit) => many(limit, 0)],
    serversPerListener: ["listeners", (limit) => [{ ...makeSnapshot(0).listeners[0], servers: many(limit, 0) }]],
    routeTables: ["routes", (limit) => many(limit, 0)],
    virtualHostsPerTable: ["routes", (limit) => [{ name: "t", quotas: [], virtualHosts: many(limit, 0) }]],
    domainsPerVirtualHost: ["routes", (limit) => host({ domains: many(limit, "*") })],
    routesPerVirtualHost: ["routes", (limit) => host({ routes: many(limit, 0) })],
    matchesPerRoute: ["routes", (limit) => withRoute({ matches: many(limit, {}) })],
    conditionsPerMatch: ["routes", (limit) => withRoute({ matches: [{ headers: many(limit, 0) }] })],
    destinationsPerRoute: ["routes", (limit) => withRoute({ action: { ...forward, destinations: many(limit, 0) } })],
    connectionRoutes: [
      "listeners",
      (limit) => [
        {
          ...makeSnapshot(0).listeners[0],
          protocol: "tcp",
          servers: [{ name: "s", serverNames: ["*"], connections: many(limit, 0) }],
        },
      ],
    ],
    headerOps: ["routes", (limit) => withRoute({ requestHeaders: { remove: many(limit, "a") } })],
    clusters: ["clusters", (limit) => many(limit, 0)],
    endpointsPerCluster: ["endpoints", (limit) => [{ cluster: "c", endpoints: many(limit, 0) }]],
    hashTableSize: ["clusters", (limit) => withCluster({ loadBalancer: hashed("ring-hash", limit + 1) })],
    quotas: ["quotas", (limit) => many(limit, 0)],
    quotaKeyParts: ["quotas", (limit) => withQuota({ key: many(limit, { kind: "identity" }) })],
    limitsPerQuota: ["quotas", (limit) => withQuota({ limits: many(limit, 0) })],
    overridesPerQuota: ["quotas", (limit) => withQuota({ overrides: many(limit, 0) })],
    egressPolicies: ["egress", (limit) => withEgress({ policies: many(limit, 0) })],
    rulesPerPolicy: ["egress", (limit) => withPolicy({ allow: many(limit, 0) })],
    hostsPerRule: ["egress", (limit) => withPolicy({ deny: [{ hosts: many(limit, "a"), ports: [], reason: "" }] })],
    egressUsers: ["egress", (limit) => withEgress({ users: many(limit, 0) })],
    certificatesPerServer: ["listeners", (limit) => withTls({ otherCertificates: many(limit, 0) })],
    listLength: ["egress", (limit) => withPolicy({ from: many(limit, 0) })],
    quotaReferences: ["routes", (limit) => host({ quotas: many(limit, "q") })],
    chunkSize: ["egress", (limit) => withPolicy({ deny: many(limit / 8_192, { hosts: [], ports: [], reason: long(8_191) }) })],
    durationMs: ["routes", (limit) => withRoute({ fault: { delay: { ms: limit + 1, percent: 1 } } })],
  };
  test.each(Object.entries(OVER))("%s", (name, [kind, make]) => {
    const limit = DECODE_LIMITS[name as Limit];
    const problems = problemsOf(kind, make(limit)).map((issue) => issue.problem);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join()).toMatch(new RegExp(`at most ${limit} |must be from 0 to ${limit}`));
  });
});

describe("any JSON", () => {
  const kinds: readonly ChunkKind[] = ["settings", "listeners", "routes", "clusters", "endpoints", "quotas", "egress"];
  test("never makes the decoder throw", () => {
    const property = fc.property(fc.constantFrom(...kinds), fc.jsonValue(), fc.array(fc.jsonValue()), (kind, value, parts) => {
      decodeSnapshot([{ ref: ref(kind), bytes: utf8(JSON.stringify(value)) }]);
      decodeSnapshot([{ ref: ref(kind), bytes: content(parts, parts) }]);
    });
    fc.assert(property, { seed: 11, numRuns: 1_000 });
  });

  test("put in place of any part of a good route is refused or harmless", () => {
    const places = ["id", "origin", "matches", "action", "requestHeaders", "quotas", "cors", "fault"] as const;
    const property = fc.property(fc.constantFrom(...places), fc.jsonValue(), (place, value) => {
      problemsOf("routes", table({ ...makeRoute(1), [place]: value }));
    });
    fc.assert(property, { seed: 11, numRuns: 500 });
  });

  test("bytes that are no JSON are a problem with a place", () => {
    expect(decodeChunks([{ ref: ref("routes"), bytes: utf8("[") }])).toMatchObject({
      ok: false,
      error: [{ path: "routes/all" }],
    });
  });
});

describe("checks are held to their types", () => {
  interface Thing {
    readonly name: string;
    readonly kind: "a" | "b";
    readonly size?: number;
  }
  const name = text({ max: 5 });
  const thing = object<Thing>({ name, kind: oneOf("a", "b"), size: optional(integer(0, 3)) });

  test("a forgotten, wrong or extra field does not compile", () => {
    const wrong = () => {
      // The next lines fail to type-check if the guarantees go: each error that is expected has to be there.
      type Args = Parameters<typeof object<Thing>>[0];
      const forgotten = { name, kind: oneOf("a", "b") };
      const narrow = { name, kind: oneOf("a"), size: optional(integer(0, 3)) };
      const required = { name, kind: oneOf("a", "b"), size: integer(0, 3) };
      const verdicts: [
        typeof forgotten extends Args ? 1 : 0,
        typeof narrow extends Args ? 1 : 0,
        typeof required extends Args ? 1 : 0,
      ] = [0, 0, 0];
      return verdicts;
    };
    expect(wrong()).toEqual([0, 0, 0]);
    expect(runCheck(thing, { name: "x", kind: "a" }).ok).toBe(true);
    expect(runCheck(thing, { name: "x", kind: "c", size: 4 })).toMatchObject({
      ok: false,
      error: [{ path: "kind" }, { path: "size" }],
    });
  });

  test("a union by tag", () => {
    type Shape = { readonly is: "dot" } | { readonly is: "line"; readonly solid: boolean };
    const shape = array(variants<Shape, "is">("is", { dot: {}, line: { solid: boolean } }), 3);
    expect(runCheck(shape, [{ is: "dot" }, { is: "line", solid: true }]).ok).toBe(true);
    expect(runCheck(shape, [{ is: "dot", solid: true }, { is: "line" }, 1])).toMatchObject({
      ok: false,
      error: [{ path: '[0]."solid"' }, { path: "[1].solid" }, { path: "[2]" }],
    });
  });
});
