/**
 * Checks of objects, from one entry for every field. An object stands in a document by its field names, or in a chunk (where there are
 * thousands of one type) as a row: its values in the order of the shape, `null` for an absent one, absent ones at the end left out. A
 * new field is therefore added at the end of a shape.
 */
import { type AnyCheck, type Check, composite, readAt, writeItems } from "./check.ts";
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
  readonly shareable: boolean;
  readonly required: boolean;
  /** Characters of its name in JSON: in quotes, with a colon, and with the comma or brace before it. */
  readonly nameSize: number;
}

/**
 * An object of a row's values, one property for each, absent ones undefined. Where a type is frequent, a literal written out is several
 * times as fast as adding properties by name, and gives all objects of the type one layout.
 */
export type Make = (row: readonly unknown[]) => object;

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
    if (typeof value !== "object" || value === null || (Array.isArray(value) && issues.shared === undefined)) {
      issues.add("", `must be an object, is ${kindOf(value)}`);
      return value;
    }
    const named = Array.isArray(value) ? value[0] : Object.hasOwn(value, tag) && (value as Record<string, unknown>)[tag];
    const members = table.get(named);
    if (members !== undefined) return members.read(value, issues);
    issues.add(tag, `must be one of ${known}`);
    return value;
  };
  // A value of `T` has one of the tags: the cases are all of them.
  return composite(read, (value: T) => table.get(value[tag])?.row(value) ?? []);
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
  return composite(read, (value: T) => writeItems(check, value));
}

/** The fields of one object type. */
class Members {
  readonly #fields: readonly Field[];
  readonly #byName: ReadonlyMap<string, Field>;
  readonly #required: number;
  readonly #make: Make | undefined;

  constructor(entries: Entries, make: Make | undefined) {
    this.#fields = entries.map(([name, entry]) => {
      const required = typeof entry === "function";
      const check = required ? entry : entry.optional;
      return { name, check, shareable: check.shareable === true, required, nameSize: name.length + 4 };
    });
    this.#byName = new Map(this.#fields.map((field) => [field.name, field]));
    this.#required = this.#fields.filter((field) => field.required).length;
    this.#make = make;
    if (make !== undefined) proveMake(make, [...this.#byName.keys()]);
  }

  check<T extends object>(): Check<T> {
    return composite(
      (value, issues) => this.read(value, issues),
      (value: T) => this.row(value),
    );
  }

  read(value: unknown, issues: Issues): unknown {
    if (Array.isArray(value) && issues.shared !== undefined) return this.#readRow(value, issues);
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

  #readRow(row: unknown[], issues: Issues): unknown {
    const fields = this.#fields;
    if (row.length > fields.length) issues.add("", `has ${row.length} fields, at most ${fields.length} are known`);
    let size = 1;
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as Field;
      const item = i < row.length ? row[i] : null;
      if (item === null) {
        if (field.required) issues.add(field.name, MISSING);
        if (i < row.length) row[i] = undefined;
        continue;
      }
      size += field.nameSize;
      const from = issues.count;
      const kept = readAt(item, field.check, field.shareable, issues);
      if (kept !== item) row[i] = kept;
      if (issues.count !== from) issues.within(from, field.name);
    }
    issues.grow(size);
    return this.#make === undefined ? this.#object(row) : this.#make(row);
  }

  #object(row: readonly unknown[]): object {
    const made: Record<string, unknown> = {};
    for (let i = 0; i < this.#fields.length; i++) {
      const item = row[i];
      if (item !== undefined) made[(this.#fields[i] as Field).name] = item;
    }
    return made;
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
      held[name] = readAt(held[name], field.check, field.shareable, issues);
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
  const made = Object.entries(make(names));
  if (made.length !== names.length || made.some(([name, value]) => name !== value)) {
    throw new TypeError(`an object is made of ${names.join(", ")}, and not as ${JSON.stringify(made)}`);
  }
}
