import { expect, test } from "vitest";
import type { Snapshot } from "../../gateway/core/ir/index.ts";
import { type AnyResource, DEFAULT_MESH_CONFIG, formatProblem, refKey, refOf, validateText } from "../config/index.ts";
import { buildRegistry } from "../registry/index.ts";
import { bankSite, MAX_PASSPORT_ISSUERS, planSites, siteDemands } from "./sites.ts";
import { translate } from "./translate.ts";

const site = (name: string, fields: string) =>
  `apiVersion: mesh.tidegate.dev/v1\nkind: EdgeSite\nmetadata: { name: ${name}, namespace: shop }\nspec: { url: "https://${name}.example.com", egress: true, ${fields} }\n`;
const through = (cluster: string) => `clusters: [ { name: ${cluster}, ingress: "https://in.example.com" } ]`;
const MESH = `apiVersion: mesh.tidegate.dev/v1\nkind: MeshConfig\nmetadata: { name: mesh, namespace: shop }\nspec: { gatewayPools: [ { name: edge-pool } ] }\n`;
const QUOTA = `apiVersion: mesh.tidegate.dev/v1\nkind: Quota\nmetadata: { name: q, namespace: shop }\nspec: { targets: [ { kind: Host, name: a.example.com } ], limits: [ { requests: 1, per: 1s } ] }\n`;
const GLOBAL = QUOTA.replace("spec: {", "spec: { scope: global,");

function read(...documents: readonly string[]): readonly AnyResource[] {
  const { objects } = validateText(documents.join("---\n"), "a.yaml", { nowMs: 0 });
  return objects.map(({ resource, problems }) => {
    if (resource === undefined) throw new Error(problems.map(formatProblem).join("\n"));
    return resource;
  });
}

function demands(
  config: readonly AnyResource[],
  keys: ReadonlyMap<string, { readonly kid: string; readonly x: string }> = new Map(),
) {
  const { registry } = buildRegistry(config);
  const { pools } = planSites(config, DEFAULT_MESH_CONFIG);
  const sites = pools.map((pool) => ({ pool, ...translate({ config, registry, pool, mesh: DEFAULT_MESH_CONFIG }) }));
  return siteDemands(sites, keys, config, DEFAULT_MESH_CONFIG);
}

test("sites are pools by their audience, in the order of their names", () => {
  const { pools, problems } = planSites(read(site("b", "audience: first"), site("a", "")), DEFAULT_MESH_CONFIG);
  expect(pools.map(({ name, site: { metadata } }) => `${metadata.name} ${name}`)).toEqual(["a a", "b first"]);
  expect(problems).toEqual([]);
});

test("an audience that is a gateway pool's name is told on both objects", () => {
  const config = read(MESH, site("edge-pool", ""));
  const [mesh] = config;
  if (mesh?.kind !== "MeshConfig") throw new Error("no MeshConfig");
  const { pools, problems } = planSites(config, mesh.spec);
  expect(pools).toEqual([]);
  expect(problems.map(({ severity, ref, path, message }) => `${severity} ${ref?.kind} ${path}: ${message}`)).toEqual([
    "conflict EdgeSite spec.audience: audience edge-pool is already declared by MeshConfig shop/mesh spec.gatewayPools[0].name, which has precedence",
    "conflict MeshConfig spec.gatewayPools[0].name: audience edge-pool is also declared by EdgeSite shop/edge-pool spec.audience; this one has precedence",
  ]);
});

test("passports are taken from sites that send here and have a key", () => {
  const config = read(site("a", through("main")), site("b", through("main")), site("c", through("other")), site("d", ""));
  const keys = new Map(config.filter((_, index) => index !== 1).map((object) => [refKey(refOf(object)), { kid: "k", x: "x" }]));
  expect(demands(config, keys).demands.passports).toEqual({ audience: "main", issuers: [{ site: "a", kid: "k", x: "x" }] });
  expect(demands(config).demands.passports).toBeUndefined();
});

test("MAX_PASSPORT_ISSUERS: the sites beyond it are told", () => {
  const name = (index: number) => `site-${String(index).padStart(5, "0")}`;
  const config = read(...Array.from({ length: MAX_PASSPORT_ISSUERS + 1 }, (_, index) => site(name(index), through("main"))));
  const keys = new Map(config.map((object) => [refKey(refOf(object)), { kid: "k", x: "x" }]));
  const { pools } = planSites(config, DEFAULT_MESH_CONFIG);
  const snapshot: Snapshot = translate({
    config: [],
    registry: buildRegistry([]).registry,
    pool: { ...pools[0]! },
    mesh: DEFAULT_MESH_CONFIG,
  }).snapshot;
  const asked = siteDemands(
    pools.map((pool) => ({ pool, snapshot })),
    keys,
    config,
    DEFAULT_MESH_CONFIG,
  );
  expect(asked.demands.passports?.issuers.length).toBe(MAX_PASSPORT_ISSUERS);
  expect(asked.problems.map(({ ref, message }) => `${ref?.name}: ${message}`)).toEqual([
    `${name(MAX_PASSPORT_ISSUERS)}: cluster main takes passports of ${MAX_PASSPORT_ISSUERS} sites, and EdgeSite shop/${name(MAX_PASSPORT_ISSUERS)} is beyond; remove sites that are not used`,
  ]);
});

test("the bank is the first site's, where some quota counts globally", () => {
  const bank = (config: readonly AnyResource[]) => bankSite(planSites(config, DEFAULT_MESH_CONFIG).pools, config);
  const sites = read(site("b", ""), site("a", ""));
  expect(bank([...sites, ...read(GLOBAL)])?.url).toBe("https://a.example.com/.tidegate/bank");
  expect(bank([...sites, ...read(QUOTA)])).toBeUndefined();
  expect(bank([...sites, ...read(site("c", "quotaBank: true"), GLOBAL)])?.url).toBe("https://c.example.com/.tidegate/bank");
  expect(bank(read(GLOBAL))).toBeUndefined();
});

test("two sites that both say that they count are told", () => {
  const { problems } = demands(read(site("a", "quotaBank: true"), site("b", "quotaBank: true"), site("c", "")));
  expect(problems.map(({ ref, path, message }) => `${ref?.name} ${path}: ${message}`)).toEqual([
    "b spec.quotaBank: EdgeSite shop/a counts global quotas already; remove quotaBank here or there",
  ]);
});

test("the bank's site has every global quota, and all others are told where it is", () => {
  const config = read(site("a", ""), site("b", ""), GLOBAL, QUOTA);
  const { registry } = buildRegistry(config);
  const { pools } = planSites(config, DEFAULT_MESH_CONFIG);
  const input = { config, registry, mesh: DEFAULT_MESH_CONFIG, bank: bankSite(pools, config) };
  const [a, b] = pools.map((pool) => translate({ ...input, pool }).snapshot);
  expect(a?.quotas.map(({ id }) => id)).toEqual(["shop/q"]);
  expect(a?.settings.quotaBank).toBeUndefined();
  expect(b?.quotas).toEqual([]);
  expect(b?.settings.quotaBank).toEqual({ url: "https://a.example.com/.tidegate/bank" });
});

test("a global quota without a site is told", () => {
  const { problems } = demands(read(GLOBAL));
  expect(problems.map(formatProblem)).toEqual([
    "a.yaml:1:1: Quota shop/q: spec.scope: scope global counts at an edge site, and there is none; add an EdgeSite, or onStoreFailure holds for every request",
  ]);
});

test("a service that the cluster's gateways may not see is told on the site", () => {
  const config = read(
    site("a", `${through("main")}, gateways: [ { name: gw } ]`),
    'apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: { name: gw, namespace: shop }\nspec: { servers: [ { port: { number: 80, name: http, protocol: HTTP }, hosts: [ "*" ] } ] }\n',
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: { name: web, namespace: shop }\nspec: { hosts: [ a.example.com ], gateways: [ gw ], http: [ { route: [ { destination: { host: own } } ] } ] }\n",
    'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: { name: own, namespace: shop }\nspec: { hosts: [ own.shop.svc.cluster.local ], exportTo: [ "." ], location: MESH_INTERNAL, resolution: STATIC, ports: [ { number: 80, name: http, protocol: HTTP } ], endpoints: [ { address: 10.0.0.1 } ] }\n',
  );
  const { demands: asked } = demands(config);
  expect(asked.services.map(({ host, port }) => `${host} ${port}`)).toEqual(["own.shop.svc.cluster.local 80"]);
  const [pool] = DEFAULT_MESH_CONFIG.gatewayPools;
  if (pool === undefined) throw new Error("no pool");
  const { registry } = buildRegistry(config);
  const { problems, snapshot } = translate({ config, registry, pool, mesh: DEFAULT_MESH_CONFIG, sites: asked });
  expect(snapshot.clusters).toEqual([]);
  expect(problems.filter(({ ref }) => ref?.kind === "EdgeSite").map(({ path, message }) => `${path}: ${message}`)).toEqual([
    "spec.clusters: pool ingress: own.shop.svc.cluster.local is not exported to namespace tidegate-system; the site's requests are answered with 503",
  ]);
});
