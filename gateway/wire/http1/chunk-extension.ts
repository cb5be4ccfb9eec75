/**
 * Chunk extensions (RFC 9112 7.1.1), byte by byte: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`. They are checked and dropped:
 * nobody here knows one, a recipient ignores those it does not know, and what is not well-formed may hide a line end from somebody else.
 *
 *     size ──ws──► GAP ──";"──► BEFORE_NAME ──► NAME ──"="──► BEFORE_VALUE ──► VALUE | QUOTED ⇄ ESCAPED ─► QUOTED_END ──";"──► …
 */
import { HTAB, SEMICOLON, SP, TOKEN, VALUE as VALUE_BYTE } from "./chars.ts";

const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** White space was read where only `;` may follow. */
export const GAP = 0;
/** After `;`. */
export const BEFORE_NAME = 1;
const NAME = 2;
const NAME_GAP = 3;
const BEFORE_VALUE = 4;
const VALUE = 5;
const QUOTED = 6;
const ESCAPED = 7;
const QUOTED_END = 8;

/** The state after `byte`, or -1 when the grammar does not have it there. */
export function extensionByte(state: number, byte: number): number {
  if (state === QUOTED) return byte === QUOTE ? QUOTED_END : byte === BACKSLASH ? ESCAPED : VALUE_BYTE[byte] === 1 ? QUOTED : -1;
  if (state === ESCAPED) return VALUE_BYTE[byte] === 1 ? QUOTED : -1;
  if (byte === SP || byte === HTAB) return state === NAME ? NAME_GAP : state === VALUE || state === QUOTED_END ? GAP : state;
  if (byte === SEMICOLON) return state === BEFORE_NAME || state === BEFORE_VALUE ? -1 : BEFORE_NAME;
  if (byte === EQUALS) return state === NAME || state === NAME_GAP ? BEFORE_VALUE : -1;
  if (byte === QUOTE) return state === BEFORE_VALUE ? QUOTED : -1;
  if (TOKEN[byte] === 0) return -1;
  if (state === BEFORE_NAME || state === NAME) return NAME;
  return state === BEFORE_VALUE || state === VALUE ? VALUE : -1;
}

/** The line may end here. */
export function extensionMayEnd(state: number): boolean {
  return state === NAME || state === VALUE || state === QUOTED_END;
}
