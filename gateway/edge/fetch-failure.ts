/** What `fetch` throws, in core's words. The platform says little: what it does not say clearly may have reached the origin. */
import type { AttemptFailure } from "../core/index.ts";

type Told = Pick<AttemptFailure, "code" | "reason" | "neverSent">;

/**
 * First match counts. `neverSent` only where the words cannot mean anything else; a lost connection may have been refused, reset, or ended in the
 * middle of an answer, and the platform has one sentence for all of these.
 */
const SENTENCES: readonly (readonly [RegExp, Told])[] = [
  [/\b(dns|getaddrinfo|name resolution)\b/i, { code: "dns_failure", reason: "dns_failure", neverSent: true }],
  [/connection refused/i, { code: "upstream_connect", reason: "connection_refused", neverSent: true }],
  [/\b(tls|ssl|certificate|handshake)\b/i, { code: "upstream_tls", reason: "tls", neverSent: true }],
  [/\bconnect\(\).*timed out/i, { code: "upstream_connect_timeout", reason: "connect_timeout", neverSent: true }],
  [/tim(?:ed|e)[ -]?out/i, { code: "upstream_reset", reason: "timed_out", neverSent: false }],
  [
    /connection (?:was )?(?:lost|reset|closed)|disconnected/i,
    { code: "upstream_reset", reason: "connection_lost", neverSent: false },
  ],
];

/** Thrown in place of what `fetch` throws, where what happened is known. */
export class KnownFailure extends Error {
  readonly told: Told;

  constructor(told: Told) {
    super(told.reason);
    this.told = told;
  }
}

const UNCLEAR: Told = { code: "upstream_reset", reason: "fetch_failed", neverSent: false };
/** What the caller has made wrong: nothing was even tried. */
const OURS: Told = { code: "internal", reason: "fetch_refused", neverSent: true };

export function failureOf(error: unknown): Told {
  if (error instanceof KnownFailure) return error.told;
  if (error instanceof TypeError) return OURS;
  const message = error instanceof Error ? error.message : String(error);
  for (const [sentence, told] of SENTENCES) if (sentence.test(message)) return told;
  return UNCLEAR;
}
