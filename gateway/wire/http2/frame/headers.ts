/** HEADERS (RFC 9113 6.2). Ours carry no priority and no padding. */
import type { Output } from "../output.ts";
import { splitBlock } from "./continuation.ts";
import { END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, HEADERS, putFrameHeader } from "./header.ts";

/** Leaves room for the header of a HEADERS frame whose block is about to be appended. @returns where the frame begins */
export function beginHeaders(out: Output): number {
  const start = out.end;
  out.reserve(FRAME_HEADER_BYTES);
  out.end += FRAME_HEADER_BYTES;
  return start;
}

/** The block is complete: fills in the header, and splits what is longer than the peer's frames may be. */
export function endHeaders(out: Output, start: number, stream: number, endStream: boolean, maxFrameBytes: number): void {
  const block = out.end - start - FRAME_HEADER_BYTES;
  const flags = endStream ? END_STREAM : 0;
  if (block <= maxFrameBytes) {
    putFrameHeader(out.bytes, start, block, HEADERS, flags | END_HEADERS, stream);
    return;
  }
  putFrameHeader(out.bytes, start, maxFrameBytes, HEADERS, flags, stream);
  splitBlock(out, start, block, stream, maxFrameBytes);
}
