/** Header operations, lowered: what goes, then what is appended. */
import type { FieldList } from "../http/message.ts";
import type { HeaderOps } from "../ir/index.ts";
import type { Issue } from "../result.ts";

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
export function compileHeaderOps(ops: HeaderOps | undefined, at: string, part: string, issues: Issue[]): HeaderEdit | undefined {
  if (ops === undefined) return undefined;
  const path = `${at}.${part}`;
  const drop = new Set<string>();
  const set = new Map<string, string>();
  const append: FieldList = [];
  for (const [i, name] of (ops.remove ?? []).entries()) {
    checkName(name, `${path}.remove[${i}]`, issues);
    drop.add(name);
  }
  for (const [i, [name, value]] of (ops.set ?? []).entries()) {
    checkField(name, value, `${path}.set[${i}]`, issues);
    drop.add(name);
    set.set(name, value);
  }
  for (const [name, value] of set) append.push(name, value);
  for (const [i, [name, value]] of (ops.add ?? []).entries()) {
    checkField(name, value, `${path}.add[${i}]`, issues);
    append.push(name, value);
  }
  return drop.size === 0 && append.length === 0 ? undefined : { drop, append };
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

function checkField(name: string, value: string, path: string, issues: Issue[]): void {
  checkName(name, path, issues);
  if (!VALUE.test(value)) {
    issues.push({
      path,
      problem: `the value for ${name} is not a field value (RFC 9110 5.5): no control characters, no white space around it, nothing beyond U+00FF`,
    });
  }
}

function checkName(name: string, path: string, issues: Issue[]): void {
  if (!TOKEN.test(name)) issues.push({ path, problem: `${JSON.stringify(name)} is not a field name in lower case` });
  else if (RESERVED.has(name))
    issues.push({ path, problem: `${name} belongs to the gateway and cannot be changed by a header operation` });
}
