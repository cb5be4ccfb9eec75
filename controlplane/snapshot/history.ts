/**
 * Snapshots on disk:
 *
 *   chunks/<hash>.json                       content, named by its SHA-256, shared by all pools and versions
 *   pools/<pool>/<epoch>.<version>.json      signed manifests
 *
 * A manifest is written after all its chunks are on the disk, so one that is there is whole; a crash leaves at most chunks that
 * nobody names. What is read back is held against its hash.
 */
import { createHash } from "node:crypto";
import { access, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "../../gateway/core/ir/index.ts";
import { chunkRefs, DEFAULT_SNAPSHOT_LIMITS, peekManifest, snapshotVersion } from "../../gateway/core/ir/index.ts";
import { fail, ok, type Result } from "../../gateway/core/result.ts";
import type { Chunk } from "./chunk.ts";
import { isMissing, prepareDirectory, syncDirectory, writeDurably } from "./files.ts";

/** Snapshots kept for each pool, at least; a quarter more before the oldest go. */
const DEFAULT_KEEP = 20;

export interface VersionId {
  readonly epoch: number;
  readonly version: number;
}

/** A manifest as it lies on disk; its signatures are not verified yet. */
export interface StoredManifest {
  readonly id: VersionId;
  readonly manifest: Manifest;
  readonly payloadHash: string;
  readonly kids: readonly string[];
  readonly jws: Uint8Array;
}

export class SnapshotHistory {
  readonly #directory: string;
  readonly #keep: number;
  readonly #stored = new Set<string>();

  private constructor(directory: string, keep: number) {
    this.#directory = directory;
    this.#keep = keep;
  }

  /** Makes the directory if there is none, and clears what a crash left. Throws what the file system throws. */
  static async open(directory: string, keep: number = DEFAULT_KEEP): Promise<SnapshotHistory> {
    const history = new SnapshotHistory(directory, Math.max(1, keep));
    await prepareDirectory(join(directory, "chunks"));
    await prepareDirectory(join(directory, "pools"));
    for (const pool of await history.pools()) await prepareDirectory(join(directory, "pools", pool));
    return history;
  }

  async pools(): Promise<readonly string[]> {
    return (await readdir(join(this.#directory, "pools"))).filter(isPoolName).sort();
  }

  /** Every version there is a file for, readable or not, newest first. */
  async versions(pool: string): Promise<readonly VersionId[]> {
    try {
      const ids = (await readdir(this.#poolPath(pool))).flatMap((name) => parseFileName(name) ?? []);
      return ids.sort((a, b) => b.epoch - a.epoch || b.version - a.version);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  /** Every readable manifest, newest first, and the names of those that are damaged. */
  async list(pool: string): Promise<{ readonly manifests: readonly StoredManifest[]; readonly damaged: readonly VersionId[] }> {
    const manifests: StoredManifest[] = [];
    const damaged: VersionId[] = [];
    for (const id of await this.versions(pool)) {
      const stored = await this.manifest(pool, id);
      if (stored.ok) manifests.push(stored.value);
      else damaged.push(id);
    }
    return { manifests, damaged };
  }

  async manifest(pool: string, id: VersionId): Promise<Result<StoredManifest>> {
    const path = this.#manifestPath(pool, id);
    const jws = await readOrMissing(path);
    if (jws === undefined)
      return fail([{ path, problem: `there is no snapshot ${snapshotVersion(id)} of pool ${pool} (any more)` }]);
    const peeked = await peekManifest(jws, DEFAULT_SNAPSHOT_LIMITS);
    if (!peeked.ok) return fail([{ path, problem: `damaged: ${peeked.error.detail}` }, ...peeked.error.issues]);
    const { manifest, payloadHash, kids } = peeked.value;
    if (manifest.aud !== pool || manifest.epoch !== id.epoch || manifest.version !== id.version) {
      return fail([{ path, problem: "damaged: the file holds another snapshot than its name says" }]);
    }
    return ok({ id, manifest, payloadHash, kids, jws });
  }

  /** A chunk by hash, or undefined when it is not there or no longer what its name says. */
  async chunk(hash: string): Promise<Uint8Array | undefined> {
    if (!/^[A-Za-z0-9_-]{43}$/.test(hash)) return undefined;
    const bytes = await readOrMissing(this.#chunkPath(hash));
    return bytes !== undefined && createHash("sha256").update(bytes).digest("base64url") === hash ? bytes : undefined;
  }

  /** All chunks of a manifest by hash; the missing and the damaged are named. */
  async chunks(manifest: Manifest): Promise<Result<ReadonlyMap<string, Uint8Array>>> {
    const found = new Map<string, Uint8Array>();
    const problems: { path: string; problem: string }[] = [];
    for (const { hash, kind, name } of chunkRefs(manifest)) {
      const bytes = await this.chunk(hash);
      if (bytes === undefined)
        problems.push({ path: this.#chunkPath(hash), problem: `chunk ${kind}/${name} is missing or damaged` });
      else found.set(hash, bytes);
    }
    return problems.length > 0 ? fail(problems) : ok(found);
  }

  /** Writes a snapshot so that it survives a crash once this returns. */
  async save(pool: string, manifest: Manifest, jws: Uint8Array, chunks: readonly Chunk[]): Promise<void> {
    await prepareDirectory(this.#poolPath(pool));
    await Promise.all(chunks.map((chunk) => this.#saveChunk(chunk)));
    await writeDurably(this.#manifestPath(pool, manifest), jws, 0o600);
  }

  async #saveChunk({ ref, bytes }: Chunk): Promise<void> {
    const path = this.#chunkPath(ref.hash);
    // One that was there before this process is not trusted by its name alone.
    const there = this.#stored.has(ref.hash) ? await exists(path) : (await this.chunk(ref.hash)) !== undefined;
    if (!there) await writeDurably(path, bytes, 0o600);
    this.#stored.add(ref.hash);
  }

  /** Lets go of the oldest snapshots. Takes a while, and nobody has to wait for it. */
  async prune(pool: string): Promise<void> {
    const all = await this.versions(pool);
    // A few at a time: to find chunks that nobody names, every manifest has to be read.
    if (all.length <= this.#keep + Math.floor(this.#keep / 4)) return;
    const old = all.slice(this.#keep);
    for (const id of old) await rm(this.#manifestPath(pool, id), { force: true });
    await syncDirectory(this.#poolPath(pool));
    await this.#collect();
  }

  /** Removes chunks that no manifest names. A manifest that cannot be read may name any, so then nothing is removed. */
  async #collect(): Promise<void> {
    const named = new Set<string>();
    for (const pool of await this.pools()) {
      const { manifests, damaged } = await this.list(pool);
      if (damaged.length > 0) return;
      for (const { manifest } of manifests) for (const { hash } of chunkRefs(manifest)) named.add(`${hash}.json`);
    }
    const directory = join(this.#directory, "chunks");
    for (const name of await readdir(directory)) {
      if (!named.has(name)) await rm(join(directory, name), { force: true });
    }
    for (const hash of this.#stored) if (!named.has(`${hash}.json`)) this.#stored.delete(hash);
  }

  #poolPath(pool: string): string {
    if (!isPoolName(pool)) throw new TypeError("a pool name has lower case letters, digits, `.`, `_` and `-` only, at most 63");
    return join(this.#directory, "pools", pool);
  }
  #manifestPath(pool: string, id: VersionId): string {
    return join(this.#poolPath(pool), `${snapshotVersion(id)}.json`);
  }
  #chunkPath(hash: string): string {
    return join(this.#directory, "chunks", `${hash}.json`);
  }
}

/** Pool names are file names here and audiences in manifests. */
export function isPoolName(name: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,62}$/.test(name);
}

function parseFileName(name: string): VersionId | undefined {
  const match = /^([1-9][0-9]{0,15})\.([1-9][0-9]{0,15})\.json$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { epoch: Number.parseInt(match[1], 10), version: Number.parseInt(match[2], 10) };
}

async function readOrMissing(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
