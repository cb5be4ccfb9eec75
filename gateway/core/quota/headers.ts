/**
 * What responses say about quotas: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers, structured fields of RFC 9651)
 * and the older `X-RateLimit-*`. A policy is called by its rule name, `<namespace>/<quota>#<limit>`.
 */
import type { FieldList } from "../http/message.ts";
import { Fingerprint } from "./fingerprint.ts";
import type { CompiledLimit } from "./limit.ts";

const UNITS = { requests: "", bytes: ';qu="content-bytes"', concurrent: ';qu="concurrent-requests"' };

/** `"ns/name#burst";q=20;w=1, …`; `w` only where the window is whole seconds. */
export function policyList(limits: readonly CompiledLimit[]): string {
  return limits.map(policyItem).join(", ");
}

function policyItem(limit: CompiledLimit): string {
  const window = limit.kind === "concurrent" || limit.windowMs % 1000 !== 0 ? "" : `;w=${limit.windowMs / 1000}`;
  return `${quoted(limit.rule)};q=${limit.amount}${UNITS[limit.unit]}${window}`;
}

/** `"ns/name#burst";r=19;t=1`: what is left, and in how many seconds (rounded up) there will be more; `t` not where nobody can know. */
export function limitItem(limit: CompiledLimit, remaining: number, resetMs: number, partition: string): string {
  const reset = limit.kind === "concurrent" || !Number.isFinite(resetMs) ? "" : `;t=${Math.ceil(resetMs / 1000)}`;
  return `${quoted(limit.rule)};r=${remaining}${reset}${partition}`;
}

/** Seconds for `Retry-After`: rounded up, at least one, so that it is never earlier than the truth. */
export function retryAfterSeconds(retryAfterMs: number): number {
  return Math.max(1, Math.ceil(retryAfterMs / 1000));
}

/** An RFC 9651 string; what it cannot hold (anything but printable ASCII) becomes `?`. */
function quoted(text: string): string {
  return `"${text.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
}

// Open on purpose: it hides the key from logs on the way and tells partitions apart, nothing more.
const partitions = new Fingerprint(Int32Array.of(0x74696465, 0x67617465, 0x71756f74, 0x61706b31));

/** `;pk=:…:`, a fingerprint of the key; "" without a key. */
export function partitionParameter(key: string): string {
  if (key === "") return "";
  const words = partitions.of(key);
  let bytes = "";
  for (const word of words)
    bytes += String.fromCharCode((word >>> 24) & 255, (word >>> 16) & 255, (word >>> 8) & 255, word & 255);
  return `;pk=:${btoa(bytes)}:`;
}

export function pushLegacy(fields: FieldList, limit: CompiledLimit, remaining: number, resetMs: number): void {
  fields.push("x-ratelimit-limit", String(limit.amount), "x-ratelimit-remaining", String(remaining));
  if (limit.kind !== "concurrent" && Number.isFinite(resetMs))
    fields.push("x-ratelimit-reset", String(Math.ceil(resetMs / 1000)));
}
