/** Why a passport is not taken: stable words for logs, metrics and explain headers, and a sentence for whoever sent it. */

export type PassportRefusalCode =
  // its form
  | "passport_repeated"
  | "passport_too_long"
  | "passport_malformed"
  | "passport_wrong_typ"
  | "passport_wrong_alg"
  // who signed it, and for whom
  | "passport_unknown_issuer"
  | "passport_bad_signature"
  | "passport_foreign_audience"
  // when
  | "passport_not_yet_valid"
  | "passport_expired"
  | "passport_too_long_lived"
  // for which request
  | "passport_other_method"
  | "passport_other_authority"
  | "passport_other_target"
  // used before, or nobody can say
  | "passport_replayed"
  | "passport_memory_full"
  | "passport_unchecked";

export interface PassportRefusal {
  readonly code: PassportRefusalCode;
  readonly message: string;
  /** Who issued it under which id, as far as a good signature vouches for it. */
  readonly signed?: { readonly site: string; readonly id: string };
}

export function refusePassport(
  code: PassportRefusalCode,
  message: string,
  signed?: PassportRefusal["signed"],
): { readonly ok: false; readonly error: PassportRefusal } {
  return { ok: false, error: signed === undefined ? { code, message } : { code, message, signed } };
}
