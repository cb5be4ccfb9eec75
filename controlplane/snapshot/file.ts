/** Snapshot files on disk; their form is `gateway/core/ir/decode-file.ts`. */
import { readFile, stat } from "node:fs/promises";
import {
  decodeSnapshotFile,
  MAX_SNAPSHOT_FILE_BYTES,
  SNAPSHOT_FILE_FORMAT,
  type SnapshotFile,
} from "../../gateway/core/ir/index.ts";
import { fail, type Result } from "../../gateway/core/result.ts";
import type { Published } from "./build.ts";
import { writeDurably } from "./files.ts";

export async function writeSnapshotFile(path: string, published: Pick<Published, "jws" | "chunks">): Promise<void> {
  await writeDurably(path, encodeSnapshotFile(published), 0o644);
}

export function encodeSnapshotFile({ jws, chunks }: Pick<Published, "jws" | "chunks">): Uint8Array {
  const text = new TextDecoder();
  const contents = [...chunks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([hash, bytes]) => [hash, text.decode(bytes)]);
  const file = { format: SNAPSHOT_FILE_FORMAT, manifest: JSON.parse(text.decode(jws)), chunks: Object.fromEntries(contents) };
  return new TextEncoder().encode(`${JSON.stringify(file, undefined, 1)}\n`);
}

/** Reads and decodes a snapshot file; what `decodeSnapshotFile` says of signatures applies. */
export async function readSnapshotFile(path: string): Promise<Result<SnapshotFile>> {
  try {
    const { size } = await stat(path);
    if (size > MAX_SNAPSHOT_FILE_BYTES) {
      return fail([{ path, problem: `has ${size} bytes, at most ${MAX_SNAPSHOT_FILE_BYTES} are read` }]);
    }
    return await decodeSnapshotFile(await readFile(path), path);
  } catch (error) {
    return fail([{ path, problem: `cannot be read: ${error instanceof Error ? error.message : "unknown reason"}` }]);
  }
}
