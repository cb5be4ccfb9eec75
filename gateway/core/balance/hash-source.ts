/** What of a request is hashed, for clusters that ask. */
import { fieldJoined, type ReadonlyFieldList } from "../http/message.ts";
import type { HashSource } from "../ir/index.ts";
import { queryValue } from "../match/query.ts";
import type { Random } from "../ports.ts";
import { unreachable } from "../result.ts";
import { hash32 } from "./hash.ts";

export interface HashedRequest {
  readonly fields: ReadonlyFieldList;
  readonly query: string;
  /** By the trusted hops in front. */
  readonly clientAddress: string;
  readonly random: Random;
}

export interface RequestHash {
  /** Undefined: the request lacks what is hashed. */
  readonly hash: number | undefined;
  /** The cookie that makes the client come back to the same endpoint: a Set-Cookie value. */
  readonly setCookie: string | undefined;
}

/** Once per request; a repeated attempt has the same. */
export function hashRequest(source: HashSource, request: HashedRequest): RequestHash {
  switch (source.kind) {
    case "header":
      return hashed(fieldJoined(request.fields, source.name));
    case "query":
      return hashed(queryValue(request.query, source.name));
    case "source-ip":
      return hashed(request.clientAddress);
    case "cookie": {
      const value = cookieValue(request.fields, source.name);
      return value === undefined && source.ttlMs !== undefined ? newCookie(source, source.ttlMs, request.random) : hashed(value);
    }
    default:
      return unreachable(source);
  }
}

function hashed(value: string | undefined): RequestHash {
  return { hash: value === undefined ? undefined : hash32(value), setCookie: undefined };
}

function newCookie({ name, path, attributes = [] }: CookieSource, ttlMs: number, random: Random): RequestHash {
  const value = randomHex(random) + randomHex(random);
  const parts = [
    `${name}="${value}"`,
    ...(ttlMs === 0 ? [] : [`Max-Age=${Math.ceil(ttlMs / 1000)}`]),
    ...(path === undefined ? [] : [`Path=${path}`]),
    ...attributes,
    "HttpOnly",
  ];
  return { hash: hash32(value), setCookie: parts.join("; ") };
}

type CookieSource = Extract<HashSource, { readonly kind: "cookie" }>;

function randomHex(random: Random): string {
  return Math.floor(random() * 2 ** 32)
    .toString(16)
    .padStart(8, "0");
}

/** The first cookie of that name (RFC 6265 4.2.1), without the quotes that some put around it. */
export function cookieValue(fields: ReadonlyFieldList, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== "cookie") continue;
    for (const pair of (fields[i + 1] as string).split(";")) {
      const equals = pair.indexOf("=");
      if (equals === -1 || pair.slice(0, equals).trim() !== name) continue;
      const value = pair.slice(equals + 1).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  }
  return undefined;
}
