/**
 * Secrets on the control plane's side: files `<directory>/<namespace>/<name>/<key>`, as Kubernetes mounts them. What is read goes to whoever
 * asked and nowhere else: neither messages nor logs repeat any of it.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { fail, ok, type Result } from "../gateway/core/result.ts";

/** Bytes of one secret file. */
export const MAX_SECRET_BYTES = 65_536;

/** Others may not read it, and the group may not change it: `chmod 600`, or 640 for a shared group. */
const FORBIDDEN_MODE = 0o027;

/** A text that does not show itself. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself: hand it to what needs it, and keep it out of everything that is written down. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return "[redacted]";
  }

  toJSON(): string {
    return "[redacted]";
  }

  [inspect.custom](): string {
    return "[redacted]";
  }
}

export interface SecretRef {
  readonly namespace: string;
  readonly name: string;
  readonly key: string;
}

/** Why a secret is not to be had; the message names the file and, unless it is missing, the remedy. */
export interface SecretProblem {
  readonly kind: "missing" | "unusable";
  readonly message: string;
}

export interface SecretReader {
  read(ref: SecretRef): Result<Secret, SecretProblem>;
}

/** Names of objects are DNS names; a key is one path segment. */
const SEGMENT = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

export function secretDirectory(directory: string): SecretReader {
  return {
    read({ namespace, name, key }) {
      if (![namespace, name, key].every((part) => SEGMENT.test(part))) {
        return unusable(`secret ${namespace}/${name}/${key}: use letters, digits, ".", "_" and "-" in its names only`);
      }
      return readSecret(join(directory, namespace, name, key));
    },
  };
}

function readSecret(file: string): Result<Secret, SecretProblem> {
  let descriptor: number | undefined;
  try {
    // Without O_NONBLOCK a named pipe would hold up the process.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const state = fstatSync(descriptor);
    if (!state.isFile()) return unusable(`${file} is not a file; put the secret's text into a file of that name`);
    if ((state.mode & FORBIDDEN_MODE) !== 0) {
      return unusable(`${file} may be read by others or changed by its group; run: chmod 600 ${file}`);
    }
    const bytes = Buffer.alloc(MAX_SECRET_BYTES + 1);
    const length = readSync(descriptor, bytes);
    if (length > MAX_SECRET_BYTES) return unusable(`${file} is larger than ${MAX_SECRET_BYTES} bytes; a secret is a short text`);
    const text = bytes.toString("utf8", 0, length).replace(/[\r\n]+$/, "");
    if (text === "") return unusable(`${file} is empty; write the secret into it`);
    return ok(new Secret(text));
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    if (code === "ENOENT" || code === "ENOTDIR") return fail({ kind: "missing", message: `there is no ${file}` });
    return unusable(`${file} cannot be read (${code}); give this user the right to read it`);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function unusable(message: string): Result<Secret, SecretProblem> {
  return fail({ kind: "unusable", message });
}
