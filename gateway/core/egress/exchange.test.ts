import { describe, expect, it } from "vitest";
import { QuotaFilter } from "../filter/quota.ts";
import type { FieldList } from "../http/message.ts";
import { MAX_OWN_HOPS } from "../http/via.ts";
import type { EgressConfig, EgressPolicy, EgressRule, QuotaPolicy } from "../ir/index.ts";
import type { QuotaAnswer, QuotaBank, QuotaCharge, RequestRecord } from "../ports.ts";
import { MapBank } from "../quota/map-bank.ts";
import { type CompiledQuota, compileQuota } from "../quota/plan.ts";
import type { AttemptFailure, RespondStep, SendStep, Step, TunnelStep, TunnelVerdict } from "../step.ts";
import { compileEgress } from "./compile.ts";
import { MAX_CREDENTIAL_LENGTH } from "./credentials.ts";
import { EndpointTable, MAX_ENDPOINTS } from "./endpoints.ts";
import { EgressExchange } from "./exchange.ts";
import {
  type CredentialAttempt,
  type CredentialVerdict,
  DEFAULT_EGRESS_LIMITS,
  type EgressDecisionRecord,
  type EgressPorts,
  type HelloReading,
  type Resolution,
} from "./ports.ts";
import type { ProxyRequest } from "./target.ts";

const API = "api.example.com";

function rule(over: Partial<EgressRule>): EgressRule {
  const base = { name: "rule", hosts: ["api.example.com"], ports: [443], protocol: "https" as const };
  return { ...base, methods: [], paths: [], addresses: [], quotas: [], ...over };
}

function policy(over: Partial<EgressPolicy>): EgressPolicy {
  const origin = { kind: "EgressPolicy", namespace: "shop", name: "p" };
  const from = [{ kind: "ipBlock" as const, cidr: "127.0.0.0/8" }];
  return { id: "shop/p", origin, namespace: "shop", floor: false, from, mode: "enforce", allow: [], deny: [], ...over };
}

const HTTP = rule({ name: "http", ports: [80], protocol: "http" });
const HTTPS = rule({ name: "https" });
const END = { outcome: "complete", requestBytes: 3, responseBytes: 5 } as const;
const DEAD: AttemptFailure = { code: "upstream_connect", reason: "connection refused", neverSent: true, replayable: true };

/** A quota bank that admits until it is told not to, and remembers what it was asked. */
class ScriptedBank implements QuotaBank {
  admits = true;
  later = false;
  readonly taken: QuotaCharge[][] = [];
  settled = 0;

  take(charges: readonly QuotaCharge[]): QuotaAnswer | Promise<QuotaAnswer> {
    this.taken.push([...charges]);
    const none = charges.map(() => 0);
    const refusedBy = this.admits ? -1 : 0;
    const answer = { admitted: this.admits, remaining: none, retryAfterMs: 1_000, resetMs: none, refusedBy, storeFailed: false };
    return this.later ? Promise.resolve(answer) : answer;
  }

  settle(): void {
    this.settled += 1;
  }
}

class Bench {
  nowMs = 1_000;
  policies: EgressPolicy[] = [policy({ allow: [HTTP, HTTPS] })];
  users: EgressConfig["users"] = [];
  staticHosts: EgressConfig["staticHosts"] = [];
  closed: string | undefined;
  quotas = new Map<string, CompiledQuota>();
  /** One per query, the last one again and again. */
  answers: (Resolution | Promise<Resolution>)[] = [{ kind: "found", addresses: ["93.184.216.34"] }];
  readonly queries: string[] = [];
  verdict: CredentialVerdict | Promise<CredentialVerdict> = "wrong";
  readonly attempts: CredentialAttempt[] = [];
  hello: HelloReading[] = [];
  readonly decisions: EgressDecisionRecord[] = [];
  readonly reports: RequestRecord[] = [];
  readonly bank = new ScriptedBank();
  tunnelsFree = 1;
  readonly secrets = new Map<string, string>();
  readonly endpoints = new EndpointTable();

  exchange(
    over: Partial<ProxyRequest> & { authority?: string; target?: string; method?: string; fields?: FieldList } = {},
  ): EgressExchange {
    const compiled = compileEgress(
      { policies: this.policies, staticHosts: this.staticHosts, users: this.users, realm: 'out"side' },
      this.quotas,
    );
    if (!compiled.ok) throw new TypeError(JSON.stringify(compiled.error));
    const form = over.form ?? "absolute";
    const connect = form === "authority";
    const head = over.head ?? {
      method: over.method ?? (connect ? "CONNECT" : "GET"),
      scheme: "http",
      authority: over.authority ?? (connect ? "api.example.com:443" : "api.example.com"),
      target: over.target ?? (connect ? "" : "/v1/x?y=1"),
      fields: over.fields ?? [],
      body: { kind: "none" },
    };
    const snapshot = { version: "1.7", tables: compiled.value, explainHeaders: true, closed: this.closed };
    return new EgressExchange(snapshot, this.ports(), this.endpoints, {
      head,
      form,
      confidential: over.confidential ?? false,
      service: over.service,
      connectionOptions: over.connectionOptions,
      protocol: over.protocol ?? "HTTP/1.1",
      listener: "0.0.0.0:3128",
      peer: over.peer ?? { address: "127.0.0.1", port: 5 },
    });
  }

  tunnelTo(authority = `${API}:443`, fields: FieldList = []): EgressExchange {
    return this.exchange({ form: "authority", authority, fields });
  }

  ports(): EgressPorts {
    return {
      clock: { now: () => this.nowMs, unixMs: () => 1_700_000_000_000 },
      resolver: {
        resolve: (host) => {
          this.queries.push(host);
          return this.answers[Math.min(this.queries.length, this.answers.length) - 1]!;
        },
      },
      credentials: {
        check: (attempt) => {
          this.attempts.push(attempt);
          return this.verdict;
        },
      },
      decisions: { decided: (record) => this.decisions.push(record) },
      tunnels: {
        gate: {
          acquire: () => this.tunnelsFree-- > 0,
          release: () => {
            this.tunnelsFree += 1;
          },
        },
        openHello: () => ({ feed: () => this.hello.shift() ?? { kind: "need" } }),
      },
      secrets: { value: (namespace, name, key) => this.secrets.get(`${namespace}/${name}/${key}`) },
      quotas: new QuotaFilter({ bank: this.bank, fallback: new MapBank({ maxCounters: 1, unixMs: () => 0 }), nowUs: () => 0 }),
      reporter: { request: (record) => this.reports.push(record) },
      limits: DEFAULT_EGRESS_LIMITS,
    };
  }
}

function asSend(step: Step): SendStep {
  if (step.kind !== "send") throw new TypeError(JSON.stringify(step));
  return step;
}

function asTunnel(step: Step): TunnelStep {
  if (step.kind !== "tunnel") throw new TypeError(JSON.stringify(step));
  return step;
}

interface Answer {
  readonly status: number;
  readonly rule: string | undefined;
  readonly reason: string | undefined;
  readonly fields: { readonly [name: string]: string };
  readonly close: boolean;
}

function answer(step: Step): Answer {
  if (step.kind !== "respond") throw new TypeError(JSON.stringify(step));
  const { status, fields } = (step satisfies RespondStep).head;
  const named: Record<string, string> = {};
  for (let i = 0; i < fields.length; i += 2) named[fields[i]!] = fields[i + 1]!;
  return { status, rule: named["x-tidegate-rule"], reason: named["x-tidegate-reason"], fields: named, close: step.close };
}

async function settled(exchange: EgressExchange, step: Step): Promise<Step> {
  if (step.kind !== "wait") throw new TypeError(step.kind);
  await step.until;
  return exchange.resumed();
}

const dialled = (step: SendStep | TunnelStep): string => `${step.target.endpoint.address}:${step.target.endpoint.port}`;

describe("a plain http request", () => {
  it("goes to the checked address in origin form, with the authority that was judged and without this hop's fields", () => {
    const bench = new Bench();
    const fields = [
      "accept",
      "*/*",
      "proxy-connection",
      "keep-alive",
      "x-hop",
      "1",
      "te",
      "trailers",
      "expect",
      "100-continue",
      "x-tidegate-rule",
      "forged",
    ]; // prettier-ignore
    const step = asSend(bench.exchange({ fields, connectionOptions: ["x-hop", "close"] }).start());
    expect(dialled(step)).toBe("93.184.216.34:80");
    expect(step.head).toMatchObject({ method: "GET", scheme: "http", authority: "api.example.com", target: "/v1/x?y=1" });
    expect(step.head.fields).toEqual(["accept", "*/*", "te", "trailers", "via", "1.1 tidegate"]);
    expect(step.target.tls).toBeUndefined();
    expect(bench.decisions).toMatchObject([
      {
        verdict: "allow",
        rule: "shop/p#http",
        address: "93.184.216.34:80",
        snapshotVersion: "1.7",
        authority: "api.example.com",
      },
    ]);
  });

  it("Via says what the request came in by", () => {
    for (const version of ["1.0", "1.1", "2"]) {
      const step = asSend(new Bench().exchange({ protocol: `HTTP/${version}` }).start());
      expect(step.head.fields).toEqual(["via", `${version} tidegate`]);
    }
  });

  it("a response without Date gets one, an interim one does not", () => {
    const exchange = new Bench().exchange();
    exchange.start();
    const body = { kind: "none" } as const;
    const link = ["link", "</a>", "x-hop", "1"];
    expect(exchange.interim({ status: 103, fields: link, body }, ["x-hop"]).fields).toEqual([
      "link",
      "</a>",
      "via",
      "1.1 tidegate",
    ]);
    const date = "Tue, 14 Nov 2023 22:13:20 GMT";
    expect(exchange.responded({ status: 200, fields: [], body })).toMatchObject({
      head: { fields: ["date", date, "via", "1.1 tidegate"] },
    });
  });

  it("a refusal has a Date", () => {
    const bench = new Bench();
    bench.policies = [];
    expect(answer(bench.exchange().start()).fields).toHaveProperty("date");
  });

  it("a switch of protocols that nobody asked for is the origin's failure", () => {
    const exchange = new Bench().exchange();
    exchange.start();
    const step = exchange.responded({ status: 101, fields: ["upgrade", "websocket"], body: { kind: "none" } });
    expect(answer(step).status).toBe(502);
  });

  it("OPTIONS and TRACE count their hops, and end here when the last is used up", () => {
    const at = (count: string, over: { method: string; fields?: FieldList }): Step =>
      new Bench().exchange({ ...over, fields: ["max-forwards", count, ...(over.fields ?? [])] }).start();
    expect(asSend(at("5", { method: "OPTIONS" })).head.fields).toEqual(["max-forwards", "4", "via", "1.1 tidegate"]);
    expect(asSend(at("5", { method: "GET" })).head.fields).toEqual(["max-forwards", "5", "via", "1.1 tidegate"]);
    expect(answer(at("0", { method: "OPTIONS" })).status).toBe(200);
    const traced = at("0", { method: "TRACE", fields: ["x-a", "1", "authorization", "Bearer x"] });
    expect(answer(traced).fields).toMatchObject({ "content-type": "message/http" });
    expect(new TextDecoder().decode("body" in traced ? (traced.body as Uint8Array) : undefined)).toBe(
      "TRACE /v1/x?y=1 HTTP/1.1\r\nhost: api.example.com\r\nmax-forwards: 0\r\nx-a: 1\r\n\r\n",
    );
    expect(answer(at("x", { method: "TRACE" })).status).toBe(400);
  });

  it("a request that goes round in circles is stopped", () => {
    const hops = (count: number): FieldList => ["via", Array(count).fill("1.1 tidegate").join(", ")];
    expect(answer(new Bench().exchange({ fields: hops(MAX_OWN_HOPS) }).start()).status).toBe(508);
    asSend(new Bench().exchange({ fields: hops(MAX_OWN_HOPS - 1) }).start());
  });

  it("is refused with rule, reason and snapshot in the answer and in the log", () => {
    const bench = new Bench();
    const exchange = bench.exchange({ authority: "other.example.com" });
    const refused = answer(exchange.start());
    expect(refused).toMatchObject({
      status: 403,
      rule: "shop/p",
      reason: expect.stringContaining("other.example.com"),
      close: false,
    });
    expect(refused.fields["x-tidegate-snapshot"]).toBe("1.7");
    exchange.finished(END);
    expect(bench.decisions).toMatchObject([{ verdict: "deny", code: "no_rule", rule: "shop/p", status: 403 }]);
    expect(bench.reports).toMatchObject([{ status: 403, rule: "shop/p", attempts: 0, requestBytes: 3, responseBytes: 5 }]);
    expect(bench.queries).toEqual([]);
  });

  it.each([
    ["origin", 400, "forward proxy"],
    ["asterisk", 400, "forward proxy"],
  ] as const)("in %s form is no proxy request", (form, status, reason) => {
    expect(answer(new Bench().exchange({ form }).start())).toMatchObject({ status, reason: expect.stringContaining(reason) });
  });

  it("for an https URI is refused: the gateway would have to see into it", () => {
    const head = {
      method: "GET",
      scheme: "https",
      authority: "api.example.com",
      target: "/",
      fields: [],
      body: { kind: "none" },
    } as const;
    expect(answer(new Bench().exchange({ head: { ...head, fields: [] } }).start())).toMatchObject({
      status: 501,
      reason: expect.stringContaining("CONNECT"),
    });
  });

  it("is closed after a refusal when its body was not read", () => {
    const head = { method: "POST", scheme: "http", authority: "x.example.com", target: "/", body: { kind: "stream" } } as const;
    expect(answer(new Bench().exchange({ head: { ...head, fields: [] } }).start()).close).toBe(true);
  });

  it("tries the next checked address when a connection never came about, and then tells 502 or 504", () => {
    const bench = new Bench();
    bench.answers = [{ kind: "found", addresses: ["93.184.216.34", "93.184.216.35"] }];
    const exchange = bench.exchange();
    expect(asSend(exchange.start()).keepBody).toBe(true);
    const second = asSend(exchange.failed(DEAD));
    expect(dialled(second)).toBe("93.184.216.35:80");
    expect(second.keepBody).toBe(false);
    expect(answer(exchange.failed({ ...DEAD, code: "upstream_connect_timeout" }))).toMatchObject({ status: 504 });
    exchange.finished(END);
    expect(bench.reports).toMatchObject([{ attempts: 2, flags: "UF" }]);
    expect(bench.endpoints.get("93.184.216.34", 80).active).toBe(0);
    expect(bench.endpoints.get("93.184.216.35", 80).active).toBe(0);
    expect(bench.queries.length).toBe(1);
  });

  it("is not sent twice when it may have arrived", () => {
    const bench = new Bench();
    bench.answers = [{ kind: "found", addresses: ["93.184.216.34", "93.184.216.35"] }];
    const exchange = bench.exchange();
    exchange.start();
    expect(answer(exchange.failed({ ...DEAD, code: "upstream_reset", neverSent: false }))).toMatchObject({ status: 502 });
  });
});

describe("resolution", () => {
  it("that waits, fails, finds nothing or comes too late", async () => {
    const bench = new Bench();
    bench.answers = [Promise.resolve({ kind: "found", addresses: ["93.184.216.34"] })];
    const found = bench.exchange();
    expect(dialled(asSend(await settled(found, found.start())))).toBe("93.184.216.34:80");
    bench.answers = [{ kind: "none", reason: "no such name" }];
    expect(answer(bench.exchange().start())).toMatchObject({
      status: 502,
      reason: "api.example.com does not resolve: no such name",
    });
    bench.answers = [new Promise(() => undefined)];
    const late = bench.exchange();
    expect(late.start()).toMatchObject({ kind: "wait", deadlineMs: bench.nowMs + DEFAULT_EGRESS_LIMITS.resolveTimeoutMs });
    expect(answer(late.timer())).toMatchObject({ status: 504 });
  });

  it("is the gateway's own for static hosts, whose addresses are judged all the same", () => {
    const bench = new Bench();
    bench.staticHosts = [{ host: "api.example.com", endpoints: [{ address: "10.0.0.9", port: 9090 }] }];
    expect(answer(bench.exchange().start())).toMatchObject({ status: 403, reason: expect.stringContaining("10.0.0.9") });
    bench.policies = [policy({ allow: [{ ...HTTP, addresses: [{ cidr: "10.0.0.0/24", ports: [9090] }] }] })];
    expect(dialled(asSend(bench.exchange().start()))).toBe("10.0.0.9:9090");
    expect(bench.decisions.at(-1)).toMatchObject({ openedBy: "shop/p#http" });
    expect(bench.queries).toEqual([]);
  });
});

describe("proxy credentials", () => {
  const basic = (text: string): FieldList => ["proxy-authorization", `Basic ${btoa(text)}`];
  const users = [{ name: "payments", passwordHash: "scrypt$…" }];

  function bench(): Bench {
    const made = new Bench();
    made.policies = [policy({ from: [{ kind: "proxyUser", name: "payments" }], allow: [HTTP, HTTPS] })];
    made.users = users;
    return made;
  }

  it("are asked for when they are missing or wrong, and 403 is for what they cannot change", () => {
    const missing = bench();
    const challenge = answer(missing.exchange().start());
    expect(challenge).toMatchObject({ status: 407, reason: expect.stringContaining("needed"), close: false });
    expect(challenge.fields["proxy-authenticate"]).toBe('Basic realm="out\\"side", charset="UTF-8"');
    expect(answer(bench().tunnelTo().start())).toMatchObject({ status: 407, close: false });
    expect(
      answer(
        bench()
          .exchange({ fields: basic("payments:guess") })
          .start(),
      ),
    ).toMatchObject({
      status: 407,
      reason: expect.stringContaining("wrong"),
    });
    const right = bench();
    right.verdict = "valid";
    expect(answer(right.exchange({ fields: basic("payments:secret"), authority: "x.example.com" }).start())).toMatchObject({
      status: 403,
    });
  });

  it("prove a user, also when the check takes its time", async () => {
    const made = bench();
    made.verdict = Promise.resolve("valid");
    const exchange = made.exchange({ fields: basic("payments:pass:word") });
    expect(dialled(asSend(await settled(exchange, exchange.start())))).toBe("93.184.216.34:80");
    expect(made.attempts).toMatchObject([{ user: "payments", password: "pass:word", known: users[0], peer: "127.0.0.1" }]);
    expect(made.decisions).toMatchObject([{ user: "payments" }]);
  });

  it("are never logged or forwarded, right or wrong", () => {
    const made = bench();
    made.policies.push(policy({ id: "shop/ip", allow: [HTTP] }));
    for (const verdict of ["valid", "wrong"] as const) {
      made.verdict = verdict;
      const exchange = made.exchange({ fields: ["a", "b", ...basic("payments:hunter2")] });
      expect(asSend(exchange.start()).head.fields).toEqual(["a", "b", "via", "1.1 tidegate"]);
      exchange.finished(END);
    }
    expect(JSON.stringify([made.decisions, made.reports])).not.toMatch(new RegExp(`hunter2|${btoa("payments:hunter2")}`));
  });

  it("do not matter where an address block decides", () => {
    const made = bench();
    made.policies = [policy({ allow: [HTTP] }), policy({ id: "shop/u", from: [{ kind: "proxyUser", name: "payments" }] })];
    expect(asSend(made.exchange({ fields: basic("payments:guess") }).start()).kind).toBe("send");
  });

  it("are not looked at where no policy names users", () => {
    const made = new Bench();
    made.exchange({ fields: basic("payments:secret") }).start();
    expect(made.attempts).toEqual([]);
  });

  it.each([
    ["Bearer abc"],
    ["Basic"],
    ["Basic !!!!"],
    [`Basic ${btoa("nocolon")}`],
    [`Basic ${btoa(":nouser")}`],
    [`Basic ${btoa("user:\xff\xfe")}`],
    [`Basic ${btoa("u:")}x`],
    [`Basic ${btoa(`u:${"x".repeat(MAX_CREDENTIAL_LENGTH)}`)}`],
  ])("in the form %j are wrong without asking", (value) => {
    const made = bench();
    expect(answer(made.exchange({ fields: ["proxy-authorization", value] }).start())).toMatchObject({ status: 407 });
    expect(made.attempts).toEqual([]);
  });

  it("given twice are wrong, and both are gone", () => {
    const made = bench();
    const fields = [...basic("payments:a"), "x", "y", ...basic("payments:b")];
    expect(answer(made.exchange({ fields }).start()).status).toBe(407);
    expect(fields).toEqual(["x", "y"]);
  });

  it("that are guessed too often or checked too many at once are told so", () => {
    const made = bench();
    made.verdict = "throttled";
    expect(answer(made.exchange({ fields: basic("payments:x") }).start())).toMatchObject({ status: 429 });
    made.verdict = "overloaded";
    expect(answer(made.exchange({ fields: basic("payments:x") }).start())).toMatchObject({ status: 503 });
    made.verdict = new Promise(() => undefined);
    const slow = made.exchange({ fields: basic("payments:x") });
    expect(slow.start().kind).toBe("wait");
    expect(answer(slow.timer())).toMatchObject({ status: 503 });
  });
});

describe("a tunnel", () => {
  const named = (serverName: string | undefined): HelloReading => ({ kind: "hello", serverName });

  function inspect(step: TunnelStep, ...sizes: number[]): TunnelVerdict {
    let verdict: TunnelVerdict = { kind: "more" };
    for (const size of sizes) verdict = step.inspect(new Uint8Array(size));
    return verdict;
  }

  it("opens after its ClientHello named the host, and is logged then", () => {
    const bench = new Bench();
    bench.hello = [{ kind: "need" }, named("api.example.com")];
    const exchange = bench.tunnelTo();
    const step = asTunnel(exchange.start());
    expect(step).toMatchObject({ opaque: false, inspectDeadlineMs: bench.nowMs + DEFAULT_EGRESS_LIMITS.helloTimeoutMs });
    expect(dialled(step)).toBe("93.184.216.34:443");
    expect(inspect(step, 3)).toEqual({ kind: "more" });
    expect(bench.decisions).toEqual([]);
    expect(inspect(step, 9)).toEqual({ kind: "allow" });
    exchange.finished(END);
    expect(bench.decisions).toMatchObject([{ verdict: "allow", kind: "connect", rule: "shop/p#https", status: 200 }]);
  });

  it("is logged as unfinished when the ClientHello never came", () => {
    const bench = new Bench();
    const exchange = bench.tunnelTo();
    exchange.start();
    exchange.finished({ ...END, outcome: "timeout" });
    expect(bench.decisions).toMatchObject([{ verdict: "deny", code: "unfinished" }]);
  });

  it.each([
    [named(undefined), "sni_missing"],
    [named("other.example.com"), "sni_mismatch"],
    [named("API.example.com"), "sni_mismatch"],
    [named("api.example.com.evil.org"), "sni_mismatch"],
    [{ kind: "bad", reason: "record type 71" } as const, "not_tls"],
  ])("that carries %j is cut", (hello, code) => {
    const bench = new Bench();
    bench.hello = [hello];
    const step = asTunnel(bench.tunnelTo().start());
    expect(inspect(step, 100)).toMatchObject({ kind: "deny", reason: expect.stringContaining("api.example.com") });
    expect(bench.decisions).toMatchObject([{ verdict: "deny", code, rule: "shop/p#https" }]);
  });

  it("that carries something else is listed, not cut, where its policy only reports", () => {
    const bench = new Bench();
    bench.policies = [policy({ mode: "report", allow: [HTTPS] })];
    bench.hello = [named("other.example.com")];
    expect(inspect(asTunnel(bench.tunnelTo().start()), 100)).toEqual({ kind: "allow" });
    expect(bench.decisions).toMatchObject([{ verdict: "report", wouldDeny: { code: "sni_mismatch", rule: "shop/p#https" } }]);
  });

  it("to an address must not name a host, and may name none", () => {
    const bench = new Bench();
    bench.policies = [policy({ allow: [{ ...HTTPS, hosts: ["93.184.216.34", "[2606:4700::1111]"] }] })];
    bench.tunnelsFree = 2;
    bench.hello = [named(undefined), named("api.example.com")];
    expect(inspect(asTunnel(bench.tunnelTo("93.184.216.34:443").start()), 100)).toEqual({ kind: "allow" });
    expect(inspect(asTunnel(bench.tunnelTo("[2606:4700::1111]:443").start()), 100)).toMatchObject({ kind: "deny" });
    expect(bench.queries).toEqual([]);
  });

  it("of a tcp rule is not looked into: the origin may speak first", () => {
    const bench = new Bench();
    bench.policies = [policy({ allow: [rule({ ports: [22], protocol: "tcp" })] })];
    expect(asTunnel(bench.tunnelTo(`${API}:22`).start())).toMatchObject({ opaque: true });
    expect(bench.decisions).toMatchObject([{ verdict: "allow" }]);
  });

  it("holds one of a bounded number of places and gives it back once, whatever happens", () => {
    const bench = new Bench();
    const first = bench.tunnelTo();
    asTunnel(first.start());
    const second = bench.tunnelTo();
    expect(answer(second.start())).toMatchObject({ status: 503, reason: "too many tunnels are open", close: true });
    second.finished(END);
    expect(bench.tunnelsFree).toBe(-1);
    first.finished({ ...END, outcome: "client_gone" });
    expect(bench.tunnelsFree).toBe(0);
    bench.tunnelsFree = 1;
    const failing = bench.tunnelTo();
    asTunnel(failing.start());
    expect(answer(failing.failed(DEAD))).toMatchObject({ status: 502, close: true });
    failing.finished(END);
    expect(bench.tunnelsFree).toBe(1);
  });

  it("dials the next checked address when the first does not answer", () => {
    const bench = new Bench();
    bench.answers = [{ kind: "found", addresses: ["93.184.216.34", "2606:4700::1111"] }];
    const exchange = bench.tunnelTo();
    asTunnel(exchange.start());
    expect(asTunnel(exchange.failed(DEAD)).target.endpoint.address).toBe("2606:4700::1111");
  });
});

describe("quotas of the rule", () => {
  const quota: QuotaPolicy = {
    id: "shop/p#http",
    origin: { kind: "EgressPolicy", namespace: "shop", name: "p" },
    matches: [],
    key: [{ kind: "identity" }],
    limits: [{ name: "limit", amount: 1, perMs: 1_000, window: "rolling" }],
    cost: { kind: "fixed", amount: 1 },
    unit: "requests",
    overrides: [],
    whenKeyMissing: "share",
    scope: "local",
    onStoreFailure: { kind: "allow" },
    mode: "enforce",
    headers: "none",
    response: { status: 429 },
  };

  function bench(over: Partial<QuotaPolicy> = {}): Bench {
    const made = new Bench();
    const compiled = compileQuota({ ...quota, ...over }, { trustedProxies: 0, zones: new Map() });
    if (!compiled.ok) throw new TypeError(JSON.stringify(compiled.error));
    made.quotas.set(quota.id, compiled.value);
    made.policies = [policy({ allow: [{ ...HTTP, quotas: [quota.id] }] })];
    return made;
  }

  it("are charged once all addresses have passed, and refuse with when to come back", () => {
    const made = bench();
    made.bank.admits = false;
    expect(answer(made.exchange().start())).toMatchObject({
      status: 429,
      rule: expect.stringContaining("shop/p#http"),
      fields: { "retry-after": "1" },
    });
    made.answers = [{ kind: "found", addresses: ["10.0.0.1"] }];
    expect(answer(made.exchange().start()).status).toBe(403);
    expect(made.bank.taken.length).toBe(1);
  });

  it("count by the proved proxy user", () => {
    const made = bench();
    made.policies = [policy({ from: [{ kind: "proxyUser", name: "u" }], allow: [{ ...HTTP, quotas: [quota.id] }] })];
    made.verdict = "valid";
    asSend(made.exchange({ fields: ["proxy-authorization", `Basic ${btoa("u:p")}`] }).start());
    expect(made.bank.taken[0]?.[0]?.key).toContain("u");
  });

  it("are listed, not enforced, where the policy only reports", () => {
    const made = bench();
    made.policies = [{ ...made.policies[0]!, mode: "report" }];
    made.bank.admits = false;
    asSend(made.exchange().start());
    expect(made.decisions).toMatchObject([{ verdict: "report", wouldDeny: { code: "quota_exceeded" } }]);
  });

  it("that are held are given back at the end, also when the answer comes after it", async () => {
    const made = bench({ unit: "concurrent" });
    const now = made.exchange();
    asSend(now.start());
    now.finished(END);
    expect(made.bank.settled).toBe(1);
    made.bank.later = true;
    const gone = made.exchange();
    const step = gone.start();
    gone.finished({ ...END, outcome: "client_gone" });
    if (step.kind === "wait") await step.until;
    expect(made.bank.settled).toBe(2);
  });
});

describe("a closed section", () => {
  it("lets nothing out, whatever its rules say", () => {
    const bench = new Bench();
    bench.closed = "the egress section has expired";
    expect(answer(bench.exchange().start())).toMatchObject({ status: 403, reason: "the egress section has expired" });
    expect(answer(bench.tunnelTo().start())).toMatchObject({ status: 403 });
  });
});

describe("attacks", () => {
  it("DNS rebinding: the address that was checked is the one that is dialled, and the name is asked for once", () => {
    const bench = new Bench();
    const outside: Resolution = { kind: "found", addresses: ["93.184.216.34"] };
    const inside: Resolution = { kind: "found", addresses: ["169.254.169.254"] };
    bench.answers = [outside, inside, outside];
    const exchange = bench.exchange();
    expect(dialled(asSend(exchange.start()))).toBe("93.184.216.34:80");
    expect(bench.queries.length).toBe(1);
    expect(answer(bench.exchange().start())).toMatchObject({ status: 403, reason: expect.stringContaining("169.254.169.254") });
    expect(dialled(asSend(bench.exchange().start()))).toBe("93.184.216.34:80");
  });

  it.each([
    [["93.184.216.34", "127.0.0.1"]],
    [["127.0.0.1", "93.184.216.34"]],
    [["93.184.216.34", "::1"]],
    [["fd00:ec2::254"]],
    [["100.100.100.200", "93.184.216.34"]],
  ])("mixed answers %j refuse the name, for requests and tunnels, in mode report too", (addresses) => {
    for (const mode of ["enforce", "report"] as const) {
      const bench = new Bench();
      bench.policies = [policy({ mode, allow: [HTTP, HTTPS] })];
      bench.answers = [{ kind: "found", addresses }];
      expect(answer(bench.exchange().start())).toMatchObject({ status: 403 });
      expect(answer(bench.tunnelTo().start())).toMatchObject({ status: 403 });
      expect(bench.decisions).toMatchObject([{ code: "address_forbidden", verdict: "deny" }, { code: "address_forbidden" }]);
    }
  });

  it("a metadata service by its name is a forbidden address like any other", () => {
    const bench = new Bench();
    bench.policies = [policy({ allow: [{ ...HTTP, hosts: ["metadata.google.internal"] }] })];
    bench.answers = [{ kind: "found", addresses: ["169.254.169.254"] }];
    expect(answer(bench.exchange({ authority: "metadata.google.internal" }).start())).toMatchObject({
      status: 403,
      rule: "shop/p#http",
    });
  });

  // As the codec hands them over: lower case already.
  it.each([
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "169.254.169.254.",
    "api.example.com.",
    "api..example.com",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
    "xn--a",
    "api.example.com\\.evil.org",
    "user@api.example.com",
    "api%2eexample.com",
  ])("encoded form %j is refused, never repaired, in mode report too", (host) => {
    for (const mode of ["enforce", "report"] as const) {
      const bench = new Bench();
      bench.policies = [policy({ mode, allow: [{ ...HTTP, hosts: ["*.example.com"] }] })];
      expect(answer(bench.exchange({ authority: host }).start())).toMatchObject({ status: 403 });
      expect(answer(bench.tunnelTo(`${host}:443`).start())).toMatchObject({ status: 403 });
      expect(bench.queries).toEqual([]);
      expect(bench.decisions).toMatchObject([{ code: "name_not_canonical" }, { code: "name_not_canonical" }]);
    }
  });

  it("an IP literal passes only where it is listed, and then as the address that it is", () => {
    const bench = new Bench();
    bench.policies = [policy({ allow: [{ ...HTTP, hosts: ["*.example.com", "93.184.216.34", "127.0.0.1"] }] })];
    expect(dialled(asSend(bench.exchange({ authority: "93.184.216.34" }).start()))).toBe("93.184.216.34:80");
    expect(answer(bench.exchange({ authority: "93.184.216.35" }).start())).toMatchObject({ status: 403 });
    expect(answer(bench.exchange({ authority: "127.0.0.1" }).start())).toMatchObject({
      status: 403,
      reason: expect.stringContaining("loopback"),
    });
  });

  it("fields that claim another host change nothing", () => {
    const bench = new Bench();
    const fields = ["x-forwarded-host", "169.254.169.254", "forwarded", "host=10.0.0.1", "host", "other.example.com"];
    const step = asSend(bench.exchange({ fields }).start());
    expect(step.head.authority).toBe("api.example.com");
    expect(step.head.fields).not.toContain("other.example.com");
    expect(dialled(step)).toBe("93.184.216.34:80");
  });

  describe("CONNECT name, SNI and rule disagree in every way", () => {
    const names = ["allowed.example.com", "denied.example.com", undefined];
    for (const connect of ["allowed.example.com", "denied.example.com"]) {
      for (const sni of names) {
        it(`CONNECT ${connect}, SNI ${sni}`, () => {
          const bench = new Bench();
          bench.policies = [policy({ allow: [{ ...HTTPS, hosts: ["allowed.example.com"] }] })];
          bench.hello = [{ kind: "hello", serverName: sni }];
          const step = bench.tunnelTo(`${connect}:443`).start();
          const passes = step.kind === "tunnel" && step.inspect(new Uint8Array(9)).kind === "allow";
          expect(passes).toBe(connect === "allowed.example.com" && sni === "allowed.example.com");
          expect(bench.decisions.length).toBe(1);
        });
      }
    }
  });

  it("the second request of a connection is decided like the first", () => {
    const bench = new Bench();
    const first = bench.exchange();
    asSend(first.start());
    first.finished(END);
    expect(answer(bench.exchange({ authority: "other.example.com" }).start())).toMatchObject({ status: 403 });
    expect(answer(bench.exchange({ authority: "169.254.169.254" }).start())).toMatchObject({ status: 403 });
    asSend(bench.exchange().start());
    expect(bench.queries.length).toBe(2);
  });

  it.each([301, 302, 303, 307, 308])("a redirect (%i) to the inside is relayed, never followed", (status) => {
    const bench = new Bench();
    const exchange = bench.exchange();
    exchange.start();
    const fields = ["location", "http://169.254.169.254/", "x-hop", "1", "x-tidegate-rule", "forged", "date", "then"];
    const step = exchange.responded({ status, fields, body: { kind: "none" }, version: "1.0" }, ["x-hop"]);
    const told = ["location", "http://169.254.169.254/", "date", "then", "via", "1.0 tidegate"];
    expect(step).toMatchObject({ kind: "relay", head: { status, fields: told } });
    expect(bench.queries.length).toBe(1);
  });

  it("an origin cannot ask for the proxy's password", () => {
    const exchange = new Bench().exchange();
    exchange.start();
    expect(
      answer(exchange.responded({ status: 407, fields: ["proxy-authenticate", "Basic realm=x"], body: { kind: "none" } })),
    ).toMatchObject({
      status: 502,
      fields: expect.not.objectContaining({ "proxy-authenticate": expect.anything() }),
    });
  });
});

describe("EndpointTable", () => {
  it("shares an endpoint by address and port, and keeps a bounded number of the latest used", () => {
    const table = new EndpointTable(2);
    const a = table.get("192.0.2.1", 80);
    expect(table.get("192.0.2.1", 80)).toBe(a);
    const b = table.get("192.0.2.1", 81);
    expect(b).not.toBe(a);
    table.get("192.0.2.1", 80);
    table.get("192.0.2.2", 80);
    expect(table.size).toBe(2);
    expect(table.get("192.0.2.1", 80)).toBe(a);
    expect(table.get("192.0.2.1", 81)).not.toBe(b);
  });

  it("keeps MAX_ENDPOINTS of them, in a bounded number of clusters", () => {
    const table = new EndpointTable();
    const clusters = new Set<string>();
    for (let port = 1; port <= MAX_ENDPOINTS + 10; port++) clusters.add(table.get("192.0.2.1", port).key.split("|")[0]!);
    expect(table.size).toBe(MAX_ENDPOINTS);
    expect(clusters.size).toBeGreaterThan(200);
    expect(clusters.size).toBeLessThanOrEqual(256);
  });
});
