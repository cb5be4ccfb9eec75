/** A response's body on its way to the client: unaltered, counted, and with word of how it went. */

/**
 * A body of declared length up to this is looked at once before the head goes out: most are there as a whole by then, and a stream of their own would cost as
 * much as all the rest of the request.
 */
export const MAX_WHOLE_BODY_BYTES = 65_536;

const EMPTY = new Uint8Array(0);

export class PassedBody {
  readonly #body: ReadableStream<Uint8Array>;
  readonly #length: number | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  /** Read by `whole`, and not all. */
  #first: Uint8Array | undefined;
  #failure: unknown;
  /** That have gone to the client so far. */
  bytes = 0;

  /** @param length as declared; undefined: nobody knows */
  constructor(body: ReadableStream<Uint8Array>, length: number | undefined) {
    this.#body = body;
    this.#length = length;
  }

  /** All of it, if it is small and its first part is all. Undefined: go on with `stream`. */
  async whole(): Promise<Uint8Array | undefined> {
    if (this.#length === undefined || this.#length > MAX_WHOLE_BODY_BYTES) return undefined;
    this.#reader = this.#body.getReader();
    try {
      const { value } = await this.#reader.read();
      this.#first = value;
    } catch (error) {
      this.#failure = error;
      return undefined;
    }
    if ((this.#first?.byteLength ?? 0) !== this.#length) return undefined;
    this.bytes = this.#length;
    return this.#first ?? EMPTY;
  }

  /**
   * What is left as a stream, and a promise that settles with it. A body that breaks off breaks the stream off.
   *
   * @param signal breaks both off
   */
  stream(signal: AbortSignal): readonly [ReadableStream<Uint8Array>, Promise<void>] {
    const length = this.#length;
    const { readable, writable } = length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
    // Large and of known length: the runtime moves it without this code.
    const moved =
      length !== undefined && this.#reader === undefined ? this.#piped(writable, length, signal) : this.#moved(writable, signal);
    return [readable, moved];
  }

  async #piped(writable: WritableStream<Uint8Array>, length: number, signal: AbortSignal): Promise<void> {
    await this.#body.pipeTo(writable, { signal });
    this.bytes = length;
  }

  async #moved(writable: WritableStream<Uint8Array>, signal: AbortSignal): Promise<void> {
    const writer = writable.getWriter();
    const reader = this.#reader ?? this.#body.getReader();
    signal.addEventListener("abort", () => reader.cancel(signal.reason).catch(() => undefined));
    try {
      if (this.#failure !== undefined) throw this.#failure;
      for (let part = this.#first ?? (await reader.read()).value; part !== undefined; part = (await reader.read()).value) {
        await writer.write(part);
        this.bytes += part.byteLength;
      }
      signal.throwIfAborted();
      await writer.close();
    } catch (error) {
      await Promise.allSettled([writer.abort(error), reader.cancel(error)]);
      throw error;
    }
  }
}
