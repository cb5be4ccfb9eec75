/** Chunks → IR. Every problem of every resource is reported at once, under the chunk's name and the resource's place in it. */
import { fail, type Result } from "../result.ts";
import type { Cluster, ClusterEndpoints } from "./cluster.ts";
import { type AnyCheck, array, type Check, unique, writeItems } from "./decode/check.ts";
import { ChunkReader } from "./decode/chunk-reader.ts";
import { cluster, clusterEndpoints, listener, settings } from "./decode/cluster.ts";
import { Issues, quoted } from "./decode/issues.ts";
import { DECODE_LIMITS as LIMITS } from "./decode/limits.ts";
import { egressConfig, quotaPolicy } from "./decode/policy.ts";
import { routeTable } from "./decode/route.ts";
import type { Listener } from "./listener.ts";
import type { ChunkKind, ChunkRef, Snapshot } from "./manifest.ts";
import type { EgressConfig, QuotaPolicy } from "./policy.ts";
import type { RouteTable, VirtualHost } from "./route.ts";
import type { Settings } from "./settings.ts";
import { parseJson } from "./trust-jws.ts";

export { Part } from "./decode/chunk-reader.ts";
export { MAX_ISSUES } from "./decode/issues.ts";
export { DECODE_LIMITS } from "./decode/limits.ts";

/** A chunk whose bytes were verified against `ref`. */
export interface ChunkContent {
  readonly ref: ChunkRef;
  readonly bytes: Uint8Array;
}

/** What one chunk of each kind holds a list of. */
export interface ChunkResources {
  readonly settings: Settings;
  readonly listeners: Listener;
  readonly routes: RouteTable;
  readonly clusters: Cluster;
  readonly endpoints: ClusterEndpoints;
  readonly quotas: QuotaPolicy;
  readonly egress: EgressConfig;
}

export interface DecodedChunk {
  readonly bytes: number;
  /** As `Issues.size` counts. */
  readonly size: number;
  readonly resources: readonly unknown[];
}
/** By `chunkKey`. Content is immutable and named by its hash, so what was decoded for one snapshot serves the next. */
export type DecodedChunks = ReadonlyMap<string, DecodedChunk>;

export function chunkKey(ref: Pick<ChunkRef, "kind" | "hash">): string {
  return `${ref.kind}:${ref.hash}`;
}

type Checks = { readonly [K in ChunkKind]: Check<readonly ChunkResources[K][]> };
const CHECKS: Checks = {
  settings: array(settings, 1, 1),
  listeners: array(listener, LIMITS.listeners),
  routes: array(routeTable, LIMITS.routeTables),
  clusters: array(cluster, LIMITS.clusters),
  endpoints: array(clusterEndpoints, LIMITS.clusters),
  quotas: array(quotaPolicy, LIMITS.quotas),
  egress: array(egressConfig, 1, 1),
};

/** What a chunk of this kind has for its items: to be written with its equal parts shared. */
export function itemsToWrite<K extends ChunkKind>(kind: K, resources: readonly ChunkResources[K][]): readonly unknown[] {
  return writeItems<readonly ChunkResources[K][]>(CHECKS[kind], resources);
}

/** Decodes a whole snapshot from nothing. */
export function decodeSnapshot(chunks: readonly ChunkContent[]): Result<Snapshot> {
  const decoded = decodeChunks(chunks);
  if (!decoded.ok) return decoded;
  return assembleSnapshot(
    chunks.map((chunk) => chunk.ref),
    decoded.value,
  );
}

/** Decodes each chunk by itself; parts that say the same are one value in all of them. */
export function decodeChunks(chunks: readonly ChunkContent[]): Result<DecodedChunks> {
  const { reader, issues } = DECODER;
  const decoded = new Map<string, DecodedChunk>();
  try {
    for (const { ref, bytes } of chunks) {
      const from = issues.count;
      const resources = readItems(parseJson(bytes), CHECKS[ref.kind]);
      if (issues.count !== from) issues.within(from, `${ref.kind}/${ref.name}`);
      else decoded.set(chunkKey(ref), { bytes: bytes.byteLength, size: issues.size, resources });
    }
    return issues.result<DecodedChunks>(decoded);
  } finally {
    reader.forget();
    issues.clear();
  }
}

/**
 * One for all snapshots, which are decoded without a wait. With the last object of a shape V8 throws away the machine code of all functions that have
 * met any, and these would be made again for each snapshot.
 */
const DECODER = { reader: new ChunkReader(), issues: new Issues() };

/** `{"items": […], "shared": […]}`, as chunk-reader.ts says. Means something only if there was no issue. */
function readItems(document: unknown, check: AnyCheck): readonly unknown[] {
  const { reader, issues } = DECODER;
  if (!isChunk(document)) {
    issues.add("", "must be an object of two arrays, `items` and `shared`");
    return [];
  }
  issues.begin();
  const items = reader.chunk(document.items, document.shared, check, issues);
  return Array.isArray(items) ? items : [];
}

function isChunk(document: unknown): document is { readonly items: readonly unknown[]; readonly shared: readonly unknown[] } {
  if (typeof document !== "object" || document === null || Object.keys(document).length !== 2) return false;
  const { items, shared } = document as { readonly items?: unknown; readonly shared?: unknown };
  return Array.isArray(items) && Array.isArray(shared);
}

/** Puts decoded chunks together, in the manifest's order, and checks what only shows across them. */
export function assembleSnapshot(refs: readonly ChunkRef[], decoded: DecodedChunks): Result<Snapshot> {
  const of = <K extends ChunkKind>(kind: K): readonly ChunkResources[K][] => {
    const parts: (readonly ChunkResources[K][])[] = [];
    for (const ref of refs) {
      const chunk = ref.kind === kind ? decoded.get(chunkKey(ref)) : undefined;
      // `decodeChunks` has held the content against the kind that is part of the key.
      if (chunk !== undefined) parts.push(chunk.resources as readonly ChunkResources[K][]);
    }
    return parts.flat() as readonly ChunkResources[K][];
  };
  const [settingsOnly] = of("settings");
  const egress = of("egress");
  if (settingsOnly === undefined || of("settings").length > 1) {
    return fail([{ path: "settings", problem: "a snapshot has settings exactly once" }]);
  }
  if (egress.length > 1) return fail([{ path: "egress", problem: "a snapshot has an egress configuration at most once" }]);
  const size = refs.reduce((sum, ref) => sum + (decoded.get(chunkKey(ref))?.size ?? 0), 0);
  if (size > LIMITS.snapshotSize) {
    const problem = `the chunks are too long together written out, at most ${LIMITS.snapshotSize} characters are read`;
    return fail([{ path: "", problem }]);
  }
  const issues = new Issues();
  const snapshot: Snapshot = {
    settings: settingsOnly,
    listeners: of("listeners"),
    routeTables: mergeTables(of("routes"), issues),
    clusters: of("clusters"),
    endpoints: of("endpoints"),
    quotas: of("quotas"),
    egress: egress[0],
  };
  unique(snapshot.listeners, (item) => item.name, "listeners", issues);
  unique(snapshot.clusters, (item) => item.name, "clusters", issues);
  unique(snapshot.endpoints, (item) => item.cluster, "endpoints", issues);
  unique(snapshot.quotas, (item) => item.id, "quotas", issues);
  return issues.result(snapshot);
}

interface TableParts {
  readonly table: RouteTable;
  readonly hosts: VirtualHost[];
  readonly domains: Set<string>;
}

/** A table may be spread over chunks: same name, same quotas, virtual hosts one after the other. */
function mergeTables(parts: readonly RouteTable[], issues: Issues): readonly RouteTable[] {
  const tables = new Map<string, TableParts>();
  for (const part of parts) {
    let held = tables.get(part.name);
    if (held === undefined) {
      held = { table: part, hosts: [], domains: new Set() };
      tables.set(part.name, held);
    } else if (!sameList(held.table.quotas, part.quotas)) {
      issues.add(`routes ${quoted(part.name)}.quotas`, "the table's chunks disagree about its quotas");
    }
    for (const host of part.virtualHosts) addHost(held, host, issues);
  }
  return [...tables.values()].map(({ table, hosts }) => ({ ...table, virtualHosts: hosts }));
}

function addHost(held: TableParts, host: VirtualHost, issues: Issues): void {
  for (const domain of host.domains) {
    if (held.domains.size === held.domains.add(domain).size) {
      issues.add(
        `routes ${quoted(held.table.name)}`,
        `two virtual hosts have the domain ${quoted(domain)}, ${quoted(host.name)} is the second`,
      );
    }
  }
  held.hosts.push(host);
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
