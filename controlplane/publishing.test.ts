/** Sites at the edge through the whole control plane: objects in, signed snapshots, statuses and history out. */
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { acceptSnapshot, DEFAULT_SNAPSHOT_LIMITS, type Snapshot } from "../gateway/core/ir/index.ts";
import { ConfigStore, IN_MEMORY, SqliteStore } from "./config/index.ts";
import { Enrolment } from "./distribute/index.ts";
import { statePaths } from "./layout.ts";
import { ControlPlane } from "./plane.ts";
import { secretDirectory } from "./secrets.ts";
import { DEFAULT_KEY_PLAN, initKeys, type KeyRing, SnapshotHistory, SnapshotPublisher } from "./snapshot/index.ts";
import { MAX_EDGE_CHUNK_BYTES } from "./snapshot/size.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const NOW_S = NOW_MS / 1000;

let directory: string;
let keys: KeyRing;
let plane: ControlPlane;
let logged: string[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-sites-"));
  const paths = statePaths(directory);
  const made = await initKeys(paths.keys, { ...DEFAULT_KEY_PLAN, iss: "cluster.local" }, NOW_S);
  const persistence = SqliteStore.open(IN_MEMORY);
  if (!made.ok || !persistence.ok) throw new Error("no keys or no store");
  keys = made.value;
  logged = [];
  const history = await SnapshotHistory.open(paths.snapshots);
  plane = new ControlPlane({
    store: new ConfigStore({ persistence: persistence.value, nowMs: () => NOW_MS }),
    publisher: new SnapshotPublisher({ history, keys, clock: { unixMs: () => NOW_MS } }),
    history,
    keys,
    enrolment: new Enrolment(":memory:", () => NOW_MS),
    secrets: secretDirectory(paths.secrets),
    ca: "",
    now: () => NOW_MS,
    log: (level, message, fields) => logged.push(`${level} ${message} ${JSON.stringify(fields)}`),
  });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const object = (kind: string, name: string, spec: unknown) => {
  const native = ["EdgeSite", "EgressPolicy", "MeshConfig"].includes(kind);
  const apiVersion = native ? "mesh.tidegate.dev/v1" : "networking.istio.io/v1";
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace: "shop" }, spec });
};
const site = (change: Record<string, unknown> = {}) =>
  object("EdgeSite", "europe", {
    url: "https://edge-eu.example.com",
    audience: "edge-eu",
    gateways: [{ name: "public" }],
    clusters: [{ name: "main", ingress: "https://in.example.com" }],
    ...change,
  });
const SHOP = [
  object("Gateway", "public", {
    selector: { "served-by": "edge" },
    servers: [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["shop.example.com"] }],
  }),
  object("VirtualService", "web", {
    hosts: ["shop.example.com"],
    gateways: ["public"],
    http: [{ route: [{ destination: { host: "reviews" } }] }],
  }),
  object("ServiceEntry", "reviews", {
    hosts: ["reviews.shop.svc.cluster.local"],
    location: "MESH_INTERNAL",
    resolution: "STATIC",
    ports: [{ number: 80, name: "http", protocol: "HTTP" }],
    endpoints: [{ address: "10.0.0.1" }],
  }),
];

async function apply(...documents: readonly string[]): Promise<readonly string[]> {
  const { problems } = await plane.apply({ documents: [{ file: "a.yaml", text: documents.join("\n---\n") }] }, "test");
  return problems.map(({ severity, ref, path, message }) => `${severity} ${ref?.kind ?? ""} ${path}: ${message}`);
}

const current = (pool: string) => plane.publishing.current(pool)?.published;
const clusters = (snapshot: Snapshot | undefined) =>
  snapshot?.clusters.map(({ name, via }) => `${name} ${via?.cluster ?? "itself"}`);

/** Leaves the site's secret, and answers its key. */
function makeKey(): { readonly kid: string; readonly x: string | undefined; readonly d: string | undefined } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const folder = join(statePaths(directory).secrets, "shop", "europe");
  mkdirSync(folder, { recursive: true });
  const jwk = { ...privateKey.export({ format: "jwk" }), kid: "europe-1" };
  writeFileSync(join(folder, "passport-key"), JSON.stringify(jwk), { mode: 0o600 });
  return { kid: jwk.kid, x: publicKey.export({ format: "jwk" }).x, d: jwk.d };
}

test("a site is a pool: signed for its audience, in the history, in the status, without gateways of Node", async () => {
  makeKey();
  expect(await apply(...SHOP, site())).toEqual([]);
  const published = current("edge-eu");
  if (published === undefined) throw new Error("nothing was published");
  const outcome = await acceptSnapshot(published.jws, published.chunks, {
    root: keys.root,
    audience: "edge-eu",
    accepted: undefined,
    held: undefined,
    floor: undefined,
    nowS: NOW_S,
    clockSkewS: 0,
    limits: DEFAULT_SNAPSHOT_LIMITS,
    purpose: "update",
    gatewayId: undefined,
  });
  expect(outcome.kind).toBe("accepted");
  expect(clusters(published.snapshot)).toEqual(["outbound|80||reviews.shop.svc.cluster.local main"]);
  expect(plane.publishing.sites?.map(({ name, site: { metadata } }) => `${name} ${metadata.name}`)).toEqual(["edge-eu europe"]);
  expect(plane.status().pools.map(({ name, version }) => `${name} ${version}`)).toEqual([
    "ingress 1.1",
    "egress 1.1",
    "edge-eu 1.1",
  ]);
  const [object] = plane.objects({ kind: "EdgeSite" }).items;
  expect(object?.status).toMatchObject({
    accepted: true,
    problems: [],
    programmed: [
      { pool: "ingress", since: "1.1" },
      { pool: "edge-eu", since: "1.1" },
    ],
  });
  expect((await plane.snapshots("edge-eu")).items).toMatchObject([{ pool: "edge-eu", version: "1.1", current: true }]);
  expect(await plane.joinToken({ pool: "edge-eu" })).toEqual({
    ok: false,
    status: 404,
    detail: "there is no pool of gateways edge-eu; pools: ingress, egress",
  });
});

test("sites of a cohort take a change when it is theirs; everybody else at once", async () => {
  const mesh = object("MeshConfig", "mesh", { rollout: { cohorts: [{ name: "canary" }, { name: "rest", after: "10m" }] } });
  makeKey();
  const notBefore = (pool: string) => current(pool)?.manifest.rollout.notBefore;
  expect(await apply(mesh, ...SHOP, site({ cohort: "rest" }))).toEqual([]);
  expect([notBefore("edge-eu"), notBefore("ingress")]).toEqual([NOW_S + 600, 0]);
  expect(await apply(site({ cohort: "canary" }))).toEqual([]);
  expect(notBefore("edge-eu")).toBe(0);
  expect(await apply(site({ cohort: "west" }))).toEqual([
    'warning EdgeSite spec.cohort: there is no cohort "west" in MeshConfig\'s rollout.cohorts, so the site takes changes at once; it lists canary, rest',
  ]);
});

test("a site's older snapshot is published again by a rollback", async () => {
  makeKey();
  await apply(...SHOP, site());
  await apply(site({ gateways: [], egress: true }));
  expect(current("edge-eu")).toMatchObject({ id: "1.2", snapshot: { listeners: [], egress: { policies: [] } } });
  expect(await plane.rollback("edge-eu", { to: "1.1" })).toEqual({ ok: true, value: { pool: "edge-eu", version: "1.3" } });
  expect(current("edge-eu")?.snapshot.listeners.map(({ name }) => name)).toEqual(["0.0.0.0:80"]);
});

test("the cluster's gateways take a site's passports as soon as its key is there, and know the services it sends to", async () => {
  const [told] = await apply(...SHOP, site());
  const file = join(statePaths(directory).secrets, "shop", "europe", "passport-key");
  expect(told).toBe(
    `warning EdgeSite spec.credentials: there is no ${file}; run: tidegate edge keys europe; until then no cluster takes the site's passports`,
  );
  expect(current("ingress")?.snapshot.settings.passports).toBeUndefined();
  const { kid, x } = makeKey();
  plane.publishing.queue();
  await plane.publishing.passed();
  expect(current("ingress")?.snapshot.settings.passports).toEqual({ audience: "main", issuers: [{ site: "europe", kid, x }] });
  expect(clusters(current("ingress")?.snapshot)).toEqual(["outbound|80||reviews.shop.svc.cluster.local itself"]);
  expect(current("egress")?.snapshot.settings.passports).toBeUndefined();
  expect(plane.publishing.problems).toEqual([]);
});

test("a site that sends to another cluster is no issuer here", async () => {
  makeKey();
  await apply(...SHOP, site(), object("MeshConfig", "mesh", { clusterName: "cellar" }));
  expect(clusters(current("edge-eu")?.snapshot)).toEqual(["outbound|80||reviews.shop.svc.cluster.local main"]);
  expect(current("ingress")?.snapshot.settings.passports).toBeUndefined();
  expect(clusters(current("ingress")?.snapshot)).toEqual([]);
});

test("what is too large for a site is refused for it alone, with sizes; what it has stays in force", async () => {
  makeKey();
  const gateway = { servers: [{ port: { number: 80, name: "http", protocol: "HTTP" }, hosts: ["shop.example.com"] }] };
  await apply(object("Gateway", "public", gateway), ...SHOP.slice(1), site());
  // Different ones: equal parts of a chunk are written once.
  const bodyOf = (prefix: string) => ({ string: prefix.repeat(MAX_EDGE_CHUNK_BYTES / 4) });
  const answers = ["/a", "/b"].map((prefix) => ({
    match: [{ uri: { prefix } }],
    directResponse: { status: 200, body: bodyOf(prefix) },
  }));
  const large = object("VirtualService", "web", { hosts: ["shop.example.com"], gateways: ["public"], http: answers });
  expect(await apply(large)).toEqual([
    expect.stringMatching(
      /^error EdgeSite : pool edge-eu: snapshot not published: snapshot: it has a part too large for an edge site, which takes 1900000 bytes in one: routes 0\.0\.0\.0:80\/all \(shop\.example\.com\), \d{7} bytes; give the host fewer routes, or shorter bodies of direct responses; gateways keep what they have$/,
    ),
  ]);
  expect([current("edge-eu")?.id, current("ingress")?.id]).toEqual(["1.1", "1.2"]);
  expect(plane.objects({ kind: "EdgeSite" }).items[0]?.status).toMatchObject({ accepted: false, problems: [{}] });
  expect(logged.filter((line) => line.startsWith("error"))).toHaveLength(1);
  expect(await apply(SHOP[1] ?? "")).toEqual([]);
  expect(plane.publishing.failures).toEqual([]);
  expect([current("edge-eu")?.id, current("ingress")?.id]).toEqual(["1.1", "1.3"]);
});

test("a site that is gone is no pool any more, and its numbers are not given out again", async () => {
  makeKey();
  await apply(...SHOP, site());
  await plane.delete({ refs: [{ kind: "EdgeSite", namespace: "shop", name: "europe" }] }, "test");
  expect(plane.publishing.pools).toEqual(["ingress", "egress"]);
  expect(current("edge-eu")).toBeUndefined();
  expect(plane.publishing.versions().map(({ pool }) => pool)).toEqual(["ingress", "egress"]);
  expect(current("ingress")?.snapshot.settings.passports).toBeUndefined();
  await apply(site({ gateways: [], egress: true }));
  expect(current("edge-eu")?.id).toBe("1.2");
});

test("nothing of a private key is written down", async () => {
  const { d, x } = makeKey();
  await apply(...SHOP, site());
  const shown = JSON.stringify([
    logged,
    plane.status(),
    plane.objects({}),
    current("ingress")?.snapshot,
    current("edge-eu")?.snapshot,
  ]);
  expect(shown).toContain(x);
  expect(shown).not.toContain(d);
});
