import { describe, expect, it } from "vitest";
import { forward, only } from "../../../test/conformance/build.ts";
import type { ClusterOptions, CompiledCluster } from "../compile/clusters.ts";
import { compile } from "../compile/compile.ts";
import type { Tables } from "../compile/tables.ts";
import { applyHealth, endpointViews, type HealthChange, refreshHealth } from "../index.ts";
import type { Cluster, Endpoint, LoadBalancer, Snapshot } from "../ir/index.ts";
import { MAX_HASH_TABLE_BYTES } from "./hash-table.ts";
import type { NameAnswer, Names } from "./members.ts";

const OUTLIER = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  splitLocalOrigin: false,
  consecutiveLocalOriginFailures: 5,
  intervalMs: 1_000,
  baseEjectionMs: 5_000,
  maxEjectionPercent: 100,
};

interface Made {
  readonly change?: Partial<Cluster>;
  readonly balancer?: Partial<LoadBalancer>;
  readonly endpoints?: readonly Partial<Endpoint>[];
  readonly options?: ClusterOptions;
  readonly previous?: Tables;
}

const base = only({ action: forward("a") });

function snapshotOf({ change = {}, balancer = {}, endpoints = four }: Made): Snapshot {
  return {
    ...base,
    clusters: base.clusters.map((cluster) =>
      cluster.name === "a"
        ? { ...cluster, ...change, loadBalancer: { policy: "round-robin", panicPercent: 0, ...balancer } }
        : cluster,
    ),
    endpoints: [
      ...base.endpoints.filter(({ cluster }) => cluster !== "a"),
      { cluster: "a", endpoints: endpoints.map((more, i) => ({ address: `10.0.0.${i}`, port: 80, weight: 1, ...more })) },
    ],
  };
}

function make(made: Made): { readonly tables: Tables; readonly cluster: CompiledCluster } {
  const tables = compile(snapshotOf(made), "1.1", made.previous, made.options);
  if (!tables.ok) throw new Error(JSON.stringify(tables.error));
  return { tables: tables.value, cluster: tables.value.clusters.get("a")! };
}

const four: readonly Partial<Endpoint>[] = [{}, {}, {}, {}];

function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** How often each address is chosen in 4000 throws, as a share. */
function shares({ balancer }: CompiledCluster, nowMs: number, hash?: number): { [address: string]: number } {
  const random = dice(3);
  const counts: { [address: string]: number } = {};
  for (let i = 0; i < 4000; i++) {
    const address = balancer?.next(random, nowMs, hash)?.endpoint.address ?? "nobody";
    counts[address] = (counts[address] ?? 0) + 1 / 4000;
  }
  const rounded = Object.entries(counts).map(([address, share]) => [address, Math.round(share * 100) / 100] as const);
  return Object.fromEntries(rounded.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function fail(cluster: CompiledCluster, address: string, times: number, nowMs: number): void {
  const endpoint = cluster.endpoints.find((one) => one.address === address)!;
  for (let i = 0; i < times; i++) cluster.state.health.observe(endpoint, "5xx", nowMs);
}

it("clusters of which nothing of this is asked have their plain balancer", () => {
  const { cluster } = make({});
  expect(cluster.managed).toBeUndefined();
  expect(cluster.watched).toBe(false);
  expect(shares(cluster, 0)).toEqual({ "10.0.0.0": 0.25, "10.0.0.1": 0.25, "10.0.0.2": 0.25, "10.0.0.3": 0.25 });
});

it("limits are shared between threads, rounded up", () => {
  const circuit = { maxRequests: 10, maxRetries: 1 };
  const pool = { ...base.clusters[0]!.pool, maxConnections: 9, maxPendingRequests: 1 };
  const retryBudget = { percent: 20, minConcurrent: 5 };
  const { cluster } = make({ change: { circuit, pool, retryBudget }, options: { threads: 4 } });
  expect(cluster.circuit).toEqual({ maxRequests: 3, maxRetries: 1 });
  expect(cluster.retryBudget).toEqual({ percent: 20, minConcurrent: 2 });
  expect(cluster.balancer!.next(() => 0, 0, undefined)!.pool).toEqual({ ...pool, maxConnections: 3, maxPendingRequests: 1 });
  expect(make({ change: { circuit, pool } }).cluster.balancer!.next(() => 0, 0, undefined)!.pool).toBe(pool);
});

describe("ejection", () => {
  it("takes an endpoint out, and lets it back at the first sweep after its time", () => {
    const changes: HealthChange[] = [];
    const { cluster } = make({ change: { outlier: OUTLIER }, options: { health: (change) => changes.push(change) } });
    expect(Object.keys(shares(cluster, 0))).toHaveLength(4);
    fail(cluster, "10.0.0.1", 2, 100);
    expect(shares(cluster, 200)).toEqual({ "10.0.0.0": 0.33, "10.0.0.2": 0.33, "10.0.0.3": 0.33 });
    expect(shares(cluster, 5_099)["10.0.0.1"]).toBeUndefined();
    expect(shares(cluster, 5_100)["10.0.0.1"]).toBe(0.25);
    // The second one in a row takes twice as long.
    fail(cluster, "10.0.0.1", 2, 5_200);
    expect(shares(cluster, 15_000)["10.0.0.1"]).toBeUndefined();
    expect(shares(cluster, 15_300)["10.0.0.1"]).toBe(0.25);
    expect(changes.map((change) => change.kind === "changed" && change.state.kind)).toEqual([
      "ejected",
      "healthy",
      "ejected",
      "healthy",
    ]);
  });

  it("is forgotten by intervals without another", () => {
    const { cluster, tables } = make({ change: { outlier: OUTLIER } });
    shares(cluster, 0);
    fail(cluster, "10.0.0.1", 2, 0);
    refreshHealth(tables, 6_000);
    refreshHealth(tables, 8_000);
    fail(cluster, "10.0.0.1", 2, 8_000);
    expect(cluster.endpoints[1]!.health).toMatchObject({ state: { kind: "ejected", untilMs: 13_000 }, counts: { ejections: 1 } });
  });

  it("spares endpoints beyond maxEjectionPercent, and says so", () => {
    const changes: HealthChange[] = [];
    const { cluster } = make({
      change: { outlier: { ...OUTLIER, maxEjectionPercent: 50 } },
      options: { health: (change) => changes.push(change) },
    });
    shares(cluster, 0);
    for (const address of ["10.0.0.0", "10.0.0.1", "10.0.0.2"]) fail(cluster, address, 2, 0);
    expect(Object.keys(shares(cluster, 1))).toEqual(["10.0.0.2", "10.0.0.3"]);
    expect(changes.at(-1)).toMatchObject({ kind: "spared", reason: "consecutive-5xx" });
  });

  it("outlives a snapshot, and its numbers are those of the new one", () => {
    const first = make({ change: { outlier: OUTLIER } });
    shares(first.cluster, 0);
    fail(first.cluster, "10.0.0.1", 2, 0);
    const second = make({ change: { outlier: OUTLIER }, endpoints: [{}, {}, {}], previous: first.tables });
    refreshHealth(second.tables, 10);
    expect(Object.keys(shares(second.cluster, 20))).toEqual(["10.0.0.0", "10.0.0.2"]);
    // A request of the old snapshot still gets the endpoint that is gone from the new one, and moves nothing.
    expect(Object.keys(shares(first.cluster, 20))).toContain("10.0.0.3");
    expect(Object.keys(shares(second.cluster, 20))).toEqual(["10.0.0.0", "10.0.0.2"]);
  });

  it("compiling alone changes nothing", () => {
    const first = make({ change: { outlier: OUTLIER } });
    shares(first.cluster, 0);
    const { version } = first.cluster.state.health;
    make({ change: { outlier: OUTLIER }, endpoints: [{}], previous: first.tables });
    expect(first.cluster.state.health.version).toBe(version);
  });
});

describe("panic", () => {
  const unwell = (tables: Tables, ...addresses: string[]) => {
    for (const address of addresses) applyHealth(tables, "a", `a|${address}|80`, { kind: "check-failed", reason: "refused" }, 0);
  };
  const checked = {
    healthCheck: {
      probe: { kind: "tcp" },
      intervalMs: 1,
      timeoutMs: 1,
      jitterPercent: 0,
      unhealthyThreshold: 1,
      healthyThreshold: 1,
    },
  } as const;

  it("below the threshold everybody is used, well or not; at it nobody panics", () => {
    const { tables, cluster } = make({ change: checked, balancer: { panicPercent: 50 } });
    shares(cluster, 0);
    unwell(tables, "10.0.0.0", "10.0.0.1");
    expect(Object.keys(shares(cluster, 1))).toEqual(["10.0.0.2", "10.0.0.3"]);
    unwell(tables, "10.0.0.2");
    expect(Object.keys(shares(cluster, 2))).toHaveLength(4);
    applyHealth(tables, "a", "a|10.0.0.0|80", { kind: "check-passed" }, 3);
    expect(Object.keys(shares(cluster, 4))).toEqual(["10.0.0.0", "10.0.0.3"]);
  });

  it("without it, nobody well is nobody", () => {
    const { tables, cluster } = make({ change: checked });
    unwell(tables, "10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3");
    expect(shares(cluster, 1)).toEqual({ nobody: 1 });
    expect(cluster.managed!.emptiness).toEqual({ code: "no_healthy_upstream", reason: "none of 4 endpoints is healthy" });
    expect(endpointViews(tables, 5).find(({ address }) => address === "10.0.0.3")).toMatchObject({
      cluster: "a",
      state: "unhealthy",
      reason: "refused",
      forMs: 5,
    });
  });
});

describe("locality", () => {
  const near = [{ locality: "eu/a" }, { locality: "eu/a" }, { locality: "eu/b" }, { locality: "us/a" }];
  const failover = { kind: "failover", regions: [] } as const;
  const here: ClusterOptions = { locality: "eu/a" };

  it("goes to the nearest, and over to the next as the nearest fail", () => {
    const { cluster } = make({ change: { outlier: OUTLIER }, balancer: { locality: failover }, endpoints: near, options: here });
    expect(shares(cluster, 0)).toEqual({ "10.0.0.0": 0.5, "10.0.0.1": 0.5 });
    fail(cluster, "10.0.0.0", 2, 0);
    // Half of the level is left: it bears 70 %.
    const seen = shares(cluster, 1);
    expect(seen["10.0.0.1"]).toBeCloseTo(0.7, 1);
    expect(seen["10.0.0.2"]).toBeCloseTo(0.3, 1);
    fail(cluster, "10.0.0.1", 2, 2);
    expect(shares(cluster, 3)).toEqual({ "10.0.0.2": 1 });
  });

  it("is the gateway's own, else what the settings say", () => {
    const source = snapshotOf({ balancer: { locality: failover }, endpoints: near });
    const told = compile({ ...source, settings: { ...source.settings, locality: "us/a" } }, "1.1", undefined);
    if (!told.ok) throw new Error("not compiled");
    expect(shares(told.value.clusters.get("a")!, 0)).toEqual({ "10.0.0.3": 1 });
  });

  it("distributes by shares, and less to a place that fails", () => {
    const rules = [
      {
        from: "eu",
        to: [
          ["eu/a", 75],
          ["us", 25],
        ] as const,
      },
    ];
    const { cluster } = make({
      change: { outlier: OUTLIER },
      balancer: { locality: { kind: "distribute", rules } },
      endpoints: near,
      options: here,
    });
    const seen = shares(cluster, 0);
    expect(seen["10.0.0.0"]! + seen["10.0.0.1"]!).toBeCloseTo(0.75, 1);
    expect(seen["10.0.0.2"]).toBeUndefined();
    fail(cluster, "10.0.0.3", 2, 0);
    expect(shares(cluster, 1)["10.0.0.3"]).toBeUndefined();
  });

  it("a retry elsewhere leaves the levels that were tried", () => {
    const { cluster } = make({ balancer: { locality: failover }, endpoints: near, options: here });
    const tried = [cluster.endpoints[0]!];
    expect(cluster.balancer!.elsewhere!(() => 0, 0, undefined, tried)!.endpoint.address).toBe("10.0.0.2");
    expect(cluster.balancer!.elsewhere!(() => 0, 0, undefined, [...tried, cluster.endpoints[2]!])!.endpoint.address).toBe(
      "10.0.0.3",
    );
    expect(cluster.balancer!.elsewhere!(() => 0, 0, undefined, cluster.endpoints)!.endpoint.address).toMatch(/^10\.0\.0\.[01]$/);
  });
});

describe("warm-up", () => {
  const warmup = { durationMs: 10_000, minimumPercent: 10, aggression: 1 };

  it("gives newcomers a share that grows; those of the first snapshot have theirs at once", () => {
    const first = make({ balancer: { warmup }, endpoints: [{}] });
    expect(shares(first.cluster, 0)).toEqual({ "10.0.0.0": 1 });
    const { cluster, tables } = make({ balancer: { warmup }, endpoints: [{}, {}], previous: first.tables });
    refreshHealth(tables, 1_000);
    expect(shares(cluster, 1_000)["10.0.0.1"]).toBeCloseTo(0.1 / 1.1, 2);
    expect(shares(cluster, 6_000)["10.0.0.1"]).toBeCloseTo(0.5 / 1.5, 2);
    expect(cluster.endpoints[1]!.health!.state.kind).toBe("warming");
    expect(shares(cluster, 11_000)).toEqual({ "10.0.0.0": 0.5, "10.0.0.1": 0.5 });
    expect(cluster.endpoints[1]!.health!.state.kind).toBe("healthy");
    expect(cluster.state.health.dueMs).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("by hash", () => {
  const hash = { on: { kind: "source-ip" }, tableSize: 251 } as const;

  it.each(["ring-hash", "maglev"] as const)("%s keeps keys where they are as far as can be", (policy) => {
    const { cluster } = make({ change: { outlier: OUTLIER }, balancer: { policy, hash } });
    const at = (key: number, nowMs: number) =>
      cluster.balancer!.next(() => 0, nowMs, (key * 2_654_435_761) >>> 0)!.endpoint.address;
    const before = Array.from({ length: 500 }, (_, key) => at(key, 0));
    expect(new Set(before).size).toBe(4);
    fail(cluster, "10.0.0.2", 2, 0);
    const moved = before.filter((address, key) => address !== at(key, 1));
    expect(moved.filter((address) => address === "10.0.0.2")).toHaveLength(
      before.filter((address) => address === "10.0.0.2").length,
    );
    expect(moved.length / 500).toBeLessThan(0.35);
    expect(before.every((address, key) => address === at(key, 6_000))).toBe(true);
  });

  it("a request without a hash goes anywhere", () => {
    const { cluster } = make({ balancer: { policy: "maglev", hash } });
    expect(Object.keys(shares(cluster, 0))).toHaveLength(4);
    expect(Object.keys(shares(cluster, 0, 12345))).toHaveLength(1);
  });

  it("tables of a snapshot take at most MAX_HASH_TABLE_BYTES", () => {
    const size = 5_000_011;
    const big = snapshotOf({ balancer: { policy: "maglev", hash: { ...hash, tableSize: size } } });
    const [a] = big.clusters.filter(({ name }) => name === "a");
    const most = Math.floor(MAX_HASH_TABLE_BYTES / (2 * size));
    const many = Array.from({ length: most + 1 }, (_, i) => ({ ...a!, name: `c${i}` }));
    const endpoints = many.map(({ name }, i) => ({
      cluster: name,
      endpoints: [{ address: `10.2.0.${i}`, port: 80, weight: 1 }],
    }));
    const compiled = compile(
      { ...base, clusters: [...base.clusters, ...many], endpoints: [...base.endpoints, ...endpoints] },
      "1.1",
      undefined,
    );
    expect(compiled.ok ? [] : compiled.error).toEqual([
      expect.objectContaining({ path: `clusters[${base.clusters.length + most}].loadBalancer.hash.tableSize` }),
    ]);
  });
});

describe("names", () => {
  class FakeNames implements Names {
    version = 0;
    readonly answers = new Map<string, NameAnswer>();
    get(name: string): NameAnswer | undefined {
      return this.answers.get(name);
    }
    set(name: string, ...addresses: string[]): void {
      this.version++;
      this.answers.set(name, { kind: "addresses", addresses });
    }
    fail(name: string): void {
      this.version++;
      this.answers.set(name, { kind: "failed", reason: "ENOTFOUND" });
    }
  }
  const named = (discovery: "dns" | "logical-dns", names: Names) =>
    make({ change: { discovery }, endpoints: [{ address: "a.test" }, { address: "b.test" }], options: { names } });

  it("stand for themselves until they are resolved, then for all their addresses, each once", () => {
    const names = new FakeNames();
    const { cluster, tables } = named("dns", names);
    expect(Object.keys(shares(cluster, 0))).toEqual(["a.test", "b.test"]);
    names.set("a.test", "10.3.0.1", "10.3.0.2");
    names.set("b.test", "10.3.0.2", "10.3.0.3");
    refreshHealth(tables, 1);
    expect(Object.keys(shares(cluster, 1)).sort()).toEqual(["10.3.0.1", "10.3.0.2", "10.3.0.3"]);
    const [first] = endpointViews(tables, 2).filter(({ address }) => address === "10.3.0.1");
    expect(first).toMatchObject({ hostname: "a.test", port: 80 });
    const before = cluster.managed!.members[0]!.target.endpoint;
    names.set("a.test", "10.3.0.9", "10.3.0.1");
    refreshHealth(tables, 3);
    expect(Object.keys(shares(cluster, 3)).sort()).toEqual(["10.3.0.1", "10.3.0.2", "10.3.0.3", "10.3.0.9"]);
    expect(cluster.managed!.members.some(({ target }) => target.endpoint === before)).toBe(true);
  });

  it("with DNS_ROUND_ROBIN each stands for its first address", () => {
    const names = new FakeNames();
    const { cluster } = named("logical-dns", names);
    names.set("a.test", "10.3.0.1", "10.3.0.2");
    expect(Object.keys(shares(cluster, 0))).toEqual(["10.3.0.1", "b.test"]);
  });

  it("that do not resolve leave nobody, and the reason", () => {
    const names = new FakeNames();
    const { cluster } = named("dns", names);
    names.fail("a.test");
    names.fail("b.test");
    expect(shares(cluster, 0)).toEqual({ nobody: 1 });
    expect(cluster.managed!.emptiness).toEqual({ code: "dns_failure", reason: "a.test: ENOTFOUND" });
  });
});
