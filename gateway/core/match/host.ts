/** Authority → virtual host. */

/** Exact names, suffixes (`.example.com` for `*.example.com`), and what `*` takes. */
export interface HostTable<T> {
  readonly exact: ReadonlyMap<string, T>;
  readonly suffix: ReadonlyMap<string, T>;
  readonly any: T | undefined;
}

/** Exact before wildcard, longer wildcard before shorter. `*.example.com` takes any depth below and not the apex. */
export function findHost<T>(table: HostTable<T>, host: string): T | undefined {
  // A text out of a request has to be hashed before it can be looked up.
  if (table.exact.size > 0) {
    const exact = table.exact.get(host);
    if (exact !== undefined) return exact;
  }
  if (table.suffix.size > 0) {
    // From the left, so that the longest suffix is met first. A dot in front leaves no label for the `*`.
    for (let dot = host.indexOf(".", 1); dot !== -1; dot = host.indexOf(".", dot + 1)) {
      const hit = table.suffix.get(host.slice(dot));
      if (hit !== undefined) return hit;
    }
  }
  return table.any;
}

/** The host of an authority: port stripped, IPv6 literals keep their brackets. Lower case is the codec's job. */
export function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(":");
  if (colon === -1 || authority.charCodeAt(authority.length - 1) === CLOSE_BRACKET) return authority;
  return authority.slice(0, colon);
}

/** The port of an authority as written, or undefined. */
export function portOf(authority: string): string | undefined {
  const colon = authority.lastIndexOf(":");
  if (colon === -1 || colon === authority.length - 1 || authority.charCodeAt(authority.length - 1) === CLOSE_BRACKET)
    return undefined;
  return authority.slice(colon + 1);
}

const CLOSE_BRACKET = 0x5d;
