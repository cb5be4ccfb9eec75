import type { MatchTest } from "../compile/match.ts";
import type { CompiledRewrite } from "../compile/tables.ts";

/** The path to send. The query is never touched. */
export function rewritePath(rewrite: CompiledRewrite, match: MatchTest | undefined, path: string): string {
  if (rewrite.regex !== undefined) return rootedPath(rewrite.regex.pattern.matcher(path).replaceAll(rewrite.regex.substitution));
  return rewrite.path === undefined ? path : replaceMatched(rewrite.path, match, path);
}

/** `replacement` in place of the matched prefix, or of the whole path when the match was no prefix. */
export function replaceMatched(replacement: string, match: MatchTest | undefined, path: string): string {
  const test = match?.path;
  if (test?.kind !== "prefix" && test?.kind !== "segmentPrefix") return rootedPath(replacement);
  const rest = path.slice(test.value.length);
  // By segments, `/v1` → `/` makes `/v1/x` into `/x`, not `//x`; raw prefixes are replaced as they are written.
  if (test.kind === "segmentPrefix" && replacement.endsWith("/") && rest.startsWith("/"))
    return rootedPath(replacement + rest.slice(1));
  return rootedPath(replacement + rest);
}

/** A request target in origin form starts with a slash (RFC 9112 3.2.1). */
function rootedPath(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}
