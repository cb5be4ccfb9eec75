/**
 * The fields that decide where a message ends and what becomes of the connection, gathered while a head is put together
 * and judged once it is complete. One instance per parser, reset for each message.
 */
import { type BodyKind, listsTrailers, NO_BODY, STREAM_BODY } from "../../core/http/message.ts";
import { isToken } from "./chars.ts";
import type { ProtocolErrorCode } from "./errors.ts";
import { CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE } from "./names.ts";

const KEEP_ALIVE: readonly string[] = ["keep-alive"];
const CLOSE: readonly string[] = ["close"];
const UPGRADE_ALONE: readonly string[] = ["upgrade"];
const KEEP_ALIVE_UPGRADE: readonly string[] = ["keep-alive", "upgrade"];

export class Framing {
  host: string | undefined;
  /** The first rule broken by repetition. */
  repeated: ProtocolErrorCode | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string | undefined;
  expect: string | undefined;
  upgrade: string | undefined;
  te: string | undefined;

  reset(): void {
    this.host = undefined;
    this.repeated = undefined;
    this.contentLength = undefined;
    this.transferEncoding = undefined;
    this.connection = undefined;
    this.expect = undefined;
    this.upgrade = undefined;
    this.te = undefined;
  }

  /** Takes note of a special field; true when it does not belong into the head's field list, because the writers write it. */
  note(name: number, value: string): boolean {
    switch (name) {
      case HOST:
        if (this.host === undefined) this.host = value;
        else this.repeated ??= "duplicate_host";
        return true;
      case CONTENT_LENGTH:
        if (this.contentLength === undefined) this.contentLength = value;
        else this.repeated ??= "duplicate_content_length";
        return true;
      case TRANSFER_ENCODING:
        if (this.transferEncoding === undefined) this.transferEncoding = value;
        else this.repeated ??= "duplicate_transfer_encoding";
        return true;
      case CONNECTION:
        this.connection = this.connection === undefined ? value : `${this.connection}, ${value}`;
        return true;
      case EXPECT:
        this.expect = this.expect === undefined ? value : `${this.expect}, ${value}`;
        return false;
      case UPGRADE:
        this.upgrade = this.upgrade === undefined ? value : `${this.upgrade}, ${value}`;
        return false;
      case TE:
        this.te = this.te === undefined ? value : `${this.te}, ${value}`;
        return false;
      default:
        return false;
    }
  }

  /**
   * How the content is framed, if the message has any (RFC 9112 6.3), or the rule that was broken. Nothing is guessed: what two readers could
   * take for two different lengths is refused.
   */
  body(minor: 0 | 1): BodyKind | ProtocolErrorCode {
    if (this.repeated !== undefined) return this.repeated;
    if (this.transferEncoding !== undefined) {
      // RFC 9112 6.1: faulty framing in a 1.0 message, even together with Content-Length.
      if (minor === 0) return "transfer_encoding_in_http10";
      // RFC 9112 6.3 (3): ought to be handled as an error.
      if (this.contentLength !== undefined) return "content_length_with_transfer_encoding";
      if (this.transferEncoding === "chunked") return STREAM_BODY;
      return otherCodings(this.transferEncoding) ?? STREAM_BODY;
    }
    if (this.contentLength === undefined) return NO_BODY;
    const bytes = contentLength(this.contentLength);
    return bytes === -1 ? "bad_content_length" : { kind: "length", bytes };
  }

  /** TE says that trailer fields are wanted (RFC 9110 10.1.4, 6.5.1). */
  get wantsTrailers(): boolean {
    return this.te !== undefined && listsTrailers(this.te);
  }

  /** Connection options in lower case (RFC 9110 7.6.1); undefined when there is no Connection, a code when it is malformed. */
  options(): readonly string[] | undefined | "bad_connection" {
    if (this.connection === undefined) return undefined;
    const usual = usualOptions(this.connection);
    if (usual !== undefined) return usual;
    const options: string[] = [];
    for (const part of this.connection.split(",")) {
      const option = trimmed(part).toLowerCase();
      // RFC 9110 5.6.1: empty list elements are ignored.
      if (option === "") continue;
      if (!isToken(option)) return "bad_connection";
      options.push(option);
    }
    return options;
  }

  /** Protocols offered or chosen, in lower case, when Connection names `upgrade` (RFC 9110 7.8: otherwise Upgrade is ignored). */
  protocols(options: readonly string[] | undefined): readonly string[] | undefined | "bad_upgrade" {
    if (this.upgrade === undefined || options?.includes("upgrade") !== true) return undefined;
    const protocols = this.upgrade.split(",").map((part) => trimmed(part).toLowerCase());
    return protocols.every((protocol) => protocol.split("/").length <= 2 && protocol.split("/").every(isToken))
      ? protocols
      : "bad_upgrade";
  }
}

/** The spellings nearly everybody uses. Comparing is cheaper than hashing a text to look it up. */
function usualOptions(connection: string): readonly string[] | undefined {
  switch (connection) {
    case "keep-alive":
    case "Keep-Alive":
      return KEEP_ALIVE;
    case "close":
    case "Close":
      return CLOSE;
    case "Upgrade":
    case "upgrade":
      return UPGRADE_ALONE;
    case "keep-alive, Upgrade":
      return KEEP_ALIVE_UPGRADE;
    default:
      return undefined;
  }
}

/** RFC 9112 9.3, in its order: close, HTTP/1.1, HTTP/1.0 with keep-alive. */
export function persists(minor: 0 | 1, options: readonly string[] | undefined): boolean {
  if (options === undefined) return minor === 1;
  if (options.includes("close")) return false;
  return minor === 1 || options.includes("keep-alive");
}

/** What is wrong with a Transfer-Encoding that is not spelled `chunked`; undefined when it means that all the same. */
function otherCodings(text: string): ProtocolErrorCode | undefined {
  const codings = text.split(",").map((part) => trimmed(part).toLowerCase());
  // RFC 9112 6.1: chunked is applied once. An empty element is nothing that a sender may write (RFC 9110 5.6.1.1).
  if (codings.includes("") || codings.indexOf("chunked") !== codings.lastIndexOf("chunked")) return "bad_transfer_encoding";
  // RFC 9112 6.3 (4): without it at the end the length cannot be told.
  if (codings.at(-1) !== "chunked") return "chunked_not_last";
  // RFC 9112 6.1: a coding that is not understood is answered with 501.
  return codings.length > 1 ? "unsupported_transfer_coding" : undefined;
}

/** RFC 9110 8.6: 1*DIGIT. -1 for everything else: signs, lists, white space, numbers beyond exact integers. */
export function contentLength(text: string): number {
  if (text.length === 0 || text.length > 16) return -1;
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    bytes = bytes * 10 + digit;
  }
  return bytes <= Number.MAX_SAFE_INTEGER ? bytes : -1;
}

/** Without SP and HTAB at both ends. `trim` would take more (NBSP is obs-text here). */
function trimmed(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}
