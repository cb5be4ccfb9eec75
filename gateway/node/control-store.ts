/**
 * What a gateway keeps on disk between runs: who it is, the trust roots it follows, and the last good snapshot.
 *
 * Nothing here is trusted because it is on disk: the snapshot is verified again when it is read. Files are replaced by
 * write, fsync, rename, so a crash leaves the old one or the new one. The directory is private to the gateway's user.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** Who the gateway is. `credential` is a secret. */
export interface Enrolled {
  readonly gatewayId: string;
  readonly pool: string;
  readonly credential: string;
  /** SHA-256 (base64url) that pins the first trust root. */
  readonly rootHash: string;
  /** PEM of the control plane's authority. */
  readonly ca: string;
  readonly floor: { readonly epoch: number; readonly version: number };
}

export interface StoredSnapshot {
  /** JWS, General JSON serialization, as received. */
  readonly manifest: Uint8Array;
  /** By hash, as the manifest spells it. A chunk that cannot be read is absent. */
  readonly chunks: ReadonlyMap<string, Uint8Array>;
  /** What was accepted with it: opaque here, owned by the verifier. */
  readonly accepted: unknown;
}

/** Largest file that is read back; above it the file is taken as damaged. */
export const MAX_STATE_FILE_BYTES = 64 * 1024 * 1024;

export class ControlStore {
  readonly #directory: string;
  readonly #chunks: string;

  /** @throws Error with the remedy when the directory cannot be made or written. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#chunks = join(directory, "chunks");
    try {
      mkdirSync(this.#chunks, { recursive: true, mode: 0o700 });
      const probe = join(directory, ".writable");
      writeFileSync(probe, "");
      rmSync(probe);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`state directory ${directory}: ${reason}; give a directory that this user can write to with --state`);
    }
  }

  async enrolled(): Promise<Enrolled | undefined> {
    return (await this.#readJson("gateway.json")) as Enrolled | undefined;
  }

  async saveEnrolled(enrolled: Enrolled): Promise<void> {
    await this.#write("gateway.json", Buffer.from(JSON.stringify(enrolled)));
  }

  /** In order of version, from the pinned one on. */
  async trustRoots(): Promise<readonly Uint8Array[]> {
    const roots: Uint8Array[] = [];
    for (;;) {
      const bytes = await this.#read(rootFile(roots.length));
      if (bytes === undefined) return roots;
      roots.push(bytes);
    }
  }

  async saveTrustRoots(roots: readonly Uint8Array[]): Promise<void> {
    for (const [index, root] of roots.entries()) {
      if ((await this.#read(rootFile(index))) === undefined) await this.#write(rootFile(index), root);
    }
  }

  /** The last snapshot that was put in force, or undefined. Damaged files read as absent: the verifier then says what is missing. */
  async snapshot(): Promise<StoredSnapshot | undefined> {
    const current = (await this.#readJson("current.json")) as { manifest?: unknown; accepted?: unknown } | undefined;
    if (typeof current?.manifest !== "string") return undefined;
    const chunks = new Map<string, Uint8Array>();
    for (const hash of await readdir(this.#chunks)) {
      const bytes = await this.#read(join("chunks", hash));
      if (bytes !== undefined) chunks.set(hash, bytes);
    }
    return { manifest: Buffer.from(current.manifest), chunks, accepted: current.accepted };
  }

  /** Chunks first, then manifest and what was accepted in one file; then chunks that nothing names any more go. */
  async saveSnapshot(snapshot: StoredSnapshot): Promise<void> {
    const present = new Set(await readdir(this.#chunks));
    for (const [hash, bytes] of snapshot.chunks) if (!present.has(hash)) await this.#write(join("chunks", hash), bytes);
    const current = { manifest: Buffer.from(snapshot.manifest).toString("utf8"), accepted: snapshot.accepted };
    await this.#write("current.json", Buffer.from(JSON.stringify(current)));
    for (const hash of present) if (!snapshot.chunks.has(hash)) await rm(join(this.#chunks, hash), { force: true });
  }

  /** Forgets everything. */
  async reset(): Promise<void> {
    for (const name of await readdir(this.#directory)) await rm(join(this.#directory, name), { recursive: true, force: true });
    await mkdir(this.#chunks, { recursive: true, mode: 0o700 });
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    try {
      const file = join(this.#directory, name);
      return (await stat(file)).size > MAX_STATE_FILE_BYTES ? undefined : await readFile(file);
    } catch {
      return undefined;
    }
  }

  async #readJson(name: string): Promise<unknown> {
    const bytes = await this.#read(name);
    if (bytes === undefined) return undefined;
    try {
      return JSON.parse(Buffer.from(bytes).toString("utf8"));
    } catch {
      return undefined;
    }
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const file = join(this.#directory, name);
    const part = `${file}.part`;
    const handle = await open(part, "w", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(part, file);
  }
}

function rootFile(index: number): string {
  return `root-${index + 1}.jws`;
}
