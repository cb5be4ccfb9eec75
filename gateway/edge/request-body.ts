/**
 * The client's body on its way to one attempt after the other: streamed, kept as far as it may be needed again, counted, and bounded.
 */
import type { BodyKind } from "../core/index.ts";

/** Bodies that are longer are not copied to mirrors, which are then left out. */
export const MAX_MIRROR_BODY_BYTES = 1_048_576;

export type Content = ReadableStream<Uint8Array> | Uint8Array | null;

export class RequestBody {
  readonly #stream: ReadableStream<Uint8Array> | null;
  readonly #declared: number | undefined;
  /** 0: unlimited. */
  readonly #maxBytes: number;
  #kept: Uint8Array | undefined;
  #keeping: Promise<Content> | undefined;
  #isUsed = false;
  #bytes = 0;
  #isTooLarge = false;

  constructor(stream: ReadableStream<Uint8Array> | null, kind: BodyKind, maxBytes: number) {
    this.#stream = kind.kind === "none" || (kind.kind === "length" && kind.bytes === 0) ? null : stream;
    this.#declared = kind.kind === "length" ? kind.bytes : undefined;
    this.#maxBytes = maxBytes;
    this.#isTooLarge = maxBytes > 0 && (this.#declared ?? 0) > maxBytes;
  }

  /** Longer than a request may be: known at once where the length is declared, else while it is sent. */
  get isTooLarge(): boolean {
    return this.#isTooLarge;
  }

  /** It can be sent again from the start. */
  get isReplayable(): boolean {
    return this.#stream === null || this.#kept !== undefined || this.#keeping !== undefined || !this.#isUsed;
  }

  /** All of it, where it was kept. */
  get kept(): Uint8Array | undefined {
    return this.#kept;
  }

  get isEmpty(): boolean {
    return this.#stream === null;
  }

  /** So far; a declared length counts as come once it was begun. */
  get bytes(): number {
    return this.#isUsed ? (this.#declared ?? this.#bytes) : 0;
  }

  /**
   * What an attempt sends. Call only while `isReplayable`; an attempt that gave up while it was still being read does not stop the reading.
   *
   * @param keepBytes to keep for another attempt or a mirror; 0: nothing
   */
  async content(keepBytes: number): Promise<Content> {
    if (this.#stream === null) return null;
    if (this.#kept !== undefined) return this.#kept;
    if (this.#keeping !== undefined) return await this.#keeping;
    this.#isUsed = true;
    if (keepBytes === 0 || (this.#declared ?? 0) > keepBytes) return this.#plain(this.#stream);
    this.#keeping = this.#keep(this.#stream, keepBytes);
    return await this.#keeping;
  }

  /** The attempt that had it sent nothing: if nobody has begun to read, it is as good as new. */
  giveBack(): void {
    if (this.#stream?.locked === false) this.#isUsed = false;
  }

  /** The whole request is sent as it is, once. */
  handOver(): void {
    this.#isUsed = true;
  }

  /** Of declared length: untouched, so that the runtime moves it without this code. */
  #plain(stream: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    return this.#declared === undefined ? stream.pipeThrough(this.#counter()) : stream;
  }

  async #keep(stream: ReadableStream<Uint8Array>, keepBytes: number): Promise<Content> {
    const reader = stream.getReader();
    const parts: Uint8Array[] = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.#count(value);
      parts.push(value);
      if (this.#bytes <= keepBytes && !this.#isTooLarge) continue;
      this.#keeping = undefined;
      return this.#behind(parts, reader);
    }
    this.#kept = joined(parts, this.#bytes);
    return this.#kept;
  }

  /** More than is kept: what has been read, then the rest as it comes. */
  #behind(parts: readonly Uint8Array[], reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    const waiting = [...parts];
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (this.#isTooLarge) throw new Error(TOO_LARGE);
        const part = waiting.shift();
        if (part !== undefined) return controller.enqueue(part);
        const { done, value } = await reader.read();
        if (done) return controller.close();
        this.#count(value);
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    });
  }

  #counter(): TransformStream<Uint8Array, Uint8Array> {
    return new TransformStream({
      transform: (part, controller) => {
        this.#count(part);
        if (this.#isTooLarge) throw new Error(TOO_LARGE);
        controller.enqueue(part);
      },
    });
  }

  #count(part: Uint8Array): void {
    this.#bytes += part.byteLength;
    if (this.#maxBytes > 0 && this.#bytes > this.#maxBytes) this.#isTooLarge = true;
  }
}

const TOO_LARGE = "the request body is longer than maxRequestBodyBytes";

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
