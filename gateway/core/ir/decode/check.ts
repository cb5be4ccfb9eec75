/**
 * Small pieces that hold an unknown JSON value against an IR type and report everything that is wrong with it.
 *
 * What passes is the parsed value itself, or what was read of a chunk. That is sound because unknown fields are refused and every default
 * was filled in by the control plane. Nesting is bounded by the types: none of them is recursive.
 */

import { repeated } from "../../repeated.ts";
import type { Result } from "../../result.ts";
import { Part, type ReadParts } from "./chunk-reader.ts";
import { Issues, kindOf, quoted } from "./issues.ts";

/**
 * Holds a value against `T` and returns what to keep of it, which means something only if no issue was added. The type parameter is
 * invariant, so a check of a wider or narrower type does not fit.
 */
export interface Check<T> {
  (value: unknown, issues: Issues): unknown;
  readonly of?: (value: T) => T;
  /** Of an object or array: how it is read of a chunk, where a count stands for it. */
  readonly parts?: ReadParts;
  /** The other way: a value as it is written into a chunk. Undefined: as it is. */
  readonly write?: (value: T) => unknown;
}

/** A check of some type that is no longer looked at. */
export interface AnyCheck {
  (value: unknown, issues: Issues): unknown;
  readonly parts?: ReadParts;
  readonly write?: (value: never) => unknown;
}

/** An object's or array's check. What it writes and what stands for it are of one type, and that type is the check itself. */
export function composite<T extends object>(
  read: (value: unknown, issues: Issues) => unknown,
  parts: ReadParts,
  itemsOf: (value: T) => readonly unknown[],
): Check<T> {
  const check: Check<T> = Object.assign(read, {
    parts,
    write: (value: T): Part => new Part(check, itemsOf(value)),
  });
  return check;
}

export function writeBy<T>(check: Check<T>, value: T): unknown {
  return check.write === undefined ? value : check.write(value);
}

/** What `check`, of an object or array, writes inside of its brackets. */
export function writeItems<T extends object>(check: Check<T>, value: T): readonly unknown[] {
  const written = writeBy(check, value);
  return written instanceof Part ? written.items : [];
}

export function runCheck<T>(check: Check<T>, value: unknown): Result<T> {
  const issues = new Issues();
  const kept = check(value, issues);
  return issues.result(kept as T);
}

/** An array of at most `max` items. */
export function array<T>(item: Check<T>, max: number, min = 0): Check<readonly T[]> {
  const read = (value: unknown, issues: Issues): unknown => {
    if (!Array.isArray(value)) {
      issues.add("", `must be an array, is ${kindOf(value)}`);
      return value;
    }
    if (value.length > max) {
      issues.add("", tooMany(value.length, max));
      return value;
    }
    if (value.length < min) issues.add("", tooFew(min));
    issues.grow(1 + value.length);
    for (let i = 0; i < value.length; i++) {
      const from = issues.count;
      const held: unknown = value[i];
      const kept = item(held, issues);
      if (kept !== held) value[i] = kept;
      if (issues.count !== from) issues.within(from, `[${i}]`);
    }
    return value;
  };
  const parts: ReadParts = (reader, count, issues) => {
    if (count > max) return reader.break(tooMany(count, max), issues);
    if (count < min) issues.add("", tooFew(min));
    issues.grow(1 + count);
    const items = new Array<unknown>(count);
    for (let i = 0; i < count && !reader.broken; i++) {
      const from = issues.count;
      items[i] = reader.resolve(reader.next(), item, issues);
      if (issues.count !== from) issues.within(from, `[${i}]`);
    }
    return items;
  };
  return composite(read, parts, (items: readonly T[]) => items.map((value) => writeBy(item, value)));
}

/**
 * `check`, whose values often say the same in several chunks of a snapshot: equal ones become one value.
 *
 * @param keyPlaces as `ChunkReader.recurring` has them: a text there, or a part, which few others of the type have
 */
export function recurring<T extends object>(check: Check<T>, ...keyPlaces: readonly number[]): Check<T> {
  const read = (value: unknown, issues: Issues): unknown => check(value, issues);
  const parts: ReadParts = (reader, count, issues) => reader.recurring(check, count, keyPlaces, issues);
  return composite(read, parts, (value: T) => writeItems(check, value));
}

function tooMany(count: number, max: number): string {
  return `has ${count} items, at most ${max} are allowed`;
}

function tooFew(min: number): string {
  return `needs at least ${min} item(s)`;
}

export interface TextRule {
  readonly max: number;
  readonly min?: number;
  readonly pattern?: RegExp;
  /** What the pattern stands for, as in `must be <is>`. */
  readonly is?: string;
}

/** A string of `min` (default 1) to `max` UTF-16 units, of the given form. Its content is never repeated in a problem. */
export function text(rule: TextRule): Check<string> {
  const { max, min = 1, pattern, is = `of the form ${pattern}` } = rule;
  return (value, issues) => {
    if (typeof value !== "string") issues.add("", `must be a string, is ${kindOf(value)}`);
    else if (value.length > max) issues.add("", `is ${value.length} long, at most ${max} is allowed`);
    else if (value.length < min) issues.add("", min === 1 ? "must not be empty" : `must be at least ${min} long`);
    else if (pattern !== undefined && !pattern.test(value)) issues.add("", `must be ${is}`);
    else issues.grow(value.length + 2);
    return value;
  };
}

/** An integer within both bounds. */
export function integer(min: number, max: number): Check<number> {
  requireNoReference(min);
  return (value, issues) => {
    if (!Number.isSafeInteger(value)) issues.add("", `must be an integer, is ${kindOf(value)}`);
    else if ((value as number) < min || (value as number) > max) issues.add("", `must be from ${min} to ${max}`);
    return value;
  };
}

/** A finite number within both bounds. */
export function number(min: number, max: number): Check<number> {
  requireNoReference(min);
  return (value, issues) => {
    if (typeof value !== "number" || !Number.isFinite(value)) issues.add("", `must be a number, is ${kindOf(value)}`);
    else if (value < min || value > max) issues.add("", `must be from ${min} to ${max}`);
    return value;
  };
}

/** In a chunk a negative number stands for a shared part (chunk-reader.ts). */
function requireNoReference(min: number): void {
  if (min < 0) throw new TypeError(`numbers from ${min} cannot be told from references to shared parts`);
}

export const boolean: Check<boolean> = (value, issues) => {
  if (typeof value !== "boolean") issues.add("", `must be true or false, is ${kindOf(value)}`);
  return value;
};

/** One of these values, and `T` is exactly their union. */
export function oneOf<const T extends string | number>(...values: readonly T[]): Check<T> {
  const allowed = new Set<unknown>(values);
  return (value, issues) => {
    if (!allowed.has(value)) issues.add("", `must be one of ${values.join(", ")}`);
    return value;
  };
}

export function nullable<T extends string | number>(check: Check<T>): Check<T | null> {
  return (value, issues) => (value === null ? null : check(value, issues));
}

/** A number or word, whichever `T` and `U` are; `first` decides for values of its own JSON type. */
export function either<T extends number, U extends string>(numeric: Check<T>, word: Check<U>): Check<T | U> {
  return (value, issues) => (typeof value === "number" ? numeric(value, issues) : word(value, issues));
}

/** A two-item array of texts or numbers. */
export function pair<A extends string | number, B extends string | number>(
  first: Check<A>,
  second: Check<B>,
): Check<readonly [A, B]> {
  const held = (a: unknown, b: unknown, issues: Issues): readonly unknown[] => {
    issues.grow(1 + 2);
    const from = issues.count;
    first(a, issues);
    if (issues.count !== from) issues.within(from, "[0]");
    const middle = issues.count;
    second(b, issues);
    if (issues.count !== middle) issues.within(middle, "[1]");
    return [a, b];
  };
  const read = (value: unknown, issues: Issues): unknown => {
    if (Array.isArray(value) && value.length === 2) return held(value[0], value[1], issues);
    issues.add("", NO_PAIR);
    return value;
  };
  const parts: ReadParts = (reader, count, issues) =>
    count === 2 ? held(reader.next(), reader.next(), issues) : reader.break(NO_PAIR, issues);
  return composite(read, parts, (items: readonly [A, B]) => items);
}

const NO_PAIR = "must be an array of two items";

/** Reports every item whose name was there before. */
export function unique<T>(items: readonly T[], nameOf: (item: T) => string, path: string, issues: Issues): void {
  for (const i of repeated(items, nameOf)) {
    issues.add(`${path}[${i}]`, `${quoted(nameOf(items[i] as T))} appears more than once`);
  }
}
