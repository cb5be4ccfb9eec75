/** Sites and a control plane as it is started: the status lists them as pools, and a key that is left for a site is taken without being told. */
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ObjectsResponse, StatusResponse } from "../../controlplane/api/index.ts";
import { TestMesh } from "../support/mesh.ts";

const SITE = `apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: europe, namespace: shop }
spec:
  url: https://edge-eu.example.com
  audience: edge-eu
  egress: true
  clusters: [ { name: main, ingress: "https://in.example.com" } ]
`;
const WITHIN_MS = 10_000;

let directory: string;
let mesh: TestMesh;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "tidegate-edge-site-"));
  mesh = await TestMesh.prepare({ directory, declared: [80] });
  writeFileSync(join(mesh.config, "site.yaml"), SITE);
  await mesh.startControl();
}, 30_000);
afterAll(async () => {
  await mesh.stop();
  rmSync(directory, { recursive: true, force: true });
});

const status = () => mesh.api.get<StatusResponse>("/status");
const versionOf = async (pool: string) => (await status()).pools.find(({ name }) => name === pool)?.version;
async function problems(): Promise<readonly string[]> {
  const { items } = await mesh.api.get<ObjectsResponse>("/objects?kind=EdgeSite");
  return items.flatMap((item) => item.status.problems.map(({ message }) => message));
}

it("lists the site's pool, and no gateway of Node may join it", async () => {
  const listed = async () => (await status()).pools.map(({ name, site, version }) => [name, site, version]);
  // The API answers before the first snapshots are there.
  await expect.poll(listed, { timeout: WITHIN_MS }).toEqual([
    ["ingress", undefined, "1.1"],
    ["egress", undefined, "1.1"],
    ["edge-eu", "europe", "1.1"],
  ]);
  await expect(mesh.api.post("/join-tokens", { pool: "edge-eu" })).rejects.toThrow("there is no pool of gateways edge-eu");
});

it("takes a key that appears in the secrets directory, and gives the cluster's gateways a new snapshot", async () => {
  expect(await problems()).toEqual([expect.stringContaining("run: tidegate edge keys europe")]);
  const folder = join(directory, "control", "secrets", "shop", "europe");
  mkdirSync(folder, { recursive: true });
  const jwk = { ...generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }), kid: "europe-1" };
  writeFileSync(join(folder, "passport-key"), JSON.stringify(jwk), { mode: 0o600 });
  await expect.poll(() => versionOf("ingress"), { timeout: WITHIN_MS }).toBe("1.2");
  expect(await problems()).toEqual([]);
  expect(await versionOf("edge-eu")).toBe("1.1");
  expect(mesh.output()).not.toContain(jwk.d);
});
