/**
 * A whole snapshot as one file, for `tidegate snapshot`, `tidegate explain` and a gateway that runs from a file:
 *
 *   { "format": "tidegate-snapshot/1", "manifest": <JWS, General JSON>, "chunks": { "<hash>": "<content as text>" } }
 *
 * Chunks are UTF-8 JSON, so text keeps their exact bytes; `tidegate snapshot show` tells a person what is in them.
 */
import { fail, type Issue, ok, type Result } from "../result.ts";
import { type ChunkContent, decodeSnapshot } from "./decode.ts";
import type { Manifest, Snapshot } from "./manifest.ts";
import { parseJson } from "./trust-jws.ts";
import { chunkRefs, DEFAULT_SNAPSHOT_LIMITS, peekManifest, verifyChunk } from "./verify.ts";

export const SNAPSHOT_FILE_FORMAT = "tidegate-snapshot/1";
/** Escaped text may take twice the room of its content. */
export const MAX_SNAPSHOT_FILE_BYTES = 2 * DEFAULT_SNAPSHOT_LIMITS.maxTotalBytes + 2 * DEFAULT_SNAPSHOT_LIMITS.maxManifestBytes;

export interface SnapshotFile {
  readonly manifest: Manifest;
  /** Key ids that claim to have signed; `verifyManifest` tells whether they did. */
  readonly kids: readonly string[];
  readonly jws: Uint8Array;
  /** By hash; every chunk of the manifest, each held against its hash. */
  readonly chunks: ReadonlyMap<string, Uint8Array>;
  readonly snapshot: Snapshot;
}

/** Hashes are checked and everything is decoded; signatures are not looked at, because that takes a trust root and an audience. `path` is what problems are told under. */
export async function decodeSnapshotFile(bytes: Uint8Array, path: string): Promise<Result<SnapshotFile>> {
  if (bytes.byteLength > MAX_SNAPSHOT_FILE_BYTES) return bad(path, `is longer than ${MAX_SNAPSHOT_FILE_BYTES} bytes`);
  const outer = parseOuter(bytes);
  if (outer === undefined) return bad(path, `is no snapshot file (a JSON object of format ${SNAPSHOT_FILE_FORMAT})`);
  const jws = new TextEncoder().encode(JSON.stringify(outer.manifest));
  const peeked = await peekManifest(jws, DEFAULT_SNAPSHOT_LIMITS);
  if (!peeked.ok) return fail([{ path, problem: peeked.error.detail }, ...peeked.error.issues]);
  const { manifest, kids } = peeked.value;
  const issues: Issue[] = [];
  const contents: ChunkContent[] = [];
  for (const ref of chunkRefs(manifest)) {
    const text = Object.hasOwn(outer.chunks, ref.hash) ? outer.chunks[ref.hash] : undefined;
    if (typeof text !== "string") {
      issues.push({ path, problem: `chunk ${ref.kind}/${ref.name} is missing` });
      continue;
    }
    const verified = await verifyChunk(ref, new TextEncoder().encode(text));
    if (verified.ok) contents.push({ ref, bytes: verified.value });
    else issues.push({ path, problem: verified.error.detail });
  }
  if (issues.length > 0) return fail(issues);
  const snapshot = decodeSnapshot(contents);
  if (!snapshot.ok) return snapshot;
  return ok({
    manifest,
    kids,
    jws,
    chunks: new Map(contents.map(({ ref, bytes: held }) => [ref.hash, held])),
    snapshot: snapshot.value,
  });
}

function parseOuter(bytes: Uint8Array): { readonly manifest: unknown; readonly chunks: Record<string, unknown> } | undefined {
  const outer = parseJson(bytes);
  if (typeof outer !== "object" || outer === null) return undefined;
  const { format, manifest, chunks } = outer as Record<string, unknown>;
  if (format !== SNAPSHOT_FILE_FORMAT || typeof chunks !== "object" || chunks === null || manifest === undefined)
    return undefined;
  return { manifest, chunks: chunks as Record<string, unknown> };
}

function bad(path: string, problem: string): { readonly ok: false; readonly error: readonly Issue[] } {
  return fail([{ path, problem }]);
}
