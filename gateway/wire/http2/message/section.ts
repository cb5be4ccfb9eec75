/**
 * A field section (RFC 9113 8.1) while it is decoded: puts the head together and notes the first rule that is broken. One per connection, used for one
 * section after another.
 *
 * After a breach the rest is still counted but no longer kept.
 */
import type { FieldList } from "../../../core/http/message.ts";
import type { StreamProblemCode } from "../errors.ts";
import { FIELD_OVERHEAD_BYTES } from "../hpack/entry.ts";
import {
  AUTHORITY,
  BAD_NAME,
  CONNECTION_FIELD,
  CONTENT_LENGTH,
  COOKIE,
  EXPECT,
  HOST,
  METHOD,
  PATH,
  PROTOCOL,
  REGULAR,
  SCHEME,
  STATUS,
  TE,
  UNKNOWN_PSEUDO,
} from "./kinds.ts";

/** What a section belongs to, which says what pseudo-header fields it may have. */
export type SectionKind = "request" | "response" | "trailers";

export interface SectionLimits {
  readonly maxHeaderListBytes: number;
  readonly maxHeaderCount: number;
}

export class Section {
  fields: FieldList = [];
  /** The first rule that was broken. */
  problem: StreamProblemCode | undefined;
  method: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
  path: string | undefined;
  protocol: string | undefined;
  status: string | undefined;
  host: string | undefined;
  contentLength: string | undefined;
  expect: string | undefined;
  /** `te: trailers` was there. */
  takesTrailers = false;
  /** Names of fields that must not be indexed on the way (RFC 7541 6.2.3). */
  secret: string[] | undefined;
  readonly #limits: SectionLimits;
  #kind: SectionKind = "request";
  #bytes = 0;
  #count = 0;
  /** A regular field was there. */
  #isPastPseudo = false;
  /** Place of the cookie's value in `fields`; 0: none yet. */
  #cookieAt = 0;

  constructor(limits: SectionLimits) {
    this.#limits = limits;
  }

  begin(kind: SectionKind): void {
    this.#kind = kind;
    this.fields = [];
    this.problem = undefined;
    this.method = undefined;
    this.scheme = undefined;
    this.authority = undefined;
    this.path = undefined;
    this.protocol = undefined;
    this.status = undefined;
    this.host = undefined;
    this.contentLength = undefined;
    this.expect = undefined;
    this.takesTrailers = false;
    this.secret = undefined;
    this.#bytes = 0;
    this.#count = 0;
    this.#isPastPseudo = false;
    this.#cookieAt = 0;
  }

  field(kind: number, name: string, value: string): void {
    this.#bytes += name.length + value.length + FIELD_OVERHEAD_BYTES;
    if (this.problem !== undefined) return;
    const broken = this.#take(kind, name, value);
    if (broken === undefined) return;
    this.problem = broken;
    this.fields = [];
  }

  neverIndexed(name: string): void {
    if (this.problem !== undefined) return;
    this.secret ??= [];
    if (this.secret.length < this.#limits.maxHeaderCount) this.secret.push(name);
  }

  #take(kind: number, name: string, value: string): StreamProblemCode | undefined {
    if (this.#bytes > this.#limits.maxHeaderListBytes) return "header_too_large";
    if (++this.#count > this.#limits.maxHeaderCount) return "too_many_headers";
    if (kind !== REGULAR && kind <= UNKNOWN_PSEUDO) return this.#pseudo(kind, value);
    this.#isPastPseudo = true;
    if (kind !== REGULAR) return this.#special(kind, name, value);
    this.fields.push(name, value);
    return undefined;
  }

  /** RFC 9113 8.3: before all others, each once, none that is not defined for the message. */
  #pseudo(kind: number, value: string): StreamProblemCode | undefined {
    const section = this.#kind;
    if (section === "trailers") return "pseudo_in_trailers";
    if (this.#isPastPseudo) return "pseudo_after_field";
    const isResponse = section === "response";
    if (isResponse !== (kind === STATUS)) return "unknown_pseudo";
    let earlier: string | undefined;
    switch (kind) {
      case METHOD:
        earlier = this.method;
        this.method = value;
        break;
      case SCHEME:
        earlier = this.scheme;
        this.scheme = value;
        break;
      case AUTHORITY:
        earlier = this.authority;
        this.authority = value;
        break;
      case PATH:
        earlier = this.path;
        this.path = value;
        break;
      case PROTOCOL:
        earlier = this.protocol;
        this.protocol = value;
        break;
      case STATUS:
        earlier = this.status;
        this.status = value;
        break;
      default:
        return "unknown_pseudo";
    }
    return earlier === undefined ? undefined : "duplicate_pseudo";
  }

  #special(kind: number, name: string, value: string): StreamProblemCode | undefined {
    switch (kind) {
      case HOST:
        if (this.host !== undefined) return "duplicate_host";
        this.host = value;
        return undefined;
      case CONTENT_LENGTH:
        if (this.contentLength !== undefined) return "duplicate_content_length";
        this.contentLength = value;
        return undefined;
      case COOKIE:
        this.#cookie(name, value);
        return undefined;
      case TE:
        // RFC 9113 8.2.2.
        if (value !== "trailers") return "bad_te";
        this.takesTrailers = true;
        this.fields.push(name, value);
        return undefined;
      case EXPECT:
        this.expect = this.expect === undefined ? value : `${this.expect}, ${value}`;
        this.fields.push(name, value);
        return undefined;
      case CONNECTION_FIELD:
        return "connection_field";
      case BAD_NAME:
        return "bad_field_name";
      default:
        return "bad_field_value";
    }
  }

  /** RFC 9113 8.2.3: crumbs are one field for whoever is not HTTP/2. Empty ones would leave white space at an end. */
  #cookie(name: string, value: string): void {
    if (this.#cookieAt === 0) {
      this.fields.push(name, value);
      this.#cookieAt = this.fields.length - 1;
      return;
    }
    const before = this.fields[this.#cookieAt] as string;
    if (value !== "") this.fields[this.#cookieAt] = before === "" ? value : `${before}; ${value}`;
  }
}
