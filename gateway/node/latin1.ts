/**
 * Text of one byte per character, by Node's own methods that skip the checking of arguments where this Node has them: the general ones spend more
 * on that than on a short text. Callers see to it that ranges fit.
 */
import type { Latin1Decoder, Latin1Encoder } from "../wire/index.ts";

interface Latin1Methods {
  readonly latin1Slice?: (this: Uint8Array, start: number, end: number) => string;
  readonly latin1Write?: (this: Uint8Array, text: string, at: number, length: number) => number;
}

const { latin1Slice, latin1Write } = Buffer.prototype as Latin1Methods;

export const decodeLatin1: Latin1Decoder =
  latin1Slice === undefined
    ? (bytes, start, end) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", start, end)
    : (bytes, start, end) => latin1Slice.call(bytes, start, end);

/** Of a character above U+00FF the low byte. */
export const writeLatin1: Latin1Encoder =
  latin1Write === undefined
    ? (into, text, at) => Buffer.from(into.buffer, into.byteOffset, into.byteLength).write(text, at, "latin1")
    : (into, text, at) => latin1Write.call(into, text, at, text.length);
