/**
 * What a gateway keeps on disk between runs: who it is, the trust roots it follows, and the last good snapshot.
 *
 * Nothing here is trusted because it is on disk: the snapshot is verified again when it is read. Files are replaced by
 * write, fsync, rename, so a crash leaves the old one or the new one. The directory is private to the gateway's user.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
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

/** A file that is there and is not what this store writes: changed by somebody, or by the disk. */
export interface Damaged {
  readonly damaged: string;
}

/** Largest file that is read back; above it the file is taken as damaged. */
export const MAX_STATE_FILE_BYTES = 64 * 1024 * 1024;

const PART = ".part";
/** What this store writes into its directory. */
const OWN = /^(gateway\.json|current\.json|root-\d+\.jws|chunks)(\.part)?$/;

export class ControlStore {
  readonly #directory: string;
  readonly #chunks: string;
  /** Hashes of chunk files that are known to hold what their names say. */
  readonly #whole = new Set<string>();
  #tidying: Promise<void> = Promise.resolve();
  #cleared = false;

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

  async enrolled(): Promise<Enrolled | Damaged | undefined> {
    const bytes = await this.#read("gateway.json");
    if (bytes === undefined) return undefined;
    return readEnrolled(parseJson(bytes)) ?? this.#damaged("gateway.json");
  }

  async saveEnrolled(enrolled: Enrolled): Promise<void> {
    await this.#write("gateway.json", Buffer.from(JSON.stringify(enrolled)));
  }

  /** In order of version, from the pinned one on. */
  async trustRoots(): Promise<readonly Uint8Array[]> {
    const roots: Uint8Array[] = [];
    for (;;) {
      const bytes = await this.#read(rootFile(roots.length));
      if (!(bytes instanceof Uint8Array)) return roots;
      roots.push(bytes);
    }
  }

  /** Writes what is not on the disk in just this form. */
  async saveTrustRoots(roots: readonly Uint8Array[]): Promise<void> {
    for (const [index, root] of roots.entries()) {
      const there = await this.#read(rootFile(index));
      if (!(there instanceof Uint8Array) || Buffer.compare(there, root) !== 0) await this.#write(rootFile(index), root);
    }
  }

  /** The last snapshot that was put in force. A chunk that was changed is handed over as it is: the verifier names it. */
  async snapshot(): Promise<StoredSnapshot | Damaged | undefined> {
    const bytes = await this.#read("current.json");
    if (bytes === undefined) return undefined;
    const current = parseJson(bytes) as { manifest?: unknown; accepted?: unknown } | undefined;
    if (typeof current?.manifest !== "string") return this.#damaged("current.json");
    const chunks = new Map<string, Uint8Array>();
    this.#whole.clear();
    for (const hash of await readdir(this.#chunks)) {
      if (hash.endsWith(PART)) continue;
      const content = await this.#read(join("chunks", hash));
      if (!(content instanceof Uint8Array)) continue;
      chunks.set(hash, content);
      if (createHash("sha256").update(content).digest("base64url") === hash) this.#whole.add(hash);
    }
    return { manifest: Buffer.from(current.manifest), chunks, accepted: current.accepted };
  }

  /** Chunks first, then manifest and what was accepted in one file: that is durable when this resolves. What nothing names any more goes after that. */
  async saveSnapshot(snapshot: StoredSnapshot): Promise<void> {
    await this.#tidying;
    const fresh = [...snapshot.chunks].filter(([hash]) => !this.#whole.has(hash));
    await Promise.all(fresh.map(([hash, bytes]) => this.#write(join("chunks", hash), bytes)));
    for (const [hash] of fresh) this.#whole.add(hash);
    const current = { manifest: Buffer.from(snapshot.manifest).toString("utf8"), accepted: snapshot.accepted };
    await this.#write("current.json", Buffer.from(JSON.stringify(current)));
    this.#tidying = this.#tidy(new Set(snapshot.chunks.keys()));
  }

  /** Resolves when nothing is left to do on the disk. */
  async settled(): Promise<void> {
    await this.#tidying;
  }

  /** Forgets everything that it has written. */
  async reset(): Promise<void> {
    await this.#tidying;
    this.#whole.clear();
    for (const name of await readdir(this.#directory))
      if (OWN.test(name)) await rm(join(this.#directory, name), { recursive: true, force: true });
    await mkdir(this.#chunks, { recursive: true, mode: 0o700 });
  }

  /** What cannot be removed now is tried again with the next snapshot: it takes room and does no harm. */
  async #tidy(named: ReadonlySet<string>): Promise<void> {
    try {
      for (const hash of await readdir(this.#chunks)) {
        if (named.has(hash)) continue;
        this.#whole.delete(hash);
        await rm(join(this.#chunks, hash), { force: true });
      }
    } catch {
      return;
    }
  }

  /** What a crash left half written goes before the first thing is written: until then the directory may be another process's to write. */
  #clear(): void {
    if (this.#cleared) return;
    this.#cleared = true;
    for (const folder of [this.#directory, this.#chunks]) {
      for (const name of readdirSync(folder)) if (name.endsWith(PART)) rmSync(join(folder, name), { force: true });
    }
  }

  #damaged(name: string): Damaged {
    return { damaged: join(this.#directory, name) };
  }

  /** `null`: there is a file that cannot be read or is too large. */
  async #read(name: string): Promise<Uint8Array | null | undefined> {
    try {
      const file = join(this.#directory, name);
      return (await stat(file)).size > MAX_STATE_FILE_BYTES ? null : await readFile(file);
    } catch (error) {
      return error instanceof Error && "code" in error && error.code === "ENOENT" ? undefined : null;
    }
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    this.#clear();
    const file = join(this.#directory, name);
    const part = `${file}${PART}`;
    const handle = await open(part, "w", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(part, file);
  }
}

function rootFile(index: number): string {
  return `root-${index + 1}.jws`;
}

function parseJson(bytes: Uint8Array | null): unknown {
  if (bytes === null) return undefined;
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}

function readEnrolled(value: unknown): Enrolled | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { gatewayId, pool, credential, rootHash, ca, floor } = value as Record<string, unknown>;
  const texts = [gatewayId, pool, credential, rootHash, ca];
  if (!texts.every((text) => typeof text === "string" && text !== "")) return undefined;
  if (typeof floor !== "object" || floor === null) return undefined;
  const { epoch, version } = floor as Record<string, unknown>;
  return Number.isSafeInteger(epoch) && Number.isSafeInteger(version) ? (value as Enrolled) : undefined;
}
