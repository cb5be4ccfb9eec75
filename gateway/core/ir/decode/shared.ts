/**
 * Equal parts of a chunk are written once. A chunk is `{"items": [resource…], "shared": [part…]}`; where an object or array is
 * expected, an integer stands for the part at that place of `shared`. Parts refer to earlier parts only, so there are no cycles, and a
 * part is of one type, whatever else it could be read as.
 *
 * Reading replaces each reference by the part itself: one value for all its places, checked once and never changed afterwards. The
 * work is therefore bounded by the chunk's bytes; what readers that walk the resources later will meet is bounded by
 * `DECODE_LIMITS.chunkSize`, which counts as if nothing were shared.
 */
import type { AnyCheck } from "./check.ts";
import type { Issues } from "./issues.ts";

/** An object or array as it is written: equal parts of one type may be shared. */
export class Part {
  readonly type: object;
  readonly items: readonly unknown[];

  constructor(type: object, items: readonly unknown[]) {
    this.type = type;
    this.items = items;
  }
}

interface ReadPart {
  readonly check: AnyCheck;
  readonly value: unknown;
  /** What it adds to `Issues.size` at every place it is used at. */
  readonly size: number;
}

export class SharedParts {
  readonly #parts: readonly unknown[];
  readonly #read: (ReadPart | undefined)[];
  /** Only parts before this one may be referred to. */
  #end: number;

  constructor(parts: readonly unknown[]) {
    this.#parts = parts;
    this.#read = new Array<ReadPart | undefined>(parts.length).fill(undefined);
    this.#end = parts.length;
  }

  /** The part that `reference` stands for, read by `check`. */
  resolve(reference: number, check: AnyCheck, issues: Issues): unknown {
    if (!Number.isInteger(reference) || reference < 0 || reference >= this.#end) {
      issues.add("", `refers to shared part ${reference}, and only the first ${this.#end} can be meant here`);
      return undefined;
    }
    const known = this.#read[reference];
    if (known === undefined) return this.#readPart(reference, check, issues);
    if (known.check !== check) issues.add("", `refers to shared part ${reference}, which is of another type`);
    issues.grow(known.size);
    return known.value;
  }

  #readPart(reference: number, check: AnyCheck, issues: Issues): unknown {
    const end = this.#end;
    const size = issues.size;
    this.#end = reference;
    const value = check(this.#parts[reference], issues);
    this.#end = end;
    this.#read[reference] = { check, value, size: issues.size - size };
    return value;
  }

  /** Nothing may lie in a chunk unread. */
  reportUnused(issues: Issues): void {
    const unused = this.#read.indexOf(undefined);
    if (unused !== -1) issues.add(`shared[${unused}]`, "is a shared part that nothing refers to");
  }
}
