/** Header operations, lowered: what goes, then what is appended. */
import type { FieldList } from "../http/message.ts";
import type { HeaderOps } from "../ir/index.ts";
import type { Issue } from "../result.ts";
import { type Made, within } from "./made.ts";

export interface HeaderEdit {
  readonly drop: ReadonlySet<string>;
  /** Flat, like a field list. */
  readonly append: readonly string[];
}

/** Fields that the gateway itself answers for: framing, connection and authority. An operation on them would make messages ambiguous. */
const RESERVED: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** RFC 9110 5.5, without the white space around it. */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/** Remove, set, add, in this order; undefined when there is nothing to do. */
export function compileHeaderOps(
  ops: HeaderOps | undefined,
  at: string,
  part: string,
  to: HeaderCompiler,
): HeaderEdit | undefined {
  if (ops === undefined) return undefined;
  const { remove = NONE, set = NONE, add = NONE } = ops;
  const from = to.issues.length;
  for (let i = 0; i < remove.length; i++) checkName(remove[i] as string, "remove", i, to.issues);
  checkFields(set, "set", to.issues);
  checkFields(add, "add", to.issues);
  if (to.issues.length > from) within(to.issues, from, `${at}.${part}.`);
  if (remove.length + set.length + add.length === 0) return undefined;
  return { drop: namesDropped(remove, set, to.made), append: fieldsAppended(set, add) };
}

/** What compiling header operations looks up and where it reports. */
interface HeaderCompiler {
  readonly made: Made;
  readonly issues: Issue[];
}

type Fields = readonly (readonly [name: string, value: string])[];
const NONE: readonly never[] = [];

/** A set field replaces what is there. The same names are dropped by many routes, and a set is large. */
function namesDropped(remove: readonly string[], set: Fields, made: Made): ReadonlySet<string> {
  const only = remove.length === 0 && set.length === 1 ? set[0]?.[0] : undefined;
  const key = only ?? [...remove, ...set.map(([name]) => name)].join("\n");
  const known = made.nameSets.get(key);
  if (known !== undefined) return known;
  const names = new Set([...remove, ...set.map(([name]) => name)]);
  made.nameSets.set(key, names);
  return names;
}

/** Of a field that is set twice, the later value stands. A single one is a flat list as it was decoded. */
function fieldsAppended(set: Fields, add: Fields): readonly string[] {
  const [only] = set;
  if (only !== undefined && set.length === 1 && add.length === 0) return only;
  return [...new Map(set), ...add].flat();
}

/** The edit that has the effect of `first` and then `second`. */
export function joinEdits(first: HeaderEdit | undefined, second: HeaderEdit | undefined): HeaderEdit | undefined {
  if (first === undefined) return second;
  if (second === undefined) return first;
  const append: FieldList = [];
  for (let i = 0; i < first.append.length; i += 2) {
    const name = first.append[i] as string;
    if (!second.drop.has(name)) append.push(name, first.append[i + 1] as string);
  }
  append.push(...second.append);
  return { drop: new Set([...first.drop, ...second.drop]), append };
}

function checkFields(fields: Fields, list: string, issues: Issue[]): void {
  for (let i = 0; i < fields.length; i++) {
    const [name, value] = fields[i] as Fields[number];
    checkName(name, list, i, issues);
    if (VALUE.test(value)) continue;
    issues.push({
      path: `${list}[${i}]`,
      problem: `the value for ${name} is not a field value (RFC 9110 5.5): no control characters, no white space around it, nothing beyond U+00FF`,
    });
  }
}

function checkName(name: string, list: string, i: number, issues: Issue[]): void {
  const isToken = TOKEN.test(name);
  if (isToken && !RESERVED.has(name)) return;
  const problem = isToken
    ? `${name} belongs to the gateway and cannot be changed by a header operation`
    : `${JSON.stringify(name)} is not a field name in lower case`;
  issues.push({ path: `${list}[${i}]`, problem });
}
