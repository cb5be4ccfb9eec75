/**
 * Small pieces that hold an unknown JSON value against an IR type and report everything that is wrong with it.
 *
 * A check never builds anything: what passes is the parsed value itself. That is sound because unknown fields are refused
 * and every default was filled in by the control plane. Nesting is bounded by the types: none of them is recursive.
 */
import { fail, type Issue, ok, type Result } from "../../result.ts";

/** Problems kept of one value; further ones are counted in one closing line. */
export const MAX_ISSUES = 100;

/** Collects problems with paths relative to the value under check; the caller puts its own place in front. */
export class Issues {
  readonly list: { path: string; problem: string }[] = [];
  /** All problems, kept or not: it grows with every one, so comparing it tells whether a check has passed. */
  count = 0;

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

/** Holds a value against `T`. The type parameter is invariant, so a check of a wider or narrower type does not fit. */
export interface Check<T> {
  (value: unknown, issues: Issues): void;
  readonly of?: (value: T) => T;
}

/** A field that may be absent. JSON has no `undefined`, and `null` is not absence. */
export interface Optional<T> {
  readonly optional: Check<T>;
}
export function optional<T>(check: Check<T>): Optional<T> {
  return { optional: check };
}

type OptionalKeys<T> = { [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? K : never }[keyof T];
/** One entry for every key of `T`, required or optional as in `T`: a forgotten or extra field does not compile. */
export type Shape<T> = {
  readonly [K in keyof T]-?: K extends OptionalKeys<T> ? Optional<Exclude<T[K], undefined>> : Check<T[K]>;
};

export function runCheck<T>(check: Check<T>, value: unknown): Result<T> {
  const issues = new Issues();
  check(value, issues);
  return issues.result(value as T);
}

interface Field {
  readonly check: (value: unknown, issues: Issues) => void;
  readonly required: boolean;
}

type Entry = Field["check"] | { readonly optional: Field["check"] };

/** An object with exactly these fields. */
export function object<T extends object>(shape: Shape<T>): Check<T> {
  return members(Object.entries(shape));
}

function members(entries: readonly (readonly [name: string, entry: Entry])[]): Field["check"] {
  const fields = new Map<string, Field>();
  for (const [name, entry] of entries) {
    const required = typeof entry === "function";
    fields.set(name, { check: required ? entry : entry.optional, required });
  }
  const required = [...fields.values()].filter((field) => field.required).length;
  return (value, issues) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      issues.add("", `must be an object, is ${kindOf(value)}`);
      return;
    }
    const held = value as Record<string, unknown>;
    let present = 0;
    for (const name in held) {
      const field = fields.get(name);
      if (field === undefined) {
        issues.add(quoted(name), "unknown field");
        continue;
      }
      if (field.required) present++;
      const from = issues.count;
      field.check(held[name], issues);
      if (issues.count !== from) issues.within(from, name);
    }
    if (present !== required) reportMissing(held, fields, issues);
  };
}

function reportMissing(held: Record<string, unknown>, fields: ReadonlyMap<string, Field>, issues: Issues): void {
  for (const [name, field] of fields) {
    if (field.required && !Object.hasOwn(held, name)) issues.add(name, "required field is missing");
  }
}

/** An array of at most `max` items. */
export function array<T>(item: Check<T>, max: number, min = 0): Check<readonly T[]> {
  return (value, issues) => {
    if (!Array.isArray(value)) {
      issues.add("", `must be an array, is ${kindOf(value)}`);
      return;
    }
    if (value.length > max || value.length < min) {
      issues.add(
        "",
        value.length > max ? `has ${value.length} items, at most ${max} are allowed` : `needs at least ${min} item(s)`,
      );
      return;
    }
    for (let i = 0; i < value.length; i++) {
      const from = issues.count;
      item(value[i], issues);
      if (issues.count !== from) issues.within(from, `[${i}]`);
    }
  };
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
  };
}

/** An integer within both bounds. */
export function integer(min: number, max: number): Check<number> {
  return (value, issues) => {
    if (!Number.isSafeInteger(value)) issues.add("", `must be an integer, is ${kindOf(value)}`);
    else if ((value as number) < min || (value as number) > max) issues.add("", `must be from ${min} to ${max}`);
  };
}

/** A finite number within both bounds. */
export function number(min: number, max: number): Check<number> {
  return (value, issues) => {
    if (typeof value !== "number" || !Number.isFinite(value)) issues.add("", `must be a number, is ${kindOf(value)}`);
    else if (value < min || value > max) issues.add("", `must be from ${min} to ${max}`);
  };
}

export const boolean: Check<boolean> = (value, issues) => {
  if (typeof value !== "boolean") issues.add("", `must be true or false, is ${kindOf(value)}`);
};

/** One of these values, and `T` is exactly their union. */
export function oneOf<const T extends string | number>(...values: readonly T[]): Check<T> {
  const allowed = new Set<unknown>(values);
  return (value, issues) => {
    if (!allowed.has(value)) issues.add("", `must be one of ${values.join(", ")}`);
  };
}

export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, issues) => {
    if (value !== null) check(value, issues);
  };
}

/** A number or word, whichever `T` and `U` are; `first` decides for values of its own JSON type. */
export function either<T extends number, U extends string>(numeric: Check<T>, word: Check<U>): Check<T | U> {
  return (value, issues) => (typeof value === "number" ? numeric(value, issues) : word(value, issues));
}

/** A two-item array. */
export function pair<A, B>(first: Check<A>, second: Check<B>): Check<readonly [A, B]> {
  return (value, issues) => {
    if (!Array.isArray(value) || value.length !== 2) {
      issues.add("", "must be an array of two items");
      return;
    }
    const from = issues.count;
    first(value[0], issues);
    if (issues.count !== from) issues.within(from, "[0]");
    const middle = issues.count;
    second(value[1], issues);
    if (issues.count !== middle) issues.within(middle, "[1]");
  };
}

/** For each value of the field `K` of the union `T`: the shape of that member, without `K` itself. */
export type Cases<T, K extends keyof T> = {
  readonly [V in T[K] & string]: Shape<Omit<Extract<T, { readonly [P in K]: V }>, K>>;
};

/** A union told apart by the field `tag`. */
export function variants<T extends object, const K extends keyof T & string>(tag: K, cases: Cases<T, K>): Check<T> {
  const table = new Map<unknown, Field["check"]>();
  for (const [value, shape] of Object.entries<Record<string, Entry>>(cases)) {
    table.set(value, members([...Object.entries(shape), [tag, seen]]));
  }
  const known = [...table.keys()].join(", ");
  return (value, issues) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      issues.add("", `must be an object, is ${kindOf(value)}`);
      return;
    }
    const check = Object.hasOwn(value, tag) ? table.get((value as Record<string, unknown>)[tag]) : undefined;
    if (check === undefined) issues.add(tag, `must be one of ${known}`);
    else check(value, issues);
  };
}

/** The tag itself, which has been looked at already. */
const seen: Field["check"] = () => {};

/** Reports every item whose name was there before. */
export function unique<T>(items: readonly T[], nameOf: (item: T) => string, path: string, issues: Issues): void {
  const seen = new Set<string>();
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (item === undefined) continue;
    const name = nameOf(item);
    if (seen.has(name)) issues.add(`${path}[${i}]`, `${quoted(name)} appears more than once`);
    seen.add(name);
  }
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value;
}

const SHOWN = 80;
/** A name from outside as it may stand in a message: short, printable. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > SHOWN ? `${name.slice(0, SHOWN)}…` : name);
}
