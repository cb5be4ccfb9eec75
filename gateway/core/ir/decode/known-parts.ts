/**
 * Parts that say the same in several chunks of a snapshot. Within a chunk equal parts are written once; chunks know nothing of each other, and thousands
 * of routes go to the same few services in the same way. Kept are the values that a part was read of, so that the next one of the same values
 * is recognised before anything is made of it.
 */
import type { AnyCheck } from "./check.ts";

/** What was read at a place of `shared`. */
export interface ReadPart {
  readonly check: AnyCheck;
  readonly value: unknown;
  /** What it adds to `Issues.size` at every place it is used at. */
  readonly size: number;
}

/** A part that was read without a problem. */
export interface KnownPart extends ReadPart {
  /** The count it began with, and the values after it; a `ReadPart` where a reference stood. */
  readonly count: number;
  readonly values: readonly unknown[];
  /** Another one under the same key. */
  readonly next: KnownPart | undefined;
}

/** Parts that are remembered while the chunks of one snapshot are read; further ones are read each time. */
export const MAX_KNOWN_PARTS = 4_096;
/** Of those, so many under one key, which are held against what comes one after the other. */
export const MAX_ALIKE_PARTS = 4;

export class KnownParts {
  readonly #byCheck = new Map<AnyCheck, Map<unknown, KnownPart>>();
  #size = 0;

  /** The first of the parts of this type under `key`. */
  find(check: AnyCheck, key: unknown): KnownPart | undefined {
    return this.#byCheck.get(check)?.get(key);
  }

  hasRoom(check: AnyCheck, key: unknown): boolean {
    return this.#size < MAX_KNOWN_PARTS && lengthOf(this.find(check, key)) < MAX_ALIKE_PARTS;
  }

  /** Where there is room. */
  add(key: unknown, { check, value, size, count, values }: Omit<KnownPart, "next">): void {
    let byKey = this.#byCheck.get(check);
    if (byKey === undefined) {
      byKey = new Map();
      this.#byCheck.set(check, byKey);
    }
    byKey.set(key, { check, value, size, count, values, next: byKey.get(key) });
    this.#size += 1;
  }

  clear(): void {
    this.#byCheck.clear();
    this.#size = 0;
  }
}

function lengthOf(part: KnownPart | undefined): number {
  let length = 0;
  for (let at = part; at !== undefined; at = at.next) length += 1;
  return length;
}
