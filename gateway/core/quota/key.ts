/** Whom a request is counted for: the parts of a quota's key, each read from the request in one canonical form. */
import ipaddr from "ipaddr.js";
import { clientAddress } from "../http/forwarded.ts";
import type { ReadonlyFieldList } from "../http/message.ts";
import type { QuotaKeyPart } from "../ir/index.ts";
import type { RequestView } from "../match/request.ts";
import type { PeerInfo } from "../ports.ts";
import { compilePathTemplate, type PathTemplate } from "./path-template.ts";
import { sha256Hex } from "./sha256.ts";
import { decodePercent, trimOws } from "./text.ts";

/** Longer values are counted under their SHA-256: no two share a counter, and none takes much memory. */
export const MAX_PLAIN_KEY_CHARS = 64;

/** Reads one part of a key; undefined: the request has none. An empty value counts as none, so that sending nothing and sending "" are alike. */
export interface KeyReader {
  read(request: RequestView, peer: PeerInfo): string | undefined;
  /** The form `read` would give to a value that configuration names. */
  canonical(value: string): string;
}

/** @throws RangeError on a path template that cannot be read or lacks the variable */
export function compileKeyPart(part: QuotaKeyPart, trustedProxies: number): KeyReader {
  switch (part.kind) {
    case "header":
      return new HeaderKey(part.name.toLowerCase());
    case "query":
      return new QueryKey(part.name);
    case "cookie":
      return new CookieKey(part.name);
    case "clientIp":
      return new ClientIpKey(part.v4Prefix, part.v6Prefix, trustedProxies);
    case "pathVariable":
      return new PathVariableKey(compilePathTemplate(part.template), part.name);
    case "identity":
      return new IdentityKey();
  }
}

/** Bounded in length, without making two values one: a plain value that looks like a hash is longer than plain values get. */
export function bounded(value: string): string {
  return value.length <= MAX_PLAIN_KEY_CHARS ? value : `sha256:${sha256Hex(value)}`;
}

class HeaderKey implements KeyReader {
  readonly #name: string;
  constructor(name: string) {
    this.#name = name;
  }

  read(request: RequestView): string | undefined {
    return fieldKey(request.fields, this.#name);
  }

  canonical(value: string): string {
    return listForm(trimOws(value));
  }
}

/**
 * A field's value with SP and HTAB trimmed, repeated lines joined with ", " (RFC 9110 5.3). White space around commas and empty
 * elements do not tell values apart (5.6.1): whoever joined the lines on the way here may have written them differently.
 */
export function fieldKey(fields: ReadonlyFieldList, name: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    const value = trimOws(fields[i + 1] as string);
    joined = joined === undefined ? value : `${joined},${value}`;
  }
  return joined === undefined ? undefined : listForm(joined) || undefined;
}

function listForm(value: string): string {
  if (!value.includes(",")) return value;
  return value
    .split(",")
    .map(trimOws)
    .filter((element) => element !== "")
    .join(", ");
}

/** A query parameter, percent-decoded (`+` is a space); repeated ones are joined with ", ". */
class QueryKey implements KeyReader {
  readonly #name: string;
  constructor(name: string) {
    this.#name = name;
  }

  read(request: RequestView): string | undefined {
    if (request.query === "") return undefined;
    let joined: string | undefined;
    for (const pair of request.query.split("&")) {
      const equals = pair.indexOf("=");
      if (decodeForm(equals === -1 ? pair : pair.slice(0, equals)) !== this.#name) continue;
      const value = equals === -1 ? "" : trimOws(decodeForm(pair.slice(equals + 1)));
      if (value !== "") joined = joined === undefined ? value : `${joined}, ${value}`;
    }
    return joined;
  }

  canonical(value: string): string {
    return trimOws(value);
  }
}

function decodeForm(text: string): string {
  return decodePercent(text.includes("+") ? text.replaceAll("+", " ") : text);
}

/** A cookie's value without the quotes that RFC 6265 4.1.1 allows around it; cookies of one name are joined with ", ". */
class CookieKey implements KeyReader {
  readonly #name: string;
  constructor(name: string) {
    this.#name = name;
  }

  read(request: RequestView): string | undefined {
    const { fields } = request;
    let joined: string | undefined;
    for (let i = 0; i < fields.length; i += 2) {
      if (fields[i] !== "cookie") continue;
      for (const pair of (fields[i + 1] as string).split(";")) {
        const equals = pair.indexOf("=");
        if (equals === -1 || trimOws(pair.slice(0, equals)) !== this.#name) continue;
        const value = this.canonical(pair.slice(equals + 1));
        if (value !== "") joined = joined === undefined ? value : `${joined}, ${value}`;
      }
    }
    return joined;
  }

  canonical(value: string): string {
    const trimmed = trimOws(value);
    return trimmed.length >= 2 && trimmed.startsWith('"') && trimmed.endsWith('"') ? trimmed.slice(1, -1) : trimmed;
  }
}

/** The client's address, or the network it is in: `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/64`. IPv4 inside IPv6 (mapped) is IPv4. */
class ClientIpKey implements KeyReader {
  readonly #v4Prefix: number;
  readonly #v6Prefix: number;
  readonly #trustedProxies: number;
  // Consecutive requests often come from one client.
  #lastAddress = "";
  #lastKey = "";

  constructor(v4Prefix: number, v6Prefix: number, trustedProxies: number) {
    this.#v4Prefix = v4Prefix;
    this.#v6Prefix = v6Prefix;
    this.#trustedProxies = trustedProxies;
  }

  read(request: RequestView, peer: PeerInfo): string {
    const address = peer.clientAddress ?? clientAddress(request.fields, peer.address, this.#trustedProxies);
    if (address !== this.#lastAddress) {
      this.#lastKey = this.canonical(address);
      this.#lastAddress = address;
    }
    return this.#lastKey;
  }

  canonical(value: string): string {
    const address = value.includes("/") ? value.slice(0, value.indexOf("/")) : value;
    if (!ipaddr.isValid(address)) return value;
    const parsed = ipaddr.process(address);
    const bytes = parsed.toByteArray();
    const prefix = bytes.length === 4 ? this.#v4Prefix : this.#v6Prefix;
    for (let i = 0; i < bytes.length; i++) {
      const bits = Math.min(8, Math.max(0, prefix - 8 * i));
      bytes[i] = (bytes[i] as number) & (0xff << (8 - bits)) & 0xff;
    }
    const network = ipaddr.fromByteArray(bytes);
    const text = network instanceof ipaddr.IPv6 ? network.toRFC5952String() : network.toString();
    return prefix >= 8 * bytes.length ? text : `${text}/${prefix}`;
  }
}

class PathVariableKey implements KeyReader {
  readonly #template: PathTemplate;
  readonly #name: string;

  constructor(template: PathTemplate, name: string) {
    if (!template.variables.includes(name)) throw new RangeError(`the template has no variable {${name}}`);
    this.#template = template;
    this.#name = name;
  }

  read(request: RequestView): string | undefined {
    return this.#template.variable(request.path, this.#name) || undefined;
  }

  canonical(value: string): string {
    return trimOws(value);
  }
}

/** The SPIFFE id of a verified client certificate. */
class IdentityKey implements KeyReader {
  read(_request: RequestView, peer: PeerInfo): string | undefined {
    return peer.principal;
  }

  canonical(value: string): string {
    return value;
  }
}
