/** Credentials in files, `<directory>/<namespace>/<name>/<key>`, the way Kubernetes mounts a Secret; each is read again when it changes. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { MAX_SECRET_LENGTH, type Secrets } from "../core/index.ts";
import { isFileName } from "./pem-files.ts";

interface Held {
  readonly stamp: string;
  readonly value: string | undefined;
}

/** Files remembered at once; the one that was met first is forgotten first. */
const MAX_HELD = 1_024;

export class SecretFiles implements Secrets {
  readonly #directory: string;
  readonly #held = new Map<string, Held>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Without the end of the last line. Undefined: no such file, one that cannot be read, or one longer than a secret is. */
  value(namespace: string, name: string, key: string): string | undefined {
    if (![namespace, name, key].every(isFileName)) return undefined;
    const path = join(this.#directory, namespace, name, key);
    try {
      const { ino, mtimeMs, size } = statSync(path);
      const stamp = `${ino}:${mtimeMs}:${size}`;
      let held = this.#held.get(path);
      if (held?.stamp !== stamp) {
        held = { stamp, value: size > MAX_SECRET_LENGTH + "\r\n".length ? undefined : readLine(path) };
        this.#remember(path, held);
      }
      return held.value;
    } catch {
      this.#held.delete(path);
      return undefined;
    }
  }

  #remember(path: string, held: Held): void {
    const [first] = this.#held.keys();
    if (first !== undefined && this.#held.size >= MAX_HELD && !this.#held.has(path)) this.#held.delete(first);
    this.#held.set(path, held);
  }
}

function readLine(path: string): string {
  return readFileSync(path, "utf8").replace(/\r?\n$/, "");
}
