/** What a caller over HTTPS asks the proxy for, and what `fetch` is asked for: split, never repaired. What the parts mean is core's to judge. */
import { parseAuthority, type RequestHead, type Scheme } from "../core/index.ts";

export type UrlParts = Pick<RequestHead, "scheme" | "authority" | "target">;

/** Where the proxy is asked over HTTPS: `<prefix><scheme>/<authority>/<path>?<query>`. */
const PROXY_PREFIX = "/.tidegate/proxy/";

/**
 * What the proxy is asked for in its own path, if it is asked at all. `readable`: in the clear over a network, where the caller's token could be read.
 * `malformed`: there is no scheme, host and path.
 *
 * @param siteHost the only host under which it answers
 */
export function splitProxyTarget(came: UrlParts, siteHost: string): UrlParts | "not_asked" | "readable" | "malformed" {
  if (came.authority !== siteHost || !came.target.startsWith(PROXY_PREFIX)) return "not_asked";
  if (came.scheme === "http" && !isLoopback(siteHost)) return "readable";
  const match = /^(https?)\/([^/?]*)(\/.*)$/.exec(came.target.slice(PROXY_PREFIX.length));
  const authority = parseAuthority(match?.[2] ?? "");
  if (match === null || authority === undefined) return "malformed";
  return { scheme: match[1] === "https" ? "https" : "http", authority, target: match[3] ?? "" };
}

/** Hosts that never leave the machine (RFC 6761 6.3). */
function isLoopback(authority: string): boolean {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/.test(authority);
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
