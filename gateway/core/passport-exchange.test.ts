/** What an edge gateway says about a request that it hands on, and what the gateway of the cluster makes of it. */
import { beforeAll, describe, expect, it } from "vitest";
import { forward, only, route, snapshot, virtualHost } from "../../test/conformance/build.ts";
import { honest, type TestSite, testSite } from "../../test/support/passports.ts";
import { compile } from "./compile/compile.ts";
import type { Tables } from "./compile/tables.ts";
import { QuotaFilter } from "./filter/quota.ts";
import { field, NO_BODY, type RequestHead } from "./http/message.ts";
import type { Passport } from "./identity/index.ts";
import { type PassportPorts, WEB_CRYPTO_SIGNATURES } from "./identity/passport.ts";
import type { QuotaPolicy, Snapshot } from "./ir/index.ts";
import { carriesPassport, createPassportExchange } from "./passport-exchange.ts";
import type { Ports, RequestRecord } from "./ports.ts";
import { createExchange } from "./proxy.ts";
import { MapBank } from "./quota/map-bank.ts";
import type { Exchange, SendStep, Step } from "./step.ts";

const NOW_MS = 1_800_000_000_000;
const VIA = { kind: "passport", cluster: "main", destination: "b" } as const;

let site: TestSite;
beforeAll(async () => {
  site = await testSite();
});

function quota(id: string, change: Partial<QuotaPolicy> = {}): QuotaPolicy {
  return {
    id,
    origin: { kind: "Quota", namespace: "ns", name: id },
    matches: [],
    key: [],
    limits: [{ name: "l", amount: 9, perMs: 1000, window: "rolling" }],
    cost: { kind: "fixed", amount: 1 },
    unit: "requests",
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: { kind: "deny" },
    mode: "enforce",
    headers: "draft",
    response: { status: 429 },
    ...change,
  };
}

class Rig {
  readonly records: RequestRecord[] = [];
  readonly counted: string[] = [];
  readonly tables: Tables;
  readonly bank = new MapBank({ maxCounters: 64, unixMs: () => 0 });
  readonly #ports: Ports;
  readonly #passports: PassportPorts;

  constructor(source: Snapshot, passports: Partial<PassportPorts> = {}) {
    const compiled = compile(source, "1.7", undefined);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    this.tables = compiled.value;
    this.#ports = {
      clock: { now: () => 0, unixMs: () => NOW_MS },
      random: () => 0.5,
      quotas: new QuotaFilter({ bank: this.bank, fallback: this.bank, nowUs: () => 0 }),
      reporter: { request: (record) => this.records.push(record) },
    };
    this.#passports = {
      signatures: WEB_CRYPTO_SIGNATURES,
      memory: { remember: () => "fresh" },
      meter: { count: (outcome) => this.counted.push(outcome) },
      ...passports,
    };
  }

  exchange(change: Partial<RequestHead>): Exchange {
    const listener = this.tables.listeners.get("127.0.0.1:8080")!;
    const head = {
      method: "GET",
      scheme: "http" as const,
      authority: "shop.test",
      target: "/",
      fields: [],
      body: NO_BODY,
      ...change,
    };
    const request = { head, version: "1.1", connectionOptions: undefined } as const;
    const peer = { address: "192.0.2.1", port: 1 };
    const server = listener.servers.any!;
    return carriesPassport(this.tables, head)
      ? createPassportExchange(this.tables, listener, server, request, peer, this.#ports, this.#passports)
      : createExchange(this.tables, listener, server, request, peer, this.#ports);
  }

  /** Of a request with this passport. */
  async step(passport: Partial<Passport>, change: Partial<RequestHead> = {}): Promise<Step> {
    const { token } = await honest(site, { destination: "a", ...passport }, NOW_MS);
    const { fields = [], ...rest } = change;
    const exchange = this.exchange({ ...rest, fields: ["x-tidegate-passport", token, ...fields] });
    let step = exchange.start();
    for (; step.kind === "wait"; step = exchange.resumed()) await step.until;
    exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: 0 });
    return step;
  }
}

function sent(step: Step): SendStep {
  if (step.kind !== "send") throw new Error(JSON.stringify(step));
  return step;
}

const takes = (source: Snapshot): Snapshot => ({
  ...source,
  settings: { ...source.settings, passports: { audience: "main", issuers: [site.issuer] } },
});
/** Nothing is routed, so whatever gets through has not been. */
const unrouted = (quotas: Parameters<typeof snapshot>[1] = {}) => takes(snapshot([virtualHost(["*"], [])], quotas));

describe("at the edge", () => {
  const edge = (action = forward("a")): Snapshot => {
    const source = snapshot([virtualHost(["*"], [route("r", [], { action, quotas: ["ns/counted", "ns/other", "ns/free"] })])], {
      quotas: [
        quota("ns/counted"),
        quota("ns/other", { matches: [{ method: { kind: "exact", value: "POST" } }] }),
        quota("ns/free", { cost: { kind: "fixed", amount: 0 } }),
      ],
    });
    return { ...source, clusters: source.clusters.map((one) => (one.name === "a" ? { ...one, via: VIA } : one)) };
  };

  it("a step to a cluster's gateway says how to get there and what was established, charged quotas only", () => {
    const fields = ["x-forwarded-for", "203.0.113.9", "traceparent", "00-1"];
    const source = edge();
    const rig = new Rig({ ...source, settings: { ...source.settings, numTrustedProxies: 1 } });
    const step = sent(rig.exchange({ fields }).start());
    expect(step.target.via).toEqual(VIA);
    expect(step.established).toEqual({ clientAddress: "203.0.113.9", charged: ["ns/counted"], traceparent: "00-1" });
  });

  it("a step to anybody else does not", () => {
    expect(sent(new Rig(only({})).exchange({}).start()).established).toBeUndefined();
    expect(sent(new Rig(edge(forward("b"))).exchange({}).start())).not.toHaveProperty("established");
  });

  it("a mirror's passport is made of the same", () => {
    const step = sent(new Rig(edge(forward("b", { mirrors: [{ cluster: "a", percent: 100 }] }))).exchange({}).start());
    expect(step.mirrors[0]?.target.via).toEqual(VIA);
    expect(step.established?.charged).toEqual(["ns/counted"]);
  });

  it("a client's own passport goes nowhere", () => {
    const step = sent(
      new Rig(edge()).exchange({ fields: ["x-tidegate-passport", "mine", "x-a", "1", "x-tidegate-passport", "mine"] }).start(),
    );
    expect(field(step.head.fields, "x-tidegate-passport")).toBeUndefined();
    expect(field(step.head.fields, "x-a")).toBe("1");
  });
});

describe("at the cluster", () => {
  it("goes where the passport says, unrouted and unchanged", async () => {
    const rig = new Rig(unrouted());
    const target = "/a/../b//?x=%41";
    const step = sent(await rig.step({ target }, { target }));
    expect(step.target.endpoint.address).toBe("10.0.0.1");
    expect([step.head.target, step.head.authority]).toEqual([target, "shop.test"]);
    expect(rig.records[0]).toMatchObject({
      routeId: undefined,
      clusterName: "a",
      reason: undefined,
      passport: { site: "europe" },
    });
    expect(rig.counted).toEqual(["taken"]);
  });

  it("gives the service the authority that the edge means, not the gateway's own", async () => {
    const step = sent(await new Rig(unrouted()).step({ wireAuthority: "in.test" }, { authority: "in.test" }));
    expect(step.head.authority).toBe("shop.test");
  });

  it.each([
    ["none", [], "198.51.100.7"],
    ["the edge's, which ends with the client", ["x-forwarded-for", "1.1.1.1, 198.51.100.7"], "1.1.1.1, 198.51.100.7"],
    ["in two lines", ["x-forwarded-for", "1.1.1.1", "x-forwarded-for", "198.51.100.7"], "1.1.1.1, 198.51.100.7"],
    ["of proxies in front of the edge", ["x-forwarded-for", "9.9.9.9, 198.51.100.7, 1.1.1.1"], "9.9.9.9, 198.51.100.7"],
    ["of such proxies in a line of their own", ["x-forwarded-for", "198.51.100.7", "x-forwarded-for", "1.1.1.1"], "198.51.100.7"],
    ["that does not name the client", ["x-forwarded-for", "9.9.9.9, 1.1.1.1"], "9.9.9.9, 1.1.1.1, 198.51.100.7"],
  ])("X-Forwarded-For ends with the client's address: %s", async (_, fields, expected) => {
    const step = sent(await new Rig(unrouted()).step({}, { fields }));
    expect(field(step.head.fields, "x-forwarded-for")).toBe(expected);
  });

  it("keeps what the edge says about the client's request", async () => {
    const fields = ["x-forwarded-proto", "https", "x-forwarded-host", "www.test", "traceparent", "forged"];
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const { head } = sent(await new Rig(unrouted()).step({ traceparent }, { fields }));
    expect(["x-forwarded-proto", "x-forwarded-host", "traceparent"].map((name) => field(head.fields, name))).toEqual([
      "https",
      "www.test",
      traceparent,
    ]);
  });

  it("charges what the edge has not: of the gateway, the host and the service, by the client's address", async () => {
    const per = { key: [{ kind: "clientIp" as const, v4Prefix: 32, v6Prefix: 64 }] };
    const source = snapshot([virtualHost(["shop.test"], [route("r", [], { quotas: ["ns/route"] })], { quotas: ["ns/host"] })], {
      quotas: [quota("ns/table", per), quota("ns/host", per), quota("ns/service", per), quota("ns/route", per)],
      tableQuotas: ["ns/table"],
    });
    const rig = new Rig(
      takes({ ...source, clusters: source.clusters.map((one) => (one.name === "a" ? { ...one, quotas: ["ns/service"] } : one)) }),
    );
    const policies = async (charged: readonly string[], authority = "shop.test") => {
      const { token } = await honest(site, { destination: "a", charged, authority }, NOW_MS);
      const exchange = rig.exchange({ authority, fields: ["x-tidegate-passport", token] });
      for (let step = exchange.start(); step.kind === "wait"; step = exchange.resumed()) await step.until;
      const relayed = exchange.responded({ status: 200, fields: [], body: NO_BODY });
      const { fields } = relayed.kind === "relay" ? relayed.head : { fields: [] };
      return fields.filter((_, i) => fields[i - 1] === "ratelimit-policy").map((text) => /"(.*?)#?"/.exec(text)?.[1]);
    };
    expect(await policies([])).toHaveLength(3);
    expect(await policies(["ns/host", "ns/table"])).toHaveLength(1);
    expect(await policies(["ns/table", "ns/service", "ns/host"])).toHaveLength(0);
    expect(await policies([], "other.test")).toHaveLength(2);
  });

  it("answers over a quota of its own", async () => {
    const rig = new Rig(
      unrouted({
        quotas: [quota("ns/table", { limits: [{ name: "l", amount: 1, perMs: 1000, window: "rolling" }] })],
        tableQuotas: ["ns/table"],
      }),
    );
    await rig.step({});
    expect(await rig.step({})).toMatchObject({ kind: "respond", head: { status: 429 } });
    expect(await rig.step({ charged: ["ns/table"] })).toMatchObject({ kind: "send" });
  });

  it.each([
    ["a refused passport", { audience: "other" }, 403, "passport_foreign_audience"],
    ["a destination that is not there", { destination: "nowhere" }, 503, "passport_unknown_destination"],
    ["one without endpoints", { destination: "empty" }, 503, "no_healthy_upstream"],
  ])("answers %s itself, by name", async (_, passport, status, reason) => {
    const source = takes(only({ action: forward("a") }));
    const rig = new Rig({ ...source, settings: { ...source.settings, explainHeaders: true } });
    const step = await rig.step(passport);
    expect(step).toMatchObject({ kind: "respond", head: { status } });
    expect(step.kind === "respond" && field(step.head.fields, "x-tidegate-reason")).toBe(reason);
    expect(rig.records[0]).toMatchObject({ status, reason, passport: { site: "europe" } });
  });

  it("refuses two passports, good or not", async () => {
    const { token } = await honest(site, { destination: "a" }, NOW_MS);
    const rig = new Rig(takes(only({})));
    const step = rig.exchange({ fields: ["x-tidegate-passport", token, "x-tidegate-passport", token] }).start();
    expect(step).toMatchObject({ kind: "respond", head: { status: 403 } });
    expect(rig.counted).toEqual(["passport_repeated"]);
  });

  it.each([
    ["says no in its own time", { isSigned: async () => Promise.reject(new Error("broken")) }],
    [
      "throws",
      {
        isSigned: () => {
          throw new Error("broken");
        },
      },
    ],
  ])("a verification that %s lets nothing through", async (_, signatures) => {
    const rig = new Rig(takes(only({})), { signatures });
    expect(await rig.step({})).toMatchObject({ kind: "respond", head: { status: 503 } });
    expect(rig.counted).toEqual(["passport_unchecked"]);
  });

  it("full memory is this gateway's fault", async () => {
    expect(await new Rig(takes(only({})), { memory: { remember: () => "full" } }).step({})).toMatchObject({
      head: { status: 503 },
    });
  });

  it("a client that leaves during the verification is told of", () => {
    const rig = new Rig(takes(only({})));
    const exchange = rig.exchange({ fields: ["x-tidegate-passport", "a.b.c"] });
    exchange.finished({ outcome: "client_gone", requestBytes: 0, responseBytes: 0 });
    expect(rig.records[0]).toMatchObject({ status: 0, flags: "DC" });
  });

  it("without settings for passports it is a field like none: dropped, and the request is routed", async () => {
    const rig = new Rig(only({}));
    const step = sent(await rig.step({ destination: "b" }));
    expect(step.target.endpoint.address).toBe("10.0.0.1");
    expect(field(step.head.fields, "x-tidegate-passport")).toBeUndefined();
    expect(rig.records[0]?.passport).toBeUndefined();
  });
});
