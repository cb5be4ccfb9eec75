/** Every reason why a parser gives up, each with the status a client gets for it and the rule that was broken. */
import type { ProtocolError } from "./events.ts";

const PROBLEMS = {
  // start lines
  too_many_empty_lines: [400, "more empty lines before the request line than are tolerated (RFC 9112 2.2)"],
  bad_method: [400, "the method is not a token (RFC 9112 3.1)"],
  bad_request_line: [400, "the request line is not `method SP target SP version CRLF` (RFC 9112 3)"],
  request_line_too_long: [414, "the request line is longer than maxRequestLineBytes"],
  bad_target: [400, "the request target holds a byte that no URI has (RFC 9112 3.2)"],
  bad_target_form: [400, "the request target is in none of the forms that its method allows (RFC 9112 3.2)"],
  userinfo_in_target: [400, "the request target carries user information (RFC 9110 4.2.4)"],
  bad_target_authority: [400, "the authority in the request target is not host[:port] (RFC 9110 4.2, 9.3.6)"],
  unsupported_scheme: [400, "the request target's scheme is neither http nor https (RFC 9112 3.2.2)"],
  bad_version: [400, "the HTTP version is malformed (RFC 9112 2.3)"],
  unsupported_version: [505, "only HTTP/1.0 and HTTP/1.1 are spoken here (RFC 9110 15.6.6)"],
  bad_status_line: [400, "the status line is not `version SP status SP [reason] CRLF` (RFC 9112 4)"],
  bad_status: [400, "the status is not between 100 and 599 (RFC 9110 15)"],
  status_line_too_long: [400, "the status line is longer than maxStatusLineBytes"],
  too_many_interim_responses: [400, "more 1xx responses than maxInterimResponses"],
  unexpected_response: [400, "bytes arrived although no request is waiting for a response"],
  // fields
  obs_fold: [400, "a field line begins with white space (RFC 9112 2.2, 5.2)"],
  bad_field_name: [400, "a field name is empty or not a token (RFC 9112 5, RFC 9110 5.1)"],
  whitespace_before_colon: [400, "white space between a field name and its colon (RFC 9112 5.1)"],
  bad_field_value: [400, "a field value holds a control character (RFC 9110 5.5)"],
  bare_lf: [400, "a line ends in LF without CR (RFC 9112 2.2)"],
  bare_cr: [400, "a CR that no LF follows (RFC 9112 2.2)"],
  header_too_large: [431, "the field lines together are longer than maxHeaderBytes"],
  too_many_headers: [431, "there are more field lines than maxHeaderCount"],
  // meaning of fields
  missing_host: [400, "an HTTP/1.1 request without Host (RFC 9112 3.2)"],
  duplicate_host: [400, "more than one Host (RFC 9112 3.2)"],
  bad_host: [400, "Host is not host[:port] (RFC 9110 7.2)"],
  host_mismatch: [400, "Host names another authority than the request target"],
  duplicate_content_length: [400, "more than one Content-Length (RFC 9112 6.3)"],
  bad_content_length: [400, "Content-Length is not one decimal number in range (RFC 9110 8.6)"],
  duplicate_transfer_encoding: [400, "more than one Transfer-Encoding line"],
  bad_transfer_encoding: [400, "Transfer-Encoding is empty, has an empty element, or names chunked twice (RFC 9112 6.1)"],
  chunked_not_last: [400, "chunked is not the last transfer coding, so the content's end cannot be told (RFC 9112 6.3)"],
  unsupported_transfer_coding: [501, "no transfer coding but chunked is understood (RFC 9112 6.1)"],
  transfer_encoding_in_http10: [400, "Transfer-Encoding in an HTTP/1.0 message (RFC 9112 6.1)"],
  content_length_with_transfer_encoding: [400, "Content-Length and Transfer-Encoding in one message (RFC 9112 6.3)"],
  transfer_encoding_without_body: [400, "Transfer-Encoding in a 1xx or 204 response (RFC 9112 6.1)"],
  content_in_connect: [400, "a CONNECT request declares content (RFC 9110 9.3.6)"],
  bad_connection: [400, "Connection is not a list of tokens (RFC 9110 7.6.1)"],
  bad_upgrade: [400, "Upgrade is not a list of protocols (RFC 9110 7.8)"],
  unsupported_expectation: [417, "Expect asks for something other than 100-continue (RFC 9110 10.1.1)"],
  // content
  body_too_large: [413, "the content is longer than maxRequestBodyBytes"],
  bad_chunk_size: [400, "a chunk's size is not a hexadecimal number in range (RFC 9112 7.1)"],
  bad_chunk_extension: [400, "a chunk extension is not `;name` or `;name=value` (RFC 9112 7.1.1)"],
  chunk_header_too_large: [400, "a chunk's size and extensions are longer than maxChunkHeaderBytes"],
  bad_chunk_end: [400, "a chunk's data is not followed by CRLF (RFC 9112 7.1)"],
  trailer_too_large: [431, "the trailer fields together are longer than maxTrailerBytes"],
  too_many_trailers: [431, "there are more trailer fields than maxTrailerCount"],
  // end of the connection
  cut_head: [400, "the connection ended within a message head (RFC 9112 8)"],
  cut_body: [400, "the connection ended before the content was complete (RFC 9112 8)"],
} as const satisfies Record<string, readonly [ProtocolError["status"], string]>;

export type ProtocolErrorCode = keyof typeof PROBLEMS;

export interface ErrorEvent {
  readonly kind: "error";
  readonly error: ProtocolError & { readonly code: ProtocolErrorCode };
}

/** All codes, for tables and tests. */
export const PROTOCOL_ERROR_CODES = Object.keys(PROBLEMS) as readonly ProtocolErrorCode[];

export function errorEvent(code: ProtocolErrorCode): ErrorEvent {
  const [status, message] = PROBLEMS[code];
  return { kind: "error", error: { status, code, message } };
}
