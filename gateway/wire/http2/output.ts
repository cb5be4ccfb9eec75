/**
 * What waits to be written: one buffer that everything of a connection is appended to, and a second one that is being written.
 *
 * Buffers come from a pool and go back to it, so an idle connection holds none.
 */

/** The size that buffers have at first, and that most never outgrow. */
const FIRST_BYTES = 16 * 1024;
/** Buffers that a pool keeps for the next connection that has something to say. */
const MAX_POOLED = 32;
/** What grew beyond this is not kept. */
const MAX_POOLED_BYTES = 512 * 1024;

const NOTHING = new Uint8Array(0);

export class BufferPool {
  readonly #free: Uint8Array[] = [];

  /** At least `bytes` long. */
  get(bytes: number): Uint8Array {
    const free = this.#free.pop();
    if (free !== undefined && free.length >= bytes) return free;
    let size = FIRST_BYTES;
    while (size < bytes) size *= 2;
    return new Uint8Array(size);
  }

  put(buffer: Uint8Array): void {
    if (buffer.length > 0 && buffer.length <= MAX_POOLED_BYTES && this.#free.length < MAX_POOLED) this.#free.push(buffer);
  }
}

export class Output {
  bytes: Uint8Array = NOTHING;
  /** Where the next byte goes: so many wait. */
  end = 0;
  readonly #pool: BufferPool;
  /** What `take` gave last. */
  #taken: Uint8Array = NOTHING;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  /** Makes sure that `bytes` more can be appended. */
  reserve(bytes: number): void {
    if (this.end + bytes > this.bytes.length) this.#grow(this.end + bytes);
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.end);
    this.end += bytes.length;
  }

  /** Everything that waits, valid until the next call. */
  take(): Uint8Array {
    this.#pool.put(this.#taken);
    const { bytes, end } = this;
    this.bytes = NOTHING;
    this.end = 0;
    if (end === 0) {
      this.#pool.put(bytes);
      this.#taken = NOTHING;
      return NOTHING;
    }
    this.#taken = bytes;
    return bytes.subarray(0, end);
  }

  #grow(bytes: number): void {
    const grown = this.#pool.get(bytes);
    grown.set(this.bytes.subarray(0, this.end));
    this.#pool.put(this.bytes);
    this.bytes = grown;
  }
}
