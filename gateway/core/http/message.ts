/**
 * The neutral HTTP vocabulary that every runtime and codec speaks.
 *
 * A head's fields are one flat list, `[name, value, name, value, …]`: names in lower case, values trimmed, order and
 * repetition as received. One array per head is all that a request costs, and both runtimes fill it cheaply.
 */
export type FieldList = string[];
export type ReadonlyFieldList = readonly string[];

export type Scheme = "http" | "https";

/** As Via writes it (RFC 9110 7.6.3). */
export type HttpVersion = "1.0" | "1.1" | "2";

/** A request as matching sees it, whatever it came in by (HTTP/1.1, HTTP/2, `fetch`). */
export interface RequestHead {
  method: string;
  scheme: Scheme;
  /** RFC 9110 7.2: host[:port], lower case; never user information. Empty only for HTTP/1.0 without Host. */
  authority: string;
  /** Origin form: path and query, as received. `*` for `OPTIONS *`. */
  target: string;
  fields: FieldList;
  /** What follows the head. `length` carries the declared number of bytes, `stream` an unknown number. */
  body: BodyKind;
}

export interface ResponseHead {
  status: number;
  fields: FieldList;
  body: BodyKind;
  /** What it came in by. Absent: made here, or the runtime does not tell. */
  readonly version?: HttpVersion;
}

/**
 * Message framing with its syntax taken away. `Content-Length` and `Transfer-Encoding` never appear in a field list: the codec writes them from this.
 * Neither do `Host` (it is `authority`) and `Connection` (its options come with the head event).
 */
export type BodyKind =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "stream" };

export const NO_BODY: BodyKind = { kind: "none" };
export const STREAM_BODY: BodyKind = { kind: "stream" };

/** First value of a field, or undefined. `name` is lower case. */
export function field(fields: ReadonlyFieldList, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

/** All values of a field joined as RFC 9110 5.3 allows, or undefined when it is absent. */
export function fieldJoined(fields: ReadonlyFieldList, name: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue;
    joined = joined === undefined ? fields[i + 1] : `${joined}, ${fields[i + 1]}`;
  }
  return joined;
}

/** Whether a TE (RFC 9110 10.1.4) asks for trailer fields; no transfer coding that it may name is known here. */
export function listsTrailers(te: string): boolean {
  return te === "trailers" || te.split(",").some((member) => member.trim().toLowerCase() === "trailers");
}
