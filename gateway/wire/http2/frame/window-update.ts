/** WINDOW_UPDATE (RFC 9113 6.9): how much more may be sent. */
import type { Output } from "../output.ts";
import { FRAME_HEADER_BYTES, putUint32, WINDOW_UPDATE, writeFrameHeader } from "./header.ts";

export const WINDOW_UPDATE_BYTES = 4;

/** `stream` 0: the connection's window. */
export function writeWindowUpdate(out: Output, stream: number, increment: number): void {
  out.reserve(FRAME_HEADER_BYTES + WINDOW_UPDATE_BYTES);
  writeFrameHeader(out, WINDOW_UPDATE_BYTES, WINDOW_UPDATE, 0, stream);
  putUint32(out.bytes, out.end, increment);
  out.end += WINDOW_UPDATE_BYTES;
}
