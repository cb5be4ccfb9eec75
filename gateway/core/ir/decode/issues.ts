import { fail, type Issue, ok, type Result } from "../../result.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";

/** Problems kept of one value; further ones are counted in one closing line. */
export const MAX_ISSUES = 100;

/** Collects problems with paths relative to the value under check; the caller puts its own place in front. */
export class Issues {
  readonly list: { path: string; problem: string }[] = [];
  /** All problems, kept or not: it grows with every one, so comparing it tells whether a check has passed. */
  count = 0;
  /**
   * Characters of this document's JSON so far, as if it were written out: objects with their field names, shared parts at every place they
   * are used at. Numbers, `true` and `false` are not counted, so it is never more.
   */
  size = 0;

  /** The next document, with a size of its own. */
  begin(): void {
    this.size = 0;
  }

  /** What was found was taken with `result`. */
  clear(): void {
    this.list.length = 0;
    this.count = 0;
    this.size = 0;
  }

  /** Adds to `size`; too much is reported once. */
  grow(by: number): void {
    const before = this.size;
    this.size += by;
    if (before <= LIMITS.chunkSize && this.size > LIMITS.chunkSize) {
      this.add("", `is too long written out, at most ${LIMITS.chunkSize} characters are read`);
    }
  }

  add(path: string, problem: string): void {
    if (this.count++ < MAX_ISSUES) this.list.push({ path, problem });
  }

  /** Puts `place` (a field name or `[index]`) in front of every path added since `count` was `from`. */
  within(from: number, place: string): void {
    for (let i = from; i < this.list.length; i++) {
      const issue = this.list[i];
      if (issue !== undefined) issue.path = joinPath(place, issue.path);
    }
  }

  result<T>(value: T): Result<T> {
    if (this.count === 0) return ok(value);
    const all: Issue[] = [...this.list];
    const dropped = this.count - all.length;
    if (dropped > 0) all.push({ path: "", problem: `${dropped} more problems are not listed` });
    return fail(all);
  }
}

function joinPath(place: string, rest: string): string {
  if (rest === "") return place;
  return rest.startsWith("[") ? place + rest : `${place}.${rest}`;
}

export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value;
}

const SHOWN = 80;
/** A name from outside as it may stand in a message: short, printable. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name);
}
