/** Request-targets (RFC 9112 3.2): read once, or refused. */
import { parseAuthority } from "../../core/http/authority.ts";
import type { Scheme } from "../../core/http/message.ts";
import type { ProtocolErrorCode } from "./errors.ts";

export interface AbsoluteTarget {
  readonly scheme: Scheme;
  readonly authority: string;
  /** Origin form, or `*` for an OPTIONS request about the server as a whole. */
  readonly target: string;
}

/** RFC 9112 3.2.2 absolute-form, http and https only. */
export function parseAbsolute(method: string, text: string): AbsoluteTarget | ProtocolErrorCode {
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?]*)(.*)$/.exec(text);
  if (match === null) return "bad_target_form";
  const [, schemeText = "", authorityText = "", rest = ""] = match;
  const scheme = schemeText.toLowerCase();
  if (scheme !== "http" && scheme !== "https") return "unsupported_scheme";
  // RFC 9110 4.2.4: user information is treated as an error.
  if (authorityText.includes("@")) return "userinfo_in_target";
  const authority = parseAuthority(authorityText);
  if (authority === undefined) return "bad_target_authority";
  // RFC 9112 3.2.4: OPTIONS with neither path nor query goes on as `*`. RFC 9112 3.2.1: an empty path is sent as `/`.
  if (rest === "") return { scheme, authority, target: method === "OPTIONS" ? "*" : "/" };
  return { scheme, authority, target: rest.startsWith("/") ? rest : `/${rest}` };
}

/** RFC 9112 3.2.3 authority-form, whose port is never absent (RFC 9110 9.3.6); undefined when it is anything else. */
export function parseConnectTarget(text: string): string | undefined {
  const authority = parseAuthority(text);
  return authority !== undefined && /:[0-9]+$/.test(authority) ? authority : undefined;
}

/** Host as sent with CONNECT: the same authority, or its host alone as some clients send it. */
export function hostMatchesConnect(host: string, authority: string): boolean {
  return host === authority || host === authority.slice(0, authority.lastIndexOf(":"));
}
