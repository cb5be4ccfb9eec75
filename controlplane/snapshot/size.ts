/**
 * How large a snapshot may be where it is kept in a Durable Object and compiled in an isolate. It is judged before a version is given out, so
 * what is too large for one site is that site's problem alone.
 */
import { type ChunkKind, chunkKey, decodeChunks } from "../../gateway/core/ir/index.ts";
import type { Issue } from "../../gateway/core/result.ts";
import type { Chunk } from "./chunk.ts";

/** All chunks together. An isolate has 128 MB for them, the decoded snapshot and its tables. */
export const MAX_EDGE_TOTAL_BYTES = 24 * 1024 * 1024;
/** One chunk is one row, and a row of a Durable Object's SQLite has 2 MB with its key. */
export const MAX_EDGE_CHUNK_BYTES = 1_900_000;
/** The signed manifest, which is one row too, and goes through every isolate's memory at each change. */
export const MAX_EDGE_MANIFEST_BYTES = 512 * 1024;
/** A cold isolate asks for all of them. */
export const MAX_EDGE_CHUNKS = 2048;

export interface SizeLimits {
  readonly totalBytes: number;
  readonly chunkBytes: number;
  readonly manifestBytes: number;
  readonly chunks: number;
}

export const EDGE_SIZE_LIMITS: SizeLimits = {
  totalBytes: MAX_EDGE_TOTAL_BYTES,
  chunkBytes: MAX_EDGE_CHUNK_BYTES,
  manifestBytes: MAX_EDGE_MANIFEST_BYTES,
  chunks: MAX_EDGE_CHUNKS,
};

/** Parts that a message names. */
const NAMED_PARTS = 3;
const SPREAD = "name fewer Gateways in the EdgeSite, or spread them over several sites";

/** What is too large of a snapshot's chunks, all of it at once. */
export function chunkSizeIssues(chunks: readonly Chunk[], limits: SizeLimits): readonly Issue[] {
  const issues: Issue[] = [];
  const total = chunks.reduce((sum, { ref }) => sum + ref.bytes, 0);
  const largest = () => `largest are ${bySize(chunks).slice(0, NAMED_PARTS).map(described).join("; ")}`;
  if (total > limits.totalBytes) {
    issues.push(issue(`${total} bytes, and an edge site takes ${limits.totalBytes}; ${largest()}; ${SPREAD}`));
  }
  if (chunks.length > limits.chunks) {
    issues.push(issue(`${chunks.length} parts, and an edge site takes ${limits.chunks}; ${largest()}; ${SPREAD}`));
  }
  for (const chunk of bySize(chunks.filter(({ ref }) => ref.bytes > limits.chunkBytes)).slice(0, NAMED_PARTS)) {
    issues.push(
      issue(
        `a part too large for an edge site, which takes ${limits.chunkBytes} bytes in one: ${described(chunk)}; ${REMEDY[chunk.ref.kind]}`,
      ),
    );
  }
  return issues;
}

/** What is too large of the signed manifest. */
export function manifestSizeIssues(jws: Uint8Array, limits: SizeLimits): readonly Issue[] {
  if (jws.byteLength <= limits.manifestBytes) return [];
  return [issue(`a manifest of ${jws.byteLength} bytes, and an edge site takes ${limits.manifestBytes}; ${SPREAD}`)];
}

/** A chunk above the limit is a single resource, or one of a kind that is never split. */
const REMEDY: { readonly [kind in ChunkKind]: string } = {
  settings: "write less into MeshConfig",
  listeners: "give its Gateway fewer servers or hosts",
  routes: "give the host fewer routes, or shorter bodies of direct responses",
  clusters: "shorten the DestinationRule",
  endpoints: "give the service fewer endpoints",
  quotas: "give the quota fewer overrides, or a shorter response body",
  egress: "write fewer EgressPolicy rules, or set egress: false in the EdgeSite",
};

function issue(has: string): Issue {
  return { path: "snapshot", problem: `it has ${has}` };
}

function bySize(chunks: readonly Chunk[]): readonly Chunk[] {
  return [...chunks].sort((a, b) => b.ref.bytes - a.ref.bytes);
}

/** `routes 0.0.0.0:443/01 (shop.example.com and 12 more), 65000 bytes`. */
function described(chunk: Chunk): string {
  const { kind, name, bytes } = chunk.ref;
  const [first, ...more] = contents(chunk);
  const held = first === undefined ? "" : ` (${first}${more.length === 0 ? "" : ` and ${more.length} more`})`;
  return `${kind} ${name}${held}, ${bytes} bytes`;
}

/** Names of what a chunk holds: virtual hosts of a table, resources by their name. None if it cannot be read. */
function contents({ ref, bytes }: Chunk): readonly string[] {
  const decoded = decodeChunks([{ ref, bytes }]);
  const items = (decoded.ok ? decoded.value.get(chunkKey(ref))?.resources : undefined) as readonly Named[] | undefined;
  if (items === undefined) return [];
  if (ref.kind === "routes") return items.flatMap(({ virtualHosts = [] }) => virtualHosts.map(({ name }) => name));
  if (ref.kind === "egress") return items.flatMap(({ policies = [] }) => policies.map(({ id }) => id));
  return items.flatMap(({ name, id, cluster }) => name ?? id ?? cluster ?? []);
}

/** What resources of any kind may have for names. */
interface Named {
  readonly name?: string;
  readonly id?: string;
  readonly cluster?: string;
  readonly policies?: readonly { readonly id: string }[];
  readonly virtualHosts?: readonly { readonly name: string }[];
}
