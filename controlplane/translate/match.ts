/** `match` of VirtualServices and Quotas → the IR's. */

import type { FieldMatch, RouteMatch, StringMatch } from "../../gateway/core/ir/index.ts";
import type { HttpMatch } from "../config/index.ts";
import { compareText } from "../registry/index.ts";

/** A match, or why it cannot be kept: leaving out one condition would let more through, so the whole alternative goes. */
export type TranslatedMatch = { readonly match: RouteMatch } | { readonly unsupported: string };

/** Conditions on the request itself; where it came in by (`port`, `gateways`, source) is the caller's to settle. */
export function requestMatch(match: HttpMatch): TranslatedMatch {
  const { headers, pseudo, unsupported } = splitHeaders(match);
  if (unsupported !== undefined) return { unsupported };
  const query = fields(match.queryParams);
  const { method = pseudo.method, scheme = pseudo.scheme, authority = pseudo.authority } = match;
  return {
    match: {
      ...(match.name === undefined ? {} : { name: match.name }),
      ...(match.uri === undefined ? {} : { path: match.uri }),
      ...(match.ignoreUriCase && match.uri !== undefined ? { ignorePathCase: true } : {}),
      ...(method === undefined ? {} : { method }),
      ...(scheme === undefined ? {} : { scheme }),
      ...(authority === undefined ? {} : { authority }),
      ...(headers.length === 0 ? {} : { headers }),
      ...(query.length === 0 ? {} : { query }),
    },
  };
}

type Pseudo = { method?: StringMatch; scheme?: StringMatch; authority?: StringMatch };

/** Istio takes these inside `headers` for fields of the match itself and ignores them. */
const RESERVED = new Set(["uri", "scheme", "method", "authority"]);
/** Fields that are no header lines by the time of matching. */
const PSEUDO: Readonly<Record<string, keyof Pseudo>> = {
  host: "authority",
  ":authority": "authority",
  ":method": "method",
  ":scheme": "scheme",
};

function splitHeaders(match: HttpMatch): { headers: readonly FieldMatch[]; pseudo: Pseudo; unsupported?: string } {
  const pseudo: Pseudo = {};
  const plain: Record<string, StringMatch> = {};
  for (const [name, value] of Object.entries(match.headers)) {
    if (RESERVED.has(name)) continue;
    const part = PSEUDO[name];
    if (part === undefined) plain[name] = value;
    else if (match[part] === undefined && pseudo[part] === undefined) pseudo[part] = value;
    else return { headers: [], pseudo, unsupported: `two conditions on ${part} are not supported yet; keep one` };
  }
  const strange = [...Object.keys(plain), ...Object.keys(match.withoutHeaders)].find(
    (name) => /^[@:]/.test(name) || name === "host",
  );
  if (strange !== undefined) return { headers: [], pseudo, unsupported: `a match on "${strange}" is not supported yet` };
  return { headers: [...fields(plain), ...fields(match.withoutHeaders, true)], pseudo };
}

/** Sorted by name: all of them must hold, so their order has no meaning and must not move the snapshot's bytes. */
function fields(matches: Readonly<Record<string, StringMatch>>, invert = false): FieldMatch[] {
  return Object.entries(matches)
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, match]) => (invert ? { name, match, invert: true } : { name, match }));
}

/** Whether every request fits: no condition, or none that any path fails (`/` as prefix, `.*` or `/.*` as regex). */
export function matchesEverything({ name: _name, path, ...conditions }: RouteMatch): boolean {
  return Object.keys(conditions).every((key) => key === "ignorePathCase") && (path === undefined || anyPath(path));
}

function anyPath(path: StringMatch): boolean {
  if (path.kind === "prefix" || path.kind === "segmentPrefix") return path.value === "/";
  return path.kind === "present" || (path.kind === "regex" && (path.value === ".*" || path.value === "/.*"));
}
