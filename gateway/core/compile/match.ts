/** One route match, ready to be held against requests. */
import type { RouteMatch, StringMatch } from "../ir/index.ts";
import { compileFields, compileString, type FieldTest, type StringCompiler, type StringTest } from "./string.ts";

export interface MatchTest {
  readonly source: RouteMatch;
  readonly path: StringTest | undefined;
  readonly method: StringTest | undefined;
  readonly scheme: StringTest | undefined;
  readonly authority: StringTest | undefined;
  readonly headers: readonly FieldTest[];
  readonly query: readonly FieldTest[];
  readonly port: number | undefined;
}

/** @param at where the match stands, for what is wrong with it */
export function compileMatch(match: RouteMatch, at: string, to: StringCompiler): MatchTest {
  const { path, method, scheme, authority } = match;
  return {
    source: match,
    path: path === undefined ? undefined : compileString(path, match.ignorePathCase === true, at, "path", to),
    method: method === undefined ? undefined : compileMethod(method, at, to),
    scheme: scheme === undefined ? undefined : compileString(scheme, false, at, "scheme", to),
    authority: authority === undefined ? undefined : compileString(authority, false, at, "authority", to),
    headers: compileFields(match.headers, at, "headers", to),
    query: compileFields(match.query, at, "query", to),
    port: match.port,
  };
}

/** Few methods stand in many matches. */
function compileMethod(method: StringMatch, at: string, to: StringCompiler): StringTest {
  const known = to.made.methods.get(method);
  if (known !== undefined) return known;
  const from = to.issues.length;
  const test = compileString(method, false, at, "method", to);
  if (to.issues.length === from) to.made.methods.set(method, test);
  return test;
}
