/**
 * Path normalisation: one spelling per path, made once before anything looks at it. What is matched is what is charged, logged and sent.
 *
 * The steps are those of Istio's mode BASE (RFC 3986 6.2.2 and backslashes):
 * 1. `\` becomes `/`;
 * 2. percent-encoded unreserved characters are decoded, so `%2e%2E` is `..` before step 4 looks (6.2.2.2);
 * 3. hex digits of the triplets that stay are upper case, so `%2f` and `%2F` meet the same route (6.2.2.1); `%2F` is never `/`;
 * 4. dot segments are removed, never climbing above the root (5.2.4).
 *
 * Empty segments (`//`) stay: merging them is another mode. Refused, because origins disagree about them: `%00`, and a `#`, which
 * has no place in a request target (RFC 9112 3.2). A `%` that starts no triplet stays as it is.
 */

/** The normalised path, or undefined when the path has to be refused. `path` starts with `/`. */
export function normalizePath(path: string): string | undefined {
  if (!UNUSUAL.test(path)) return path;
  if (path.includes("#") || path.includes("%00")) return undefined;
  const canonical = path.replaceAll("\\", "/").replace(TRIPLET, canonicalTriplet);
  return DOT_SEGMENT.test(canonical) ? removeDotSegments(canonical) : canonical;
}

// Native regexes over a constant pattern without nested quantifiers: linear, and the plain path costs one scan.
const UNUSUAL = /[%\\#]|\/\.(?:\.?(?:\/|$))/;
const TRIPLET = /%[0-9A-Fa-f]{2}/g;
const DOT_SEGMENT = /\/\.\.?(?:\/|$)/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;

function canonicalTriplet(triplet: string): string {
  const character = String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
  return UNRESERVED.test(character) ? character : triplet.toUpperCase();
}

function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split("/");
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] ?? "";
    const last = i === segments.length - 1;
    if (segment === "." || segment === "..") {
      if (segment === "..") kept.pop();
      // `/a/.` and `/a/b/..` name a directory: the slash at the end stays.
      if (last) kept.push("");
    } else kept.push(segment);
  }
  return `/${kept.join("/")}`;
}
