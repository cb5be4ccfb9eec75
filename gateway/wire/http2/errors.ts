/** Error codes of the protocol, and every reason of ours to end a stream or a connection with one of them. */

/** RFC 9113 7. A peer may send others: they are treated as `internalError`. */
export const Http2Code = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
  inadequateSecurity: 0xc,
  http11Required: 0xd,
} as const;
export type Http2Code = (typeof Http2Code)[keyof typeof Http2Code];

const { protocolError, flowControlError, streamClosed, frameSizeError, compressionError, enhanceYourCalm } = Http2Code;

/** What breaks the connection: GOAWAY with this code, then the end. */
const CONNECTION_PROBLEMS = {
  // frames
  bad_preface: [protocolError, "the connection does not begin with the client's preface (RFC 9113 3.4)"],
  settings_not_first: [protocolError, "the first frame is not SETTINGS (RFC 9113 3.4)"],
  frame_too_large: [frameSizeError, "a frame is longer than maxFrameBytes, which was announced (RFC 9113 4.2)"],
  bad_frame_size: [frameSizeError, "a frame's length does not fit its type (RFC 9113 6)"],
  bad_padding: [protocolError, "a frame's padding is longer than the frame (RFC 9113 6.1, 6.2)"],
  stream_expected: [protocolError, "a frame of a stream names stream 0 (RFC 9113 6)"],
  stream_unexpected: [protocolError, "a frame of the connection names a stream (RFC 9113 6)"],
  frame_on_idle_stream: [protocolError, "a frame for a stream that was never opened (RFC 9113 5.1)"],
  frame_on_closed_stream: [streamClosed, "a frame for a stream that has ended (RFC 9113 5.1)"],
  bad_stream_id: [protocolError, "a new stream's id is not the peer's to use, or not higher than the last one (RFC 9113 5.1.1)"],
  header_block_interrupted: [protocolError, "a header block is not continued at once (RFC 9113 6.10)"],
  continuation_unexpected: [protocolError, "CONTINUATION without a header block to continue (RFC 9113 6.10)"],
  push_promise: [protocolError, "PUSH_PROMISE, which was switched off or comes from a client (RFC 9113 6.6, 8.4)"],
  bad_setting: [protocolError, "a setting has a value that it cannot have (RFC 9113 6.5.2)"],
  bad_initial_window: [
    flowControlError,
    "SETTINGS_INITIAL_WINDOW_SIZE is more than 2^31-1, or makes a window so (RFC 9113 6.5.2, 6.9.2)",
  ],
  bad_last_stream: [protocolError, "GOAWAY raises the last stream id of an earlier one (RFC 9113 6.8)"],
  window_overflow: [flowControlError, "the connection's window is made larger than 2^31-1 (RFC 9113 6.9.1)"],
  window_exceeded: [flowControlError, "DATA beyond the connection's window (RFC 9113 6.9.1)"],
  zero_increment: [protocolError, "WINDOW_UPDATE of the connection by 0 (RFC 9113 6.9)"],
  // header compression
  bad_header_block: [compressionError, "a header block cannot be decoded (RFC 9113 4.3, RFC 7541)"],
  header_block_too_large: [enhanceYourCalm, "a header block is longer than maxHeaderBlockBytes"],
  too_many_continuations: [enhanceYourCalm, "a header block has more frames than maxContinuations"],
  // floods
  reset_flood: [enhanceYourCalm, "streams were reset, by the peer or because of what it sent, faster than `resets` allows"],
  ping_flood: [enhanceYourCalm, "PING came faster than `pings` allows"],
  settings_flood: [enhanceYourCalm, "SETTINGS came faster than `settings` allows"],
  empty_frame_flood: [enhanceYourCalm, "frames without content came faster than `emptyFrames` allows"],
  window_update_flood: [enhanceYourCalm, "WINDOW_UPDATE came faster than `windowUpdates` allows"],
  idle_frame_flood: [enhanceYourCalm, "frames that mean nothing here came faster than `idleFrames` allows"],
  output_not_read: [enhanceYourCalm, "more than maxOutputBytes wait for a peer that goes on asking without reading"],
  // end of the connection
  cut_connection: [protocolError, "the connection ended although streams were open"],
} as const satisfies Record<string, readonly [Http2Code, string]>;

/** What breaks one stream: RST_STREAM with this code; the status is for a client whose request it was. */
const STREAM_PROBLEMS = {
  // fields of a message (RFC 9113 8.2, 8.3)
  bad_field_name: [400, protocolError, "a field name is empty, has upper case or is not a token (RFC 9113 8.2.1)"],
  bad_field_value: [400, protocolError, "a field value holds a control character, or white space at an end (RFC 9113 8.2.1)"],
  connection_field: [400, protocolError, "a field that belongs to the connection (RFC 9113 8.2.2)"],
  bad_te: [400, protocolError, "TE is something other than `trailers` (RFC 9113 8.2.2)"],
  pseudo_after_field: [400, protocolError, "a pseudo-header field after a regular one (RFC 9113 8.3)"],
  duplicate_pseudo: [400, protocolError, "a pseudo-header field twice (RFC 9113 8.3)"],
  unknown_pseudo: [400, protocolError, "a pseudo-header field that a message of this kind does not have (RFC 9113 8.3)"],
  missing_pseudo: [400, protocolError, "a pseudo-header field is missing (RFC 9113 8.3.1, 8.3.2)"],
  pseudo_in_trailers: [400, protocolError, "a pseudo-header field in a trailer section (RFC 9113 8.1)"],
  bad_method: [400, protocolError, "`:method` is not a token (RFC 9110 9.1)"],
  bad_scheme: [400, protocolError, "`:scheme` is neither http nor https (RFC 9113 8.3.1)"],
  bad_path: [400, protocolError, "`:path` is empty, or neither origin form nor the `*` of OPTIONS (RFC 9113 8.3.1)"],
  path_too_long: [414, protocolError, "`:path` is longer than maxTargetBytes"],
  missing_authority: [400, protocolError, "neither `:authority` nor Host (RFC 9110 7.2)"],
  bad_authority: [400, protocolError, "the authority is not host[:port] (RFC 9110 7.2, RFC 9113 8.3.1)"],
  duplicate_host: [400, protocolError, "more than one Host (RFC 9110 7.2)"],
  host_mismatch: [400, protocolError, "Host names another authority than `:authority` (RFC 9113 8.3.1)"],
  bad_connect: [400, protocolError, "CONNECT in neither of its forms (RFC 9113 8.5, RFC 8441 4)"],
  unsupported_protocol: [501, protocolError, "`:protocol` although extended CONNECT was not offered (RFC 8441 4)"],
  bad_status: [400, protocolError, "`:status` is not between 100 and 599, or 101 (RFC 9110 15, RFC 9113 8.6)"],
  duplicate_content_length: [400, protocolError, "more than one Content-Length (RFC 9110 8.6)"],
  bad_content_length: [400, protocolError, "Content-Length is not one decimal number in range (RFC 9110 8.6)"],
  content_length_mismatch: [400, protocolError, "the content is not as long as Content-Length says (RFC 9113 8.1.1)"],
  content_unexpected: [400, protocolError, "content in a message that has none (RFC 9110 6.4.1)"],
  unsupported_expectation: [417, protocolError, "Expect asks for something other than 100-continue (RFC 9110 10.1.1)"],
  // sequence of frames
  trailers_without_end: [400, protocolError, "a second header section that does not end the stream (RFC 9113 8.1)"],
  fields_in_tunnel: [400, protocolError, "a field section within a tunnel (RFC 9113 8.5)"],
  interim_ends_stream: [400, protocolError, "a 1xx response that ends the stream (RFC 9113 8.1)"],
  too_many_interim_responses: [400, enhanceYourCalm, "more 1xx responses than maxInterimResponses"],
  data_before_head: [400, protocolError, "DATA before the response's head (RFC 9113 8.1)"],
  stream_closed: [400, streamClosed, "a frame after the one that ended the stream (RFC 9113 5.1)"],
  // limits
  header_too_large: [431, enhanceYourCalm, "the fields together are larger than maxHeaderListBytes (RFC 9113 6.5.2)"],
  too_many_headers: [431, enhanceYourCalm, "there are more fields than maxHeaderCount"],
  body_too_large: [413, enhanceYourCalm, "the content is longer than maxRequestBodyBytes"],
  // windows
  stream_window_exceeded: [400, flowControlError, "DATA beyond the stream's window (RFC 9113 6.9.1)"],
  stream_window_overflow: [400, flowControlError, "the stream's window is made larger than 2^31-1 (RFC 9113 6.9.1)"],
  stream_zero_increment: [400, protocolError, "WINDOW_UPDATE of a stream by 0 (RFC 9113 6.9)"],
} as const satisfies Record<string, readonly [number, Http2Code, string]>;

export type ConnectionProblemCode = keyof typeof CONNECTION_PROBLEMS;
export type StreamProblemCode = keyof typeof STREAM_PROBLEMS;

/** All words, for tables and tests. */
export const CONNECTION_PROBLEM_CODES = Object.keys(CONNECTION_PROBLEMS) as readonly ConnectionProblemCode[];
export const STREAM_PROBLEM_CODES = Object.keys(STREAM_PROBLEMS) as readonly StreamProblemCode[];

export interface ConnectionProblem {
  /** Stable word for logs and tests. */
  readonly code: ConnectionProblemCode;
  /** What GOAWAY says. */
  readonly http2Code: Http2Code;
  readonly message: string;
}

export interface StreamProblem {
  /** Stable word for logs and tests. */
  readonly code: StreamProblemCode;
  /** What RST_STREAM has to say. */
  readonly http2Code: Http2Code;
  /** Status for the client when a request was at fault; responses at fault become 502. */
  readonly status: 400 | 413 | 414 | 417 | 431 | 501;
  readonly message: string;
}

export function connectionProblem(code: ConnectionProblemCode): ConnectionProblem {
  const [http2Code, message] = CONNECTION_PROBLEMS[code];
  return { code, http2Code, message };
}

export function streamProblem(code: StreamProblemCode): StreamProblem {
  const [status, http2Code, message] = STREAM_PROBLEMS[code];
  return { code, http2Code, status, message };
}
