/** A schema's complaint → what a person wants to read: what is wrong, what would be right. */
import type { z } from "zod";
import type { FieldPath, Json } from "./documents.ts";
import type { Finding } from "./kinds/kind.ts";
import { fieldsAt, type JsonSchema, nodesAt } from "./schema.ts";

type Issue = z.core.$ZodIssue;

export interface ExplainedIssue extends Finding {
  /** Whether the place is the field's name rather than its value. */
  readonly atKey?: boolean;
}

/** All findings of a failed parse. `raw` is what was parsed, `schema` its JSON Schema. */
export function explainIssues(issues: readonly Issue[], raw: Json, schema: JsonSchema): readonly ExplainedIssue[] {
  return issues.flatMap((issue) => explain(issue, toPath(issue.path), raw, schema));
}

function toPath(path: readonly PropertyKey[]): (string | number)[] {
  return path.map((step) => (typeof step === "symbol" ? String(step) : step));
}

function explain(issue: Issue, path: FieldPath, raw: Json, schema: JsonSchema): readonly ExplainedIssue[] {
  const value = valueAt(raw, path);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownField(key, path, schema));
    case "invalid_union":
      return explainUnion(issue, path, raw, schema);
    case "invalid_key":
      return [{ path, message: issue.issues[0]?.message ?? issue.message, atKey: true }];
    case "invalid_type":
      return [{ path, message: wrongType(value, issue.expected, hintAt(schema, path)) }];
    case "invalid_value":
      return [{ path, message: notListed(value, issue.values) }];
    case "too_small":
    case "too_big":
      return [{ path, message: outOfRange(value, issue) }];
    case "invalid_format":
      return [{ path, message: issue.format === "base64" ? "this is not base64 (RFC 4648 4)" : issue.message }];
    default:
      return [{ path, message: issue.message }];
  }
}

/** Complaints of the one alternative that was meant: the one whose type fits. */
function explainUnion(
  issue: z.core.$ZodIssueInvalidUnion,
  path: FieldPath,
  raw: Json,
  schema: JsonSchema,
): readonly ExplainedIssue[] {
  const deep = (option: readonly Issue[]) =>
    option.flatMap((inner) => explain(inner, [...path, ...toPath(inner.path)], raw, schema));
  const fits = issue.errors.filter((option) => !option.some((inner) => inner.path.length === 0 && inner.code === "invalid_type"));
  const value = valueAt(raw, path);
  const meant =
    fits.find((option) => option.some((inner) => inner.code !== "invalid_value" || typeof value !== "object")) ?? fits[0];
  const texts = issue.errors.flatMap((option) => option.flatMap((inner) => (inner.code === "invalid_value" ? inner.values : [])));
  if (texts.length > 1 && typeof value !== "object") return [{ path, message: notListed(value, texts) }];
  if (meant) return deep(meant);
  const types = issue.errors.flatMap((option) =>
    option.flatMap((inner) => (inner.code === "invalid_type" ? [typeName(inner.expected)] : [])),
  );
  return [{ path, message: `${describe(value)} is not allowed here; it must be ${[...new Set(types)].join(" or ")}` }];
}

function valueAt(raw: Json, path: FieldPath): Json | undefined {
  let value: Json | undefined = raw;
  for (const step of path) {
    if (value === null || typeof value !== "object") return undefined;
    value = (value as { readonly [key: string | number]: Json })[step];
  }
  return value;
}

function unknownField(key: string, path: FieldPath, schema: JsonSchema): ExplainedIssue {
  const known = fieldsAt(schema, path);
  const close = closest(key, known);
  const right = close
    ? `did you mean "${close}"?`
    : known.length > 0
      ? `known here: ${known.join(", ")}`
      : "no field is known here";
  return { path: [...path, key], message: `unknown field "${key}"; ${right}`, atKey: true };
}

const TYPE_NAMES: { readonly [type: string]: string } = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
  record: "a map",
};

function typeName(type: string): string {
  return TYPE_NAMES[type] ?? type;
}

/** Texts with a form of their own; other fields are described by what they mean. */
const FORMATS: { readonly [format: string]: string } = {
  "go-duration": "a duration such as 10s, 1h30m or 0.5s",
  "byte-size": "a size such as 64KiB",
  percentage: "a percentage such as 5%",
};

function hintAt(schema: JsonSchema, path: FieldPath): string | undefined {
  const [node] = nodesAt(schema, path);
  return FORMATS[String(node?.["format"])] ?? node?.description;
}

function wrongType(value: Json | undefined, expected: string, description: string | undefined): string {
  const scalar = expected === "string" || expected === "number" || expected === "int";
  const hint = scalar && description ? ` (${lowerFirst(description)})` : "";
  if (value === undefined) return `the field is missing; it must be ${typeName(expected)}${hint}`;
  const quotable = expected === "string" && hint === "" && (typeof value === "number" || typeof value === "boolean");
  return `${describe(value)} is not allowed here; it must be ${typeName(expected)}${hint}${quotable ? `; write "${value}" in quotes` : ""}`;
}

function lowerFirst(text: string): string {
  return /^[A-Z][a-z]/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

function describe(value: Json | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function notListed(value: Json | undefined, values: readonly unknown[]): string {
  const known = values.map(String);
  if (value === undefined) return `the field is missing; it must be ${anyOf(known)}`;
  const close = typeof value === "string" ? closest(value, known) : undefined;
  return `${describe(value)} is not allowed here; it must be ${anyOf(known)}${close ? `. Did you mean ${close}?` : ""}`;
}

function anyOf(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "nothing") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function outOfRange(value: Json | undefined, issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const small = issue.code === "too_small";
  const bound = String(small ? issue.minimum : issue.maximum);
  if (issue.origin === "string") {
    if (value === "") return "the text is empty; write a value or remove the field";
    return `the text has ${typeof value === "string" ? value.length : 0} characters; ${small ? "at least" : "at most"} ${bound} are allowed`;
  }
  if (issue.origin === "array")
    return `the list has ${Array.isArray(value) ? value.length : 0} items; ${small ? "at least" : "at most"} ${bound} are allowed`;
  return `${describe(value)} is out of range; it must be ${small ? "at least" : "at most"} ${bound}`;
}

/** The known word that was probably meant: same letters in another spelling, or few edits away. */
export function closest(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_]/g, "");
  const same = known.find((candidate) => plain(candidate) === plain(word));
  if (same) return same;
  let best: { readonly candidate: string; readonly edits: number } | undefined;
  // Longer words than any field are no typing mistakes; comparing them costs their length squared.
  if (word.length > 64) return undefined;
  for (const candidate of known) {
    const edits = editDistance(plain(word), plain(candidate));
    const allowed = Math.min(2, Math.floor(Math.max(word.length, candidate.length) / 3));
    if (edits <= allowed && (!best || edits < best.edits)) best = { candidate, edits };
  }
  return best?.candidate;
}

/** Insertions, deletions, substitutions and swaps of neighbours between two words. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      const swap =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      current[j] = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost, swap);
    }
    before = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}
