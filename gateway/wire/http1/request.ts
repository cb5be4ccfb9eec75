/** Requests, from bytes to events (RFC 9112 2 to 7), server side. */
import { parseAuthority, sameAuthority } from "../../core/http/authority.ts";
import { NO_BODY, type RequestHead, type Scheme } from "../../core/http/message.ts";
import { CR, decodeLatin1, type Latin1Decoder, LF, SP, TARGET, TOKEN } from "./chars.ts";
import { ContentReader, NEED } from "./chunked.ts";
import { type ErrorEvent, errorEvent, type ProtocolErrorCode } from "./errors.ts";
import type { HeadEvent, RequestEvent } from "./events.ts";
import { dropExpectation, hasContent } from "./expectation.ts";
import { Framing, persists } from "./framing.ts";
import { Input } from "./input.ts";
import { FieldLexer, type Lexed, type SectionLimits } from "./lexer.ts";
import { DEFAULT_HTTP1_LIMITS, type Http1Limits } from "./limits.ts";
import { hostMatchesConnect, parseAbsolute, parseConnectTarget } from "./target.ts";

export interface RequestParserOptions {
  readonly limits?: Http1Limits;
  /** What an origin-form target is relative to: `https` behind TLS. Default `http`. */
  readonly scheme?: Scheme;
  /** The runtime's decoder, e.g. one that calls Buffer's `latin1Slice`; the portable one by default. */
  readonly decode?: Latin1Decoder;
}

/** Options with everything filled in and derived: made once per listener, shared by its connections. */
export class RequestParserSettings {
  readonly limits: Http1Limits;
  readonly scheme: Scheme;
  readonly decode: Latin1Decoder;
  readonly section: SectionLimits;

  constructor(options: RequestParserOptions = {}) {
    this.limits = options.limits ?? DEFAULT_HTTP1_LIMITS;
    this.scheme = options.scheme ?? "http";
    this.decode = options.decode ?? decodeLatin1;
    const { maxHeaderBytes: maxBytes, maxHeaderCount: maxCount } = this.limits;
    this.section = { maxBytes, maxCount, tooLarge: "header_too_large", tooMany: "too_many_headers" };
  }
}

// Phases of the parser; those up to FIELDS belong to the head.
const EMPTY_LINES = 0;
const EMPTY_LINE_LF = 1;
const METHOD = 2;
const TARGET_PART = 3;
const VERSION = 4;
const LINE_LF = 5;
const FIELDS = 6;
const CONTENT = 7;
const OVER = 8;
const FAILED = 9;

/**
 * Reads the requests of one connection, one after another.
 *
 * After `end` the next call of `next` begins with the following request, so a caller that does not want it yet just does not call. After a
 * request whose `keepAlive` is false nothing more is read. After a CONNECT or a request that is being upgraded,
 * `rest` gives back what belongs to the new protocol.
 */
export class RequestParser {
  readonly #settings: RequestParserSettings;
  readonly #input = new Input();
  readonly #fields: FieldLexer;
  readonly #framing = new Framing();
  readonly #content: ContentReader;
  #phase = EMPTY_LINES;
  #emptyLines = 0;
  // Offsets from the head's first byte.
  #at = 0;
  #methodEnd = 0;
  #targetEnd = 0;
  #major = 0;
  #minor = 0;
  #keepAlive = true;
  #failure: ErrorEvent | undefined;

  constructor(settings: RequestParserSettings) {
    this.#settings = settings;
    this.#fields = new FieldLexer(settings.section);
    this.#content = new ContentReader(settings.limits, settings.decode);
  }

  /** True between messages: no byte of a request was read and its end not yet told. */
  get idle(): boolean {
    return (this.#phase === EMPTY_LINES || this.#phase === OVER) && this.#input.pos === this.#input.end;
  }

  /** Adds bytes from the connection. They are not copied if all earlier ones were consumed, and dropped after an error. */
  feed(bytes: Uint8Array): void {
    if (this.#phase !== FAILED) this.#input.feed(bytes);
  }

  /** The next event; `need` when more bytes are wanted; after an error, that error for ever. */
  next(): RequestEvent {
    if (this.#phase <= FIELDS) return this.#head();
    if (this.#phase === CONTENT) {
      const event = this.#content.next(this.#input);
      if (event.kind === "need") this.#input.settle();
      else if (event.kind === "end") this.#messageOver();
      else if (event.kind === "error") this.#stop(event);
      return event;
    }
    return this.#failure ?? NEED;
  }

  /** The connection's reading side has ended: `need` when that cut nothing, else an error. */
  eof(): RequestEvent {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#phase === CONTENT) return this.#fail("cut_body");
    return this.idle || this.#phase === OVER ? NEED : this.#fail("cut_head");
  }

  /** The fed bytes are about to be overwritten: keeps a copy of what has not been read, unless it is one already. */
  settle(): void {
    this.#input.settle();
  }

  /** Takes back the bytes that were fed and not read. The parser is over then. */
  rest(): Uint8Array {
    this.#phase = OVER;
    return this.#input.take();
  }

  #head(): RequestEvent {
    const input = this.#input;
    if (this.#phase < FIELDS) {
      const line = input.pos === input.end ? "need" : this.#requestLine();
      if (line !== "done") return this.#short(line);
    }
    const lexed = this.#fields.run(input.bytes, input.pos, input.end);
    if (lexed !== "done") return this.#short(lexed);
    return this.#finish();
  }

  #short(lexed: Exclude<Lexed, "done">): RequestEvent {
    if (lexed !== "need") return this.#fail(lexed);
    this.#input.settle();
    return NEED;
  }

  /** RFC 9112 3: request-line = method SP request-target SP HTTP-version CRLF, one SP each. */
  #requestLine(): Lexed {
    if (this.#phase < METHOD) {
      const lexed = this.#skipEmptyLines();
      if (lexed !== "done") return lexed;
    }
    const input = this.#input;
    const { bytes, pos: base } = input;
    const bound = base + this.#settings.limits.maxRequestLineBytes + 2;
    const stop = Math.min(input.end, bound);
    let at = base + this.#at;
    if (this.#phase === METHOD) {
      while (at < stop && TOKEN[bytes[at] as number] !== 0) at++;
      if (at < stop) {
        if (bytes[at] !== SP || at === base) return "bad_method";
        this.#methodEnd = at - base;
        at++;
        this.#phase = TARGET_PART;
      }
    }
    if (this.#phase === TARGET_PART) {
      while (at < stop && TARGET[bytes[at] as number] !== 0) at++;
      if (at < stop) {
        const empty = at - base === this.#methodEnd + 1;
        if (bytes[at] !== SP || empty) return bytes[at] === CR || bytes[at] === LF || empty ? "bad_request_line" : "bad_target";
        this.#targetEnd = at - base;
        at++;
        this.#phase = VERSION;
      }
    }
    if (this.#phase === VERSION) {
      while (at < stop && this.#phase === VERSION) {
        if (!this.#versionByte(at - base - this.#targetEnd - 1, bytes[at] as number)) return "bad_version";
        at++;
      }
    }
    if (this.#phase === LINE_LF && at < stop) {
      if (bytes[at] !== LF) return "bare_cr";
      // RFC 9110 15.6.6; RFC 9112 2.3.
      if (this.#major !== 1 || this.#minor > 1) return "unsupported_version";
      this.#phase = FIELDS;
      this.#fields.begin(at + 1 - base, this.#settings.section);
      return "done";
    }
    this.#at = at - base;
    return stop === bound ? "request_line_too_long" : "need";
  }

  /** RFC 9112 2.2: a server should ignore an empty line before the request line. */
  #skipEmptyLines(): Lexed {
    const input = this.#input;
    while (input.pos < input.end) {
      const byte = input.bytes[input.pos] as number;
      if (this.#phase === EMPTY_LINE_LF) {
        if (byte !== LF) return "bare_cr";
        if (++this.#emptyLines > this.#settings.limits.maxLeadingEmptyLines) return "too_many_empty_lines";
        this.#phase = EMPTY_LINES;
      } else if (byte === CR) this.#phase = EMPTY_LINE_LF;
      else if (byte === LF) return "bare_lf";
      else {
        this.#phase = METHOD;
        this.#at = 0;
        return "done";
      }
      input.pos++;
    }
    return "need";
  }

  /** RFC 9112 2.3: HTTP-version is eight bytes, case-sensitive. */
  #versionByte(index: number, byte: number): boolean {
    if (index < 5) return byte === "HTTP/".charCodeAt(index);
    if (index === 6) return byte === 0x2e;
    if (index === 8) {
      this.#phase = LINE_LF;
      return byte === CR;
    }
    if (byte < 0x30 || byte > 0x39) return false;
    if (index === 5) this.#major = byte - 0x30;
    else this.#minor = byte - 0x30;
    return true;
  }

  /** All bytes of the head are there: cut the strings, judge the framing, prepare for the content. */
  #finish(): RequestEvent {
    const input = this.#input;
    const framing = this.#framing;
    const minor: 0 | 1 = this.#minor === 0 ? 0 : 1;
    const headEnd = input.pos + this.#fields.at;
    const text = this.#settings.decode(input.bytes, input.pos, headEnd);
    input.pos = headEnd;
    const fields = this.#fields.collect(text, framing);
    const head: RequestHead = {
      method: methodOf(text, this.#methodEnd),
      scheme: this.#settings.scheme,
      authority: "",
      target: text.slice(this.#methodEnd + 1, this.#targetEnd),
      fields,
      body: NO_BODY,
    };
    const body = framing.body(minor);
    if (typeof body === "string") return this.#fail(body);
    head.body = body;
    const form = this.#resolve(head, minor);
    if (form !== "origin" && form !== "absolute" && form !== "authority" && form !== "asterisk") return this.#fail(form);
    const connectionOptions = framing.options();
    if (connectionOptions === "bad_connection") return this.#fail(connectionOptions);
    // RFC 9110 7.8: ignored in an HTTP/1.0 request.
    const upgrade = minor === 1 ? framing.protocols(connectionOptions) : undefined;
    if (upgrade === "bad_upgrade") return this.#fail(upgrade);
    const expectContinue = this.#expectation(head, minor, upgrade !== undefined);
    if (expectContinue === "unsupported_expectation") return this.#fail(expectContinue);
    const tooLarge = this.#beginContent(head, connectionOptions);
    if (tooLarge !== undefined) return this.#fail(tooLarge);
    // RFC 9112 9.3: a proxy does not keep a connection with an HTTP/1.0 client.
    this.#keepAlive = persists(minor, connectionOptions) && !(minor === 0 && form === "absolute");
    const takesTrailers = framing.wantsTrailers;
    // Its strings share the memory of the whole head, which an idle connection has no use for.
    framing.reset();
    const keepAlive = this.#keepAlive;
    return { kind: "head", head, minor, keepAlive, connectionOptions, expectContinue, takesTrailers, form, upgrade };
  }

  /**
   * RFC 9110 10.1.1: an unknown expectation gets 417. One that asks for nothing is taken out, so that it does not travel on: in an HTTP/1.0
   * request any, and 100-continue where no content follows; before another protocol the go-ahead is due all the same (RFC 9110 7.8).
   */
  #expectation(head: RequestHead, minor: 0 | 1, upgrades: boolean): boolean | "unsupported_expectation" {
    const { expect } = this.#framing;
    if (expect === undefined) return false;
    if (minor === 1 && expect.toLowerCase() !== "100-continue") return "unsupported_expectation";
    if (minor === 1 && (hasContent(head) || upgrades)) return true;
    dropExpectation(head);
    return false;
  }

  /** Settles authority, target and scheme (RFC 9112 3.2, 3.3); the form, or the rule that was broken. */
  #resolve(head: RequestHead, minor: 0 | 1): HeadEvent<RequestHead>["form"] | ProtocolErrorCode {
    const { host } = this.#framing;
    if (host !== undefined) {
      const authority = parseAuthority(host);
      if (authority === undefined) return "bad_host";
      head.authority = authority;
    } else if (minor === 1) return "missing_host";
    if (head.method === "CONNECT") return this.#resolveConnect(head);
    if (head.target.charCodeAt(0) === 0x2f) return "origin";
    // RFC 9112 3.2.4: the asterisk is for OPTIONS alone.
    if (head.target === "*") return head.method === "OPTIONS" ? "asterisk" : "bad_target_form";
    const absolute = parseAbsolute(head.method, head.target);
    if (typeof absolute === "string") return absolute;
    // RFC 9112 3.2.2 lets the target win; a Host that says something else is refused, for whoever looked at it first saw another authority.
    if (host !== undefined && !sameAuthority(head.authority, absolute.authority, absolute.scheme)) return "host_mismatch";
    head.scheme = absolute.scheme;
    head.authority = absolute.authority;
    head.target = absolute.target;
    return "absolute";
  }

  #resolveConnect(head: RequestHead): "authority" | ProtocolErrorCode {
    if (head.target.includes("@")) return "userinfo_in_target";
    const authority = parseConnectTarget(head.target);
    if (authority === undefined) return "bad_target_authority";
    if (head.authority !== "" && !hostMatchesConnect(head.authority, authority)) return "host_mismatch";
    // RFC 9110 9.3.6: a CONNECT request has no content; what follows it belongs to the tunnel.
    if (head.body.kind === "stream" || (head.body.kind === "length" && head.body.bytes > 0)) return "content_in_connect";
    head.authority = authority;
    head.target = "";
    head.body = NO_BODY;
    return "authority";
  }

  #beginContent(head: RequestHead, connectionOptions: readonly string[] | undefined): ProtocolErrorCode | undefined {
    const max = this.#settings.limits.maxRequestBodyBytes;
    this.#phase = CONTENT;
    if (head.body.kind === "stream") {
      this.#content.beginChunked(max === 0 ? Number.POSITIVE_INFINITY : max, connectionOptions);
    } else {
      const bytes = head.body.kind === "length" ? head.body.bytes : 0;
      if (max !== 0 && bytes > max) return "body_too_large";
      this.#content.beginCounted(bytes);
    }
    return undefined;
  }

  #messageOver(): void {
    this.#phase = this.#keepAlive ? EMPTY_LINES : OVER;
    this.#emptyLines = 0;
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

/** The method, as a shared string for the usual ones. */
function methodOf(text: string, end: number): string {
  if (end === 3) {
    if (text.startsWith("GET")) return "GET";
    if (text.startsWith("PUT")) return "PUT";
  } else if (end === 4) {
    if (text.startsWith("POST")) return "POST";
    if (text.startsWith("HEAD")) return "HEAD";
  }
  return text.slice(0, end);
}
