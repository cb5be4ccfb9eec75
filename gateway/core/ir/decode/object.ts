/**
 * Checks of objects, from one entry for every field. An object stands in a document by its field names, or in a chunk (where there are
 * thousands of one type) as a row: its values in the order of the shape (see chunk-reader.ts). A new field is therefore added at the end
 * of a shape.
 */
import { type AnyCheck, type Check, composite, writeItems } from "./check.ts";
import type { ChunkReader, ReadParts } from "./chunk-reader.ts";
import { type Issues, kindOf, quoted } from "./issues.ts";

/** A field that may be absent. By name, `null` is not absence. */
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

type Entry = AnyCheck | { readonly optional: AnyCheck };
type Entries = readonly (readonly [name: string, entry: Entry])[];

interface Field {
  readonly name: string;
  readonly check: AnyCheck;
  readonly required: boolean;
  /** Characters of its name in JSON: in quotes, with a colon, and with the comma or brace before it. */
  readonly nameSize: number;
}

/**
 * An object of a row's values, one property for each, absent ones undefined. Where a type is frequent, a literal written out is several
 * times as fast as adding properties by name, and gives all objects of the type one layout. At most `MAX_MADE` fields.
 */
export type Make = (
  ...values: readonly [
    ...(readonly [a: unknown, b: unknown, c: unknown, d: unknown, e: unknown]),
    ...(readonly [f: unknown, g: unknown, h: unknown, i: unknown, j: unknown]),
  ]
) => object;
const MAX_MADE = 10;

/** An object with exactly these fields. */
export function object<T extends object>(shape: Shape<T>, make?: Make): Check<T> {
  return new Members(Object.entries(shape), make).check<T>();
}

/** For each value of the field `K` of the union `T`: the shape of that member, without `K` itself. */
export type Cases<T, K extends keyof T> = {
  readonly [V in T[K] & string]: Shape<Omit<Extract<T, { readonly [P in K]: V }>, K>>;
};

/** A union told apart by the field `tag`, which comes first in a row. */
export function variants<T extends object, const K extends keyof T & string>(
  tag: K,
  cases: Cases<T, K>,
  makes: { readonly [V in T[K] & string]?: Make } = {},
): Check<T> {
  const table = new Map<unknown, Members>();
  for (const [value, shape] of Object.entries<Readonly<Record<string, Entry>>>(cases)) {
    const make = (makes as Readonly<Record<string, Make | undefined>>)[value];
    table.set(value, new Members([[tag, seen], ...Object.entries(shape)], make));
  }
  const known = [...table.keys()].join(", ");
  const read = (value: unknown, issues: Issues): unknown => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      issues.add("", `must be an object, is ${kindOf(value)}`);
      return value;
    }
    const members = table.get(Object.hasOwn(value, tag) && (value as Record<string, unknown>)[tag]);
    if (members !== undefined) return members.read(value, issues);
    issues.add(tag, `must be one of ${known}`);
    return value;
  };
  const parts: ReadParts = (reader, count, issues) => {
    const members = count === 0 ? undefined : table.get(reader.peek());
    return members === undefined ? reader.break(`must be one of ${known}`, issues, tag) : members.parts(reader, count, issues);
  };
  // A value of `T` has one of the tags: the cases are all of them.
  return composite(read, parts, (value: T) => table.get(value[tag])?.row(value) ?? []);
}

/** The tag itself, which has been looked at already. */
const seen: AnyCheck = (value) => value;

/** `check`, and for what passes a rule about how its fields go together. */
export function refined<T extends object>(check: Check<T>, rule: (value: T, issues: Issues) => void): Check<T> {
  const read = (value: unknown, issues: Issues): unknown => {
    const from = issues.count;
    const kept = check(value, issues);
    if (issues.count === from) rule(kept as T, issues);
    return kept;
  };
  const parts: ReadParts = (reader, count, issues) => {
    const from = issues.count;
    const kept = check.parts?.(reader, count, issues);
    if (issues.count === from) rule(kept as T, issues);
    return kept;
  };
  return composite(read, parts, (value: T) => writeItems(check, value));
}

/** The fields of one object type. */
class Members {
  readonly #fields: readonly Field[];
  readonly #byName: ReadonlyMap<string, Field>;
  readonly #required: number;
  /** Place after the last field that is required. */
  readonly #requiredEnd: number;
  readonly #make: Make | undefined;

  constructor(entries: Entries, make: Make | undefined) {
    this.#fields = entries.map(([name, entry]) => {
      const required = typeof entry === "function";
      const check = required ? entry : entry.optional;
      return { name, check, required, nameSize: name.length + 4 };
    });
    this.#byName = new Map(this.#fields.map((field) => [field.name, field]));
    this.#required = this.#fields.filter((field) => field.required).length;
    this.#requiredEnd = this.#fields.findLastIndex((field) => field.required) + 1;
    this.#make = make;
    if (make !== undefined) proveMake(make, [...this.#byName.keys()]);
  }

  check<T extends object>(): Check<T> {
    return composite(
      (value, issues) => this.read(value, issues),
      (reader, count, issues) => this.parts(reader, count, issues),
      (value: T) => this.row(value),
    );
  }

  read(value: unknown, issues: Issues): unknown {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      issues.add("", `must be an object, is ${kindOf(value)}`);
      return value;
    }
    this.#readNamed(value as Record<string, unknown>, issues);
    return value;
  }

  row(value: object): readonly unknown[] {
    const row: unknown[] = [];
    for (const { name, check } of this.#fields) {
      const item = (value as Readonly<Record<string, unknown>>)[name];
      row.push(item === undefined ? null : check.write === undefined ? item : check.write(item as never));
    }
    while (row.at(-1) === null) row.pop();
    return row;
  }

  parts(reader: ChunkReader, count: number, issues: Issues): unknown {
    const fields = this.#fields;
    if (count > fields.length) return reader.break(`has ${count} fields, at most ${fields.length} are known`, issues);
    issues.grow(1);
    for (let i = count; i < this.#requiredEnd; i++) this.#missing(i, issues);
    if (this.#make === undefined) return this.#named(reader, count, issues);
    // Written out: a list of the values would have to be made, or kept, for each object.
    return this.#make(
      count > 0 ? this.#value(0, reader, issues) : undefined,
      count > 1 ? this.#value(1, reader, issues) : undefined,
      count > 2 ? this.#value(2, reader, issues) : undefined,
      count > 3 ? this.#value(3, reader, issues) : undefined,
      count > 4 ? this.#value(4, reader, issues) : undefined,
      count > 5 ? this.#value(5, reader, issues) : undefined,
      count > 6 ? this.#value(6, reader, issues) : undefined,
      count > 7 ? this.#value(7, reader, issues) : undefined,
      count > 8 ? this.#value(8, reader, issues) : undefined,
      count > 9 ? this.#value(9, reader, issues) : undefined,
    );
  }

  #named(reader: ChunkReader, count: number, issues: Issues): object {
    const made: Record<string, unknown> = {};
    for (let i = 0; i < count; i++) {
      const value = this.#value(i, reader, issues);
      if (value !== undefined) made[(this.#fields[i] as Field).name] = value;
    }
    return made;
  }

  #value(i: number, reader: ChunkReader, issues: Issues): unknown {
    if (reader.broken) return undefined;
    const value = reader.next();
    if (value === null) {
      this.#missing(i, issues);
      return undefined;
    }
    const field = this.#fields[i] as Field;
    issues.grow(field.nameSize);
    const from = issues.count;
    const kept = reader.resolve(value, field.check, issues);
    if (issues.count !== from) issues.within(from, field.name);
    return kept;
  }

  #missing(i: number, issues: Issues): void {
    const { name, required } = this.#fields[i] as Field;
    if (required) issues.add(name, MISSING);
  }

  #readNamed(held: Record<string, unknown>, issues: Issues): void {
    let present = 0;
    let size = 1;
    for (const name in held) {
      const field = this.#byName.get(name);
      if (field === undefined) {
        issues.add(quoted(name), "unknown field");
        continue;
      }
      if (field.required) present++;
      size += field.nameSize;
      const from = issues.count;
      held[name] = field.check(held[name], issues);
      if (issues.count !== from) issues.within(from, name);
    }
    issues.grow(size);
    if (present === this.#required) return;
    for (const { name, required } of this.#fields) {
      if (required && !Object.hasOwn(held, name)) issues.add(name, MISSING);
    }
  }
}

const MISSING = "required field is missing";

/** Held against the names themselves, so that no value can end in another field than its own. */
function proveMake(make: Make, names: readonly string[]): void {
  if (names.length > MAX_MADE) throw new TypeError(`an object of ${names.length} fields is made without a literal`);
  const [a, b, c, d, e, f, g, h, i, j] = names;
  const made = Object.entries(make(a, b, c, d, e, f, g, h, i, j));
  if (made.length !== names.length || made.some(([name, value]) => name !== value)) {
    throw new TypeError(`an object is made of ${names.join(", ")}, and not as ${JSON.stringify(made)}`);
  }
}
