/** What the case table cannot say: ends of exchanges, counts in between, banks that take their time. */
import { describe, expect, it } from "vitest";
import { forward, NO_RETRY, only, route, snapshot, virtualHost } from "../../test/conformance/build.ts";
import { compile } from "./compile/compile.ts";
import type { Tables } from "./compile/tables.ts";
import { QuotaFilter } from "./filter/quota.ts";
import { field, NO_BODY, type RequestHead, STREAM_BODY } from "./http/message.ts";
import type { QuotaPolicy, Snapshot } from "./ir/index.ts";
import type { Ports, QuotaAnswer, QuotaBank, RequestRecord } from "./ports.ts";
import { createExchange } from "./proxy.ts";
import { MapBank } from "./quota/map-bank.ts";
import type { Exchange, ExchangeEnd, Upgrade } from "./step.ts";

class Rig {
  nowMs = 1000;
  readonly records: RequestRecord[] = [];
  readonly tables: Tables;
  readonly #ports: Ports;

  constructor(source: Snapshot, bank?: QuotaBank) {
    const compiled = compile(source, "1.7", undefined);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    this.tables = compiled.value;
    const fallback = new MapBank({ maxCounters: 8, unixMs: () => 0 });
    this.#ports = {
      clock: { now: () => this.nowMs, unixMs: () => 0 },
      random: () => 0.5,
      quotas: new QuotaFilter({ bank: bank ?? fallback, fallback, nowUs: () => this.nowMs * 1000 }),
      reporter: { request: (record) => this.records.push(record) },
    };
  }

  exchange(head: Partial<RequestHead> = {}, switchTo?: Upgrade): Exchange {
    const listener = this.tables.listeners.get("127.0.0.1:8080")!;
    const whole = {
      method: "GET",
      scheme: "http" as const,
      authority: "a.test",
      target: "/",
      fields: [],
      body: NO_BODY,
      ...head,
    };
    const peer = { address: "192.0.2.1", port: 1 };
    return createExchange(
      this.tables,
      listener,
      listener.servers.any!,
      { head: whole, version: "1.1", connectionOptions: undefined, switchTo },
      peer,
      this.#ports,
    );
  }

  get counts() {
    const { state, endpoints } = this.tables.clusters.get("a")!;
    return { active: state.active, retrying: state.retrying, endpoint: endpoints[0]!.active };
  }

  end(exchange: Exchange, outcome: ExchangeEnd["outcome"]): RequestRecord {
    exchange.finished({ outcome, requestBytes: 1, responseBytes: 2 });
    return this.records.at(-1)!;
  }
}

const OK = { status: 200, fields: [], body: NO_BODY };

describe("what an endpoint is judged by", () => {
  const outlier = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 0,
    splitLocalOrigin: false,
    consecutiveLocalOriginFailures: 0,
    intervalMs: 1_000,
    baseEjectionMs: 1_000,
    maxEjectionPercent: 100,
  };
  const watched = () => {
    const source = only({});
    return new Rig({ ...source, clusters: source.clusters.map((cluster) => ({ ...cluster, outlier })) });
  };
  const stateOf = ({ tables }: Rig) => tables.clusters.get("a")!.endpoints[0]!.health?.state.kind;
  const gRPC = ["content-type", "application/grpc"];

  it.each<[string, readonly string[], Partial<ExchangeEnd>, string | undefined]>([
    ["a gRPC response by its trailers", gRPC, { outcome: "complete", trailers: ["grpc-status", "14"] }, "ejected"],
    ["whatever its head was", gRPC, { outcome: "complete", trailers: ["grpc-status", "0"] }, undefined],
    ["by its head where there is no more", [...gRPC, "grpc-status", "13"], { outcome: "complete" }, "ejected"],
    ["a response that was cut short, for that", [], { outcome: "upstream_cut" }, "ejected"],
    ["a client that left says nothing about it", gRPC, { outcome: "client_gone" }, undefined],
    ["any other response by its status", [], { outcome: "complete", trailers: ["grpc-status", "14"] }, undefined],
  ])("%s", (_, fields, end, state) => {
    const rig = watched();
    const exchange = rig.exchange();
    exchange.start();
    exchange.responded({ status: 200, fields: [...fields], body: STREAM_BODY });
    exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: 0, ...end });
    expect(stateOf(rig)).toBe(state);
  });
});

describe("what is counted while it lasts", () => {
  it("an attempt in flight, until the response has ended", () => {
    const rig = new Rig(only({}));
    const exchange = rig.exchange();
    exchange.start();
    expect(rig.counts).toEqual({ active: 1, retrying: 0, endpoint: 1 });
    exchange.responded(OK);
    expect(rig.counts).toEqual({ active: 1, retrying: 0, endpoint: 1 });
    rig.end(exchange, "complete");
    expect(rig.counts).toEqual({ active: 0, retrying: 0, endpoint: 0 });
  });

  it("a retry that waits holds no endpoint, but its share of the budget", () => {
    const rig = new Rig(only({ action: forward("a", { retry: { ...NO_RETRY, attempts: 1, on: ["5xx"] } }) }));
    const exchange = rig.exchange();
    exchange.start();
    expect(exchange.responded({ ...OK, status: 500 }).kind).toBe("sleep");
    expect(rig.counts).toEqual({ active: 1, retrying: 1, endpoint: 0 });
    rig.end(exchange, "client_gone");
    expect(rig.counts).toEqual({ active: 0, retrying: 0, endpoint: 0 });
  });

  it("a request whose client may be gone is not counted any more, though it may yet be answered", () => {
    const rig = new Rig(only({}));
    const exchange = rig.exchange();
    const other = rig.exchange();
    exchange.start();
    other.start();
    exchange.presumeGone?.();
    exchange.presumeGone?.();
    expect(rig.counts).toEqual({ active: 1, retrying: 0, endpoint: 1 });
    expect(exchange.responded(OK)).toMatchObject({ kind: "relay" });
    expect(rig.end(exchange, "complete")).toMatchObject({ status: 200 });
    expect(rig.counts).toEqual({ active: 1, retrying: 0, endpoint: 1 });
    rig.end(other, "complete");
    expect(rig.counts).toEqual({ active: 0, retrying: 0, endpoint: 0 });
  });

  it("a retry of such a request is counted anew, and given back", () => {
    const rig = new Rig(only({ action: forward("a", { retry: { ...NO_RETRY, attempts: 1, on: ["5xx"] } }) }));
    const exchange = rig.exchange();
    exchange.start();
    exchange.presumeGone?.();
    expect(exchange.responded({ ...OK, status: 500 }).kind).toBe("sleep");
    exchange.timer();
    expect(rig.counts).toEqual({ active: 0, retrying: 1, endpoint: 1 });
    rig.end(exchange, "complete");
    expect(rig.counts).toEqual({ active: 0, retrying: 0, endpoint: 0 });
  });

  it("retries beyond the budget are not made", () => {
    const rig = new Rig(only({ action: forward("a", { retry: { ...NO_RETRY, attempts: 5, on: ["5xx"] } }) }));
    const all = Array.from({ length: 4 }, () => rig.exchange());
    for (const exchange of all) exchange.start();
    const steps = all.map((exchange) => exchange.responded({ ...OK, status: 500 }).kind);
    expect(steps).toEqual(["sleep", "sleep", "sleep", "relay"]);
    expect(rig.end(all[3]!, "complete").flags).toBe("URX");
  });
});

describe("a body that was sent", () => {
  const put = only({ action: forward("a", { retry: { ...NO_RETRY, attempts: 1, on: ["5xx"] } }) });
  const limit = put.settings.http.maxReplayBytes;

  it.each([
    ["maxReplayBytes", { kind: "length", bytes: limit }, "sleep"],
    ["one byte more", { kind: "length", bytes: limit + 1 }, "relay"],
    ["unknown length", STREAM_BODY, "relay"],
  ] as const)("of %s: after a 500 comes %s", (_, body, next) => {
    const exchange = new Rig(put).exchange({ method: "PUT", body });
    expect(exchange.start()).toMatchObject({ kind: "send", keepBody: true, isAwaited: false });
    expect(exchange.responded({ ...OK, status: 500 }).kind).toBe(next);
  });

  it("is not kept for a method that is not repeated", () => {
    expect(new Rig(put).exchange({ method: "POST", body: STREAM_BODY }).start()).toMatchObject({ kind: "send", keepBody: false });
  });
});

describe("ends", () => {
  const begun = () => {
    const rig = new Rig(only({ action: forward("a", { timeoutMs: 100 }) }));
    const exchange = rig.exchange();
    exchange.start();
    return { rig, exchange };
  };

  it.each([
    ["client_gone", 0, "DC"],
    ["protocol_error", 0, "DPE"],
  ] as const)("%s before there was a response", (outcome, status, flags) => {
    const { rig, exchange } = begun();
    expect(rig.end(exchange, outcome)).toMatchObject({ status, flags, reason: outcome, attempts: 1 });
  });

  it.each([
    ["complete", "-", undefined],
    ["client_gone", "DC", "client_gone"],
    ["upstream_cut", "UC", "upstream_cut"],
    ["protocol_error", "UPE", "protocol_error"],
    ["timeout", "SI", "timeout"],
  ] as const)("%s while the response goes on", (outcome, flags, reason) => {
    const { rig, exchange } = begun();
    rig.nowMs += 7;
    exchange.responded(OK);
    rig.nowMs += 3;
    const record = rig.end(exchange, outcome);
    expect(record).toMatchObject({ status: 200, flags, durationMs: 10, upstreamMs: 7, requestBytes: 1, responseBytes: 2 });
    expect(record.reason).toBe(reason);
  });

  it("the request's deadline holds for the body, too", () => {
    const { rig, exchange } = begun();
    expect(exchange.responded(OK)).toMatchObject({ kind: "relay", deadlineMs: 1100, isAwaited: false });
    rig.nowMs = 1100;
    expect(exchange.timer()).toEqual({ kind: "drop", code: "upstream_timeout" });
    expect(rig.end(exchange, "timeout")).toMatchObject({ status: 200, flags: "UT" });
  });
});

describe("an answer from here", () => {
  it.each([
    ["no body", NO_BODY, false],
    ["a short one", { kind: "length", bytes: 65_536 }, false],
    ["a long one", { kind: "length", bytes: 65_537 }, true],
    ["one of unknown length", STREAM_BODY, true],
  ] as const)("to a request with %s: close is %s", (_, body, close) => {
    expect(new Rig(snapshot([])).exchange({ method: "POST", body }).start()).toMatchObject({ kind: "respond", close });
  });

  it("to HEAD has its length and no body", () => {
    const step = new Rig(snapshot([])).exchange({ method: "HEAD" }).start();
    expect(step).toMatchObject({ head: { body: { kind: "length", bytes: 9 } }, body: "" });
  });
});

describe("a quota bank that takes its time", () => {
  const quota: QuotaPolicy = {
    id: "demo/q",
    origin: { kind: "Quota", namespace: "demo", name: "q" },
    matches: [],
    key: [],
    limits: [{ name: "all", amount: 5, perMs: 1000, window: "rolling" }],
    cost: { kind: "fixed", amount: 1 },
    unit: "concurrent",
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: { kind: "allow" },
    mode: "enforce",
    headers: "none",
    response: { status: 429 },
  };
  const source = snapshot([virtualHost(["*"], [route("r")], { quotas: ["demo/q"] })], { quotas: [quota] });
  const answer: QuotaAnswer = {
    admitted: true,
    remaining: [4],
    retryAfterMs: 0,
    resetMs: [0],
    refusedBy: -1,
    storeFailed: false,
  };

  async function settledBy(taken: Promise<QuotaAnswer>) {
    const settled: number[] = [];
    const rig = new Rig(source, { take: () => taken, settle: (charges) => settled.push(charges.length) });
    const exchange = rig.exchange();
    const step = exchange.start();
    if (step.kind !== "wait") throw new Error(`not a wait but ${step.kind}`);
    await step.until;
    return { rig, exchange, settled, next: exchange.resumed() };
  }

  it("admits, and what was held is settled in the end", async () => {
    const { rig, exchange, settled, next } = await settledBy(Promise.resolve(answer));
    expect(next.kind).toBe("send");
    expect(exchange.responded(OK)).toMatchObject({ kind: "relay", isAwaited: true });
    expect(settled).toEqual([]);
    rig.end(exchange, "complete");
    expect(settled).toEqual([1]);
  });

  it("gives back what it took for a client that has left meanwhile", async () => {
    const settled: number[] = [];
    let decide: (answer: QuotaAnswer) => void = () => undefined;
    const taken = new Promise<QuotaAnswer>((resolve) => {
      decide = resolve;
    });
    const rig = new Rig(source, { take: () => taken, settle: (charges) => settled.push(charges.length) });
    const exchange = rig.exchange();
    const step = exchange.start();
    rig.end(exchange, "client_gone");
    decide(answer);
    if (step.kind === "wait") await step.until;
    expect(settled).toEqual([1]);
  });

  it("refuses", async () => {
    const { rig, exchange, next } = await settledBy(
      Promise.resolve({ ...answer, admitted: false, refusedBy: 0, retryAfterMs: 1500 }),
    );
    expect(next).toMatchObject({ kind: "respond", head: { status: 429 } });
    expect(next.kind === "respond" && field(next.head.fields, "retry-after")).toBe("2");
    expect(rig.end(exchange, "complete")).toMatchObject({ flags: "RL", rule: "demo/q#all" });
  });

  it("fails: that is an answer, too", async () => {
    const { next } = await settledBy(Promise.reject(new Error("gone")));
    expect(next).toMatchObject({ kind: "respond", head: { status: 503 } });
  });
});

it("an exchange stays with the tables it was made with", () => {
  const rig = new Rig(only({}));
  const exchange = rig.exchange();
  exchange.start();
  const next = compile(only({ action: forward("b") }), "1.8", rig.tables);
  exchange.responded(OK);
  expect(next.ok && next.value.clusters.get("a")!.endpoints[0]!.active).toBe(1);
  expect(rig.end(exchange, "complete").snapshotVersion).toBe("1.7");
  expect(next.ok && next.value.clusters.get("a")!.endpoints[0]!.active).toBe(0);
});

describe("another protocol on the connection", () => {
  const source = only({ action: forward("a", { timeoutMs: 500, mirrors: [{ cluster: "b", percent: 100 }] }) });

  it("is asked for where the runtime can carry it; no copy is sent, and it may speak for as long as it likes", () => {
    const exchange = new Rig(source).exchange({ fields: ["upgrade", "websocket", "sec-websocket-key", "x"] }, "websocket");
    const step = exchange.start();
    expect(step).toMatchObject({ kind: "send", switchTo: "websocket", mirrors: [] });
    expect(step.kind === "send" && field(step.head.fields, "sec-websocket-key")).toBe("x");
    expect(step.kind === "send" && field(step.head.fields, "upgrade")).toBeUndefined();
    const switched = exchange.responded({ status: 101, fields: ["sec-websocket-accept", "y"], body: NO_BODY });
    expect(switched).toMatchObject({ kind: "relay", head: { status: 101 }, deadlineMs: undefined });
  });

  it("is not asked for elsewhere, and an origin that does not take it answers as ever", () => {
    const plain = new Rig(source).exchange({ fields: ["upgrade", "websocket"] });
    expect(plain.start()).toMatchObject({ switchTo: undefined, mirrors: [{}] });
    const declined = new Rig(source).exchange({}, "websocket");
    declined.start();
    expect(declined.responded(OK)).toMatchObject({ kind: "relay", head: { status: 200 }, deadlineMs: 1500 });
  });
});
