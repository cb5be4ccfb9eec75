/** PING (RFC 9113 6.7): eight bytes that come back as they are. */
import type { Output } from "../output.ts";
import { ACK, FRAME_HEADER_BYTES, PING, writeFrameHeader } from "./header.ts";

export const PING_BYTES = 8;

/** `mark` tells our own pings apart when they come back. */
export function writePing(out: Output, mark: number): void {
  out.reserve(FRAME_HEADER_BYTES + PING_BYTES);
  writeFrameHeader(out, PING_BYTES, PING, 0, 0);
  out.bytes.fill(mark, out.end, out.end + PING_BYTES);
  out.end += PING_BYTES;
}

export function writePong(out: Output, bytes: Uint8Array, at: number): void {
  out.reserve(FRAME_HEADER_BYTES + PING_BYTES);
  writeFrameHeader(out, PING_BYTES, PING, ACK, 0);
  for (let i = 0; i < PING_BYTES; i++) out.bytes[out.end++] = bytes[at + i] as number;
}

export function isPong(bytes: Uint8Array, at: number, mark: number): boolean {
  for (let i = 0; i < PING_BYTES; i++) if (bytes[at + i] !== mark) return false;
  return true;
}
