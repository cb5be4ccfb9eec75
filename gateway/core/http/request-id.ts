import type { Random } from "../ports.ts";

/** A UUID of version 4 (RFC 9562 5.4). It correlates; it is no secret and guards nothing. */
export function newRequestId(random: Random): string {
  const first = (random() * WORD) >>> 0;
  const second = (random() * WORD) >>> 0;
  const third = (random() * WORD) >>> 0;
  const fourth = (random() * WORD) >>> 0;
  write(0, 8, first);
  write(9, 4, second >>> 16);
  write(14, 4, VERSION_4 | (second & 0x0fff));
  write(19, 4, VARIANT | ((third >>> 16) & 0x3fff));
  write(24, 4, third);
  write(28, 8, fourth);
  // All at once: pieces that are joined are a dozen texts, each to be thrown away.
  return String.fromCharCode.apply(null, CODES);
}

const WORD = 0x1_0000_0000;
const VERSION_4 = 0x4000;
const VARIANT = 0x8000;

/** Character codes of the id that is being made; its hyphens stay where they are. */
const CODES: number[] = Array.from("00000000-0000-0000-0000-000000000000", (character) => character.charCodeAt(0));
const DIGITS: readonly number[] = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0));

/** The lowest `digits` digits of a number. */
function write(at: number, digits: number, value: number): void {
  let left = value;
  for (let i = at + digits - 1; i >= at; i--) {
    CODES[i] = DIGITS[left & 0xf] as number;
    left >>>= 4;
  }
}
