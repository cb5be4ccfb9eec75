/** Responses, from bytes to events (RFC 9112 4 to 8), client side. */
import { type BodyKind, NO_BODY, STREAM_BODY } from "../../core/http/message.ts";
import { CR, decodeLatin1, type Latin1Decoder, LF, SP, VALUE } from "./chars.ts";
import { ContentReader, END, NEED } from "./chunked.ts";
import { type ErrorEvent, errorEvent, type ProtocolErrorCode } from "./errors.ts";
import type { ResponseEvent } from "./events.ts";
import { Framing, persists } from "./framing.ts";
import { Input } from "./input.ts";
import { FieldLexer, type Lexed, type SectionLimits } from "./lexer.ts";
import { DEFAULT_HTTP1_LIMITS, type Http1Limits } from "./limits.ts";

export interface ResponseParserOptions {
  readonly limits?: Http1Limits;
  /** The runtime's decoder; the portable one by default. */
  readonly decode?: Latin1Decoder;
}

/** Options with everything filled in and derived: made once per cluster, shared by its connections. */
export class ResponseParserSettings {
  readonly limits: Http1Limits;
  readonly decode: Latin1Decoder;
  readonly section: SectionLimits;

  constructor(options: ResponseParserOptions = {}) {
    this.limits = options.limits ?? DEFAULT_HTTP1_LIMITS;
    this.decode = options.decode ?? decodeLatin1;
    const { maxHeaderBytes: maxBytes, maxHeaderCount: maxCount } = this.limits;
    this.section = { maxBytes, maxCount, tooLarge: "header_too_large", tooMany: "too_many_headers" };
  }
}

// Phases of the parser; those up to FIELDS belong to the head.
const VERSION = 0;
const REASON = 1;
const LINE_LF = 2;
const FIELDS = 3;
const CONTENT = 4;
/** No request is waiting: a byte that comes now belongs to nothing. */
const IDLE = 5;
const OVER = 6;
const FAILED = 7;

/**
 * Reads the responses of one connection. Before each, `expect` says which method it answers, for that decides whether content follows.
 *
 * A 1xx head other than 101 is an interim one: no `end` follows it but the next head. After a 101, and after a 2xx to
 * CONNECT, comes `end`, and `rest` gives back what belongs to the new protocol. `body` of a head that answers HEAD, or of a 304, tells the
 * length that a GET would have had; no content follows either.
 */
export class ResponseParser {
  readonly #settings: ResponseParserSettings;
  readonly #input = new Input();
  readonly #fields: FieldLexer;
  readonly #framing = new Framing();
  readonly #content: ContentReader;
  #phase = IDLE;
  #method = "";
  #interim = 0;
  // Offsets from the head's first byte.
  #at = 0;
  #major = 0;
  #minor = 0;
  #status = 0;
  #keepAlive = true;
  #failure: ErrorEvent | undefined;

  constructor(settings: ResponseParserSettings) {
    this.#settings = settings;
    this.#fields = new FieldLexer(settings.section);
    this.#content = new ContentReader(settings.limits, settings.decode);
  }

  /** Nothing is being waited for and no byte is left over: the connection may carry another request. */
  get idle(): boolean {
    return this.#phase === IDLE && this.#input.pos === this.#input.end;
  }

  /** A request with this method was or is about to be sent; its response comes next. Call it after the previous `end`. */
  expect(method: string): void {
    if (this.#phase !== IDLE) return;
    this.#method = method;
    this.#interim = 0;
    this.#keepAlive = true;
    this.#beginHead();
  }

  /** Adds bytes from the connection. They are not copied if all earlier ones were consumed, and dropped after an error. */
  feed(bytes: Uint8Array): void {
    if (this.#phase !== FAILED) this.#input.feed(bytes);
  }

  /** The next event; `need` when more bytes are wanted; after an error, that error for ever. */
  next(): ResponseEvent {
    if (this.#phase <= FIELDS) return this.#head();
    if (this.#phase === CONTENT) {
      const event = this.#content.next(this.#input);
      if (event.kind === "need") this.#input.settle();
      else if (event.kind === "end") this.#messageOver();
      else if (event.kind === "error") this.#stop(event);
      return event;
    }
    // RFC 9112 9.2: what comes without a request is not a response to the next one.
    if (this.#phase === IDLE && this.#input.pos !== this.#input.end) return this.#fail("unexpected_response");
    if (this.#phase === IDLE) this.#input.clear();
    return this.#failure ?? NEED;
  }

  /**
   * The connection's reading side has ended: `end` for content that ends so, `need` when nothing was cut, else an error. Call it
   * after `next` has said `need`.
   */
  eof(): ResponseEvent {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#phase === CONTENT) {
      // RFC 9112 8: only content without any length may end with the connection.
      if (!this.#content.untilClose || this.#input.pos !== this.#input.end) return this.#fail("cut_body");
      this.#messageOver();
      return END;
    }
    return this.#phase <= FIELDS ? this.#fail("cut_head") : NEED;
  }

  /** Takes back the bytes that were fed and not read. The parser is over then. */
  rest(): Uint8Array {
    this.#phase = OVER;
    return this.#input.take();
  }

  #beginHead(): void {
    this.#phase = VERSION;
    this.#at = 0;
    this.#status = 0;
  }

  #head(): ResponseEvent {
    const input = this.#input;
    if (this.#phase < FIELDS) {
      const line = input.pos === input.end ? "need" : this.#statusLine();
      if (line !== "done") return this.#short(line);
    }
    const lexed = this.#fields.run(input.bytes, input.pos, input.end);
    if (lexed !== "done") return this.#short(lexed);
    return this.#finish();
  }

  #short(lexed: Exclude<Lexed, "done">): ResponseEvent {
    if (lexed !== "need") return this.#fail(lexed);
    this.#input.settle();
    return NEED;
  }

  /** RFC 9112 4: status-line = HTTP-version SP status-code SP [ reason-phrase ] CRLF. */
  #statusLine(): Lexed {
    const input = this.#input;
    const { bytes, pos: base } = input;
    const bound = base + this.#settings.limits.maxStatusLineBytes + 2;
    const stop = Math.min(input.end, bound);
    let at = base + this.#at;
    while (this.#phase === VERSION && at < stop) {
      const broken = this.#fixedByte(at - base, bytes[at] as number);
      if (broken !== undefined) return broken;
      at++;
    }
    if (this.#phase === REASON) {
      while (at < stop && VALUE[bytes[at] as number] !== 0) at++;
      if (at < stop) {
        if (bytes[at] !== CR) return bytes[at] === LF ? "bare_lf" : "bad_status_line";
        at++;
        this.#phase = LINE_LF;
      }
    }
    if (this.#phase === LINE_LF && at < stop) {
      if (bytes[at] !== LF) return "bare_cr";
      if (this.#major !== 1 || this.#minor > 1) return "unsupported_version";
      // RFC 9110 15: 100 to 599.
      if (this.#status < 100 || this.#status > 599) return "bad_status";
      this.#phase = FIELDS;
      this.#fields.begin(at + 1 - base, this.#settings.section);
      return "done";
    }
    this.#at = at - base;
    return stop === bound ? "status_line_too_long" : "need";
  }

  /** The part of a status line that has a fixed length: `HTTP/1.1 200 `. */
  #fixedByte(index: number, byte: number): ProtocolErrorCode | undefined {
    if (index < 5) return byte === "HTTP/".charCodeAt(index) ? undefined : "bad_version";
    if (index === 6) return byte === 0x2e ? undefined : "bad_version";
    if (index === 8) return byte === SP ? undefined : "bad_status_line";
    if (index === 12) {
      // The space before an empty reason is often left out, and nothing can be misread without it.
      if (byte !== SP && byte !== CR) return "bad_status_line";
      this.#phase = byte === CR ? LINE_LF : REASON;
      return undefined;
    }
    const digit = byte - 0x30;
    if (digit < 0 || digit > 9) return index < 8 ? "bad_version" : "bad_status_line";
    if (index === 5) this.#major = digit;
    else if (index === 7) this.#minor = digit;
    else this.#status = this.#status * 10 + digit;
    return undefined;
  }

  /** All bytes of the head are there: cut the strings, judge the framing, prepare for the content. */
  #finish(): ResponseEvent {
    const input = this.#input;
    const framing = this.#framing;
    const minor: 0 | 1 = this.#minor === 0 ? 0 : 1;
    const headEnd = input.pos + this.#fields.at;
    const text = this.#settings.decode(input.bytes, input.pos, headEnd);
    input.pos = headEnd;
    const fields = this.#fields.collect(text, framing);
    const framed = framing.body(minor);
    if (typeof framed === "string") return this.#fail(framed);
    const connectionOptions = framing.options();
    if (connectionOptions === "bad_connection") return this.#fail(connectionOptions);
    const upgrade = framing.protocols(connectionOptions);
    if (upgrade === "bad_upgrade") return this.#fail(upgrade);
    // RFC 9112 9.6: `close` counts even when an interim response says it.
    this.#keepAlive = this.#keepAlive && persists(minor, connectionOptions);
    const status = this.#status;
    const body = this.#beginContent(status, framed, connectionOptions);
    if (typeof body === "string") return this.#fail(body);
    // Its strings share the memory of the whole head, which an idle connection has no use for.
    framing.reset();
    return {
      kind: "head",
      head: { status, fields, body, version: minor === 1 ? "1.1" : "1.0" },
      minor,
      keepAlive: this.#keepAlive,
      connectionOptions,
      expectContinue: false,
      form: "origin",
      upgrade,
    };
  }

  /** RFC 9112 6.3, for responses: what follows the head, and what its `body` says. */
  #beginContent(
    status: number,
    framed: BodyKind,
    connectionOptions: readonly string[] | undefined,
  ): BodyKind | ProtocolErrorCode {
    if (status < 200 || status === 204) {
      // RFC 9112 6.1: never in these; there is no telling what the sender thinks it sent.
      if (framed.kind === "stream") return "transfer_encoding_without_body";
      return this.#beginNoContent(status);
    }
    this.#phase = CONTENT;
    if (this.#method === "CONNECT" && status < 300) {
      // RFC 9110 9.3.6: framing fields of a successful answer to CONNECT are ignored.
      this.#keepAlive = false;
      this.#content.beginCounted(0);
      return NO_BODY;
    }
    if (this.#method === "HEAD" || status === 304) {
      this.#content.beginCounted(0);
      return framed.kind === "length" ? framed : NO_BODY;
    }
    if (framed.kind === "length") this.#content.beginCounted(framed.bytes);
    else if (framed.kind === "stream") this.#content.beginChunked(Number.POSITIVE_INFINITY, connectionOptions);
    else {
      this.#content.beginUntilClose();
      this.#keepAlive = false;
      return STREAM_BODY;
    }
    return framed;
  }

  #beginNoContent(status: number): BodyKind | ProtocolErrorCode {
    if (status === 204 || status === 101) {
      if (status === 101) this.#keepAlive = false;
      this.#phase = CONTENT;
      this.#content.beginCounted(0);
      return NO_BODY;
    }
    if (++this.#interim > this.#settings.limits.maxInterimResponses) return "too_many_interim_responses";
    this.#beginHead();
    return NO_BODY;
  }

  #messageOver(): void {
    this.#phase = this.#keepAlive ? IDLE : OVER;
  }

  #fail(code: ProtocolErrorCode): ErrorEvent {
    return this.#stop(errorEvent(code));
  }

  #stop(event: ErrorEvent): ErrorEvent {
    this.#phase = FAILED;
    this.#failure = event;
    this.#input.clear();
    return event;
  }
}
