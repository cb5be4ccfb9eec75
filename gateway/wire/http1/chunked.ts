/** Content of a message: counted, chunked (RFC 9112 7.1) or up to the end of the connection. */
import type { FieldList } from "../../core/http/message.ts";
import type { Latin1Decoder } from "./chars.ts";
import { CR, HEX, HTAB, LF, SEMICOLON, SP } from "./chars.ts";
import { BEFORE_NAME, extensionByte, extensionMayEnd, GAP } from "./chunk-extension.ts";
import { type ErrorEvent, errorEvent, type ProtocolErrorCode } from "./errors.ts";
import type { Input } from "./input.ts";
import { FieldLexer, type SectionLimits } from "./lexer.ts";
import type { Http1Limits } from "./limits.ts";

export type ContentEvent =
  | { readonly kind: "need" }
  | { readonly kind: "body"; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly trailers: FieldList | undefined }
  | ErrorEvent;

export const NEED: { readonly kind: "need" } = { kind: "need" };
export const END: { readonly kind: "end"; readonly trailers: FieldList | undefined } = { kind: "end", trailers: undefined };

const COUNTED = 0;
const UNTIL_CLOSE = 1;
const SIZE = 2;
const EXTENSION = 3;
const SIZE_LF = 4;
const DATA = 5;
const DATA_CR = 6;
const DATA_LF = 7;
const TRAILER = 8;

/** RFC 9110 6.5.1: fields that frame, route, authenticate, control caching or describe the content have no meaning after it. */
const NEVER_IN_TRAILERS: ReadonlySet<string> = new Set(
  (
    "age authorization cache-control connection content-encoding content-length content-location content-range content-type cookie date expect " +
    "expires host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma proxy-authenticate " +
    "proxy-authorization proxy-connection range retry-after set-cookie te trailer transfer-encoding upgrade vary via www-authenticate"
  ).split(" "),
);
/** Trailer fields that may be kept. */
export const mayTrail = (name: string): boolean => !NEVER_IN_TRAILERS.has(name);

/** Reads one content after another; `begin…` says how the next one is framed. */
export class ContentReader {
  readonly #limits: Http1Limits;
  readonly #decode: Latin1Decoder;
  #phase = COUNTED;
  /** Bytes still to come of counted content or of the current chunk. */
  #left = 0;
  #digits = 0;
  #headerBytes = 0;
  #extension = GAP;
  /** Chunked content may have this many more bytes. */
  #allowance = Number.POSITIVE_INFINITY;
  #trailers: FieldLexer | undefined;
  /** What Connection names ends at this hop, in trailers too (RFC 9110 7.6.1). */
  #connectionOptions: readonly string[] | undefined;

  constructor(limits: Http1Limits, decode: Latin1Decoder) {
    this.#limits = limits;
    this.#decode = decode;
  }

  beginCounted(bytes: number): void {
    this.#phase = COUNTED;
    this.#left = bytes;
  }

  beginUntilClose(): void {
    this.#phase = UNTIL_CLOSE;
  }

  /** `maxBytes` bounds the content without its framing; trailer fields that `connectionOptions` names are dropped. */
  beginChunked(maxBytes: number, connectionOptions: readonly string[] | undefined): void {
    this.#allowance = maxBytes;
    this.#connectionOptions = connectionOptions;
    this.#beginChunk();
  }

  /** The content ends with the connection. */
  get untilClose(): boolean {
    return this.#phase === UNTIL_CLOSE;
  }

  next(input: Input): ContentEvent {
    switch (this.#phase) {
      case COUNTED:
        return this.#left === 0 ? END : input.pos === input.end ? NEED : { kind: "body", bytes: this.#view(input) };
      case UNTIL_CLOSE:
        if (input.pos === input.end) return NEED;
        this.#left = Number.MAX_SAFE_INTEGER;
        return { kind: "body", bytes: this.#view(input) };
      default:
        return this.#chunked(input);
    }
  }

  #view(input: Input): Uint8Array {
    const { bytes, pos, end } = input;
    const size = Math.min(this.#left, end - pos);
    this.#left -= size;
    input.pos = pos + size;
    return size === bytes.length ? bytes : bytes.subarray(pos, pos + size);
  }

  #chunked(input: Input): ContentEvent {
    while (input.pos < input.end) {
      if (this.#phase === TRAILER) return this.#trailer(input);
      if (this.#phase === DATA) {
        const bytes = this.#view(input);
        if (this.#left === 0) this.#phase = DATA_CR;
        return { kind: "body", bytes };
      }
      const broken = this.#framingByte(input.bytes[input.pos] as number);
      if (broken !== undefined) return errorEvent(broken);
      input.pos++;
    }
    return NEED;
  }

  #framingByte(byte: number): ProtocolErrorCode | undefined {
    switch (this.#phase) {
      case SIZE:
        return this.#sizeByte(byte);
      case EXTENSION:
        return this.#extensionByte(byte);
      case SIZE_LF:
        if (byte !== LF) return "bare_cr";
        return this.#sizeRead();
      case DATA_CR:
        if (byte !== CR) return "bad_chunk_end";
        this.#phase = DATA_LF;
        return undefined;
      default:
        if (byte !== LF) return "bad_chunk_end";
        this.#beginChunk();
        return undefined;
    }
  }

  #sizeByte(byte: number): ProtocolErrorCode | undefined {
    const digit = HEX[byte] as number;
    if (digit !== 255) {
      if (++this.#headerBytes > this.#limits.maxChunkHeaderBytes) return "chunk_header_too_large";
      this.#digits++;
      this.#left = this.#left * 16 + digit;
      return this.#left <= Number.MAX_SAFE_INTEGER ? undefined : "bad_chunk_size";
    }
    if (this.#digits === 0) return "bad_chunk_size";
    if (byte === CR) this.#phase = SIZE_LF;
    else if (byte === SEMICOLON || byte === SP || byte === HTAB) {
      if (++this.#headerBytes > this.#limits.maxChunkHeaderBytes) return "chunk_header_too_large";
      this.#phase = EXTENSION;
      this.#extension = byte === SEMICOLON ? BEFORE_NAME : GAP;
    } else return byte === LF ? "bare_lf" : "bad_chunk_size";
    return undefined;
  }

  #extensionByte(byte: number): ProtocolErrorCode | undefined {
    if (byte === CR) {
      this.#phase = SIZE_LF;
      return extensionMayEnd(this.#extension) ? undefined : "bad_chunk_extension";
    }
    if (++this.#headerBytes > this.#limits.maxChunkHeaderBytes) return "chunk_header_too_large";
    this.#extension = extensionByte(this.#extension, byte);
    if (this.#extension !== -1) return undefined;
    return byte === LF ? "bare_lf" : "bad_chunk_extension";
  }

  #sizeRead(): ProtocolErrorCode | undefined {
    if (this.#left === 0) {
      this.#phase = TRAILER;
      this.#trailers?.begin(0, this.#trailerLimits());
      return undefined;
    }
    this.#allowance -= this.#left;
    this.#phase = DATA;
    return this.#allowance < 0 ? "body_too_large" : undefined;
  }

  #beginChunk(): void {
    this.#phase = SIZE;
    this.#left = 0;
    this.#digits = 0;
    this.#headerBytes = 0;
  }

  #trailerLimits(): SectionLimits {
    const { maxTrailerBytes: maxBytes, maxTrailerCount: maxCount } = this.#limits;
    return { maxBytes, maxCount, tooLarge: "trailer_too_large", tooMany: "too_many_trailers" };
  }

  #mayTrail(name: string): boolean {
    return mayTrail(name) && this.#connectionOptions?.includes(name) !== true;
  }

  #trailer(input: Input): ContentEvent {
    this.#trailers ??= new FieldLexer(this.#trailerLimits());
    const lexer = this.#trailers;
    const lexed = lexer.run(input.bytes, input.pos, input.end);
    if (lexed === "need") return NEED;
    if (lexed !== "done") return errorEvent(lexed);
    const start = input.pos;
    input.pos += lexer.at;
    this.beginCounted(0);
    // The usual case: no trailer at all, the section is its closing CRLF.
    if (lexer.at === 2) return END;
    const trailers = lexer.collectAll(this.#decode(input.bytes, start, input.pos), (name) => this.#mayTrail(name));
    this.#connectionOptions = undefined;
    return { kind: "end", trailers: trailers.length === 0 ? undefined : trailers };
  }
}
