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
const PROXY_PREFIX = "/.tidegate/proxy/";

/** Undefined: not an absolute http or https URL with a path. A fragment is no part of a request (RFC 9110 7.1), so it is none of a URL here. */
export function splitUrl(url: string): UrlParts | undefined {
  const match = /^(https?):\/\/([^/?#\\]*)(\/[^#]*)$/.exec(url);
  return match === null ? undefined : parts(match);
}

/**
 * What the proxy is asked for in its own path, if it is asked at all. `readable`: in the clear over a network, where the caller's token could be read.
 *
 * @param siteHost the only host under which it answers
 */
export function splitProxyUrl(url: string, siteHost: string): UrlParts | "not_asked" | "readable" {
  const came = splitUrl(url);
  if (came?.authority !== siteHost || !came.target.startsWith(PROXY_PREFIX)) return "not_asked";
  if (came.scheme === "http" && !isLoopback(siteHost)) return "readable";
  const match = /^(https?)\/([^/?#\\]*)(\/[^#]*)$/.exec(came.target.slice(PROXY_PREFIX.length));
  return match === null ? "not_asked" : parts(match);
}

/** Hosts that never leave the machine (RFC 6761 6.3). */
function isLoopback(authority: string): boolean {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/.test(authority);
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
