import { expect, test } from "vitest";
import type { EgressConfig } from "../../gateway/core/ir/index.ts";
import { DEFAULT_MESH_CONFIG, validateText } from "../config/index.ts";
import { buildRegistry } from "../registry/index.ts";
import { egressConfig } from "./egress.ts";
import type { EgressSite } from "./egress-site.ts";
import { groupObjects } from "./objects.ts";
import { QuotaTargets } from "./quota-targets.ts";
import { Status } from "./status.ts";

/** What a site gets of the objects, and what their owners are told. */
function forSite(
  yaml: string,
  runtime: EgressSite["runtime"],
): { readonly config: EgressConfig; readonly told: readonly string[] } {
  const resources = validateText(yaml, "a.yaml", { nowMs: 0 }).objects.flatMap(({ resource }) => resource ?? []);
  const { registry } = buildRegistry(resources);
  const status = new Status();
  const objects = groupObjects(resources);
  const mesh = DEFAULT_MESH_CONFIG;
  const quotas = new QuotaTargets(objects, registry, mesh, status);
  const users = [{ name: "batch", passwordHash: "scrypt$…" }];
  const site = { name: "europe", runtime };
  const config = egressConfig(objects.egressPolicies, { mesh, namespace: "shop", registry, quotas, users, status, site });
  return { config, told: status.problems().map(({ severity, path, message }) => `${severity} ${path}: ${message}`) };
}

function policy(allow: string, from = "{ edgeService: checkout }", name = "p", namespace = "shop"): string {
  return `
apiVersion: mesh.tidegate.dev/v1
kind: EgressPolicy
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  from: [ ${from} ]
  allow: [ ${allow} ]
---`;
}

const rulesOf = (config: EgressConfig) =>
  config.policies.flatMap(({ allow }) => allow.map(({ name, hosts }) => `${name}: ${hosts}`));

test("a rule for requests is the same at a site, and nobody's password hash goes there", () => {
  const { config, told } = forSite(policy("{ name: api, hosts: [api.example.com], originate: { tls: SIMPLE } }"), "cloudflare");
  expect(rulesOf(config)).toEqual(["api: api.example.com"]);
  expect(config.policies[0]?.from).toEqual([{ kind: "edgeService", name: "checkout" }]);
  expect(config.users).toEqual([]);
  expect(told).toEqual([]);
});

test.each(["cloudflare", "workerd"] as const)("%s: tunnels, and callers by address, are told to be out of reach", (runtime) => {
  const { config, told } = forSite(
    policy(
      "{ name: db, hosts: [db.example.com], protocol: tcp, ports: [5432] }, { name: t, hosts: [t.example.com], protocol: tls }",
      "{ ipBlock: 10.0.0.0/8 }",
    ),
    runtime,
  );
  expect(rulesOf(config)).toEqual([]);
  expect(told).toEqual([
    "unsupported spec.allow[0].protocol: at the edge site europe: protocol tcp needs a tunnel, which Workers do not open, so the rule is left out there",
    "unsupported spec.allow[1].protocol: at the edge site europe: protocol tls needs a tunnel, which Workers do not open, so the rule is left out there",
    "unsupported spec.from: at the edge site europe: callers are told by edgeService or proxyUser, so nobody may use these rules there",
  ]);
});

test("special-purpose addresses: no rule for Cloudflare, listed addresses only on workerd", () => {
  const inside = policy(
    "{ name: inside, hosts: [db.example.com, 10.0.0.7], addresses: [{ cidr: 10.0.0.0/24, ports: [443] }] }, { name: outside, hosts: [93.184.216.34, api.example.com, '2606:4700::1111'] }",
  );
  const cloudflare = forSite(inside, "cloudflare");
  expect(rulesOf(cloudflare.config)).toEqual(["outside: api.example.com"]);
  expect(cloudflare.told).toEqual([
    "unsupported spec.allow[0].addresses: at the edge site europe: addresses cannot be reached: Workers on Cloudflare fetch from public addresses only, so the rule is left out there",
    "unsupported spec.allow[1].hosts[0]: at the edge site europe: 93.184.216.34 is an address, which Workers on Cloudflare do not fetch from, so it is left out there",
    "unsupported spec.allow[1].hosts[2]: at the edge site europe: 2606:4700::1111 is an address, which Workers on Cloudflare do not fetch from, so it is left out there",
  ]);
  const workerd = forSite(inside, "workerd");
  expect(rulesOf(workerd.config)).toEqual([
    "inside: db.example.com,10.0.0.7",
    "outside: 93.184.216.34,api.example.com,[2606:4700::1111]",
  ]);
  expect(workerd.told).toEqual([
    "unsupported spec.allow[0].addresses: at the edge site europe: addresses opens addresses that are listed as hosts; where names may lead is the runtime's to say (allowNetworks), for all rules alike",
  ]);
});

test("a name with addresses of its own is left out, and stays known, so that no wildcard reaches it elsewhere", () => {
  const { config, told } = forSite(
    `${policy("{ name: db, hosts: [db.example.com, api.example.com] }, { name: all, hosts: ['*.example.com'] }")}
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: db, namespace: shop }
spec:
  hosts: [ db.example.com ]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [ { number: 443, name: https, protocol: HTTPS } ]
  endpoints: [ { address: 10.0.0.7 } ]
`,
    "workerd",
  );
  expect(rulesOf(config)).toEqual(["db: api.example.com", "all: *.example.com"]);
  expect(config.staticHosts.map(({ host }) => host)).toEqual(["db.example.com"]);
  expect(told).toEqual([
    "unsupported spec.allow[0].hosts[0]: at the edge site europe: db.example.com has addresses of its own (ServiceEntry), which a Worker cannot dial, so it is left out there",
  ]);
});

test("one binding holds one secret: no namespace gets at another's by a name that ends up the same", () => {
  const rule = (secret: string) =>
    `{ name: r, hosts: [api.example.com], originate: { tls: SIMPLE }, inject: [{ header: x-key, fromSecret: { name: ${secret}, key: token } }] }`;
  const { config, told } = forSite(
    policy(rule("stripe"), undefined, "a", "shop-eu") +
      policy(rule("eu-stripe"), undefined, "b", "shop") +
      policy(rule("stripe"), undefined, "c", "shop-eu"),
    "cloudflare",
  );
  expect(config.policies.map(({ id, allow }) => [id, allow.length])).toEqual([
    ["shop-eu/a", 1],
    ["shop/b", 0],
    ["shop-eu/c", 1],
  ]);
  expect(told).toEqual([
    "unsupported spec.allow[0].inject[0].fromSecret: at the edge site europe: the secret would be the binding SECRET_SHOP_EU_STRIPE_TOKEN, which is that of shop-eu/stripe, key token already, so the rule is left out there; rename one",
  ]);
});

test("one token is one user: a name that ends up the same is left out", () => {
  const rule = "{ name: r, hosts: [api.example.com] }";
  const { config, told } = forSite(
    policy(rule, "{ proxyUser: a-b }, { ipBlock: 10.0.0.0/8 }", "a") +
      policy(rule, "{ proxyUser: A_B }, { edgeService: a }", "b"),
    "workerd",
  );
  expect(config.policies.map(({ from }) => from)).toEqual([
    [{ kind: "proxyUser", name: "a-b" }],
    [{ kind: "edgeService", name: "a" }],
  ]);
  expect(told).toEqual([
    "unsupported spec.from[0].proxyUser: at the edge site europe: the token of A_B would be the binding PROXY_TOKEN_A_B, which is that of a-b already, so the caller is left out there; rename one",
  ]);
});
