/** A header block that comes in several frames (RFC 9113 4.3): gathered until it is complete. */
import type { ConnectionProblemCode } from "./errors.ts";
import type { Http2Limits } from "./limits.ts";

const NOTHING = new Uint8Array(0);

export class HeaderBlock {
  /** The stream whose block is being gathered; 0: none is. */
  stream = 0;
  /** The HEADERS frame ended the stream. */
  endsStream = false;
  bytes: Uint8Array = NOTHING;
  length = 0;
  readonly #limits: Http2Limits;
  #continuations = 0;

  constructor(limits: Http2Limits) {
    this.#limits = limits;
  }

  begin(stream: number, endsStream: boolean): void {
    this.stream = stream;
    this.endsStream = endsStream;
    this.length = 0;
    this.#continuations = 0;
  }

  /** Appends the fragment `[start, end)`. @returns the limit that it breaks (CONTINUATION flood, CVE-2024-27316 and its kin) */
  add(bytes: Uint8Array, start: number, end: number): ConnectionProblemCode | undefined {
    const length = this.length + end - start;
    if (length > this.#limits.maxHeaderBlockBytes) return "header_block_too_large";
    if (length > this.bytes.length) {
      let size = 1024;
      while (size < length) size *= 2;
      const grown = new Uint8Array(size);
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    this.bytes.set(bytes.subarray(start, end), this.length);
    this.length = length;
    return undefined;
  }

  continued(): ConnectionProblemCode | undefined {
    return ++this.#continuations > this.#limits.maxContinuations ? "too_many_continuations" : undefined;
  }

  /** The block has been read. */
  clear(): void {
    this.stream = 0;
    this.bytes = NOTHING;
    this.length = 0;
  }
}
