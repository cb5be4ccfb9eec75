/** Paths under rules that have `paths`. What is judged is what is sent, so a path that two readers could read differently fits no rule. */
import type { StringMatch } from "../ir/index.ts";

/** The path of an origin-form target: what stands before the query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/**
 * Why this path cannot be judged, or undefined when it reads one way only. Refused: dot segments (RFC 3986 3.3, also with parameters
 * behind `;`), empty segments, backslashes, percent-encoded dots, slashes, backslashes, percent signs, unreserved or control characters
 * (RFC 3986 2.3: those have a plain spelling), broken percent encoding, and anything that RFC 3986 has no place for.
 */
export function pathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "the path does not begin with a slash";
  if (!PATH_CHARACTERS.test(path)) return "the path has a character that has to be percent-encoded";
  if (path.includes("//")) return "the path has an empty segment (two slashes in a row)";
  if (DOT_SEGMENT.test(path)) return "the path has a dot segment";
  return path.includes("%") ? encodingProblem(path) : undefined;
}

const PATH_CHARACTERS = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*$/;
const DOT_SEGMENT = /\/\.{1,2}(?:[/;]|$)/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

function encodingProblem(path: string): string | undefined {
  for (let at = path.indexOf("%"); at !== -1; at = path.indexOf("%", at + 3)) {
    const digits = path.slice(at + 1, at + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(digits)) return "the path has a broken percent encoding";
    const code = Number.parseInt(digits, 16);
    const char = String.fromCharCode(code);
    if (char === "/" || char === "\\" || char === "%")
      return `the path has a percent-encoded ${char === "%" ? "percent sign" : "slash"}`;
    if (code < 0x20 || code === 0x7f) return "the path has a percent-encoded control character";
    if (UNRESERVED.test(char)) return "the path has a percent-encoded character that has a plain spelling";
  }
  return undefined;
}

/** One entry of a rule's `paths`, ready to compare. */
export interface PathMatcher {
  matches(path: string): boolean;
}

/** Undefined: this kind of match has no place in an egress rule. Paths are compared byte for byte. */
export function compilePath(match: StringMatch): PathMatcher | undefined {
  switch (match.kind) {
    case "exact":
      return match.ignoreCase ? undefined : { matches: (path) => path === match.value };
    case "prefix":
      return match.ignoreCase ? undefined : { matches: (path) => path.startsWith(match.value) };
    case "segmentPrefix": {
      const base = match.value.endsWith("/") ? match.value.slice(0, -1) : match.value;
      return { matches: (path) => path === base || path.startsWith(`${base}/`) };
    }
    default:
      return undefined;
  }
}
