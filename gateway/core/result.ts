/** The outcome of reading something from outside: a value, or every problem found in it. */
export type Result<T, E = readonly Issue[]> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

/** One problem in one place. `path` is a field path such as `routes[3].matches[0].path`; `problem` says what is wrong and what would be right. */
export interface Issue {
  readonly path: string;
  readonly problem: string;
}

export function ok<T>(value: T): { readonly ok: true; readonly value: T } {
  return { ok: true, value };
}

export function fail<E>(error: E): { readonly ok: false; readonly error: E } {
  return { ok: false, error };
}

/** A union case that nobody handles does not compile; one that slips in at run time is a bug and throws. */
export function unreachable(value: never): never {
  throw new TypeError(`unhandled case: ${JSON.stringify(value)}`);
}
