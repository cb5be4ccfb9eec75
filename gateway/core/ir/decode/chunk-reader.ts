/**
 * The form of a chunk, `{"items": […], "shared": [[…]…]}`: resources laid out flat, one JSON value after the other, so that nothing but the
 * resources themselves is made when it is read.
 *
 * An object or array stands as a count and so many values: an object's in the order of its shape, `null` for an absent one, absent ones at
 * the end left out; an array's as they are. Equal parts are written once: instead of a count, `-1 - n` stands for the part at place `n` of
 * `shared`, laid out in the same way. Parts refer to earlier parts only, so there are no cycles, and a part is of one type, whatever else
 * it could be read as. A JSON object or array where a count is due is the value itself, written with names.
 *
 * A part that is referred to is one value for all its places, checked once and never changed afterwards. The work is therefore bounded by
 * the chunk's bytes (each of the values that a count announces takes at least one that is there); what readers that walk the resources
 * later will meet is bounded by `DECODE_LIMITS.chunkSize`, which counts as if nothing were shared. Across the chunks of a snapshot, parts of the
 * `recurring` types are one value, too (known-parts.ts).
 */
import type { AnyCheck } from "./check.ts";
import type { Issues } from "./issues.ts";
import { type KnownPart, KnownParts, type ReadPart } from "./known-parts.ts";

/** An object or array as it is written: equal parts of one type may be shared. */
export class Part {
  readonly type: object;
  readonly items: readonly unknown[];

  constructor(type: object, items: readonly unknown[]) {
    this.type = type;
    this.items = items;
  }
}

/** Reads `count` values as an object or array. */
export type ReadParts = (reader: ChunkReader, count: number, issues: Issues) => unknown;

/** Reads the chunks of a snapshot one after the other. */
export class ChunkReader {
  #values: readonly unknown[] = NOTHING;
  #at = 0;
  #broken = false;
  #parts: readonly unknown[] = NOTHING;
  #read: (ReadPart | undefined)[] = [];
  /** Only parts before this one may be referred to. */
  #end = 0;
  /** Of the chunks of the same snapshot that were read before. */
  readonly #known = new KnownParts();

  /** All that is in a chunk, as `check` wants it: nothing may lie in it unread. */
  chunk(items: readonly unknown[], parts: readonly unknown[], check: AnyCheck, issues: Issues): unknown {
    this.#values = items;
    this.#at = 0;
    this.#broken = false;
    this.#parts = parts;
    this.#read = new Array<ReadPart | undefined>(parts.length).fill(undefined);
    this.#end = parts.length;
    const value = this.#whole(check, issues);
    const unused = this.#read.indexOf(undefined);
    if (unused !== -1 && !this.#broken) issues.add(`shared[${unused}]`, "is a shared part that nothing refers to");
    return value;
  }

  /** The next chunk is another snapshot's. */
  forget(): void {
    this.#values = NOTHING;
    this.#parts = NOTHING;
    this.#read = [];
    this.#known.clear();
  }

  /** The values do not stand where they should, and nothing after here means anything. It was reported. */
  get broken(): boolean {
    return this.#broken;
  }

  /** The next value as it stands; undefined at the end. */
  next(): unknown {
    return this.#values[this.#at++];
  }

  /** The same, and the next value stays next. */
  peek(): unknown {
    return this.#values[this.#at];
  }

  /** What `value`, which was next, stands for where `check` applies. */
  resolve(value: unknown, check: AnyCheck, issues: Issues): unknown {
    const { parts } = check;
    if (value === undefined) return this.break("ends before its last value", issues);
    if (parts === undefined || typeof value !== "number") return check(value, issues);
    if (value < 0) return this.#shared(-1 - value, check, issues);
    const left = this.#values.length - this.#at;
    if (Number.isInteger(value) && value <= left) return parts(this, value, issues);
    return this.break(`says that ${value} values follow, and there are ${left}`, issues);
  }

  /**
   * Reads `count` values as `check` has it, or takes what was read of the same ones before: it goes to as many places as if it were written once.
   *
   * @param keyPlaces where among the values there may be what tells parts of this type apart
   */
  recurring(check: AnyCheck, count: number, keyPlaces: readonly number[], issues: Issues): unknown {
    const known = this.#findKnown(check, count, this.#key(count, keyPlaces));
    if (known !== undefined) {
      this.#at += known.values.length;
      issues.grow(known.size);
      return known.value;
    }
    const start = this.#at;
    const { count: problems, size } = issues;
    const value = check.parts?.(this, count, issues);
    if (issues.count !== problems || this.#broken) return value;
    const end = this.#at;
    this.#at = start;
    // The parts that it refers to may have been read only now.
    const key = this.#key(count, keyPlaces);
    const late = this.#findKnown(check, count, key);
    if (late === undefined && key !== undefined && this.#known.hasRoom(check, key)) {
      const values = this.#values.slice(start, end);
      for (let i = 0; i < values.length; i++) values[i] = this.#referred(values[i]) ?? values[i];
      this.#known.add(key, { check, value, size: issues.size - size, count, values });
    }
    this.#at = end;
    return late === undefined ? value : late.value;
  }

  #findKnown(check: AnyCheck, count: number, key: unknown): KnownPart | undefined {
    let known = key === undefined ? undefined : this.#known.find(check, key);
    while (known !== undefined && (known.count !== count || !this.#repeats(known.values))) known = known.next;
    return known;
  }

  /** The first text or part at these places after the count; the count itself where there is nothing after it. */
  #key(count: number, places: readonly number[]): unknown {
    if (count === 0) return count;
    for (let i = 0; i < places.length; i++) {
      const value = this.#values[this.#at + (places[i] as number)];
      if (typeof value === "string") return value;
      const part = this.#referred(value);
      if (part !== undefined) return part.value;
    }
    return undefined;
  }

  /** Whether these values come next. No value that begins as these do is of another length: counts say where each ends. */
  #repeats(values: readonly unknown[]): boolean {
    for (let i = 0; i < values.length; i++) {
      const known = values[i];
      const value = this.#values[this.#at + i];
      if (value === known) continue;
      if (typeof known !== "object" || known === null) return false;
      const part = this.#referred(value);
      if (part === undefined || !sameValue(part, known as ReadPart)) return false;
    }
    return true;
  }

  /** The part that `value` refers to, where it may and the part was read already. No check takes a negative number, so each one refers. */
  #referred(value: unknown): ReadPart | undefined {
    if (typeof value !== "number" || value >= 0) return undefined;
    const place = -1 - value;
    return place < this.#end ? this.#read[place] : undefined;
  }

  /** Reports a problem after which it is not known where values begin and end. */
  break(problem: string, issues: Issues, path = ""): undefined {
    issues.add(path, problem);
    this.#broken = true;
  }

  #whole(check: AnyCheck, issues: Issues): unknown {
    const first = this.next();
    if (typeof first === "number" && first < 0) return this.break("begins with a reference, where a count is due", issues);
    const value = this.resolve(first, check, issues);
    const left = this.#values.length - this.#at;
    if (left > 0 && !this.#broken) issues.add("", `has ${left} more values than it says`);
    return value;
  }

  #shared(place: number, check: AnyCheck, issues: Issues): unknown {
    if (!Number.isInteger(place) || place >= this.#end) {
      issues.add("", `refers to shared part ${place}, and only the first ${this.#end} can be meant here`);
      return undefined;
    }
    const known = this.#read[place];
    if (known === undefined) return this.#readPart(place, check, issues);
    if (known.check !== check) issues.add("", `refers to shared part ${place}, which is of another type`);
    issues.grow(known.size);
    return known.value;
  }

  #readPart(place: number, check: AnyCheck, issues: Issues): unknown {
    const values = this.#values;
    const at = this.#at;
    const end = this.#end;
    const size = issues.size;
    const part = this.#parts[place];
    this.#values = Array.isArray(part) ? part : [];
    this.#at = 0;
    this.#end = place;
    const value = this.#whole(check, issues);
    this.#values = values;
    this.#at = at;
    this.#end = end;
    this.#broken = false;
    this.#read[place] = { check, value, size: issues.size - size };
    return value;
  }
}

function sameValue(a: ReadPart, b: ReadPart): boolean {
  return a.value === b.value && a.check === b.check;
}

const NOTHING: readonly never[] = [];
