/** What a Worker's request asks for, out of the text of its URL: split, never repaired. What the parts mean is core's to judge. */
import type { Scheme } from "../core/index.ts";

export interface UrlParts {
  readonly scheme: Scheme;
  /** In lower case, as heads have it. */
  readonly authority: string;
  /** Path and query as they stand. */
  readonly target: string;
}

/** Where the proxy is asked over HTTPS: `<prefix><scheme>/<authority>/<path>?<query>`. */
export const PROXY_PREFIX = "/.tidegate/proxy/";

/** Undefined: not an absolute http or https URL with a path. A fragment is no part of a request (RFC 9110 7.1), so it is none of a URL here. */
export function splitUrl(url: string): UrlParts | undefined {
  const match = /^(https?):\/\/([^/?#\\]*)(\/[^#]*)$/.exec(url);
  return match === null ? undefined : parts(match);
}

/** What the proxy is asked for in its own path. Undefined: not of that form. */
export function splitProxyTarget(target: string): UrlParts | undefined {
  if (!target.startsWith(PROXY_PREFIX)) return undefined;
  const match = /^(https?)\/([^/?#\\]*)(\/[^#]*)$/.exec(target.slice(PROXY_PREFIX.length));
  return match === null ? undefined : parts(match);
}

function parts([, scheme, authority = "", target = ""]: RegExpExecArray): UrlParts {
  return { scheme: scheme === "https" ? "https" : "http", authority: lowerCase(authority), target };
}

/** ASCII only: beyond it there are letters whose lower case is another one's. */
function lowerCase(authority: string): string {
  return authority.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/**
 * The URL to fetch. The runtime parses it once more, and has to come to the same host and port. (A path that was judged reads one way only.)
 * Undefined: it does not.
 */
export function urlOf({ scheme, authority, target }: UrlParts): string | undefined {
  const text = `${scheme}://${authority}${target}`;
  if (!URL.canParse(text)) return undefined;
  const { protocol, host, username, password } = new URL(text);
  const same = protocol === `${scheme}:` && host === withoutDefaultPort(scheme, authority) && username === "" && password === "";
  return same ? text : undefined;
}

function withoutDefaultPort(scheme: Scheme, authority: string): string {
  const port = scheme === "https" ? ":443" : ":80";
  return authority.endsWith(port) ? authority.slice(0, -port.length) : authority;
}
