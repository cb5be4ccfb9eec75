/** What the encoder knows about field names beforehand: their place in the static table, and how their values behave. */
import { KNOWN_NAMES } from "../../http1/names.ts";
import { STATIC_TABLE } from "./static-table.ts";

/** Few values: each goes into the table when it is first seen. */
export const AT_ONCE = 0;
/** Most values are met once, as of ids: one goes into the table when it comes a second time in a row. The policy for unknown names, too. */
export const ON_REPEAT = 1;
/** Secrets: in no table, here or further on (RFC 7541 7.1.3). */
export const NEVER = 2;

/** What becomes of a field of a list. */
export type Role =
  | "field"
  /** Written from the head's meaning alone. */
  | "pseudo"
  /** Written from the head's meaning, or of no meaning in HTTP/2 (RFC 9113 8.2.2). */
  | "dropped"
  /** `trailers` is the one value that HTTP/2 has (RFC 9113 8.2.2). */
  | "te";

export interface KnownName {
  /** Small number, for arrays. */
  readonly id: number;
  /** Index of the first entry with this name in the static table; 0: none. */
  readonly index: number;
  /** Indices of its values in the static table. */
  readonly values: ReadonlyMap<string, number> | undefined;
  readonly policy: number;
  readonly role: Role;
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));

const SECRET = words(
  "authorization cookie proxy-authorization sec-websocket-key set-cookie x-amz-security-token x-api-key x-auth-token x-tidegate-passport",
);
const UNIQUE = words(
  ":path age content-length content-md5 content-range date end-user etag expires forwarded grpc-message grpc-timeout if-match if-modified-since " +
    "if-none-match if-range if-unmodified-since last-modified location range ratelimit referer retry-after sec-websocket-accept server-timing traceparent " +
    "tracestate x-b3-parentspanid x-b3-spanid x-b3-traceid x-envoy-upstream-service-time x-forwarded-for x-ratelimit-remaining x-ratelimit-reset " +
    "x-real-ip x-request-id cf-ray cf-connecting-ip",
);
const OF_THE_CONNECTION = words("host connection content-length keep-alive proxy-connection transfer-encoding upgrade");

const ALL = new Set([...STATIC_TABLE.flatMap((entry) => entry?.name ?? []), ":protocol", ...KNOWN_NAMES, ...SECRET, ...UNIQUE]);

export const NAMES: ReadonlyMap<string, KnownName> = new Map(Array.from(ALL, (name, id) => [name, known(name, id)]));

/** Ids are below this. */
export const NAME_COUNT = ALL.size;

function known(name: string, id: number): KnownName {
  const index = STATIC_TABLE.findIndex((entry) => entry?.name === name);
  const values = new Map(
    STATIC_TABLE.flatMap((entry, at) => (entry?.name === name && entry.value !== "" ? [[entry.value, at] as const] : [])),
  );
  return {
    id,
    index: Math.max(index, 0),
    values: values.size === 0 ? undefined : values,
    policy: policyOf(name),
    role: roleOf(name),
  };
}

function roleOf(name: string): Role {
  if (name.startsWith(":")) return "pseudo";
  if (OF_THE_CONNECTION.has(name)) return "dropped";
  return name === "te" ? "te" : "field";
}

function policyOf(name: string): number {
  if (SECRET.has(name)) return NEVER;
  return UNIQUE.has(name) ? ON_REPEAT : AT_ONCE;
}
