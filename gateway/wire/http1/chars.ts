/** Byte classes as 256-entry tables: one load per byte, no branches. */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;

function table(test: (code: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => test(code));
}

const TCHAR = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** RFC 9110 5.6.2 tchar: the byte in lower case, or 0 when it is none. */
export const TOKEN = table((code) => {
  const char = String.fromCharCode(code);
  return TCHAR.includes(char) ? char.toLowerCase().charCodeAt(0) : 0;
});

/** RFC 9110 5.5: field-vchar, SP and HTAB (1), all else including CR and LF (0). */
export const VALUE = table((code) => (code === HTAB || (code >= 0x20 && code !== 0x7f) ? 1 : 0));

/** What a request-target may consist of: visible ASCII without the fragment mark and without `\`, which some readers take for `/`. */
export const TARGET = table((code) => (code > 0x20 && code < 0x7f && code !== 0x23 && code !== 0x5c ? 1 : 0));

/** Value of a hexadecimal digit, or 255. */
export const HEX = table((code) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(code).toLowerCase());
  return digit === -1 ? 255 : digit;
});

/** Turns bytes `[start, end)` into a string, each byte one character. A runtime hands in its native one. */
export type Latin1Decoder = (bytes: Uint8Array, start: number, end: number) => string;

/** The portable decoder. Slower than a native one by far: a runtime that has one hands it in. */
export const decodeLatin1: Latin1Decoder = (bytes, start, end) => {
  let text = "";
  // Some engines take no more than 65535 arguments.
  for (let at = start; at < end; at += 4096) {
    const part: string = Reflect.apply(String.fromCharCode, undefined, bytes.subarray(at, Math.min(end, at + 4096)));
    text += part;
  }
  return text;
};

/** Writes all of `text` at `at`, each character as one byte, its low one. @returns bytes written. A runtime hands in its native one. */
export type Latin1Encoder = (into: Uint8Array, text: string, at: number) => number;

/** The portable encoder. */
export const encodeLatin1: Latin1Encoder = (into, text, at) => {
  for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
  return text.length;
};

/** A value as the writers may send it: field-vchar, SP and HTAB, and nothing that latin1 would fold onto a control character. */
export function isFieldValue(value: string): boolean {
  return !/[^\t\x20-\x7e\x80-\xff]/.test(value);
}

/** A token (RFC 9110 5.6.2), as field names and methods have to be. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}
