/**
 * Field names that come again and again: found by their bytes without building a string.
 *
 * The first few are those that a parser has to look at itself; their indices are named.
 */
import { TOKEN } from "./chars.ts";

export const HOST = 0;
export const CONTENT_LENGTH = 1;
export const TRANSFER_ENCODING = 2;
export const CONNECTION = 3;
export const EXPECT = 4;
export const UPGRADE = 5;
export const TE = 6;
/** Names up to this index are looked at while a head is put together. */
export const LAST_SPECIAL = 6;

export const KNOWN_NAMES: readonly string[] = (
  "host content-length transfer-encoding connection expect upgrade te accept accept-charset accept-encoding accept-language accept-ranges " +
  "access-control-allow-credentials access-control-allow-headers access-control-allow-methods access-control-allow-origin " +
  "access-control-expose-headers access-control-max-age access-control-request-headers access-control-request-method age allow alt-svc " +
  "authorization b3 cache-control cf-connecting-ip cf-ray content-disposition content-encoding content-language content-location " +
  "content-md5 content-range content-security-policy content-type cookie date dnt end-user etag expires forwarded from grpc-encoding " +
  "grpc-message grpc-status grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive last-modified " +
  "link location max-forwards origin pragma priority proxy-authenticate proxy-authorization proxy-connection range ratelimit " +
  "ratelimit-policy referer referrer-policy retry-after sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode " +
  "sec-fetch-site sec-fetch-user sec-websocket-accept sec-websocket-key sec-websocket-protocol sec-websocket-version server " +
  "server-timing set-cookie strict-transport-security traceparent tracestate trailer upgrade-insecure-requests user-agent vary via " +
  "warning www-authenticate x-api-key x-b3-parentspanid x-b3-sampled x-b3-spanid x-b3-traceid x-content-type-options " +
  "x-envoy-attempt-count x-envoy-upstream-service-time x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port " +
  "x-forwarded-proto x-frame-options x-powered-by x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset x-real-ip " +
  "x-request-id x-requested-with x-xss-protection"
).split(" ");

interface Known {
  readonly bytes: Uint8Array;
  readonly index: number;
}

const SLOTS = 1024;
const slots: (Known | undefined)[] = new Array<Known | undefined>(SLOTS).fill(undefined);

function slotOf(length: number, first: number, middle: number, last: number): number {
  return (length * 37 + first * 7 + middle * 59 + last * 211) & (SLOTS - 1);
}

for (const [index, name] of KNOWN_NAMES.entries()) {
  const bytes = Uint8Array.from(name, (char) => char.charCodeAt(0));
  const length = bytes.length;
  let slot = slotOf(length, name.charCodeAt(0), name.charCodeAt(length >> 1), name.charCodeAt(length - 1));
  while (slots[slot] !== undefined) slot = (slot + 1) & (SLOTS - 1);
  slots[slot] = { bytes, index };
}

/** Index in KNOWN_NAMES of the (valid, non-empty) field name at `[start, end)`, in whatever case it came, or -1. */
export function knownName(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  const first = TOKEN[bytes[start] as number] as number;
  const middle = TOKEN[bytes[start + (length >> 1)] as number] as number;
  const last = TOKEN[bytes[end - 1] as number] as number;
  for (let slot = slotOf(length, first, middle, last); ; slot = (slot + 1) & (SLOTS - 1)) {
    const known = slots[slot];
    if (known === undefined) return -1;
    if (known.bytes.length === length && sameName(known.bytes, bytes, start)) return known.index;
  }
}

function sameName(name: Uint8Array, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < name.length; i++) if (name[i] !== TOKEN[bytes[start + i] as number]) return false;
  return true;
}
