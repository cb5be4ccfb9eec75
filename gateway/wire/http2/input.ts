/**
 * The bytes that were fed and not yet read. A fed chunk is used where it lies; only a frame's part that a chunk cut off is copied, and only it: what
 * follows in the next chunk is again used where it lies.
 */
const NOTHING = new Uint8Array(0);
/** A copy is kept for the next time if it is no larger. */
const KEPT_BYTES = 512;

export class FrameInput {
  bytes: Uint8Array = NOTHING;
  /** First byte not yet read. */
  pos = 0;
  end = 0;
  /** What comes after `bytes`. */
  #next: Uint8Array = NOTHING;
  #nextPos = 0;
  /** Our copy, if `bytes` is it. */
  #own: Uint8Array = NOTHING;

  get isEmpty(): boolean {
    return this.pos === this.end && this.#nextPos === this.#next.length;
  }

  feed(chunk: Uint8Array): void {
    if (this.#nextPos < this.#next.length) this.#keep();
    if (this.pos === this.end) this.#use(chunk, 0);
    else if (this.bytes === this.#own) {
      this.#next = chunk;
      this.#nextPos = 0;
    } else {
      this.#keep();
      this.#next = chunk;
      this.#nextPos = 0;
    }
  }

  /** Whether `count` bytes are there; they are in one piece then, from `pos`. */
  has(count: number): boolean {
    return this.end - this.pos >= count || this.#pull(count);
  }

  /** How many bytes there are in one piece; 0: none at all. */
  available(): number {
    if (this.pos === this.end) this.#pull(1);
    return this.end - this.pos;
  }

  /** Lets go of what was fed: keeps a copy of what is unread, unless it is one already. */
  settle(): void {
    if (this.isEmpty) this.clear();
    else this.#keep();
  }

  clear(): void {
    this.bytes = NOTHING;
    this.pos = 0;
    this.end = 0;
    this.#next = NOTHING;
    this.#nextPos = 0;
    if (this.#own.length > KEPT_BYTES) this.#own = NOTHING;
  }

  #use(chunk: Uint8Array, from: number): void {
    this.bytes = chunk;
    this.pos = from;
    this.end = chunk.length;
    this.#next = NOTHING;
    this.#nextPos = 0;
  }

  #pull(count: number): boolean {
    const there = this.#next.length - this.#nextPos;
    if (there === 0) return false;
    if (this.pos === this.end) {
      this.#use(this.#next, this.#nextPos);
      return this.end - this.pos >= count;
    }
    const missing = Math.min(count - (this.end - this.pos), there);
    this.#append(this.#next.subarray(this.#nextPos, this.#nextPos + missing));
    this.#nextPos += missing;
    return this.end - this.pos >= count;
  }

  /** Everything unread into our own buffer. */
  #keep(): void {
    if (this.bytes !== this.#own) this.#append(NOTHING);
    this.#append(this.#next.subarray(this.#nextPos));
    this.#next = NOTHING;
    this.#nextPos = 0;
  }

  #append(more: Uint8Array): void {
    const held = this.end - this.pos;
    const own = this.#own;
    if (this.bytes === own && this.end + more.length <= own.length) {
      own.set(more, this.end);
      this.end += more.length;
      return;
    }
    const total = held + more.length;
    let target = own;
    if (total > own.length || this.bytes === own) {
      let size = 64;
      while (size < total) size *= 2;
      target = new Uint8Array(size);
    }
    target.set(this.bytes.subarray(this.pos, this.end));
    target.set(more, held);
    this.#own = target;
    this.bytes = target;
    this.pos = 0;
    this.end = total;
  }
}
