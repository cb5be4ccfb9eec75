import { expect, test } from "vitest";
import type { ChunkKind, QuotaPolicy } from "../../gateway/core/ir/index.ts";
import { egressConfig, json } from "../../test/support/snapshots.ts";
import type { Chunk } from "./chunk.ts";
import {
  chunkSizeIssues,
  EDGE_SIZE_LIMITS,
  MAX_EDGE_CHUNK_BYTES,
  MAX_EDGE_CHUNKS,
  MAX_EDGE_MANIFEST_BYTES,
  MAX_EDGE_TOTAL_BYTES,
  manifestSizeIssues,
} from "./size.ts";

/** A chunk that is this long, whatever it holds. */
function chunk(kind: ChunkKind, name: string, bytes: number, items: readonly unknown[] = []): Chunk {
  return { ref: { kind, name, hash: name, bytes }, bytes: json({ items: [items], shared: [] }) };
}
const table = (...hosts: readonly string[]) => ({
  name: "t",
  quotas: [],
  virtualHosts: hosts.map((name) => ({ name, domains: [name], quotas: [], routes: [] })),
});
const quota: QuotaPolicy = {
  id: "shop/q",
  origin: { kind: "Quota", namespace: "shop", name: "q" },
  matches: [],
  key: [],
  limits: [],
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
const told = (chunks: readonly Chunk[]) =>
  chunkSizeIssues(chunks, EDGE_SIZE_LIMITS).map(({ path, problem }) => `${path}: ${problem}`);
const fill = (count: number, bytes: number) => Array.from({ length: count }, (_, index) => chunk("clusters", `${index}`, bytes));

test("MAX_EDGE_TOTAL_BYTES: all chunks together; the largest are named with what they hold", () => {
  const parts = [
    chunk("egress", "all", 1_000_000, [egressConfig()]),
    chunk("routes", "0.0.0.0:443/01", 900_000, [table("a.example.com", "b.example.com")]),
    chunk("endpoints", "0", 800_000, [{ cluster: "outbound|80||a", endpoints: [] }]),
    chunk("quotas", "0", 700_000, [quota]),
  ];
  const rest = MAX_EDGE_TOTAL_BYTES - 3_400_000;
  const full = [...parts, ...fill(32, rest / 32)];
  expect(told(full)).toEqual([]);
  expect(told([...full, chunk("settings", "all", 1)])).toEqual([
    `snapshot: it has ${MAX_EDGE_TOTAL_BYTES + 1} bytes, and an edge site takes ${MAX_EDGE_TOTAL_BYTES}; largest are egress all (shop/payments), 1000000 bytes; routes 0.0.0.0:443/01 (a.example.com and 1 more), 900000 bytes; endpoints 0 (outbound|80||a), 800000 bytes; name fewer Gateways in the EdgeSite, or spread them over several sites`,
  ]);
});

test("MAX_EDGE_CHUNK_BYTES: one chunk, with a remedy for its kind", () => {
  expect(told([chunk("egress", "all", MAX_EDGE_CHUNK_BYTES)])).toEqual([]);
  expect(
    told([
      chunk("egress", "all", MAX_EDGE_CHUNK_BYTES + 1),
      chunk("routes", "t/0", MAX_EDGE_CHUNK_BYTES + 2, [table("a.example.com")]),
    ]),
  ).toEqual([
    `snapshot: it has a part too large for an edge site, which takes ${MAX_EDGE_CHUNK_BYTES} bytes in one: routes t/0 (a.example.com), ${MAX_EDGE_CHUNK_BYTES + 2} bytes; give the host fewer routes, or shorter bodies of direct responses`,
    `snapshot: it has a part too large for an edge site, which takes ${MAX_EDGE_CHUNK_BYTES} bytes in one: egress all, ${MAX_EDGE_CHUNK_BYTES + 1} bytes; write fewer EgressPolicy rules, or set egress: false in the EdgeSite`,
  ]);
});

test("MAX_EDGE_CHUNKS: how many", () => {
  expect(told(fill(MAX_EDGE_CHUNKS, 1))).toEqual([]);
  expect(told(fill(MAX_EDGE_CHUNKS + 1, 1))).toEqual([
    expect.stringContaining(
      `${MAX_EDGE_CHUNKS + 1} parts, and an edge site takes ${MAX_EDGE_CHUNKS}; largest are clusters 0, 1 bytes`,
    ),
  ]);
});

test("MAX_EDGE_MANIFEST_BYTES: the signed manifest", () => {
  expect(manifestSizeIssues(new Uint8Array(MAX_EDGE_MANIFEST_BYTES), EDGE_SIZE_LIMITS)).toEqual([]);
  expect(manifestSizeIssues(new Uint8Array(MAX_EDGE_MANIFEST_BYTES + 1), EDGE_SIZE_LIMITS)).toEqual([
    {
      path: "snapshot",
      problem: `it has a manifest of ${MAX_EDGE_MANIFEST_BYTES + 1} bytes, and an edge site takes ${MAX_EDGE_MANIFEST_BYTES}; name fewer Gateways in the EdgeSite, or spread them over several sites`,
    },
  ]);
});
