import type { Issue } from "../result.ts";

/**
 * Why a signed document is refused: stable words, which go into a NACK, a metric label and the message to a person.
 * Whatever the code, the reader keeps what it has.
 */
export type RefusalCode =
  // the envelope
  | "too_large"
  | "malformed"
  | "unsigned"
  | "too_many_signatures"
  | "alg_refused"
  | "unknown_crit"
  | "wrong_typ"
  | "duplicate_kid"
  | "unknown_kid"
  | "alg_key_mismatch"
  | "bad_signature"
  | "signer_outside_role"
  | "below_threshold"
  // the trust root
  | "invalid_root"
  | "root_pin"
  | "root_version"
  | "root_issuer"
  | "root_epoch"
  | "root_expired"
  // the manifest
  | "invalid_manifest"
  | "reader_too_old"
  | "wrong_issuer"
  | "wrong_audience"
  | "rollback"
  | "epoch_ahead"
  | "equivocation"
  | "broken_chain"
  | "future_iat"
  | "not_yet_valid"
  | "expired"
  // what the manifest names
  | "empty_snapshot"
  | "too_many_chunks"
  | "unknown_chunk_kind"
  | "chunk_wrong_section"
  | "duplicate_chunk"
  | "chunk_missing"
  | "chunk_size"
  | "chunk_hash"
  | "invalid_resource"
  | "not_narrowing";

export interface Refusal {
  readonly code: RefusalCode;
  /** One sentence for a person: what was found and what would be right. */
  readonly detail: string;
  /** The single problems, where there are several. */
  readonly issues: readonly Issue[];
}

export function refuse(
  code: RefusalCode,
  detail: string,
  issues: readonly Issue[] = [],
): { readonly ok: false; readonly error: Refusal } {
  return { ok: false, error: { code, detail, issues } };
}
