/** Authorities (RFC 3986 3.2): read once, in lower case, or refused; the same for whatever brought them. */
import type { Scheme } from "./message.ts";

const COLON = 0x3a;
const BRACKET = 0x5b;

/** RFC 3986 3.2.2 reg-name: unreserved and sub-delims, without `%` (readers disagree on decoding it) and `,` (it looks like two values joined). */
export const REG_NAME: Readonly<Uint8Array> = Uint8Array.from({ length: 256 }, (_, code) =>
  /^[A-Za-z0-9\-._~!$&'()*+;=]$/.test(String.fromCharCode(code)) ? 1 : 0,
);

/**
 * `host[:port]` in lower case, or undefined when it is anything else. A host is a reg-name (without `%` and `,`, which readers
 * disagree on), an IPv4 address or a bracketed IPv6 address; a port that is there is 1 to 65535.
 */
export function parseAuthority(text: string): string | undefined {
  const length = text.length;
  if (length === 0 || length > 262) return undefined;
  let at = 0;
  if (text.charCodeAt(0) === BRACKET) {
    const close = text.indexOf("]");
    if (close === -1 || !isIpv6(text.slice(1, close))) return undefined;
    at = close + 1;
  } else {
    while (at < length && REG_NAME[text.charCodeAt(at)] === 1) at++;
    if (at === 0) return undefined;
  }
  if (at < length && !(text.charCodeAt(at) === COLON && isPort(text, at + 1))) return undefined;
  return text.toLowerCase();
}

/** Digits from `start` to the end of `text`, 1 to 65535, not padded. */
function isPort(text: string, start: number): boolean {
  const digits = text.length - start;
  if (digits < 1 || digits > 5 || text.charCodeAt(start) === 0x30) return false;
  let port = 0;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (!(digit >= 0 && digit <= 9)) return false;
    port = port * 10 + digit;
  }
  return port <= 65535;
}

/** RFC 3986 3.2.2 IPv6address; no zone, no IPvFuture. */
function isIpv6(text: string): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  let groups = 0;
  for (const [h, half] of halves.entries()) {
    if (half === "" && halves.length === 2) continue;
    const parts = half.split(":");
    for (const [i, part] of parts.entries()) {
      if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups++;
      else if (h === halves.length - 1 && i === parts.length - 1 && isIpv4(part)) groups += 2;
      else return false;
    }
  }
  return halves.length === 2 ? groups <= 7 : groups === 8;
}

function isIpv4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
}

/** The authority with the scheme's default port added, for comparing. */
function withPort(authority: string, scheme: Scheme): string {
  if (/:[0-9]+$/.test(authority)) return authority;
  return `${authority}:${scheme === "https" ? 443 : 80}`;
}

/** Whether both name the same host and port, the scheme's default port written or not. */
export function sameAuthority(a: string, b: string, scheme: Scheme): boolean {
  return a === b || withPort(a, scheme) === withPort(b, scheme);
}
