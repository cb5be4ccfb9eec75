/** String comparisons in the form that requests are held against: folded once, regexes built once. */
import { RE2JS, RE2JSException } from "re2js";
import type { FieldMatch, StringMatch } from "../ir/index.ts";
import type { Issue } from "../result.ts";
import { type Made, within } from "./made.ts";

/** One shape for every kind, so that testing one never leaves a call site's fast path. */
export interface StringTest {
  readonly kind: StringMatch["kind"];
  /** What to compare with; lower case when `ignoreCase`. For a regex its source. */
  readonly value: string;
  readonly ignoreCase: boolean;
  readonly regex: RE2JS | undefined;
}

export interface FieldTest {
  readonly name: string;
  readonly test: StringTest;
  readonly invert: boolean;
}

/** Istio's limit on regexes in routes. */
export const MAX_REGEX_CHARS = 1024;

/** Regexes by source. Building one costs a hundred times a test, so those of the previous tables are taken over. */
export class RegexCache {
  readonly #built = new Map<string, RE2JS>();
  readonly #previous: ReadonlyMap<string, RE2JS> | undefined;

  constructor(previous: RegexCache | undefined) {
    this.#previous = previous === undefined ? undefined : previous.#built;
  }

  /** The compiled regex, or undefined after an issue was added. */
  get(source: string, path: string, issues: Issue[]): RE2JS | undefined {
    const known = this.#built.get(source) ?? this.#previous?.get(source);
    if (known !== undefined) {
      this.#built.set(source, known);
      return known;
    }
    if (source.length > MAX_REGEX_CHARS) {
      issues.push({ path, problem: `regex has ${source.length} characters; at most ${MAX_REGEX_CHARS} are allowed` });
      return undefined;
    }
    try {
      const regex = RE2JS.compile(source);
      this.#built.set(source, regex);
      return regex;
    } catch (cause) {
      if (!(cause instanceof RE2JSException)) throw cause;
      issues.push({ path, problem: `${JSON.stringify(source)} is not a regex in RE2 syntax: ${cause.message}` });
      return undefined;
    }
  }
}

/** What compiling one snapshot's strings needs: where regexes and tests are shared, where problems go. */
export interface StringCompiler {
  readonly regexes: RegexCache;
  readonly made: Made;
  readonly issues: Issue[];
}

/** @param at where the match stands; `part` of it is this string. Joined only when there is something to say about it. */
export function compileString(match: StringMatch, ignoreCase: boolean, at: string, part: string, to: StringCompiler): StringTest {
  switch (match.kind) {
    case "exact":
    case "prefix":
    case "suffix": {
      const fold = ignoreCase || match.ignoreCase === true;
      return { kind: match.kind, value: fold ? match.value.toLowerCase() : match.value, ignoreCase: fold, regex: undefined };
    }
    case "segmentPrefix": {
      // Gateway API: a trailing slash of the prefix says nothing, `/` takes everything.
      const value = match.value.endsWith("/") ? match.value.slice(0, -1) : match.value;
      return { kind: "segmentPrefix", value, ignoreCase: false, regex: undefined };
    }
    case "regex":
      return {
        kind: "regex",
        value: match.value,
        ignoreCase: false,
        regex: to.regexes.get(match.value, `${at}.${part}`, to.issues),
      };
    case "present":
      return { kind: "present", value: "", ignoreCase: false, regex: undefined };
  }
}

export function compileFields(
  matches: readonly FieldMatch[] | undefined,
  at: string,
  part: string,
  to: StringCompiler,
): readonly FieldTest[] {
  if (matches === undefined || matches.length === 0) return NO_FIELDS;
  const known = to.made.fields.get(matches);
  if (known !== undefined) return known;
  const from = to.issues.length;
  const tests = new Array<FieldTest>(matches.length);
  for (let i = 0; i < matches.length; i++) {
    const { name, match, invert } = matches[i] as FieldMatch;
    const before = to.issues.length;
    tests[i] = { name, test: compileString(match, false, "", "match", to), invert: invert === true };
    if (to.issues.length > before) within(to.issues, before, `${at}.${part}[${i}]`);
  }
  if (to.issues.length === from) to.made.fields.set(matches, tests);
  return tests;
}

const NO_FIELDS: readonly FieldTest[] = [];

/**
 * The characters that every text matched by the whole of `source` starts with; "" when that cannot be told at a glance.
 * It may be shorter than possible and must never be longer.
 */
export function literalPrefix(source: string): string {
  if (source.includes("|") || !ASCII.test(source)) return "";
  const start = source.startsWith("^") ? 1 : 0;
  let end = start;
  while (end < source.length && !META.includes(source.charAt(end))) end++;
  // A quantifier reaches back to the character before it.
  if (end < source.length && "*?+{".includes(source.charAt(end))) end--;
  return end <= start ? "" : source.slice(start, end);
}

const ASCII = /^[\x20-\x7e]*$/;
const META = "\\.+*?()[]{}^$|";
