/** gRPC calls through an exchange: deadlines, repeated attempts, translation of gRPC-Web, and what is told in the end. */
import { describe, expect, it } from "vitest";
import { forward, NO_RETRY, only } from "../../test/conformance/build.ts";
import { compile } from "./compile/compile.ts";
import { QuotaFilter } from "./filter/quota.ts";
import { type FieldList, field, NO_BODY, type RequestHead, STREAM_BODY } from "./http/message.ts";
import type { Snapshot } from "./ir/index.ts";
import type { RequestRecord } from "./ports.ts";
import { createExchange } from "./proxy.ts";
import { MapBank } from "./quota/map-bank.ts";
import type { Exchange, ExchangeEnd, SendStep, Step } from "./step.ts";

class Rig {
  nowMs = 1000;
  record: RequestRecord | undefined;
  readonly exchange: Exchange;

  constructor(source: Snapshot, fields: FieldList = [], { type = "application/grpc", web = true } = {}) {
    const compiled = compile(source, "1.7", undefined);
    if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
    const listener = compiled.value.listeners.get("127.0.0.1:8080");
    const server = listener?.servers.any;
    if (listener === undefined || server === undefined) throw new Error("no listener");
    const bank = new MapBank({ maxCounters: 8, unixMs: () => 0 });
    const head: RequestHead = {
      method: "POST",
      scheme: "http",
      authority: "a.test",
      target: "/pkg.Service/Method",
      fields: ["content-type", type, ...fields],
      body: STREAM_BODY,
    };
    this.exchange = createExchange(
      compiled.value,
      listener,
      server,
      { head, version: "2", connectionOptions: undefined },
      { address: "192.0.2.1", port: 1 },
      {
        clock: { now: () => this.nowMs, unixMs: () => 0 },
        random: () => 0,
        quotas: new QuotaFilter({ bank, fallback: bank, nowUs: () => this.nowMs * 1000 }),
        reporter: {
          request: (record) => {
            this.record = record;
          },
        },
        translatesGrpcWeb: web,
      },
    );
  }

  start(): SendStep {
    return sent(this.exchange.start());
  }

  end(outcome: ExchangeEnd["outcome"], trailers?: FieldList): number | undefined {
    this.exchange.finished({ outcome, requestBytes: 1, responseBytes: 2, trailers });
    return this.record?.grpcStatus;
  }
}

function sent(step: Step): SendStep {
  if (step.kind !== "send") throw new Error(`${step.kind} is no send`);
  return step;
}

const answer = (...fields: FieldList) => ({
  status: 200,
  fields: ["content-type", "application/grpc", ...fields],
  body: STREAM_BODY,
});
const timeoutOf = (step: SendStep): string | undefined => field(step.head.fields, "grpc-timeout");

describe("deadlines", () => {
  it.each([
    [undefined, "100m", 1100, "100000u"],
    [50, "100m", 1050, "50000u"],
    [500, "100m", 1100, "100000u"],
    [500, undefined, 1500, undefined],
    [undefined, "2H", 7_201_000, "7200000m"],
  ])("a route's %s ms and a client's %s", (timeoutMs, asked, deadlineMs, forwarded) => {
    const action = forward("a", timeoutMs === undefined ? {} : { timeoutMs });
    const step = new Rig(only({ action }), asked === undefined ? [] : ["grpc-timeout", asked]).start();
    expect(step.deadlineMs).toBe(deadlineMs);
    expect(timeoutOf(step)).toBe(forwarded);
  });

  it("each attempt is told what is left, and no more than its own time", () => {
    const retry = { ...NO_RETRY, attempts: 2, on: ["unavailable"] as const, nonIdempotent: true, perTryTimeoutMs: 80 };
    const rig = new Rig(only({ action: forward("a", { retry }) }), ["grpc-timeout", "100m"]);
    expect(timeoutOf(rig.start())).toBe("80000u");
    rig.nowMs += 60;
    expect(rig.exchange.responded({ ...answer("grpc-status", "14"), body: NO_BODY }, undefined, true).kind).toBe("sleep");
    expect(timeoutOf(sent(rig.exchange.timer()))).toBe("40000u");
  });

  it("a deadline that passes is DEADLINE_EXCEEDED", () => {
    const rig = new Rig(only({}), ["grpc-timeout", "5m"]);
    rig.start();
    rig.nowMs += 5;
    const step = rig.exchange.timer();
    expect(step).toMatchObject({ kind: "respond", head: { status: 200 } });
    expect(rig.end("complete")).toBe(4);
    expect(rig.record?.flags).toBe("UT");
  });

  it("one that is held up on purpose keeps the client's deadline, and loses the route's", () => {
    const fault = { delay: { ms: 30, percent: 100 } };
    const rig = new Rig(only({ fault, action: forward("a", { timeoutMs: 10 }) }), ["grpc-timeout", "100m"]);
    expect(rig.exchange.start().kind).toBe("sleep");
    rig.nowMs += 30;
    const step = sent(rig.exchange.timer());
    expect([step.deadlineMs, timeoutOf(step)]).toEqual([1100, "70000u"]);
  });

  it("one that nobody can read is refused", () => {
    const step = new Rig(only({}), ["grpc-timeout", "soon"]).exchange.start();
    expect(step.kind === "respond" && field(step.head.fields, "grpc-status")).toBe("3");
  });
});

describe("attempts by gRPC status", () => {
  const retry = { ...NO_RETRY, attempts: 1, on: ["unavailable"] as const, nonIdempotent: true };
  const source = only({ action: forward("a", { retry }) });

  it.each([
    ["14", true, "sleep"],
    ["14", false, "relay"],
    ["13", true, "relay"],
    ["0", true, "relay"],
  ])("trailers alone with status %s, the body %s at hand: %s", (status, replayable, next) => {
    const rig = new Rig(source);
    expect(rig.start().keepBody).toBe(true);
    expect(rig.exchange.responded({ ...answer("grpc-status", status), body: NO_BODY }, undefined, replayable).kind).toBe(next);
  });

  it("a status in trailers is final, for the response has begun; it is told", () => {
    const rig = new Rig(source);
    rig.start();
    expect(rig.exchange.responded(answer(), undefined, true).kind).toBe("relay");
    expect(rig.end("complete", ["grpc-status", "14"])).toBe(14);
  });

  it("without `nonIdempotent` a call that was answered is not made again, whatever it says", () => {
    const careful = only({ action: forward("a", { retry: { ...retry, nonIdempotent: false } }) });
    const rig = new Rig(careful);
    rig.start();
    expect(rig.exchange.responded({ ...answer("grpc-status", "14"), body: NO_BODY }, undefined, true).kind).toBe("relay");
  });

  it("an attempt that took too long may be made again while its body is at hand", () => {
    for (const [replayable, next] of [
      [true, "sleep"],
      [false, "respond"],
    ] as const) {
      const rig = new Rig(only({ action: forward("a", { retry: { ...retry, on: ["reset"], perTryTimeoutMs: 5 } }) }));
      rig.start();
      rig.nowMs += 5;
      expect(rig.exchange.timer(replayable).kind).toBe(next);
    }
  });
});

describe("what is told of a call", () => {
  it.each([
    ["complete", [], undefined, 2],
    ["complete", [], ["grpc-status", "0"], 0],
    ["complete", ["grpc-status", "5"], undefined, 5],
    ["client_gone", [], undefined, 1],
    ["timeout", [], undefined, 4],
    ["upstream_cut", [], undefined, 14],
    ["protocol_error", [], undefined, 14],
  ] as const)("%s, head %j, trailers %j: %d", (outcome, head, trailers, status) => {
    const rig = new Rig(only({}));
    rig.start();
    rig.exchange.responded(answer(...head));
    expect(rig.end(outcome, trailers === undefined ? undefined : [...trailers])).toBe(status);
  });

  it("a response that is not gRPC counts by its HTTP status", () => {
    const rig = new Rig(only({}));
    rig.start();
    rig.exchange.responded({ status: 503, fields: [], body: NO_BODY });
    expect(rig.end("complete")).toBe(14);
  });

  it("of others, nothing", () => {
    const rig = new Rig(only({}), [], { type: "application/json" });
    rig.start();
    rig.exchange.responded({ status: 200, fields: ["grpc-status", "5"], body: NO_BODY });
    expect(rig.end("complete")).toBeUndefined();
  });
});

describe("gRPC-Web", () => {
  const source = (): Snapshot => {
    const plain = only({});
    return { ...plain, clusters: plain.clusters.map((cluster) => ({ ...cluster, grpcWeb: true })) };
  };
  const text = { type: "application/grpc-web-text+proto" };

  it("becomes gRPC where the service speaks that, and its response comes back as it went", () => {
    const rig = new Rig(source(), [], text);
    const step = rig.start();
    expect([step.grpcWeb, field(step.head.fields, "content-type"), field(step.head.fields, "te")]).toEqual([
      "text",
      "application/grpc+proto",
      "trailers",
    ]);
    const relay = rig.exchange.responded(answer());
    expect(relay).toMatchObject({ kind: "relay", grpcWeb: "text", head: { body: STREAM_BODY } });
    expect(relay.kind === "relay" && field(relay.head.fields, "content-type")).toBe("application/grpc-web-text+proto");
    expect(rig.end("complete", ["grpc-status", "0"])).toBe(0);
  });

  it("goes through as it is where the service speaks it itself, or the runtime cannot", () => {
    for (const rig of [new Rig(only({}), [], text), new Rig(source(), [], { ...text, web: false })]) {
      const step = rig.start();
      expect([step.grpcWeb, field(step.head.fields, "content-type")]).toEqual([undefined, text.type]);
      expect(rig.exchange.responded(answer()).kind).toBe("relay");
    }
  });

  it("becomes gRPC for every service in HTTP/2 behind a server that says so, and for no other", () => {
    const behind = (protocol: "http1" | "http2"): Snapshot => {
      const plain = only({});
      return {
        ...plain,
        listeners: plain.listeners.map((one) => ({
          ...one,
          servers: one.servers.map((server) => ({ ...server, grpcWeb: true })),
        })),
        clusters: plain.clusters.map((cluster) => ({ ...cluster, protocol })),
      };
    };
    expect(new Rig(behind("http2"), [], text).start().grpcWeb).toBe("text");
    expect(new Rig(behind("http1"), [], text).start().grpcWeb).toBeUndefined();
    expect(new Rig(behind("http2")).start().grpcWeb).toBeUndefined();
  });

  it("gRPC itself is left alone", () => {
    const step = new Rig(source()).start();
    expect([step.grpcWeb, field(step.head.fields, "content-type")]).toEqual([undefined, "application/grpc"]);
  });
});
