/**
 * Text of one byte per character, by Node's own methods that skip the checking of arguments where this Node has them: the general ones spend more
 * on that than on a short text. Callers see to it that ranges fit.
 */
import type { Latin1Decoder } from "../wire/index.ts";

interface Latin1Methods {
  readonly latin1Slice?: (this: Uint8Array, start: number, end: number) => string;
  readonly latin1Write?: (this: Uint8Array, text: string, at: number, length: number) => number;
}

const { latin1Slice, latin1Write } = Buffer.prototype as Latin1Methods;

export const decodeLatin1: Latin1Decoder =
  latin1Slice === undefined
    ? (bytes, start, end) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", start, end)
    : (bytes, start, end) => latin1Slice.call(bytes, start, end);

/** Writes all of `text` at `at`. @returns bytes written */
export const writeLatin1: (into: Buffer, text: string, at: number) => number =
  latin1Write === undefined
    ? (into, text, at) => into.write(text, at, "latin1")
    : (into, text, at) => latin1Write.call(into, text, at, text.length);
