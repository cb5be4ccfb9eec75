/** Where in the user's configuration something in the IR comes from: shown in statuses, logs, `explain`. */
export interface Origin {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Field path inside the object, such as `spec.http[2]`. */
  readonly path?: string;
}

/** How a string is compared. Regexes are RE2 syntax, whole string (Istio) unless `partial`, linear time. */
export type StringMatch =
  | { readonly kind: "exact"; readonly value: string; readonly ignoreCase?: boolean }
  | { readonly kind: "prefix"; readonly value: string; readonly ignoreCase?: boolean }
  | { readonly kind: "suffix"; readonly value: string; readonly ignoreCase?: boolean }
  /** Gateway API prefix: by path segment. Only for paths. */
  | { readonly kind: "segmentPrefix"; readonly value: string }
  | { readonly kind: "regex"; readonly value: string }
  | { readonly kind: "present" };

export interface FieldMatch {
  /** Field name (lower case) or query parameter name. */
  readonly name: string;
  readonly match: StringMatch;
  /** Matches when the positive match does not (Istio `withoutHeaders`). */
  readonly invert?: boolean;
}
