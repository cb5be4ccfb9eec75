/**
 * How much of each part of a message a parser takes. The names are those of the gateway's HTTP settings where they exist there,
 * so that a settings object can be spread over the defaults. Line lengths are counted without the closing CRLF.
 */
export interface Http1Limits {
  readonly maxRequestLineBytes: number;
  readonly maxStatusLineBytes: number;
  /** All field lines of a head together, each with its CRLF; the closing empty line is not counted. */
  readonly maxHeaderBytes: number;
  readonly maxHeaderCount: number;
  /** Declared or, when chunked, received bytes of a request's content; 0: unlimited. */
  readonly maxRequestBodyBytes: number;
  /** A chunk's size and extensions. */
  readonly maxChunkHeaderBytes: number;
  /** All trailer field lines together, each with its CRLF. */
  readonly maxTrailerBytes: number;
  readonly maxTrailerCount: number;
  /** CRLFs tolerated before a request line (RFC 9112 2.2). */
  readonly maxLeadingEmptyLines: number;
  /** 1xx responses before the final one. */
  readonly maxInterimResponses: number;
}

export const DEFAULT_HTTP1_LIMITS: Http1Limits = {
  maxRequestLineBytes: 8 * 1024,
  maxStatusLineBytes: 1024,
  maxHeaderBytes: 32 * 1024,
  maxHeaderCount: 100,
  maxRequestBodyBytes: 0,
  maxChunkHeaderBytes: 256,
  maxTrailerBytes: 8 * 1024,
  maxTrailerCount: 32,
  maxLeadingEmptyLines: 2,
  maxInterimResponses: 16,
};
