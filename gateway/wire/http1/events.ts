/**
 * What the HTTP/1.1 codecs tell. A parser is fed the bytes that a socket delivered and asked for events until it needs more:
 *
 *     parser.feed(bytes); for (;;) { const event = parser.next(); if (event.kind === "need") break; … }
 *
 * It does no I/O and keeps no reference to fed bytes once `need` was returned, apart from the copy of an unfinished head.
 */
import type { FieldList, RequestHead, ResponseHead } from "../../core/http/message.ts";

export type ParserEvent<Head> =
  | { readonly kind: "need" }
  | HeadEvent<Head>
  /** A view into the fed bytes, chunk framing taken off. */
  | { readonly kind: "body"; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly trailers: FieldList | undefined }
  /** The message cannot be understood in exactly one way. Terminal: the connection has to be closed. */
  | { readonly kind: "error"; readonly error: ProtocolError };

export interface HeadEvent<Head> {
  readonly kind: "head";
  readonly head: Head;
  /** HTTP minor version: 0 or 1. */
  readonly minor: 0 | 1;
  /** The sender lets the connection live on after this message. */
  readonly keepAlive: boolean;
  /** Options named by Connection (lower case), hop-by-hop for this message; undefined when the field is absent. */
  readonly connectionOptions: readonly string[] | undefined;
  /** Request only: `Expect: 100-continue`. */
  readonly expectContinue: boolean;
  /** Request only: TE asks for trailer fields (RFC 9110 6.5.1). Without that, those of the response stay behind. */
  readonly takesTrailers?: boolean;
  /** Request only: the target's form as it came (RFC 9112 3.2). */
  readonly form: "origin" | "absolute" | "authority" | "asterisk";
  /** Protocols of Upgrade (lower case) when Connection names `upgrade`: asked for by a request, chosen by a 101 (RFC 9110 7.8). */
  readonly upgrade?: readonly string[] | undefined;
}

export type RequestEvent = ParserEvent<RequestHead>;
export type ResponseEvent = ParserEvent<ResponseHead>;

export interface ProtocolError {
  /** Status for the client when a request was at fault; responses at fault become 502. */
  readonly status: 400 | 408 | 413 | 414 | 417 | 431 | 501 | 505;
  /** Stable word for logs and tests: `bad_chunk_size`, `duplicate_host`, … */
  readonly code: string;
  readonly message: string;
}
