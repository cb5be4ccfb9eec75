/** One route match, ready to be held against requests. */
import type { RouteMatch } from "../ir/index.ts";
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

export function compileMatch(match: RouteMatch, path: string, to: StringCompiler): MatchTest {
  const string = (part: "method" | "scheme" | "authority") =>
    match[part] === undefined ? undefined : compileString(match[part], false, `${path}.${part}`, to);
  return {
    source: match,
    path: match.path === undefined ? undefined : compileString(match.path, match.ignorePathCase === true, `${path}.path`, to),
    method: string("method"),
    scheme: string("scheme"),
    authority: string("authority"),
    headers: compileFields(match.headers, `${path}.headers`, to),
    query: compileFields(match.query, `${path}.query`, to),
    port: match.port,
  };
}
