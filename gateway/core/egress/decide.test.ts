import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EgressConfig, EgressPolicy, EgressRule } from "../ir/index.ts";
import { parseCidr } from "./address.ts";
import { compileEgress, type EgressTables } from "./compile.ts";
import { callerAt, decide, decideAddresses, type EgressDecision, MAX_ANSWERS } from "./decide.ts";
import { parseHost } from "./name.ts";

function rule(over: Partial<EgressRule>): EgressRule {
  const base = { name: "rule", hosts: [], ports: [443], protocol: "https" as const };
  return { ...base, methods: [], paths: [], addresses: [], quotas: [], ...over };
}

function policy(over: Partial<EgressPolicy>): EgressPolicy {
  const namespace = over.namespace ?? "shop";
  const id = over.id ?? `${namespace}/policy`;
  const origin = { kind: "EgressPolicy", namespace, name: id };
  const from = [{ kind: "ipBlock" as const, cidr: "127.0.0.0/8" }];
  return { id, origin, namespace, floor: false, from, mode: "enforce", allow: [], deny: [], ...over };
}

function config(...policies: EgressPolicy[]): EgressConfig {
  return { policies, staticHosts: [], users: [], realm: "test" };
}

function tables(...policies: EgressPolicy[]): EgressTables {
  const compiled = compileEgress(config(...policies));
  if (!compiled.ok) throw new TypeError(JSON.stringify(compiled.error));
  return compiled.value;
}

interface Ask {
  readonly from?: string;
  readonly user?: string;
  readonly host?: string;
  readonly port?: number;
  readonly http?: boolean;
  readonly method?: string;
  readonly path?: string;
}

function ask(all: EgressTables, { from = "127.0.0.1", user, host = "api.example.com", ...rest }: Ask = {}): EgressDecision {
  const parsed = parseHost(host);
  if (!parsed.ok) throw new TypeError(parsed.error.text);
  const { http = false, method = "GET", path = "/" } = rest;
  const port = rest.port ?? (http ? 80 : 443);
  return decide(all, callerAt(from, user), { host: parsed.value, port, kind: http ? "http" : "tunnel", method, path });
}

const allowed = (decision: EgressDecision): boolean => decision.kind === "allow";

describe("deny by default", () => {
  it("with no policy, an empty allow list, and an empty from", () => {
    expect(ask(tables())).toMatchObject({ kind: "deny", code: "no_policy_for_caller", credentialsMayHelp: false });
    expect(ask(tables(policy({})))).toMatchObject({ kind: "deny", code: "no_rule", rule: "shop/policy" });
    const nobody = policy({ from: [], allow: [rule({ hosts: ["api.example.com"] })] });
    expect(ask(tables(nobody))).toMatchObject({ kind: "deny", code: "no_policy_for_caller" });
    expect(allowed(ask(tables(policy({ allow: [rule({ hosts: [] })] }))))).toBe(false);
    expect(allowed(ask(tables(policy({ allow: [rule({ hosts: ["api.example.com"], ports: [] })] }))))).toBe(false);
  });

  it("names the rule and says which word of it did not fit", () => {
    const all = tables(policy({ allow: [rule({ name: "stripe", hosts: ["api.example.com"] })] }));
    expect(ask(all)).toMatchObject({ kind: "allow", rule: "shop/policy#stripe", policy: "shop/policy", protocol: "https" });
    expect(ask(all, { port: 8443 })).toMatchObject({
      code: "no_rule",
      rule: "shop/policy#stripe",
      reason: expect.stringContaining("port 8443"),
    });
    expect(ask(all, { http: true, port: 443 })).toMatchObject({ reason: expect.stringContaining("through a tunnel") });
    expect(ask(all, { host: "other.example.com" })).toMatchObject({
      rule: "shop/policy",
      reason: expect.stringContaining("other.example.com"),
    });
  });
});

describe("who", () => {
  const all = tables(
    policy({
      from: [
        { kind: "ipBlock", cidr: "10.1.0.0/16" },
        { kind: "ipBlock", cidr: "2001:db8:1::/48" },
        { kind: "proxyUser", name: "payments" },
      ],
      allow: [rule({ hosts: ["api.example.com"] })],
    }),
  );

  it.each([
    [{ from: "10.1.2.3" }, true],
    [{ from: "::ffff:10.1.2.3" }, true],
    [{ from: "10.2.0.1" }, false],
    [{ from: "2001:db8:1::5" }, true],
    [{ from: "2001:db8:2::5" }, false],
    [{ from: "192.168.0.1", user: "payments" }, true],
    [{ from: "192.168.0.1", user: "other" }, false],
    [{ from: "", user: undefined }, false],
  ])("%j: %s", (who, expected) => {
    expect(allowed(ask(all, who as Ask))).toBe(expected);
  });

  it("says when a credential could help", () => {
    expect(ask(all, { from: "192.168.0.1" })).toMatchObject({ kind: "deny", credentialsMayHelp: true });
    expect(ask(all, { from: "192.168.0.1", user: "other" })).toMatchObject({ kind: "deny", credentialsMayHelp: false });
    const mixed = tables(
      policy({ allow: [rule({ hosts: ["a.example.com"] })] }),
      policy({ id: "shop/users", from: [{ kind: "proxyUser", name: "u" }], allow: [rule({ hosts: ["b.example.com"] })] }),
    );
    expect(ask(mixed, { host: "b.example.com" })).toMatchObject({ kind: "deny", credentialsMayHelp: true });
    expect(ask(mixed, { host: "c.example.com" })).toMatchObject({ kind: "deny", credentialsMayHelp: false });
  });
});

describe("hosts", () => {
  it("covers every depth below a wildcard, not the apex, and no address", () => {
    const all = tables(policy({ allow: [rule({ hosts: ["*.example.com"] })] }));
    expect(allowed(ask(all, { host: "a.example.com" }))).toBe(true);
    expect(allowed(ask(all, { host: "a.b.c.example.com" }))).toBe(true);
    expect(allowed(ask(all, { host: "example.com" }))).toBe(false);
    expect(allowed(ask(all, { host: "badexample.com" }))).toBe(false);
    expect(allowed(ask(all, { host: "example.com.evil.org" }))).toBe(false);
    expect(allowed(ask(all, { host: "93.184.216.34" }))).toBe(false);
  });

  it("lets no host pass that does not end in the suffix", () => {
    const all = tables(policy({ allow: [rule({ hosts: ["*.example.com", "*.s3.example.org"] })] }));
    const label = fc.constantFrom("a", "example", "com", "org", "s3", "xexample", "examplex", "c-om");
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 6 }), (labels) => {
        const host = labels.join(".");
        const below = (suffix: string): boolean => host.endsWith(`.${suffix}`);
        expect(allowed(ask(all, { host }))).toBe(below("example.com") || below("s3.example.org"));
      }),
      { numRuns: 2_000, seed: 11 },
    );
  });

  it("covers an address only where it is listed as such", () => {
    const all = tables(policy({ allow: [rule({ hosts: ["93.184.216.34", "[2606:4700::1111]"] })] }));
    expect(allowed(ask(all, { host: "93.184.216.34" }))).toBe(true);
    expect(allowed(ask(all, { host: "[2606:4700::1111]" }))).toBe(true);
    expect(allowed(ask(all, { host: "93.184.216.35" }))).toBe(false);
  });
});

describe("methods and paths", () => {
  const api = rule({ hosts: ["api.example.com"], ports: [80], protocol: "http", methods: ["GET", "POST"] });
  const all = tables(
    policy({
      allow: [
        {
          ...api,
          paths: [
            { kind: "prefix", value: "/v1/" },
            { kind: "exact", value: "/health" },
          ],
        },
      ],
    }),
  );

  it.each([
    ["/v1/", true],
    ["/v1/charges", true],
    ["/v1/a/b", true],
    ["/v1/a%20b", true],
    ["/v1/a;v=1", true],
    ["/health", true],
    ["/v1", false],
    ["/v1x/a", false],
    ["/health/", false],
    ["/V1/charges", false],
    ["/", false],
  ])("%s: %s", (path, expected) => {
    expect(allowed(ask(all, { http: true, path }))).toBe(expected);
  });

  it.each([
    "/v1/../admin",
    "/v1/./a",
    "/v1/..",
    "/v1/.",
    "/v1/..;/admin",
    "/v1/%2e%2e/admin",
    "/v1/.%2e/admin",
    "/v1/a%2fb",
    "/v1/a%2Fb",
    "/v1/a%5cb",
    "/v1/a\\b",
    "/v1//admin",
    "//v1/a",
    "/v1/%252e%252e/admin",
    "/v1/%00",
    "/v1/%0d%0a",
    "/v1/%61dmin",
    "/v1/%",
    "/v1/%4",
    "/v1/%zz",
    "/v1/a b",
    "/v1/a\tb",
    "/v1/é",
    "/v1/a#b",
    "/v1/[a]",
    "v1/a",
    "*",
  ])("refuses %j, which can be read two ways", (path) => {
    expect(ask(all, { http: true, path })).toMatchObject({ kind: "deny", code: "path_not_canonical" });
  });

  it("looks at paths only where a rule has some", () => {
    const open = tables(policy({ allow: [api] }));
    expect(allowed(ask(open, { http: true, path: "/a//b/../c" }))).toBe(true);
  });

  it("compares methods as they are", () => {
    expect(ask(all, { http: true, path: "/v1/a", method: "DELETE" })).toMatchObject({
      reason: expect.stringContaining("DELETE"),
    });
    expect(allowed(ask(all, { http: true, path: "/v1/a", method: "get" }))).toBe(false);
  });
});

describe("denies", () => {
  const open = rule({ hosts: ["*.example.com", "api.example.com"] });
  const paste = { hosts: ["*.example.com"], ports: [], reason: "no paste sites" };

  it("of the root namespace beat every allow of everybody", () => {
    const floor = policy({ id: "root/floor", namespace: "root", floor: true, from: [], deny: [paste] });
    expect(ask(tables(policy({ allow: [open] }), floor))).toMatchObject({
      kind: "deny",
      code: "denied_by_rule",
      rule: "root/floor#deny[0]",
      reason: "no paste sites",
      credentialsMayHelp: false,
    });
  });

  it("of a namespace bind every caller that any policy of it names, whoever allows", () => {
    const named = policy({ id: "shop/other", from: [{ kind: "proxyUser", name: "bot" }] });
    const denies = policy({ id: "shop/denies", from: [], deny: [paste] });
    const elsewhere = policy({ id: "lab/all", namespace: "lab", from: [{ kind: "ipBlock", cidr: "0.0.0.0/0" }], allow: [open] });
    const all = tables(named, denies, elsewhere);
    expect(ask(all, { user: "bot" })).toMatchObject({ kind: "deny", rule: "shop/denies#deny[0]" });
    expect(allowed(ask(all))).toBe(true);
  });

  it("may name all hosts, which an allow may not", () => {
    const floor = policy({
      id: "root/floor",
      namespace: "root",
      floor: true,
      from: [],
      deny: [{ ...paste, hosts: ["*"], ports: [22] }],
    });
    const all = tables(policy({ allow: [rule({ hosts: ["*.example.com", "93.184.216.34"], ports: [22, 443] })] }), floor);
    expect(allowed(ask(all))).toBe(true);
    expect(ask(all, { port: 22 })).toMatchObject({ kind: "deny", rule: "root/floor#deny[0]" });
    expect(ask(all, { port: 22, host: "93.184.216.34" })).toMatchObject({ kind: "deny", rule: "root/floor#deny[0]" });
  });

  it("hold for their ports, or all", () => {
    const all = tables(
      policy({ allow: [rule({ hosts: ["*.example.com"], ports: [443, 22] })], deny: [{ ...paste, ports: [22] }] }),
    );
    expect(allowed(ask(all))).toBe(true);
    expect(allowed(ask(all, { port: 22 }))).toBe(false);
  });

  it("are listed, not enforced, where their policy only reports, and an enforced one is found behind it", () => {
    const reporting = policy({ mode: "report", allow: [open], deny: [paste] });
    expect(ask(tables(reporting))).toMatchObject({
      kind: "allow",
      rule: "shop/policy#rule",
      reported: { code: "denied_by_rule", rule: "shop/policy#deny[0]" },
    });
    const floor = policy({ id: "root/floor", namespace: "root", floor: true, deny: [{ ...paste, hosts: ["api.example.com"] }] });
    expect(ask(tables(reporting, floor))).toMatchObject({ kind: "deny", rule: "root/floor#deny[0]" });
  });
});

describe("mode report", () => {
  it("lets its callers pass and says what enforcing would have said", () => {
    const all = tables(policy({ mode: "report", allow: [rule({ hosts: ["api.example.com"] })] }));
    expect(ask(all)).toMatchObject({ kind: "allow", rule: "shop/policy#rule", reported: undefined });
    expect(ask(all, { host: "new.example.com" })).toMatchObject({
      kind: "allow",
      rule: undefined,
      policy: "shop/policy",
      protocol: "any",
      openings: [],
      reported: { kind: "deny", code: "no_rule" },
    });
    expect(allowed(ask(all, { host: "new.example.com", from: "10.0.0.1" }))).toBe(false);
  });
});

describe("addresses", () => {
  const host = { kind: "name", text: "db.example.com" } as const;
  const opening = (cidr: string, ...ports: number[]) => ({
    ruleId: "shop/policy#db",
    cidr: parseCidr(cidr)!,
    ports: new Set(ports),
  });
  const at = (port: number, ...addresses: string[]) => addresses.map((address) => ({ address, port }));

  it("pass as they are when all are public", () => {
    expect(decideAddresses([], host, at(443, "93.184.216.34", "2606:4700::1111"))).toMatchObject({
      kind: "allow",
      addresses: [
        { text: "93.184.216.34", port: 443 },
        { text: "2606:4700::1111", port: 443 },
      ],
    });
  });

  it.each([
    [["93.184.216.34", "10.0.0.1"]],
    [["2606:4700::1111", "::1"]],
    [["93.184.216.34", "fe80::1%eth0"]],
    [["93.184.216.34", "nonsense"]],
    [["127.0.0.1"]],
    [["::ffff:127.0.0.1"]],
    [["::127.0.0.1"]],
    [["64:ff9b::127.0.0.1"]],
    [["64:ff9b::8.8.8.8"]],
    [["169.254.169.254"]],
    [["0.0.0.0"]],
  ])("%j: one forbidden address refuses the name", (answers) => {
    expect(decideAddresses([], host, at(443, ...answers))).toMatchObject({ kind: "deny", code: "address_forbidden" });
  });

  it("are refused when there is none, or more than MAX_ANSWERS", () => {
    expect(decideAddresses([], host, [])).toMatchObject({ code: "no_address" });
    const many = Array.from({ length: MAX_ANSWERS + 1 }, (_, i) => `93.184.216.${i}`);
    expect(decideAddresses([], host, at(443, ...many))).toMatchObject({ code: "address_forbidden" });
    expect(decideAddresses([], host, at(443, ...many.slice(1)))).toMatchObject({ kind: "allow" });
  });

  it("open by range and port, and say which rule opened them", () => {
    const openings = [opening("10.20.0.0/24", 8443)];
    expect(decideAddresses(openings, host, at(8443, "10.20.0.7"))).toMatchObject({ addresses: [{ openedBy: "shop/policy#db" }] });
    expect(decideAddresses(openings, host, at(443, "10.20.0.7"))).toMatchObject({ kind: "deny" });
    expect(decideAddresses(openings, host, at(8443, "10.20.1.7"))).toMatchObject({ kind: "deny" });
    expect(decideAddresses(openings, host, at(8443, "::ffff:10.20.0.7"))).toMatchObject({ kind: "deny" });
    expect(decideAddresses([opening("10.0.0.0/8")], host, at(443, "10.20.0.7"))).toMatchObject({ kind: "deny" });
  });

  it("of metadata services open one by one only", () => {
    expect(decideAddresses([opening("169.254.0.0/16", 80)], host, at(80, "169.254.169.254"))).toMatchObject({ kind: "deny" });
    expect(decideAddresses([opening("169.254.169.254/32", 80)], host, at(80, "169.254.169.254"))).toMatchObject({
      kind: "allow",
    });
  });

  it("that carry IPv4 need an opening for what they carry, too", () => {
    const nat64 = opening("64:ff9b::/96", 443);
    expect(decideAddresses([nat64], host, at(443, "64:ff9b::8.8.8.8"))).toMatchObject({ kind: "allow" });
    expect(decideAddresses([nat64], host, at(443, "64:ff9b::10.0.0.1"))).toMatchObject({ kind: "deny" });
    expect(decideAddresses([nat64, opening("10.0.0.0/8", 443)], host, at(443, "64:ff9b::10.0.0.1"))).toMatchObject({
      kind: "allow",
    });
    expect(decideAddresses([opening("64:ff9b:1::/48", 443)], host, at(443, "64:ff9b:1::808:808"))).toMatchObject({
      kind: "allow",
    });
    expect(decideAddresses([opening("64:ff9b:1::/48", 443)], host, at(443, "64:ff9b:1:a00:0:100::"))).toMatchObject({
      kind: "deny",
    });
  });

  it("are opened for the rule's hosts and callers only, whichever of the caller's rules gives the name", () => {
    const db = rule({ name: "db", hosts: ["db.example.com"], addresses: [{ cidr: "10.20.0.0/24", ports: [443] }] });
    const all = tables(
      policy({ allow: [rule({ name: "wide", hosts: ["*.example.com"] }), db] }),
      policy({
        id: "lab/all",
        namespace: "lab",
        from: [{ kind: "ipBlock", cidr: "10.9.0.0/16" }],
        allow: [rule({ hosts: ["db.example.com"] })],
      }),
    );
    expect(ask(all, { host: "db.example.com" })).toMatchObject({
      rule: "shop/policy#wide",
      openings: [{ ruleId: "shop/policy#db" }],
    });
    expect(ask(all, { host: "api.example.com" })).toMatchObject({ kind: "allow", openings: [] });
    expect(ask(all, { host: "db.example.com", from: "10.9.0.1" })).toMatchObject({ kind: "allow", openings: [] });
  });
});

describe("compileEgress", () => {
  it("tells every problem at once, and makes nothing of a configuration that has one", () => {
    const broken = policy({
      from: [{ kind: "ipBlock", cidr: "10.0.0.1/8" }],
      allow: [
        rule({ hosts: ["*", "*.1.2.3.4", "API.example.com", "a.*.example.com"], ports: [0] }),
        rule({ hosts: ["b.example.com"], methods: ["GET"], addresses: [{ cidr: "10/8", ports: [443] }], quotas: ["shop/none"] }),
        rule({ hosts: [], protocol: "http", paths: [{ kind: "regex", value: ".*" }] }),
      ],
      deny: [{ hosts: ["x..y"], ports: [70_000], reason: "" }],
    });
    const staticHosts = [{ host: "Db.example.com", endpoints: [{ address: "db" }] }];
    const compiled = compileEgress({ ...config(broken), staticHosts });
    expect(compiled.ok ? [] : compiled.error.map((issue) => issue.path)).toEqual([
      "policies[0].from[0].cidr",
      "policies[0].allow[0].ports",
      "policies[0].allow[0].hosts[0]",
      "policies[0].allow[0].hosts[1]",
      "policies[0].allow[0].hosts[2]",
      "policies[0].allow[0].hosts[3]",
      "policies[0].allow[1]",
      "policies[0].allow[1].addresses[0].cidr",
      "policies[0].allow[1].quotas[0]",
      "policies[0].allow[2].paths[0]",
      "policies[0].deny[0].ports",
      "policies[0].deny[0].hosts[0]",
      "staticHosts[0].host",
      "staticHosts[0].endpoints[0].address",
    ]);
  });
});
