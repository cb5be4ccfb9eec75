/** DATA (RFC 9113 6.1). Ours is never padded. */
import type { Output } from "../output.ts";
import { DATA, END_STREAM, FLAGS_AT, FRAME_HEADER_BYTES, writeFrameHeader } from "./header.ts";

/** Makes the DATA frame whose header is at `at` the last one of its stream. */
export function markEnd(out: Output, at: number): void {
  out.bytes[at + FLAGS_AT] = (out.bytes[at + FLAGS_AT] as number) | END_STREAM;
}

/** Writes `[start, end)` as frames of at most `maxFrameBytes` each, one at least. @returns how many */
export function writeData(
  out: Output,
  stream: number,
  bytes: Uint8Array,
  end: number,
  isLast: boolean,
  maxFrameBytes: number,
): number {
  let frames = 0;
  let at = 0;
  do {
    const stop = Math.min(end, at + maxFrameBytes);
    out.reserve(FRAME_HEADER_BYTES + stop - at);
    writeFrameHeader(out, stop - at, DATA, isLast && stop === end ? END_STREAM : 0, stream);
    if (stop > at) {
      out.bytes.set(at === 0 && stop === bytes.length ? bytes : bytes.subarray(at, stop), out.end);
      out.end += stop - at;
    }
    at = stop;
    frames++;
  } while (at < end);
  return frames;
}
