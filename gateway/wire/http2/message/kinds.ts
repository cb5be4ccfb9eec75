/** What a field is to the reader of a message, known from its name (and its bytes) once and for all: it is kept with each entry of the tables. */

export const REGULAR = 0;
// RFC 9113 8.3: pseudo-header fields.
export const METHOD = 1;
export const SCHEME = 2;
export const AUTHORITY = 3;
export const PATH = 4;
export const PROTOCOL = 5;
export const STATUS = 6;
/** Kinds up to this one, without REGULAR, are pseudo-header fields. */
export const UNKNOWN_PSEUDO = 7;
// Regular fields that mean something to the codec.
export const HOST = 8;
export const CONTENT_LENGTH = 9;
export const COOKIE = 10;
export const TE = 11;
export const EXPECT = 12;
/** RFC 9113 8.2.2: fields of the connection, which HTTP/2 does not have. */
export const CONNECTION_FIELD = 13;
// What no message may have.
export const BAD_NAME = 14;
export const BAD_VALUE = 15;

const KINDS: ReadonlyMap<string, number> = new Map([
  [":method", METHOD],
  [":scheme", SCHEME],
  [":authority", AUTHORITY],
  [":path", PATH],
  [":protocol", PROTOCOL],
  [":status", STATUS],
  ["host", HOST],
  ["content-length", CONTENT_LENGTH],
  ["cookie", COOKIE],
  ["te", TE],
  ["expect", EXPECT],
  ["connection", CONNECTION_FIELD],
  ["keep-alive", CONNECTION_FIELD],
  ["proxy-connection", CONNECTION_FIELD],
  ["transfer-encoding", CONNECTION_FIELD],
  ["upgrade", CONNECTION_FIELD],
]);

const COLON = 0x3a;

/** `name`: a token in lower case, or one behind a colon. */
export function kindOf(name: string): number {
  return KINDS.get(name) ?? (name.charCodeAt(0) === COLON ? UNKNOWN_PSEUDO : REGULAR);
}
