/** RFC 9113 4.1: nine bytes go before each frame's payload. */
import type { Output } from "../output.ts";

export const FRAME_HEADER_BYTES = 9;
/** Where the flags are in it. */
export const FLAGS_AT = 4;

// RFC 9113 6.
export const DATA = 0x0;
export const HEADERS = 0x1;
export const PRIORITY = 0x2;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PUSH_PROMISE = 0x5;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

// Flags; what each means depends on the type.
export const ACK = 0x1;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const WITH_PRIORITY = 0x20;

/** Appends a frame's header; the caller has made room. */
export function writeFrameHeader(out: Output, length: number, type: number, flags: number, stream: number): void {
  putFrameHeader(out.bytes, out.end, length, type, flags, stream);
  out.end += FRAME_HEADER_BYTES;
}

export function putFrameHeader(bytes: Uint8Array, at: number, length: number, type: number, flags: number, stream: number): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + FLAGS_AT] = flags;
  putUint32(bytes, at + 5, stream);
}

export function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function uint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** Without the reserved bit, which a receiver ignores. */
export function uint31(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) & 0x7fffffff;
}
