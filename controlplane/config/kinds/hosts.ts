/** Names and addresses as a user may write them: one canonical spelling each, and a message that shows it for every other one. */
import { domainToASCII } from "node:url";
import ipaddr from "ipaddr.js";
import { getPublicSuffix } from "tldts";
import { z } from "zod";

export interface HostRule {
  /** Whether a leading `*.` is allowed. */
  readonly wildcard: boolean;
  /** Whether `*` alone is allowed. */
  readonly any: boolean;
  /** Whether IP literals are allowed. */
  readonly ip: boolean;
  /** Whether a wildcard over a public suffix (`*.com`, `*.github.io`) is refused. */
  readonly refusePublicSuffix?: boolean;
}

/** What is wrong with a host, and what would be right; undefined when it is canonical and allowed by the rule. */
export function hostProblem(host: string, rule: HostRule): string | undefined {
  if (host === "") return "the host is empty; write a name such as api.example.com";
  if (host === "*")
    return rule.any
      ? undefined
      : 'the host "*" is not allowed here; name the hosts, or use a leading wildcard such as *.example.com';
  const wild = host.startsWith("*.");
  const name = wild ? host.slice(2) : host;
  if (name.includes("*"))
    return `"${host}" has a wildcard that is not its first label; only a leading "*." is allowed, such as *.example.com`;
  if (wild && !rule.wildcard) return `the wildcard "${host}" is not allowed here; name the host`;
  return addressLike(host) ? ipHostProblem(host, rule, wild) : (nameProblem(host, name) ?? suffixProblem(host, name, wild, rule));
}

function addressLike(host: string): boolean {
  const name = host.startsWith("*.") ? host.slice(2) : host;
  return name.includes(":") || name.startsWith("[") || /^(?:0x[0-9a-f]*|\d+)$/i.test(name.split(".").at(-1) ?? "");
}

function ipHostProblem(host: string, rule: HostRule, wild: boolean): string | undefined {
  if (wild) return `"${host}" puts a wildcard over an address; list the addresses`;
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  const canonical = canonicalIp(bare);
  if (canonical === undefined)
    return `"${host}" is neither a host name nor an IP address in its usual form (1.2.3.4 or 2001:db8::4)`;
  if (!rule.ip) return `the IP address "${host}" is not allowed here; write a host name`;
  if (canonical === bare) return undefined;
  return `"${host}" is not canonical; write "${bare === host ? canonical : `[${canonical}]`}"`;
}

function nameProblem(host: string, name: string): string | undefined {
  if (/[^\x21-\x7e]/.test(host)) {
    const ascii = domainToASCII(name);
    return ascii === ""
      ? `"${host}" is not a host name`
      : `"${host}" is not in ASCII; write the A-label "${host.startsWith("*.") ? "*." : ""}${ascii}" (RFC 5890)`;
  }
  if (host.endsWith(".")) return `"${host}" ends with a dot; write "${host.replace(/\.+$/, "").toLowerCase()}"`;
  if (/[A-Z]/.test(host)) return `"${host}" has upper case letters; write "${host.toLowerCase()}"`;
  if (name.length > 253) return `the host has ${name.length} characters; at most 253 are allowed (RFC 1035)`;
  for (const label of name.split(".")) {
    if (!/^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) {
      return `"${host}" is not a host name: the label "${label}" must have 1 to 63 letters, digits or "-", not starting or ending with "-"`;
    }
  }
  return undefined;
}

function suffixProblem(host: string, name: string, wild: boolean, rule: HostRule): string | undefined {
  if (!wild || !rule.refusePublicSuffix) return undefined;
  if (getPublicSuffix(name, { allowPrivateDomains: true }) !== name) return undefined;
  return `"${host}" would cover everybody who registers a name under the public suffix "${name}"; name the domain, such as *.example.${name}`;
}

/** The one spelling of an IP address (RFC 5952 for IPv6), or undefined when the text is no plain address. */
export function canonicalIp(text: string): string | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    const parsed = ipaddr.IPv4.parse(text).toString();
    return text.split(".").some((part) => part.length > 1 && part.startsWith("0")) ? undefined : parsed;
  }
  if (!text.includes(":") || text.includes("%") || !ipaddr.IPv6.isValid(text)) return undefined;
  return ipaddr.IPv6.parse(text).toRFC5952String();
}

/** What is wrong with a CIDR block, and what would be right. */
function cidrProblem(text: string): string | undefined {
  const slash = text.lastIndexOf("/");
  const address = canonicalIp(slash === -1 ? text : text.slice(0, slash));
  if (address === undefined)
    return `"${text}" is not a CIDR block; write an address and a prefix length, such as 10.0.0.0/8 or 2001:db8::/32`;
  const bits = address.includes(":") ? 128 : 32;
  if (slash === -1) return `"${text}" has no prefix length; for this one address write ${address}/${bits}`;
  const lengthText = text.slice(slash + 1);
  const length = /^(?:0|[1-9]\d{0,2})$/.test(lengthText) ? Number(lengthText) : Number.NaN;
  if (!(length <= bits)) return `"${text}" has no valid prefix length; it must be 0 to ${bits}`;
  const network = networkAddress(address, length);
  return `${network}/${length}` === text ? undefined : `"${text}" is not canonical; write ${network}/${length}`;
}

function networkAddress(address: string, length: number): string {
  const parsed = ipaddr.parse(address);
  const bytes = parsed.toByteArray().map((byte, index) => {
    const keep = Math.min(8, Math.max(0, length - index * 8));
    return byte & (0xff << (8 - keep)) & 0xff;
  });
  const masked = ipaddr.fromByteArray(bytes);
  return masked instanceof ipaddr.IPv6 ? masked.toRFC5952String() : masked.toString();
}

/** A host under a rule, as a schema. */
export function host(rule: HostRule) {
  return z.string().superRefine((text, ctx) => {
    const problem = hostProblem(text, rule);
    if (problem) ctx.addIssue(problem);
  });
}

/** Hosts of routes and services: exact, leading wildcard, `*`, or an IP literal. */
export const routeHost = host({ wildcard: true, any: true, ip: true }).meta({
  description: "Host: exact name, *.suffix, * or IP address",
});

/** A canonical CIDR block. */
export const cidr = z
  .string()
  .meta({ description: "CIDR block such as 10.0.0.0/8" })
  .superRefine((text, ctx) => {
    const problem = cidrProblem(text);
    if (problem) ctx.addIssue(problem);
  });

/** What is wrong with an IP address, and what would be right. */
export function ipProblem(text: string): string | undefined {
  const canonical = canonicalIp(text);
  if (canonical === undefined) return `"${text}" is not an IP address; write for example 192.0.2.1 or 2001:db8::1`;
  return canonical === text ? undefined : `"${text}" is not canonical; write "${canonical}"`;
}

/** A canonical IP address. */
export const ipAddress = z
  .string()
  .meta({ description: "IP address" })
  .superRefine((text, ctx) => {
    const problem = ipProblem(text);
    if (problem) ctx.addIssue(problem);
  });

/** An IP address or a CIDR block. */
export const ipOrCidr = z.string().superRefine((text, ctx) => {
  if (canonicalIp(text) === text) return;
  const problem = cidrProblem(text);
  if (problem) ctx.addIssue(problem);
});
