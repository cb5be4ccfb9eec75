/** PEM files that a snapshot names: read with a limit, and with reasons that say place and problem and never quote the content. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type PemFile, secretOf } from "../core/ir/index.ts";
import { fail, ok, type Result } from "../core/result.ts";

/** Largest PEM file that is read: revocation lists of large authorities have some megabytes. */
export const MAX_PEM_BYTES = 16 * 1024 * 1024;

export interface Pem {
  readonly text: string;
  /** SHA-256. */
  readonly hash: string;
}

export class PemFiles {
  readonly #secrets: string;

  /** @param secrets folder of the gateway's secrets: `<namespace>/<name>/<key>` */
  constructor(secrets: string) {
    this.#secrets = secrets;
  }

  /** Undefined: a secret's name that leads out of the folder. */
  pathOf(file: PemFile): string | undefined {
    const secret = secretOf(file);
    if (secret === undefined) return file;
    return secret.length === 3 && secret.every(isFileName) ? join(this.#secrets, ...secret) : undefined;
  }

  read(file: PemFile): Result<Pem, string> {
    const path = this.pathOf(file);
    if (path === undefined) return fail(`${file} is no secret's key; a secret is <namespace>/<name>/<key>`);
    try {
      const { size } = statSync(path);
      if (size > MAX_PEM_BYTES) return fail(`${path} has ${size} bytes, at most ${MAX_PEM_BYTES} are read`);
      const text = readFileSync(path, "latin1");
      return ok({ text, hash: createHash("sha256").update(text, "latin1").digest("base64url") });
    } catch (error) {
      return fail(`${path} cannot be read: ${readProblem(error)}`);
    }
  }

  /** Changes when one of the files is another one, or has been written to; what is not there has a stamp, too. */
  stamp(files: readonly PemFile[]): string {
    return files.map((file) => stampOf(this.pathOf(file))).join(" ");
  }

  /** As `read`; undefined: it is a secret's, and not there. */
  readIfThere(file: PemFile): Result<Pem | undefined, string> {
    const path = this.pathOf(file);
    if (path !== undefined && secretOf(file) !== undefined && !isThere(path)) return ok(undefined);
    return this.read(file);
  }
}

/** A name that cannot lead out of its folder. */
export function isFileName(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && text !== "." && text !== "..";
}

function stampOf(path: string | undefined): string {
  const stat = path === undefined ? undefined : statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "-" : `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function readProblem(error: unknown): string {
  switch ((error as { readonly code?: unknown } | null)?.code) {
    case "ENOENT":
      return "it does not exist";
    case "EACCES":
      return "this user may not read it";
    case "EISDIR":
      return "it is a directory";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** The PEM blocks of one kind, in order, each by itself: `CERTIFICATE`, `X509 CRL`. */
export function pemBlocks(text: string, label: string): readonly string[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: string[] = [];
  for (let from = text.indexOf(begin); from !== -1; from = text.indexOf(begin, from)) {
    const to = text.indexOf(end, from);
    if (to === -1) break;
    blocks.push(`${text.slice(from, to)}${end}\n`);
    from = to;
  }
  return blocks;
}
