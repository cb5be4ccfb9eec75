import type { Random } from "../ports.ts";

/** A UUID of version 4 (RFC 9562 5.4). It correlates; it is no secret and guards nothing. */
export function newRequestId(random: Random): string {
  const a = (random() * 0x1_0000_0000) >>> 0;
  const b = (random() * 0x1_0000_0000) >>> 0;
  const c = (random() * 0x1_0000_0000) >>> 0;
  const d = (random() * 0x1_0000_0000) >>> 0;
  const version = (b & 0xffff_0fff) | 0x4000;
  const variant = (c & 0x3fff_ffff) | 0x8000_0000;
  return `${hex16(a >>> 16)}${hex16(a)}-${hex16(version >>> 16)}-${hex16(version)}-${hex16(variant >>> 16)}-${hex16(variant)}${hex16(d >>> 16)}${hex16(d)}`;
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex16(value: number): string {
  return `${HEX[(value >>> 8) & 0xff]}${HEX[value & 0xff]}`;
}
