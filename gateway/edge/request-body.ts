/**
 * The client's body on its way to one attempt after the other: streamed, kept as far as it may be needed again, counted, and bounded.
 */
import { type BodyKind, NO_BODY } from "../core/index.ts";

/** Bodies that are longer are not copied to mirrors, which are then left out. */
export const MAX_MIRROR_BODY_BYTES = 1_048_576;

export type Content = ReadableStream<Uint8Array> | Uint8Array | null;

export class RequestBody {
  readonly #stream: ReadableStream<Uint8Array> | null;
  readonly #declared: number | undefined;
  /** 0: unlimited. */
  readonly #maxBytes: number;
  readonly #giveUp: () => void;
  #kept: Uint8Array | undefined;
  #keeping: Promise<Content> | undefined;
  #isUsed = false;
  #bytes = 0;
  #isTooLarge = false;
  #isBroken = false;

  /** @param giveUp ends the attempt that the body is on its way to: it will not become whole */
  constructor(stream: ReadableStream<Uint8Array> | null, kind: BodyKind, maxBytes: number, giveUp: () => void) {
    this.#stream = kind.kind === "none" || (kind.kind === "length" && kind.bytes === 0) ? null : stream;
    this.#declared = kind.kind === "length" ? kind.bytes : undefined;
    this.#maxBytes = maxBytes;
    this.#giveUp = giveUp;
    this.#isTooLarge = maxBytes > 0 && (this.#declared ?? 0) > maxBytes;
  }

  /** Longer than a request may be: known at once where the length is declared, else while it is sent. */
  get isTooLarge(): boolean {
    return this.#isTooLarge;
  }

  /** It broke off on the client's side. */
  get isBroken(): boolean {
    return this.#isBroken;
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
    return this.#declared === undefined ? this.#behind([], stream.getReader()) : stream;
  }

  async #keep(stream: ReadableStream<Uint8Array>, keepBytes: number): Promise<Content> {
    const reader = stream.getReader();
    const parts: Uint8Array[] = [];
    for (;;) {
      const read = await this.#read(reader);
      if (read === undefined) throw new Error("the request body broke off");
      if (read.done) break;
      this.#count(read.value);
      parts.push(read.value);
      if (this.#bytes <= keepBytes && !this.#isTooLarge) continue;
      this.#keeping = undefined;
      return this.#behind(parts, reader);
    }
    this.#kept = joined(parts, this.#bytes);
    return this.#kept;
  }

  /**
   * What has been read, then the rest as it comes. A body that breaks off must not end here, for the runtime takes an error of the stream for its end and tells
   * the origin that the message is whole: the attempt is given up instead.
   */
  #behind(parts: readonly Uint8Array[], reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    const waiting = [...parts];
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (this.#isTooLarge) return await this.#broken();
        const part = waiting.shift();
        if (part !== undefined) return controller.enqueue(part);
        const read = await this.#read(reader);
        if (read === undefined) return await this.#broken();
        if (read.done) return controller.close();
        this.#count(read.value);
        if (this.#isTooLarge) return await this.#broken();
        controller.enqueue(read.value);
      },
      cancel: (reason) => reader.cancel(reason),
    });
  }

  /** @returns undefined: it broke off */
  async #read(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array> | undefined> {
    try {
      return await reader.read();
    } catch {
      this.#isBroken = true;
      return undefined;
    }
  }

  /** Never settles: the attempt ends first. */
  #broken(): Promise<never> {
    this.#giveUp();
    return new Promise(() => undefined);
  }

  #count(part: Uint8Array): void {
    this.#bytes += part.byteLength;
    if (this.#maxBytes > 0 && this.#bytes > this.#maxBytes) this.#isTooLarge = true;
  }
}

/** Of all requests that have none. */
export const NO_REQUEST_BODY = new RequestBody(null, NO_BODY, 0, () => undefined);

function joined(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.byteLength;
  }
  return whole;
}
