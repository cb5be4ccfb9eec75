/** RST_STREAM (RFC 9113 6.4): one error code. */
import type { Output } from "../output.ts";
import { FRAME_HEADER_BYTES, putUint32, RST_STREAM, writeFrameHeader } from "./header.ts";

export const RST_STREAM_BYTES = 4;

export function writeRstStream(out: Output, stream: number, code: number): void {
  out.reserve(FRAME_HEADER_BYTES + RST_STREAM_BYTES);
  writeFrameHeader(out, RST_STREAM_BYTES, RST_STREAM, 0, stream);
  putUint32(out.bytes, out.end, code);
  out.end += RST_STREAM_BYTES;
}
