/** HEADERS and CONTINUATION (RFC 9113 6.2, 6.10). Ours carry no priority and no padding. */
import type { Output } from "../output.ts";
import { CONTINUATION, END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, HEADERS, putFrameHeader } from "./header.ts";

/** Bytes of the priority part, which a receiver skips (RFC 9113 5.3.2). */
export const PRIORITY_BYTES = 5;

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
  const frames = Math.ceil(block / maxFrameBytes);
  out.reserve((frames - 1) * FRAME_HEADER_BYTES);
  out.end += (frames - 1) * FRAME_HEADER_BYTES;
  // From the last to the first, so that nothing is overwritten before it has moved.
  for (let frame = frames - 1; frame >= 0; frame--) {
    const from = start + FRAME_HEADER_BYTES + frame * maxFrameBytes;
    const length = Math.min(maxFrameBytes, block - frame * maxFrameBytes);
    const to = from + frame * FRAME_HEADER_BYTES;
    out.bytes.copyWithin(to, from, from + length);
    const isLast = frame === frames - 1;
    const type = frame === 0 ? HEADERS : CONTINUATION;
    putFrameHeader(
      out.bytes,
      to - FRAME_HEADER_BYTES,
      length,
      type,
      (frame === 0 ? flags : 0) | (isLast ? END_HEADERS : 0),
      stream,
    );
  }
}
