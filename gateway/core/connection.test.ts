import { describe, expect, it } from "vitest";
import { compile } from "./compile/compile.ts";
import { type ConnectionEnd, type ConnectionExchange, createConnection, MAX_CONNECT_ATTEMPTS } from "./connection.ts";
import {
  type Cluster,
  type ConnectionRoute,
  DEFAULT_SETTINGS,
  type Listener,
  type ServerTls,
  type Snapshot,
} from "./ir/index.ts";
import { findHost } from "./match/host.ts";
import type { ConnectionFacts, ConnectionRecord } from "./ports.ts";
import { connectionLogLine } from "./telemetry/access-log.ts";
import { CONNECTION_LABELS, CONNECTION_METRICS, connectionLabels } from "./telemetry/metrics.ts";

const ORIGIN = { kind: "VirtualService", namespace: "shop", name: "db" };
const LISTENER = "127.0.0.1:9000";

function cluster(name: string, change: Partial<Cluster> = {}): Cluster {
  return {
    name,
    host: "db.shop.svc.cluster.local",
    port: 9000,
    origin: ORIGIN,
    discovery: "static",
    loadBalancer: { policy: "round-robin" },
    pool: {
      connectTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      maxConnections: 8,
      maxPendingRequests: 1,
      maxRequestsPerConnection: 0,
    },
    retryBudget: { percent: 20, minConcurrent: 3 },
    ...change,
  };
}

function route(id: string, change: Partial<ConnectionRoute> = {}): ConnectionRoute {
  return { id, origin: ORIGIN, matches: [], destinations: [{ cluster: id, weight: 1 }], ...change };
}

interface World {
  readonly routes?: readonly ConnectionRoute[];
  readonly clusters?: readonly Cluster[];
  /** Endpoints of every cluster. */
  readonly endpoints?: number;
  readonly tls?: ServerTls;
  readonly names?: readonly string[];
}

class Rig {
  nowMs = 1000;
  dice = 0.5;
  readonly opened: ConnectionFacts[] = [];
  readonly moved: [number, number][] = [];
  readonly closed: ConnectionRecord[] = [];
  tables;

  constructor({ routes = [route("a")], clusters = [cluster("a")], endpoints = 2, tls, names = ["*"] }: World) {
    const server = {
      name: "s",
      serverNames: names,
      ...(tls === undefined ? {} : { tls }),
      ...(tls?.mode === "auto-passthrough" ? {} : { connections: routes }),
    };
    const listener: Listener = {
      name: LISTENER,
      bind: "127.0.0.1",
      port: 9000,
      servicePort: 9000,
      protocol: tls === undefined ? "tcp" : "tls",
      servers: [server],
      origins: [],
    };
    const snapshot: Snapshot = {
      settings: DEFAULT_SETTINGS,
      listeners: [listener],
      routeTables: [],
      clusters,
      endpoints: clusters.map(({ name }) => ({
        cluster: name,
        endpoints: Array.from({ length: endpoints }, (_, i) => ({ address: `10.0.0.${i + 1}`, port: 1, weight: 1 })),
      })),
      quotas: [],
      egress: undefined,
    };
    const compiled = compile(snapshot, "1.7", undefined);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    this.tables = compiled.value;
  }

  connect(serverName?: string, source = "192.0.2.1", destination = "198.51.100.1"): ConnectionExchange {
    const servers = this.tables.listeners.get(LISTENER)!.servers;
    const server = serverName === undefined ? servers.any! : findHost(servers, serverName)!;
    const incoming = { peer: { address: source, port: 7 }, local: { address: destination, port: 9000 }, serverName };
    return createConnection(this.tables, LISTENER, server, incoming, {
      clock: { now: () => this.nowMs, unixMs: () => 0 },
      random: () => this.dice,
      connections: {
        opened: (facts) => this.opened.push(facts),
        moved: (_facts, received, sent) => this.moved.push([received, sent]),
        closed: (record) => this.closed.push(record),
      },
    });
  }

  /** Where a connection goes: its cluster, or the flag with which it is refused. */
  verdict(serverName?: string, source?: string, destination?: string): string {
    const exchange = this.connect(serverName, source, destination);
    exchange.start();
    this.end(exchange);
    const { flags, clusterName } = this.closed.at(-1)!;
    return flags === "-" ? String(clusterName) : flags;
  }

  end(
    exchange: ConnectionExchange,
    outcome: ConnectionEnd["outcome"] = "complete",
    receivedBytes = 0,
    sentBytes = 0,
  ): ConnectionRecord {
    exchange.finished({ outcome, receivedBytes, sentBytes });
    return this.closed.at(-1)!;
  }

  counts(name = "a") {
    const { state, endpoints } = this.tables.clusters.get(name)!;
    return { connections: state.connections, active: endpoints.map(({ active }) => active) };
  }
}

describe("matching", () => {
  it.each([
    ["a.test", "exact"],
    ["b.test", "suffix"],
    ["x.b.test", "narrow"],
    ["other.org", "any"],
  ])("%s goes to %s: the most specific name wins, whatever the order", (name, wanted) => {
    const routes = [
      route("any"),
      route("suffix", { matches: [{ serverNames: ["*.test"] }] }),
      route("narrow", { matches: [{ serverNames: ["*.b.test"] }] }),
      route("exact", { matches: [{ serverNames: ["a.test"] }] }),
    ];
    const rig = new Rig({ routes, clusters: routes.map(({ id }) => cluster(id)), tls: { mode: "passthrough" } });
    expect(rig.verdict(name)).toBe(wanted);
  });

  it("of one name the first route wins whose addresses hold; then wider names are asked", () => {
    const routes = [
      route("near", { matches: [{ serverNames: ["a.test"], sourceSubnets: ["192.0.2.0/24", "2001:db8::/32"] }] }),
      route("there", { matches: [{ serverNames: ["a.test"], destinationSubnets: ["198.51.100.0/24"] }] }),
      route("wide", { matches: [{ serverNames: ["*.test"] }] }),
    ];
    const rig = new Rig({ routes, clusters: routes.map(({ id }) => cluster(id)), tls: { mode: "passthrough" } });
    expect(rig.verdict("a.test", "192.0.2.9", "203.0.113.1")).toBe("near");
    expect(rig.verdict("a.test", "2001:db8::9", "203.0.113.1")).toBe("near");
    expect(rig.verdict("a.test", "::ffff:192.0.2.9", "203.0.113.1")).toBe("near");
    expect(rig.verdict("a.test", "203.0.113.9", "198.51.100.7")).toBe("there");
    expect(rig.verdict("a.test", "203.0.113.9", "203.0.113.1")).toBe("wide");
    expect(rig.verdict("other.org")).toBe("NR");
  });

  it.each([
    [0, "a"],
    [0.24, "a"],
    [0.25, "b"],
    [0.99, "b"],
  ])("a throw of %d goes to %s by weight", (dice, wanted) => {
    const destinations = [
      { cluster: "a", weight: 1 },
      { cluster: "b", weight: 3 },
    ];
    const rig = new Rig({ routes: [route("r", { destinations })], clusters: [cluster("a"), cluster("b")] });
    rig.dice = dice;
    expect(rig.verdict()).toBe(wanted);
  });

  it.each([
    ["outbound_.9000_._.db.shop.svc.cluster.local", "outbound_.9000_._.db.shop.svc.cluster.local"],
    ["outbound_.9000_.v2_.db.shop.svc.cluster.local", "NC"],
    ["outbound_.9000_._.db.other.svc.cluster.local", "NR"],
    ["db.shop.svc.cluster.local", "NR"],
    ["outbound|9000||db.shop.svc.cluster.local", "NR"],
  ])("auto-passthrough: %s leads to %s", (name, wanted) => {
    const clusters = [
      cluster("outbound_.9000_._.db.shop.svc.cluster.local"),
      cluster("outbound_.9000_._.db.other.svc.cluster.local"),
      cluster("outbound|9000||db.shop.svc.cluster.local"),
    ];
    const rig = new Rig({ clusters, tls: { mode: "auto-passthrough", hosts: ["*.shop.svc.cluster.local"] } });
    expect(rig.verdict(name)).toBe(wanted);
  });
});

describe("dialling", () => {
  it(`tries as many as ${MAX_CONNECT_ATTEMPTS} endpoints, each once`, () => {
    const rig = new Rig({ endpoints: 5 });
    const exchange = rig.connect();
    const tried: string[] = [];
    let step = exchange.start();
    for (; step.kind === "dial"; step = exchange.failed("upstream_connect", "refused")) tried.push(step.target.endpoint.address);
    expect(new Set(tried).size).toBe(MAX_CONNECT_ATTEMPTS);
    expect(step).toEqual({ kind: "refuse", code: "upstream_connect" });
    expect(rig.end(exchange)).toMatchObject({ flags: "UF,URX", reason: "refused", attempts: MAX_CONNECT_ATTEMPTS });
    expect(rig.counts()).toEqual({ connections: 0, active: [0, 0, 0, 0, 0] });
  });

  it("gives up when every endpoint was tried", () => {
    const rig = new Rig({ endpoints: 2 });
    const exchange = rig.connect();
    expect(exchange.start().kind).toBe("dial");
    expect(exchange.failed("upstream_connect", "refused").kind).toBe("dial");
    expect(exchange.failed("upstream_connect_timeout", "late")).toEqual({ kind: "refuse", code: "upstream_connect_timeout" });
    expect(rig.end(exchange)).toMatchObject({ flags: "UF", attempts: 2, endpoint: expect.stringContaining(":1") });
  });

  it("counts while it lives, and tells the cluster's settings", () => {
    const pool = { ...cluster("a").pool, tcpIdleTimeoutMs: 5, maxConnectionMs: 9 };
    const rig = new Rig({ clusters: [cluster("a", { pool, proxyProtocol: "v2" })], endpoints: 1 });
    const exchange = rig.connect();
    expect(exchange.start()).toMatchObject({
      kind: "dial",
      idleTimeoutMs: 5,
      maxConnectionMs: 9,
      target: { proxyProtocol: "v2" },
    });
    rig.nowMs += 4;
    exchange.opened();
    expect(rig.counts()).toEqual({ connections: 1, active: [1] });
    rig.nowMs += 6;
    expect(rig.end(exchange)).toMatchObject({ flags: "-", connectMs: 4, durationMs: 10, routeId: "a", reason: undefined });
    expect(rig.counts()).toEqual({ connections: 0, active: [0] });
  });

  it("refuses what is beyond maxConnections", () => {
    const rig = new Rig({ clusters: [cluster("a", { pool: { ...cluster("a").pool, maxConnections: 1 } })] });
    const kept = rig.connect();
    kept.start();
    expect(rig.verdict()).toBe("UO");
    rig.end(kept);
    expect(rig.verdict()).toBe("a");
  });

  it.each([
    ["no endpoint", { endpoints: 0 }, "UH"],
    ["no such cluster", { clusters: [] }, "NC"],
    ["no route", { routes: [] }, "NR"],
  ])("%s is refused", (_what, world, flag) => {
    const rig = new Rig(world);
    expect(rig.verdict()).toBe(flag);
    expect(rig.opened).toHaveLength(1);
  });

  it("refuses everything once the configuration has expired", () => {
    const rig = new Rig({});
    rig.tables = { ...rig.tables, closed: "routes expired" };
    const exchange = rig.connect();
    expect(exchange.start()).toEqual({ kind: "refuse", code: "snapshot_expired" });
    expect(rig.end(exchange)).toMatchObject({ reason: "routes expired" });
  });
});

describe("telling", () => {
  it.each([
    ["complete", "-", undefined],
    ["client_gone", "DC", "client_gone"],
    ["upstream_cut", "UC", "upstream_cut"],
    ["timeout", "SI", "timeout"],
    ["drained", "-", "drained"],
    ["expired", "-", "expired"],
  ] as const)("%s has flags %s", (outcome, flags, reason) => {
    const rig = new Rig({});
    const exchange = rig.connect();
    exchange.start();
    exchange.opened();
    expect(rig.end(exchange, outcome)).toMatchObject({ flags, reason });
  });

  it("tells each byte once", () => {
    const rig = new Rig({});
    const exchange = rig.connect();
    exchange.start();
    exchange.moved(10, 1);
    exchange.moved(10, 5);
    rig.end(exchange, "complete", 12, 5);
    expect(rig.moved).toEqual([
      [10, 1],
      [0, 4],
      [2, 0],
    ]);
  });

  it("writes a line with the fields of every other", () => {
    const rig = new Rig({ tls: { mode: "passthrough" } });
    const exchange = rig.connect("a.test");
    exchange.start();
    exchange.opened();
    const line = connectionLogLine(rig.end(exchange, "complete", 5, 6), 0);
    expect(JSON.parse(line)).toMatchObject({
      method: null,
      protocol: "TLS",
      status: null,
      sni: "a.test",
      request_bytes: 5,
      response_bytes: 6,
      attempts: 1,
      peer: "192.0.2.1:7",
      route: "a",
      cluster: "a",
    });
    expect(line.endsWith("}\n")).toBe(true);
  });

  it("names Istio's metrics and labels", () => {
    expect(CONNECTION_METRICS.map(({ name }) => name)).toEqual([
      "istio_tcp_connections_opened_total",
      "istio_tcp_connections_closed_total",
      "istio_tcp_sent_bytes_total",
      "istio_tcp_received_bytes_total",
    ]);
    const facts = { listener: LISTENER, peer: { address: "192.0.2.1", port: 7 }, serverName: undefined };
    const labels = (clusterName: string | undefined) =>
      Object.fromEntries(connectionLabels({ ...facts, clusterName }, "-").map((value, i) => [CONNECTION_LABELS[i], value]));
    const named = {
      destination_service: "db.shop.svc.cluster.local",
      destination_service_name: "db",
      destination_service_namespace: "shop",
    };
    expect(labels("outbound|9000|v1|db.shop.svc.cluster.local")).toMatchObject({ ...named, request_protocol: "tcp" });
    expect(labels("outbound_.9000_._.db.shop.svc.cluster.local")).toMatchObject(named);
    expect(labels(undefined)).toMatchObject({ destination_service: "unknown", response_flags: "-" });
  });
});
