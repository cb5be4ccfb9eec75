/** GOAWAY (RFC 9113 6.8): the last stream that was or may be processed, an error code, and debug data, which nobody here reads. */
import type { Output } from "../output.ts";
import { FRAME_HEADER_BYTES, GOAWAY, putUint32, writeFrameHeader } from "./header.ts";

export const GOAWAY_BYTES = 8;

export function writeGoAway(out: Output, lastStream: number, code: number): void {
  out.reserve(FRAME_HEADER_BYTES + GOAWAY_BYTES);
  writeFrameHeader(out, GOAWAY_BYTES, GOAWAY, 0, 0);
  putUint32(out.bytes, out.end, lastStream);
  putUint32(out.bytes, out.end + 4, code);
  out.end += GOAWAY_BYTES;
}
