/** A field of a table. */
export interface FieldEntry {
  /** See message/kinds.ts. */
  readonly kind: number;
  readonly name: string;
  readonly value: string;
  /** RFC 7541 4.1. */
  readonly size: number;
}

/** RFC 7541 4.1: what an entry counts on top of its name and value; RFC 9113 6.5.2 counts fields of a list alike. */
export const FIELD_OVERHEAD_BYTES = 32;

export function newEntry(kind: number, name: string, value: string): FieldEntry {
  return { kind, name, value, size: name.length + value.length + FIELD_OVERHEAD_BYTES };
}
