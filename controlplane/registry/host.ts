/** Host names as configuration writes them: exact, `*.suffix`, or `*`; always lower case here. */

/** Domain of short names: `reviews` in namespace `shop` is `reviews.shop.svc.cluster.local`. */
const CLUSTER_DOMAIN = "svc.cluster.local";

export function isWildcard(host: string): boolean {
  return host.startsWith("*");
}

/**
 * A short name (no dot) means a service in the namespace of the object that says it. `localhost` is a full name (RFC 6761 6.3), and so are
 * wildcards and IP literals.
 */
export function resolveShortName(name: string, namespace: string): string {
  const host = name.toLowerCase();
  if (host === "localhost" || /[.*:]/.test(host)) return host;
  return `${host}.${namespace}.${CLUSTER_DOMAIN}`;
}

/** Whether every name that `host` stands for is one that `pattern` stands for. A wildcard takes any depth below it, not the apex. */
export function covers(pattern: string, host: string): boolean {
  if (pattern === host || pattern === "*") return true;
  return isWildcard(pattern) && (isWildcard(host) ? host.slice(1) : host).endsWith(pattern.slice(1)) && host !== "*";
}

/** The names that two hosts have in common, which is the more specific of the two, or nothing. */
export function intersectHosts(a: string, b: string): string | undefined {
  if (covers(a, b)) return b;
  return covers(b, a) ? a : undefined;
}

/** Precedence: exact before wildcard, longer before shorter, then by the alphabet. */
export function compareHosts(a: string, b: string): number {
  if (isWildcard(a) !== isWildcard(b)) return isWildcard(a) ? 1 : -1;
  if (a.length !== b.length) return b.length - a.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Values by host pattern; a lookup walks the name's own suffixes, so it costs the name's labels and not the table's size. */
export class HostIndex<T> {
  readonly #values = new Map<string, T>();

  set(pattern: string, value: T): void {
    this.#values.set(pattern, value);
  }

  get(pattern: string): T | undefined {
    return this.#values.get(pattern);
  }

  /** The entry of the most specific pattern that covers `host`. */
  mostSpecific(host: string): { readonly pattern: string; readonly value: T } | undefined {
    for (const pattern of patternsOver(host)) {
      const value = this.#values.get(pattern);
      if (value !== undefined) return { pattern, value };
    }
    return undefined;
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }
}

/** Every pattern that covers `host`, most specific first: itself, then `*.` and each shorter suffix, then `*`. */
export function* patternsOver(host: string): Generator<string> {
  yield host;
  const from = isWildcard(host) ? 2 : 0;
  for (let dot = host.indexOf(".", from); dot !== -1; dot = host.indexOf(".", dot + 1)) yield `*${host.slice(dot)}`;
  if (host !== "*") yield "*";
}
