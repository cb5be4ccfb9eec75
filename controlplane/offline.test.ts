import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { statePaths } from "./layout.ts";
import { buildSnapshots, plannedPools } from "./offline.ts";
import { DEFAULT_KEY_PLAN, initKeys } from "./snapshot/index.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const files = { read: () => ({ ok: true, text: "" }) as const };
const SITE = `apiVersion: mesh.tidegate.dev/v1
kind: EdgeSite
metadata: { name: europe, namespace: shop }
spec:
  url: https://edge-eu.example.com
  egress: true
  clusters: [ { name: main, ingress: "https://in.example.com" } ]
`;
const documents = [{ file: "site.yaml", text: SITE }];

test("no gateway is planned for a site", () => {
  expect(plannedPools({ documents, files, nowMs: NOW_MS }).map(({ name }) => name)).toEqual(["ingress", "egress"]);
});

test("a site's snapshot is built by its audience, and a missing key of its secret is told", async () => {
  const state = mkdtempSync(join(tmpdir(), "tidegate-offline-"));
  try {
    await initKeys(statePaths(state).keys, { ...DEFAULT_KEY_PLAN, iss: "cluster.local" }, NOW_MS / 1000);
    const options = { documents, state, files, unixMs: () => NOW_MS, pools: ["europe"] };
    const missing = async (secrets?: string) =>
      (await buildSnapshots({ ...options, secrets })).problems.map(({ message }) => message);
    expect(await missing()).toEqual([expect.stringContaining(join(state, "secrets", "shop", "europe", "passport-key"))]);
    expect(await missing(join(state, "own"))).toEqual([
      expect.stringContaining(join(state, "own", "shop", "europe", "passport-key")),
    ]);
    const { published, pools, failure } = await buildSnapshots(options);
    expect([published.map(({ pool, id }) => `${pool} ${id}`), pools, failure]).toEqual([
      ["europe 1.1"],
      ["ingress", "egress", "europe"],
      undefined,
    ]);
  } finally {
    rmSync(state, { recursive: true, force: true });
  }
});
