/**
 * A host name or address as a client spells it, read once. A spelling that is not the canonical one is refused with the reason and never
 * repaired, because whoever reads it next might repair it differently.
 *
 * Canonical means: what WHATWG URL would leave as it is, lower case (RFC 4343 makes names case-insensitive; one spelling is all that
 * rules, certificates and logs need), no trailing dot, A-labels for other scripts, dotted decimal IPv4, RFC 5952 IPv6. Underscores are
 * accepted: names in the DNS have them, and they can be misread for nothing else.
 */
import { fail, ok, type Result } from "../result.ts";
import { formatAddress, type IpAddress, type Ipv4Address, type Ipv6Address, parseIpv4, parseIpv6 } from "./address.ts";
import { bidiRuleHolds, decodeALabel } from "./idna.ts";

export type Host = DnsName | IpHost;

interface DnsName {
  readonly kind: "name";
  /** Lower case, no trailing dot. */
  readonly text: string;
}

interface IpHost {
  readonly kind: "address";
  /** Canonical, IPv6 in brackets: as it stands in an authority. */
  readonly text: string;
  readonly address: IpAddress;
}

export interface HostPort {
  readonly host: Host;
  /** 1–65535, or undefined when none was written. */
  readonly port: number | undefined;
}

type NameProblemCode =
  | "empty"
  | "bad_character"
  | "upper_case"
  | "percent_encoded"
  | "user_information"
  | "backslash"
  | "white_space"
  | "not_ascii"
  | "trailing_dot"
  | "empty_label"
  | "label_too_long"
  | "name_too_long"
  | "hyphen"
  | "ipv4_spelling"
  | "ipv6_spelling"
  | "zone"
  | "brackets"
  | "idna"
  | "bidi"
  | "port"
  | "port_missing";

export interface NameProblem {
  readonly code: NameProblemCode;
  /** What is wrong and what would be right; never repeats the input, which may be anything. */
  readonly text: string;
}

/** RFC 1035 2.3.4. */
export const MAX_LABEL_LENGTH = 63;
/** RFC 1035 2.3.4: 255 octets on the wire are 253 characters of text. */
export const MAX_NAME_LENGTH = 253;

type Problem = { readonly ok: false; readonly error: NameProblem };

function problem(code: NameProblemCode, text: string): Problem {
  return fail({ code, text });
}

/** `host[:port]` of an authority (RFC 3986 3.2), a Host field (RFC 9110 7.2), or a CONNECT target, where the port is required (RFC 9110 9.3.6). */
export function parseHostPort(text: string): Result<HostPort, NameProblem> {
  if (text.includes("@")) return problem("user_information", USER_INFORMATION);
  const bracket = text.startsWith("[") ? text.indexOf("]") : -1;
  const colon = text.indexOf(":", bracket + 1);
  const host = parseHost(colon === -1 ? text : text.slice(0, colon));
  if (!host.ok) return host;
  if (colon === -1) return ok({ host: host.value, port: undefined });
  const port = parsePort(text.slice(colon + 1));
  if (port === undefined) return problem("port", "the port has to be a decimal number from 1 to 65535 without leading zeros");
  return ok({ host: host.value, port });
}

/** The same with the port required. */
export function parseConnectAuthority(text: string): Result<{ readonly host: Host; readonly port: number }, NameProblem> {
  const parsed = parseHostPort(text);
  if (!parsed.ok) return parsed;
  const { host, port } = parsed.value;
  return port === undefined ? problem("port_missing", "CONNECT needs host:port") : ok({ host, port });
}

function parsePort(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

const USER_INFORMATION = "user information before the host is not allowed";
const PLAIN_NAME = /^[a-z0-9_.-]+$/;
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/;
/** WHATWG URL "ends in a number": such a host is read as an IPv4 address by someone. */
const NUMBER_LIKE = /^(?:[0-9]+|0x[0-9a-f]*)$/;

/** A host without port: DNS name, IPv4 address, or IPv6 address in brackets. */
export function parseHost(text: string): Result<Host, NameProblem> {
  if (text === "") return problem("empty", "the host is empty");
  if (text.startsWith("[")) return parseBracketed(text);
  if (!PLAIN_NAME.test(text)) return problemOf(text);
  if (text.endsWith(".")) return problem("trailing_dot", "the name ends in a dot; write it without");
  const labels = text.split(".");
  if (NUMBER_LIKE.test(labels[labels.length - 1] ?? "")) return parseDotted(text);
  return parseName(text, labels);
}

function parseName(text: string, labels: readonly string[]): Result<Host, NameProblem> {
  if (text.length > MAX_NAME_LENGTH) return problem("name_too_long", `the name is longer than ${MAX_NAME_LENGTH} characters`);
  let international = false;
  for (const label of labels) {
    if (label === "") return problem("empty_label", "the name has an empty label (two dots in a row, or a dot in front)");
    if (label.length > MAX_LABEL_LENGTH)
      return problem("label_too_long", `a label is longer than ${MAX_LABEL_LENGTH} characters`);
    if (!LABEL.test(label)) return problem("hyphen", "a label starts or ends with a hyphen");
    if (label.startsWith("xn--")) international = true;
  }
  return international ? parseInternational(text, labels) : ok({ kind: "name", text });
}

function parseInternational(text: string, labels: readonly string[]): Result<Host, NameProblem> {
  const decoded: string[] = [];
  for (const label of labels) {
    const plain = label.startsWith("xn--") ? decodeALabel(label) : label;
    if (plain === undefined)
      return problem("idna", "a label beginning with xn-- is not the canonical A-label of anything (RFC 5891)");
    decoded.push(plain);
  }
  if (!bidiRuleHolds(decoded)) return problem("bidi", "the name breaks the Bidi rule (RFC 5893)");
  return ok({ kind: "name", text });
}

function parseDotted(text: string): Result<Host, NameProblem> {
  const address = parseIpv4(text);
  if (address !== undefined) return ok(ipHost(address));
  return problem(
    "ipv4_spelling",
    "the host reads like an IPv4 address in another spelling; write four decimal numbers without leading zeros",
  );
}

function parseBracketed(text: string): Result<Host, NameProblem> {
  if (!text.endsWith("]") || text.indexOf("]") !== text.length - 1) {
    return problem("brackets", "brackets have to enclose one IPv6 address and nothing else");
  }
  const inner = text.slice(1, -1);
  if (inner.includes("%")) return problem("zone", "an IPv6 zone has no meaning here");
  const address = parseIpv6(inner);
  if (address === undefined) return problem("brackets", "what is in brackets is not an IPv6 address");
  if (formatAddress(address) !== inner) {
    return problem(
      "ipv6_spelling",
      "the IPv6 address is not in canonical form (RFC 5952): lower case, shortest, hexadecimal throughout",
    );
  }
  return ok(ipHost(address));
}

/** The host that stands for an address: IPv6 in brackets. */
function ipHost(address: Ipv4Address | Ipv6Address): IpHost {
  const text = formatAddress(address);
  return { kind: "address", text: address.family === 6 ? `[${text}]` : text, address };
}

/** Says why a text with characters that no canonical name has is refused: the most telling one first. */
function problemOf(text: string): Problem {
  if (/[^\x00-\x7f]/.test(text)) return problem("not_ascii", "the host has characters beyond ASCII; write A-labels (xn--...)");
  if (/[\x00-\x20\x7f]/.test(text)) return problem("white_space", "the host has white space or control characters");
  if (text.includes("@")) return problem("user_information", USER_INFORMATION);
  if (text.includes("\\")) return problem("backslash", "the host has a backslash");
  if (text.includes("%")) return problem("percent_encoded", "the host has percent-encoded characters");
  if (/[[\]]/.test(text)) return problem("brackets", "brackets have to enclose one IPv6 address and nothing else");
  if (/[A-Z]/.test(text)) return problem("upper_case", "the host has upper case letters; write it in lower case");
  return problem("bad_character", "the host has a character that no host name has");
}
