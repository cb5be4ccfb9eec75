import { describe, expect, test } from "vitest";
import { egressConfig, egressRule, makeSnapshot, manifestOf } from "../../../test/support/snapshots.ts";
import type { EgressConfig, EgressPolicy } from "./policy.ts";
import { classifyChange, classifyEgress } from "./verify-egress.ts";

const rich = egressRule({
  hosts: ["api.stripe.com", "*.example.com"],
  ports: [443, 8443],
  methods: ["GET", "POST"],
  paths: [
    { kind: "prefix", value: "/v1/" },
    { kind: "exact", value: "/health" },
  ],
  addresses: [{ cidr: "10.0.0.0/8", ports: [443, 8443] }],
  quotas: ["shop/per-user"],
});
const plain = egressRule({ name: "plain", hosts: ["files.example.org"] });
const held = egressConfig([rich, plain]);

const originate = { tls: "simple" } as const;
const inject = [{ header: "authorization", secret: { namespace: "shop", name: "api", key: "token" }, prefix: "" }];
const seen = egressRule({ name: "seen", hosts: ["files.example.org"], originate, inject });

const withPolicy = (change: Partial<EgressPolicy>, base = held): EgressConfig => ({
  ...base,
  policies: [{ ...base.policies[0]!, ...change }],
});
const withRich = (change: Partial<typeof rich>): EgressConfig => withPolicy({ allow: [{ ...rich, ...change }, plain] });
const policy = held.policies[0]!;
const other: EgressPolicy = { ...policy, id: "shop/other", allow: [], deny: [] };

describe("narrowing", () => {
  const CASES: readonly [string, EgressConfig | undefined, EgressConfig | undefined][] = [
    ["the same", held, structuredClone(held)],
    ["nothing at all", held, undefined],
    ["nothing from nothing", undefined, undefined],
    ["nothing allowed, from nothing", undefined, withPolicy({ allow: [] })],
    ["no policies", held, { ...held, policies: [] }],
    ["a host fewer", held, withRich({ hosts: ["*.example.com"] })],
    ["a host below a wildcard", held, withRich({ hosts: ["api.stripe.com", "a.b.example.com"] })],
    ["a wildcard below a wildcard", held, withRich({ hosts: ["*.eu.example.com"] })],
    ["a port fewer", held, withRich({ ports: [443] })],
    ["a method fewer", held, withRich({ methods: ["GET"] })],
    ["a path fewer", held, withRich({ paths: [{ kind: "exact", value: "/health" }] })],
    ["no special addresses", held, withRich({ addresses: [] })],
    ["fewer ports of a special range", held, withRich({ addresses: [{ cidr: "10.0.0.0/8", ports: [443] }] })],
    ["one more quota", held, withRich({ quotas: ["shop/per-user", "shop/all"] })],
    ["methods where all were allowed", withRich({ methods: [] }), withRich({})],
    ["a rule without quota gone", held, withPolicy({ allow: [rich] })],
    ["a rule with quota gone, no other for its hosts", held, withPolicy({ allow: [plain] })],
    ["a deny more", held, withPolicy({ deny: [...policy.deny, { hosts: ["files.example.org"], ports: [], reason: "" }] })],
    ["a wider deny", held, withPolicy({ deny: [{ hosts: ["*.pastebin.example", "pastebin.example"], ports: [], reason: "" }] })],
    ["report to enforce", withPolicy({ mode: "report" }), held],
    ["a policy that only denies", held, { ...held, policies: [policy, other] }],
    ["a method fewer under origination", withPolicy({ allow: [seen] }), withPolicy({ allow: [{ ...seen, methods: ["GET"] }] })],
    ["no credential, spelled otherwise", held, withRich({ inject: [] })],
    ["report to enforce with credentials", withPolicy({ mode: "report", allow: [seen] }), withPolicy({ allow: [seen] })],
    ["learn to enforce", withPolicy({ mode: "learn" }), held],
    ["a user fewer", held, { ...held, users: [] }],
    ["another realm", held, { ...held, realm: "other" }],
  ];
  test.each(CASES)("%s", (_name, before, after) => expect(classifyEgress(before, after)).toBe("narrowing"));
});

describe("widening, or not provably narrowing", () => {
  const CASES: readonly [string, EgressConfig | undefined, EgressConfig][] = [
    ["anything from nothing", undefined, held],
    ["a learning policy from nothing", undefined, withPolicy({ allow: [], mode: "learn" })],
    ["enforce to learn", held, withPolicy({ mode: "learn" })],
    ["a credential more", held, withRich({ originate, inject })],
    ["TLS originated", held, withRich({ originate })],
    ["TLS originated no more", withPolicy({ allow: [seen] }), withPolicy({ allow: [plain] })],
    [
      "another credential",
      withPolicy({ allow: [seen] }),
      withPolicy({ allow: [{ ...seen, inject: [{ ...inject[0]!, header: "x-key" }] }] }),
    ],
    ["the caller's own credential", withPolicy({ allow: [seen] }), withPolicy({ allow: [{ ...seen, inject: [] }] })],
    [
      "a rule gone, and what stays for its host adds a credential",
      withPolicy({ allow: [{ ...seen, name: "bare", inject: [] }, seen] }),
      withPolicy({ allow: [seen] }),
    ],
    ["a report policy from nothing", undefined, withPolicy({ allow: [], mode: "report" })],
    ["a host more", held, withRich({ hosts: [...rich.hosts, "evil.example"] })],
    ["the apex of a wildcard", held, withRich({ hosts: ["example.com"] })],
    ["a look-alike of a wildcard", held, withRich({ hosts: ["evilexample.com"] })],
    ["a wider wildcard", held, withRich({ hosts: ["*.com"] })],
    ["no hosts", held, withRich({ hosts: [] })],
    ["a port more", held, withRich({ ports: [443, 8443, 22] })],
    ["no ports", held, withRich({ ports: [] })],
    ["another protocol", held, withRich({ protocol: "tcp" })],
    ["a method more", held, withRich({ methods: ["GET", "POST", "DELETE"] })],
    ["all methods", held, withRich({ methods: [] })],
    ["another path", held, withRich({ paths: [{ kind: "prefix", value: "/" }] })],
    ["all paths", held, withRich({ paths: [] })],
    ["another special range", held, withRich({ addresses: [{ cidr: "169.254.0.0/16", ports: [443] }] })],
    ["all ports of a special range", held, withRich({ addresses: [{ cidr: "10.0.0.0/8", ports: [] }] })],
    ["a quota fewer", held, withRich({ quotas: [] })],
    ["a new rule", held, withPolicy({ allow: [rich, plain, egressRule({ name: "new", hosts: ["new.example"] })] })],
    ["rules in another order", held, withPolicy({ allow: [plain, rich] })],
    [
      "a rule with quota gone, one without for its hosts",
      withPolicy({ allow: [rich, egressRule({ name: "loose", hosts: ["api.stripe.com"] })] }),
      withPolicy({ allow: [egressRule({ name: "loose", hosts: ["api.stripe.com"] })] }),
    ],
    [
      "a tls rule gone, a tcp one for its hosts",
      withPolicy({ allow: [plain, { ...plain, protocol: "tcp" }] }),
      withPolicy({ allow: [{ ...plain, protocol: "tcp" }] }),
    ],
    ["a caller more", held, withPolicy({ from: [...policy.from, { kind: "ipBlock", cidr: "0.0.0.0/0" }] })],
    ["fewer callers where a deny may need them", withPolicy({ from: [...policy.from, { kind: "proxyUser", name: "b" }] }), held],
    ["enforce to report", held, withPolicy({ mode: "report" })],
    ["a new policy that allows", held, { ...held, policies: [policy, { ...other, allow: [plain] }] }],
    ["a new policy that reports", held, { ...held, policies: [policy, { ...other, mode: "report" }] }],
    ["a deny gone", held, withPolicy({ deny: [] })],
    ["a deny for some ports only", held, withPolicy({ deny: [{ ...policy.deny[0]!, ports: [443] }] })],
    ["a deny of fewer hosts", held, withPolicy({ deny: [{ ...policy.deny[0]!, hosts: ["a.pastebin.example"] }] })],
    [
      "a policy with a deny gone",
      { ...held, policies: [policy, { ...other, id: "x/y", allow: [plain] }] },
      { ...held, policies: [{ ...other, id: "x/y", allow: [plain] }] },
    ],
    ["another namespace", held, withPolicy({ namespace: "root" })],
    ["no longer a floor", withPolicy({ floor: true }), held],
    ["another password", held, { ...held, users: [{ name: "payments", passwordHash: "scrypt$1$1$1$YQ==$Yg==" }] }],
    ["a user more", held, { ...held, users: [...held.users, { name: "b", passwordHash: "x" }] }],
    [
      "a name that leads elsewhere",
      held,
      { ...held, staticHosts: [{ host: "db.example", endpoints: [{ address: "10.0.0.2" }] }] },
    ],
    ["a name left to DNS", held, { ...held, staticHosts: [] }],
    [
      "a new static name",
      held,
      { ...held, staticHosts: [...held.staticHosts, { host: "api.stripe.com", endpoints: [{ address: "10.0.0.2" }] }] },
    ],
  ];
  test.each(CASES)("%s", (_name, before, after) => expect(classifyEgress(before, after)).toBe("widening"));

  test("a section that no longer fails closed", () => {
    const of = (failMode: "keep" | "closed") => {
      const manifest = manifestOf([]);
      const sections = { ...manifest.sections, egress: { ...manifest.sections.egress, failMode } };
      return { manifest: { ...manifest, sections }, snapshot: makeSnapshot(0, { egress: held }) };
    };
    expect(classifyChange(of("closed"), of("keep"))).toBe("widening");
    expect(classifyChange(of("keep"), of("closed"))).toBe("narrowing");
    expect(classifyChange(undefined, of("closed"))).toBe("widening");
  });
});
