/**
 * A directory of YAML and JSON, watched. Files may be replaced by rename, written in pieces, linked (Kubernetes mounts ConfigMaps through
 * `..data`) or deleted. What cannot be read or parsed is a problem of the file; the store then keeps what the file last said.
 */
import { type FSWatcher, readdirSync, readFileSync, realpathSync, type Stats, statSync, watch } from "node:fs";
import { join } from "node:path";
import type { Problem } from "../resource.ts";
import type { CheckedObject, Validation } from "../validate.ts";

export interface DirectoryLimits {
  /** Files of the tree. */
  readonly maxFiles: number;
  /** Directories inside one another. */
  readonly maxDepth: number;
  /** Bytes of one file. */
  readonly maxFileBytes: number;
}

export const DIRECTORY_LIMITS: DirectoryLimits = { maxFiles: 10_000, maxDepth: 16, maxFileBytes: 16 * 1024 * 1024 };

export interface DirectorySourceOptions {
  readonly root: string;
  readonly validate: (text: string, file: string) => Validation;
  /** Gets the whole content of the directory whenever it changed. */
  readonly publish: (validation: Validation) => void;
  /** Runs something later; the answer cancels it. */
  readonly after: (ms: number, run: () => void) => () => void;
  /** Quiet time after an event before files are read: editors write in pieces. Default 50 ms. */
  readonly settleMs?: number;
  /** Looks again without an event: links to elsewhere and some file systems raise none. Default 2 s. */
  readonly rescanMs?: number;
  /** How long a file that became empty keeps its objects: an editor may have truncated it to write it anew. Default 500 ms. */
  readonly emptyGraceMs?: number;
  readonly limits?: DirectoryLimits;
  /** Raises an event when something below the root changes. Default `fs.watch`. */
  readonly watch?: (root: string, changed: () => void) => () => void;
}

interface KnownFile {
  /** Changes when the file does: inode, size, times. */
  readonly stamp: string;
  readonly objects: readonly CheckedObject[];
  readonly problems: readonly Problem[];
  /** The file is empty now; `objects` are what it said before. */
  readonly inGrace?: true;
}

export class DirectorySource {
  private files = new Map<string, KnownFile>();
  private published: string | undefined;
  private cancelSettle: (() => void) | undefined;
  private cancelRescan: (() => void) | undefined;
  private stopWatching: (() => void) | undefined;
  private closed = false;
  /** Files that stayed empty for the whole grace. */
  private readonly emptied = new Set<string>();
  private readonly options: DirectorySourceOptions;
  private readonly limits: DirectoryLimits;

  constructor(options: DirectorySourceOptions) {
    this.options = options;
    this.limits = options.limits ?? DIRECTORY_LIMITS;
  }

  /** Reads everything, publishes it, and keeps watching. */
  start(): void {
    this.stopWatching = (this.options.watch ?? watchTree)(this.options.root, () => this.changed());
    this.scan();
    this.rescanLater();
  }

  close(): void {
    this.closed = true;
    this.cancelSettle?.();
    this.cancelRescan?.();
    this.stopWatching?.();
  }

  /** Something changed; files are read when it is quiet. */
  private changed(): void {
    if (this.closed) return;
    this.cancelSettle?.();
    this.cancelSettle = this.options.after(this.options.settleMs ?? 50, () => this.scan());
  }

  private rescanLater(): void {
    this.cancelRescan = this.options.after(this.options.rescanMs ?? 2000, () => {
      this.scan();
      this.rescanLater();
    });
  }

  /** Reads what changed and publishes when anything did. */
  scan(): void {
    if (this.closed) return;
    const listing = listFiles(this.options.root, this.limits);
    const next = new Map<string, KnownFile>();
    for (const { file, stats } of listing.files) next.set(file, this.refresh(file, stats));
    this.files = next;
    const state = JSON.stringify([[...next].map(([file, { stamp }]) => [file, stamp]), listing.problems]);
    if (state === this.published) return;
    this.published = state;
    const known = [...next.values()];
    this.options.publish({
      objects: known.flatMap(({ objects }) => objects),
      problems: [...listing.problems, ...known.flatMap(({ problems }) => problems)],
    });
  }

  private refresh(file: string, stats: Stats): KnownFile {
    const before = this.files.get(file);
    const stamp = `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
    if (before?.stamp === stamp) return before;
    if (stats.size > this.limits.maxFileBytes) {
      return {
        stamp,
        objects: [],
        problems: [fileProblem(file, `the file has ${stats.size} bytes; at most ${this.limits.maxFileBytes} are read. Split it`)],
      };
    }
    let text: string;
    try {
      text = readFileSync(file, "utf8");
    } catch (cause) {
      return { stamp, objects: [], problems: [fileProblem(file, `the file cannot be read: ${reason(cause)}`)] };
    }
    if (text.trim() === "" && before && before.objects.length > 0 && !this.emptied.delete(file)) return this.grace(file, before);
    return { stamp, ...this.options.validate(text, file) };
  }

  /** Keeps a truncated file's objects for a moment; if it is empty then, too, they are deleted. */
  private grace(file: string, before: KnownFile): KnownFile {
    if (before.inGrace) return before;
    this.options.after(this.options.emptyGraceMs ?? 500, () => {
      this.emptied.add(file);
      this.scan();
      this.emptied.delete(file);
    });
    // No stamp is like this one, so that the file is read again at the next look.
    return { ...before, stamp: "", inGrace: true };
  }
}

interface Listing {
  readonly files: readonly { readonly file: string; readonly stats: Stats }[];
  readonly problems: readonly Problem[];
}

/** YAML and JSON files below a root, sorted; hidden names (`..data`, editors' files) are skipped. */
function listFiles(root: string, limits: DirectoryLimits): Listing {
  const files: { file: string; stats: Stats }[] = [];
  const problems: Problem[] = [];
  const visited = new Set<string>();
  const walk = (directory: string, depth: number): void => {
    const names = read(directory, () => readdirSync(directory).sort());
    if (!names) return;
    const real = read(directory, () => realpathSync(directory));
    if (real === undefined || visited.has(real)) return;
    visited.add(real);
    for (const name of names) if (!isHidden(name)) visit(join(directory, name), depth);
  };
  const visit = (path: string, depth: number): void => {
    // A file that vanished between listing and looking was deleted.
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isDirectory()) {
      if (depth < limits.maxDepth) walk(path, depth + 1);
      else
        problems.push(fileProblem(path, `directories are nested more than ${limits.maxDepth} deep; what is below is not read`));
    } else if (stats?.isFile() && /\.(?:ya?ml|json)$/i.test(path)) {
      if (files.length < limits.maxFiles) files.push({ file: path, stats });
      else if (!problems.some(({ message }) => message.includes("more than"))) {
        problems.push(fileProblem(root, `the directory has more than ${limits.maxFiles} files; the rest is not read`));
      }
    }
  };
  const read = <T>(path: string, get: () => T): T | undefined => {
    try {
      return get();
    } catch (cause) {
      problems.push(fileProblem(path, `the directory cannot be read: ${reason(cause)}`));
      return undefined;
    }
  };
  walk(root, 0);
  return { files, problems };
}

function isHidden(name: string): boolean {
  return name.startsWith(".") || name.startsWith("#") || name.endsWith("~");
}

function fileProblem(file: string, message: string): Problem {
  return { severity: "error", ref: undefined, path: "", message, source: { file, line: 0, column: 0 } };
}

function reason(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
  const words: { readonly [code: string]: string } = {
    ENOENT: "it does not exist",
    EACCES: "permission denied",
    ENOTDIR: "it is not a directory",
  };
  return words[code] ?? code;
}

/** Events of a tree by `fs.watch`; where that fails (too many watches, no support) rescans are all there is. */
function watchTree(root: string, changed: () => void): () => void {
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(root, { recursive: true, persistent: false }, changed);
    watcher.on("error", () => watcher?.close());
  } catch {
    return () => {};
  }
  return () => watcher.close();
}
