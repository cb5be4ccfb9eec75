/**
 * Tells when files may have changed. Directories are watched, not files: a file that is replaced, or reached over a link that is moved (as Kubernetes does with
 * secrets), is another file. Where a directory is not there yet, the nearest one above it is watched.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { dirname } from "node:path";

/** Looked at again after this long in any case: some file systems tell of no change, and certificates end without one. */
const RECHECK_MS = 3_600_000;
/** Changes are told when the directories have been quiet for this long. */
const SETTLE_MS = 100;

export class FileWatch {
  readonly #changed: () => void;
  readonly #problem: (directory: string, reason: string) => void;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #recheck: NodeJS.Timeout;
  #settle: NodeJS.Timeout | undefined;

  /** @param problem a directory cannot be watched, so changes in it are not told */
  constructor(changed: () => void, problem: (directory: string, reason: string) => void) {
    this.#changed = changed;
    this.#problem = problem;
    this.#recheck = setInterval(changed, RECHECK_MS).unref();
  }

  /** Watches for changes of these files, and of no others. */
  follow(paths: Iterable<string>): void {
    const wanted = new Set<string>();
    for (const path of paths) wanted.add(existingDirectory(path));
    for (const [directory, watcher] of this.#watchers) {
      if (wanted.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of wanted) if (!this.#watchers.has(directory)) this.#watch(directory);
  }

  close(): void {
    clearTimeout(this.#settle);
    clearInterval(this.#recheck);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #watch(directory: string): void {
    try {
      const watcher = watch(directory, { persistent: false }, () => this.#stirred());
      watcher.on("error", () => this.#lost(directory));
      this.#watchers.set(directory, watcher);
    } catch (error) {
      this.#problem(directory, error instanceof Error ? error.message : String(error));
    }
  }

  #lost(directory: string): void {
    this.#watchers.get(directory)?.close();
    this.#watchers.delete(directory);
    this.#stirred();
  }

  #stirred(): void {
    clearTimeout(this.#settle);
    this.#settle = setTimeout(this.#changed, SETTLE_MS);
    this.#settle.unref();
  }
}

function existingDirectory(path: string): string {
  let directory = dirname(path);
  while (statSync(directory, { throwIfNoEntry: false }) === undefined) {
    const above = dirname(directory);
    if (above === directory) break;
    directory = above;
  }
  return directory;
}
