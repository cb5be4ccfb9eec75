/**
 * The bytes that were fed and not yet consumed.
 *
 * A fed chunk is used where it lies. Only what has to wait for more (an unfinished head or trailer, or bytes that the caller
 * fed while it did not ask for events) is copied, once per byte on average, into a buffer that grows by doubling. Bytes below `end` are never written
 * again, so views that were handed out stay valid.
 */
const EMPTY = new Uint8Array(0);

export class Input {
  bytes: Uint8Array = EMPTY;
  /** First byte not yet consumed. */
  pos = 0;
  end = 0;
  #owned = false;

  feed(chunk: Uint8Array): void {
    if (this.pos === this.end) {
      this.bytes = chunk;
      this.pos = 0;
      this.end = chunk.length;
      this.#owned = false;
      return;
    }
    this.#reserve(chunk.length);
    this.bytes.set(chunk, this.end);
    this.end += chunk.length;
  }

  /** Before `need` is returned: lets go of the fed chunk, keeping a copy of what is not consumed. */
  settle(): void {
    if (this.pos === this.end) this.clear();
    else if (!this.#owned) this.#reserve(0);
  }

  /** Takes back everything that is not consumed. */
  take(): Uint8Array {
    const rest = this.bytes.subarray(this.pos, this.end);
    this.clear();
    return rest;
  }

  clear(): void {
    this.bytes = EMPTY;
    this.pos = 0;
    this.end = 0;
    this.#owned = false;
  }

  #reserve(more: number): void {
    const held = this.end - this.pos;
    if (this.#owned && this.end + more <= this.bytes.length) return;
    let capacity = 256;
    while (capacity < held + more) capacity *= 2;
    const grown = new Uint8Array(capacity);
    grown.set(this.bytes.subarray(this.pos, this.end));
    this.bytes = grown;
    this.pos = 0;
    this.end = held;
    this.#owned = true;
  }
}
