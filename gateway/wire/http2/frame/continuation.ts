/** CONTINUATION (RFC 9113 6.10): what of a header block did not fit into HEADERS. */
import type { Output } from "../output.ts";
import { CONTINUATION, END_HEADERS, FRAME_HEADER_BYTES, putFrameHeader } from "./header.ts";

/** Puts headers of CONTINUATION into a block of `block` bytes, which begins behind the HEADERS header at `start` and ends the output. */
export function splitBlock(out: Output, start: number, block: number, stream: number, maxFrameBytes: number): void {
  const frames = Math.ceil(block / maxFrameBytes);
  out.reserve((frames - 1) * FRAME_HEADER_BYTES);
  out.end += (frames - 1) * FRAME_HEADER_BYTES;
  // From the last to the first, so that nothing is overwritten before it has moved.
  for (let frame = frames - 1; frame > 0; frame--) {
    const from = start + FRAME_HEADER_BYTES + frame * maxFrameBytes;
    const length = Math.min(maxFrameBytes, block - frame * maxFrameBytes);
    const to = from + frame * FRAME_HEADER_BYTES;
    out.bytes.copyWithin(to, from, from + length);
    putFrameHeader(out.bytes, to - FRAME_HEADER_BYTES, length, CONTINUATION, frame === frames - 1 ? END_HEADERS : 0, stream);
  }
}
