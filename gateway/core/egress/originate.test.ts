/** Rules that turn http into https, credentials that they add, and gateways that see https requests or cannot see addresses. */
import { describe, expect, it } from "vitest";
import { SPELLINGS } from "../../../test/support/egress-attacks.ts";
import { QuotaFilter } from "../filter/quota.ts";
import type { FieldList, Scheme } from "../http/message.ts";
import type { EgressConfig, EgressInjection, EgressPolicy, EgressRule } from "../ir/index.ts";
import { MapBank } from "../quota/map-bank.ts";
import type { RespondStep, SendStep, Step } from "../step.ts";
import { compileEgress } from "./compile.ts";
import { EndpointTable } from "./endpoints.ts";
import { EgressExchange } from "./exchange.ts";
import { MAX_SECRET_LENGTH } from "./inject.ts";
import { DEFAULT_EGRESS_LIMITS, type EgressDecisionRecord } from "./ports.ts";

const API = "api.example.com";
const TOKEN: EgressInjection = {
  header: "authorization",
  secret: { namespace: "shop", name: "stripe", key: "token" },
  prefix: "Bearer ",
};

function rule(over: Partial<EgressRule> = {}): EgressRule {
  const base = { name: "api", hosts: [API], ports: [443], protocol: "https" as const, originate: { tls: "simple" as const } };
  return { ...base, methods: [], paths: [], addresses: [], quotas: [], ...over };
}

/** The same without origination: tunnels. */
function tunnelled(over: Partial<EgressRule> = {}): EgressRule {
  const { originate: _none, ...rest } = rule(over);
  return rest;
}

function config(allow: readonly EgressRule[], over: Partial<EgressPolicy> = {}): EgressConfig {
  const origin = { kind: "EgressPolicy", namespace: "shop", name: "p" };
  const from = [{ kind: "ipBlock" as const, cidr: "127.0.0.0/8" }];
  const base = { id: "shop/p", origin, namespace: "shop", floor: false, from, mode: "enforce" as const, allow, deny: [] };
  return { policies: [{ ...base, ...over }], staticHosts: [], users: [], realm: "outside" };
}

interface Ask {
  readonly authority?: string;
  readonly scheme?: Scheme;
  readonly target?: string;
  readonly method?: string;
  readonly fields?: FieldList;
  readonly connect?: boolean;
  readonly confidential?: boolean;
  readonly service?: string;
  readonly address?: string;
}

class Bench {
  readonly secrets = new Map([["shop/stripe/token", "sk_live_1"]]);
  readonly decisions: EgressDecisionRecord[] = [];
  readonly logged: string[] = [];
  resolves = true;
  config: EgressConfig;

  constructor(config: EgressConfig) {
    this.config = config;
  }

  start(asked: Ask = {}): Step {
    const compiled = compileEgress(this.config);
    if (!compiled.ok) throw new TypeError(JSON.stringify(compiled.error));
    const snapshot = { version: "1.1", tables: compiled.value, explainHeaders: false, closed: undefined };
    const bank = new MapBank({ maxCounters: 1, unixMs: () => 0 });
    const ports = {
      clock: { now: () => 0, unixMs: () => 0 },
      resolver: this.resolves ? { resolve: () => ({ kind: "found" as const, addresses: ["93.184.216.34"] }) } : undefined,
      credentials: { check: () => "wrong" as const },
      decisions: { decided: (record: EgressDecisionRecord) => this.decisions.push(record) },
      tunnels: this.resolves
        ? {
            gate: { acquire: () => true, release: () => undefined },
            openHello: () => ({ feed: () => ({ kind: "need" as const }) }),
          }
        : undefined,
      secrets: { value: (...names: string[]) => this.secrets.get(names.join("/")) },
      quotas: new QuotaFilter({ bank, fallback: bank, nowUs: () => 0 }),
      reporter: { request: (record: unknown) => this.logged.push(JSON.stringify(record)) },
      limits: DEFAULT_EGRESS_LIMITS,
    };
    const { authority = asked.connect === true ? `${API}:443` : API, target = "/v1/x", fields = [], scheme = "http" } = asked;
    const method = asked.method ?? (asked.connect === true ? "CONNECT" : "GET");
    const exchange = new EgressExchange(snapshot, ports, new EndpointTable(), {
      head: { method, scheme, authority, target, fields, body: { kind: "none" } },
      form: asked.connect === true ? "authority" : "absolute",
      confidential: asked.confidential ?? false,
      connectionOptions: undefined,
      protocol: "HTTP/1.1",
      listener: "test",
      peer: { address: asked.address ?? "127.0.0.1", port: 1 },
      service: asked.service,
    });
    const step = exchange.start();
    exchange.finished({ outcome: "complete", requestBytes: 0, responseBytes: 0 });
    return step;
  }

  send(asked: Ask = {}): SendStep {
    const step = this.start(asked);
    if (step.kind !== "send") throw new TypeError(JSON.stringify(step));
    return step;
  }

  /** Status and reason of a refusal. */
  refusal(asked: Ask = {}): string {
    const step = this.start(asked);
    if (step.kind !== "respond") throw new TypeError(JSON.stringify(step));
    const { status, fields } = (step satisfies RespondStep).head;
    return `${status} ${fields[fields.indexOf("x-tidegate-reason") + 1]}`;
  }
}

describe("a rule that originates TLS", () => {
  it("takes http://host/ to port 443, with the name as SNI, as the certificate's name and as Host", () => {
    const { target, head } = new Bench(config([rule()])).send();
    expect(target.endpoint).toMatchObject({ address: "93.184.216.34", port: 443 });
    expect(target.tls).toMatchObject({ mode: "simple", serverName: API, subjectAltNames: [], insecureSkipVerify: false });
    expect(head).toMatchObject({ scheme: "https", authority: API, target: "/v1/x" });
  });

  it.each([
    ["http://host:80/ is http://host/", `${API}:80`, [443], 443, API],
    ["another port is itself", `${API}:8443`, [8443], 8443, `${API}:8443`],
    ["and so is 443", `${API}:443`, [443], 443, API],
  ])("%s", (_what, authority, ports, port, host) => {
    const { target, head } = new Bench(config([rule({ ports })])).send({ authority });
    expect(target.endpoint.port).toBe(port);
    expect(head.authority).toBe(host);
  });

  it("lists the port that is reached, as denies do", () => {
    expect(new Bench(config([rule({ ports: [80] })])).refusal()).toContain("403 port 80");
    const denies = (port: number) => config([rule()], { deny: [{ hosts: [API], ports: [port], reason: "not there" }] });
    expect(new Bench(denies(443)).refusal()).toBe("403 not there");
    expect(new Bench(denies(80)).start().kind).toBe("send");
  });

  it("sees methods and paths, so it opens no tunnel past them, whoever else may", () => {
    const seen = rule({ methods: ["GET"], paths: [{ kind: "prefix", value: "/v1/" }] });
    const bench = new Bench(config([seen]));
    expect(bench.start().kind).toBe("send");
    expect(bench.refusal({ method: "POST" })).toContain("method POST");
    expect(bench.refusal({ target: "/v2/x" })).toContain("path");
    expect(bench.refusal({ target: "/v1/../v2" })).toContain("dot segment");
    expect(bench.refusal({ connect: true })).toContain("not for tunnels");
    expect(new Bench(config([tunnelled()])).start({ connect: true }).kind).toBe("tunnel");
  });

  it("does not share connections between names at one address", () => {
    const endpoints = new EndpointTable();
    expect(endpoints.get("93.184.216.34", 443, "a.example.com")).not.toBe(endpoints.get("93.184.216.34", 443, "b.example.com"));
    expect(endpoints.get("93.184.216.34", 443, "a.example.com")).not.toBe(endpoints.get("93.184.216.34", 443));
    expect(endpoints.get("93.184.216.34", 443, "a.example.com")).toBe(endpoints.get("93.184.216.34", 443, "a.example.com"));
  });

  it("is no reason to take an https URI in the clear", () => {
    expect(new Bench(config([rule()])).refusal({ scheme: "https" })).toContain("501 an https URI");
  });
});

describe("inject", () => {
  const WITH = config([rule({ inject: [TOKEN] })]);

  it("puts the credential in place of what the client sent, and no log has it", () => {
    const bench = new Bench(WITH);
    const fields = ["authorization", "Bearer mine", "accept", "*/*", "authorization", "Basic x"];
    const { head } = bench.send({ fields });
    expect(head.fields).toEqual(["accept", "*/*", "via", "1.1 tidegate", "authorization", "Bearer sk_live_1"]);
    expect(JSON.stringify([bench.decisions, bench.logged])).not.toContain("sk_live_1");
  });

  it("refuses a request whose credential is missing, and says which", () => {
    const bench = new Bench(WITH);
    bench.secrets.clear();
    expect(bench.refusal()).toBe("503 the secret shop/stripe, key token, is missing at this gateway");
    expect(bench.decisions).toMatchObject([{ verdict: "deny", code: "secret_unusable", rule: "shop/p#api" }]);
  });

  it.each(["", " padded", "padded ", "two\r\nlines", "caf\u00e9", "x".repeat(MAX_SECRET_LENGTH + 1)])(
    "refuses a credential that is no field value, without showing it: %j",
    (value) => {
      const bench = new Bench(WITH);
      bench.secrets.set("shop/stripe/token", value);
      expect(bench.refusal()).toBe("503 the secret shop/stripe, key token, cannot stand in a header field");
    },
  );

  it("is not told to the client by TRACE, which is fine without a credential", () => {
    for (const method of ["TRACE", "trace"]) {
      expect(new Bench(WITH).refusal({ method })).toBe("403 TRACE would send the credential back that this rule adds");
      expect(new Bench(config([rule()])).start({ method }).kind).toBe("send");
    }
  });

  it("does not happen for another rule, nor for a policy that only reports", () => {
    const plain = rule({ name: "other", hosts: ["other.example.com"] });
    const bench = new Bench(config([rule({ inject: [TOKEN] }), plain], { mode: "report" }));
    for (const authority of ["other.example.com", "unlisted.example.com"]) {
      expect(JSON.stringify(bench.send({ authority }).head)).not.toContain("sk_live_1");
    }
  });

  it.each(["host", "connection", "content-length", "te", "via", "x-tidegate-rule", ":authority", "proxy-authorization"])(
    "cannot write %s",
    (header) => {
      const compiled = compileEgress(config([rule({ inject: [{ ...TOKEN, header }] })]));
      expect(compiled.ok ? [] : compiled.error.map(({ path }) => path)).toEqual(["policies[0].allow[0].inject[0].header"]);
    },
  );

  it("needs requests that the gateway sees, and one credential per header", () => {
    const broken = [tunnelled({ inject: [TOKEN] }), rule({ inject: [TOKEN, TOKEN] }), rule({ protocol: "tls" })];
    const compiled = compileEgress(config(broken));
    expect(compiled.ok ? [] : compiled.error.map(({ path }) => path)).toEqual([
      "policies[0].allow[0]",
      "policies[0].allow[1].inject[1].header",
      "policies[0].allow[2].originate",
    ]);
  });
});

describe("a gateway that sees https requests, and no addresses", () => {
  const worker = { confidential: true, service: "checkout", address: "", scheme: "https" } as const;
  const from = [{ kind: "edgeService" as const, name: "checkout" }];

  function bench(allow: readonly EgressRule[], over: Partial<EgressConfig> = {}): Bench {
    const made = new Bench({ ...config(allow, { from }), ...over });
    made.resolves = false;
    return made;
  }

  it("takes them under https rules, with TLS originated or not, and dials by name", () => {
    for (const one of [rule(), tunnelled()]) {
      const { target, head } = bench([one]).send(worker);
      expect(target.endpoint).toMatchObject({ address: API, port: 443 });
      expect(target.tls).toMatchObject({ serverName: API });
      expect(head).toMatchObject({ scheme: "https", authority: API });
    }
    expect(bench([tunnelled({ protocol: "tls" })]).refusal(worker)).toContain("not allowed for https requests");
  });

  it("knows the caller by its binding only", () => {
    expect(bench([rule()]).refusal({ ...worker, service: "other" })).toContain("no policy names this caller");
    const { service: _nobody, ...unbound } = worker;
    expect(bench([rule()]).refusal(unbound)).toContain("no policy names this caller");
    const one = bench([rule()]);
    one.send(worker);
    expect(one.decisions).toMatchObject([{ verdict: "allow", service: "checkout", address: undefined }]);
  });

  it("refuses tunnels, names with addresses of their own, and addresses that are not open", () => {
    expect(bench([rule()]).refusal({ ...worker, connect: true })).toContain("501 this gateway opens no tunnels");
    const staticHosts = [{ host: API, endpoints: [{ address: "93.184.216.34" }] }];
    expect(bench([rule()], { staticHosts }).refusal(worker)).toContain("501 this host has addresses of its own");
    const literal = rule({ hosts: ["10.0.0.1", "93.184.216.34"] });
    expect(bench([literal]).refusal({ ...worker, authority: "10.0.0.1" })).toContain("private use");
    expect(bench([literal]).send({ ...worker, authority: "93.184.216.34" }).target.tls?.serverName).toBeUndefined();
  });
});

describe("a host that is written otherwise", () => {
  const ways = [{}, { scheme: "https", confidential: true }, { connect: true }] as const;

  it.each(SPELLINGS)("is refused: $what", ({ authority }) => {
    const allow = [rule(), tunnelled({ name: "tunnel" }), tunnelled({ name: "plain", protocol: "http", ports: [443] })];
    for (const way of ways) {
      expect(new Bench(config(allow)).refusal({ ...way, authority: authority(API, 443) })).toMatch(/^40[03] /);
      expect(new Bench(config(allow)).start({ ...way, authority: `${API}:443` }).kind).not.toBe("respond");
    }
  });
});

describe("mode learn", () => {
  it("lets pass, and tells what a rule would have to list", () => {
    const bench = new Bench(config([rule()], { mode: "learn" }));
    bench.send();
    bench.send({ authority: "new.example.com:8080", target: "/a/b?c=d", method: "PUT" });
    bench.start({ connect: true, authority: "db.example.com:5432" });
    expect(bench.decisions).toMatchObject([
      { verdict: "allow", rule: "shop/p#api", learned: undefined },
      {
        verdict: "learn",
        rule: "shop/p",
        wouldDeny: { code: "no_rule" },
        learned: { host: "new.example.com", port: 8080, protocol: "http", method: "PUT", path: "/a/b" },
      },
      { learned: { host: "db.example.com", port: 5432, protocol: "tunnel", method: undefined, path: undefined } },
    ]);
  });

  it("opens no special-purpose address", () => {
    expect(new Bench(config([], { mode: "learn" })).refusal({ authority: "169.254.169.254" })).toContain("169.254.169.254");
  });
});
