/**
 * Snapshot → chunks. Deterministic and local: the same content gives the same bytes, and a change of one route or endpoint
 * changes the one small chunk it is in. Resources are spread by the hash of their name over a tree that splits where it is full, so
 * no chunk depends on what happens elsewhere.
 */
import { createHash } from "node:crypto";
import type { ChunkKind, ChunkRef, ChunkResources, RouteTable, Section, Snapshot } from "../../gateway/core/ir/index.ts";
import { CHUNK_SECTION, itemsToWrite } from "../../gateway/core/ir/index.ts";
import { canonicalJson } from "./canonical.ts";
import { chunkText } from "./share.ts";

/** A shard whose resources written out are longer than this is split, unless it is a single resource. */
export const SHARD_TARGET_BYTES = 131_072;
/** Endpoints change most often, so theirs are smaller. */
export const ENDPOINT_SHARD_TARGET_BYTES = 32_768;

export interface Chunk {
  readonly ref: ChunkRef;
  readonly bytes: Uint8Array;
}

/** All chunks of a snapshot, sorted by kind and name. */
export function chunkSnapshot(snapshot: Snapshot): readonly Chunk[] {
  const chunks = [
    makeChunk("settings", "all", [snapshot.settings]),
    ...named("listeners", snapshot.listeners, (item) => item.name, SHARD_TARGET_BYTES),
    ...snapshot.routeTables.flatMap(tableChunks),
    ...named("clusters", snapshot.clusters, (item) => item.name, SHARD_TARGET_BYTES),
    ...named("endpoints", snapshot.endpoints, (item) => item.cluster, ENDPOINT_SHARD_TARGET_BYTES),
    ...named("quotas", snapshot.quotas, (item) => item.id, SHARD_TARGET_BYTES),
    ...(snapshot.egress === undefined ? [] : [makeChunk("egress", "all", [snapshot.egress])]),
  ];
  return chunks.sort((a, b) => compare(a.ref.kind, b.ref.kind) || compare(a.ref.name, b.ref.name));
}

/** The chunk list of one section, as its manifest entry shows it. */
export function sectionRefs(chunks: readonly Chunk[], section: Section): readonly ChunkRef[] {
  return chunks.filter(({ ref }) => CHUNK_SECTION[ref.kind] === section).map(({ ref }) => ref);
}

interface Leaf<T> {
  readonly item: T;
  /** `item` written out. */
  readonly json: string;
  readonly name: string;
  /** First 64 bits of the name's SHA-256, as binary digits. */
  readonly digest: string;
}

function named<K extends ChunkKind>(
  kind: K,
  items: readonly ChunkResources[K][],
  nameOf: (item: ChunkResources[K]) => string,
  target: number,
): Chunk[] {
  const leaves = items.map((item) => leaf(nameOf(item), item));
  return shards(leaves, target).map(([prefix, part]) => makeChunk(kind, prefix, inOrder(part)));
}

/** A table's virtual hosts are spread, each piece a table of the same name; a table without any is one piece. */
function tableChunks(table: RouteTable): Chunk[] {
  const leaves = table.virtualHosts.map((host) => leaf(host.name, host));
  const parts = leaves.length === 0 ? [["all", []] as const] : shards(leaves, SHARD_TARGET_BYTES);
  return parts.map(([prefix, part]) =>
    makeChunk("routes", `${table.name}/${prefix}`, [{ ...table, virtualHosts: inOrder(part) }]),
  );
}

function leaf<T>(name: string, item: T): Leaf<T> {
  const bits = createHash("sha256").update(name).digest().readBigUInt64BE();
  return { item, json: canonicalJson(item), name, digest: bits.toString(2).padStart(64, "0") };
}

/** Splits by one more bit of the digest until a shard is small enough; returns `[prefix, leaves]` for those that hold something. */
function shards<T>(leaves: readonly Leaf<T>[], target: number, prefix = ""): (readonly [string, readonly Leaf<T>[]])[] {
  if (leaves.length === 0) return [];
  const bytes = leaves.reduce((sum, { json }) => sum + json.length, 0);
  const single = leaves.every(({ digest }) => digest === leaves[0]?.digest);
  if (bytes <= target || single) return [[prefix === "" ? "all" : prefix, leaves]];
  const groups = new Map<string, Leaf<T>[]>();
  for (const item of leaves) {
    const next = item.digest.slice(0, prefix.length + 1);
    const group = groups.get(next);
    if (group === undefined) groups.set(next, [item]);
    else group.push(item);
  }
  return [...groups].flatMap(([next, group]) => shards(group, target, next));
}

/** Sorted by name, then content: the order of the input does not show. */
function inOrder<T>(leaves: readonly Leaf<T>[]): readonly T[] {
  return [...leaves].sort((a, b) => compare(a.name, b.name) || compare(a.json, b.json)).map(({ item }) => item);
}

function makeChunk<K extends ChunkKind>(kind: K, name: string, resources: readonly ChunkResources[K][]): Chunk {
  const bytes = new TextEncoder().encode(chunkText(itemsToWrite(kind, resources)));
  return { ref: { kind, name, hash: createHash("sha256").update(bytes).digest("base64url"), bytes: bytes.byteLength }, bytes };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
