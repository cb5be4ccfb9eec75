/**
 * wire: bytes. Sans-I/O codecs that a runtime feeds and asks for events, and writers that give it bytes to send.
 *
 * Invariant: whatever is accepted has exactly one meaning, however its bytes were split; what is doubtful is refused with a stable code. What a codec
 * lets out is written anew from that meaning. Each limit has a name.
 *
 * It must never do I/O, look at a clock, name a runtime, decide about routing or policy, or be shipped to a Worker.
 */
export {
  type ClientHello,
  type ClientHelloErrorCode,
  type ClientHelloEvent,
  type ClientHelloLimits,
  ClientHelloReader,
} from "./client-hello.ts";
export { GrpcWebResponse, GrpcWebText } from "./grpc.ts";
export type { Latin1Decoder, Latin1Encoder } from "./http1/chars.ts";
export type { ProtocolErrorCode } from "./http1/errors.ts";
export type { HeadEvent, ParserEvent, ProtocolError, RequestEvent, ResponseEvent } from "./http1/events.ts";
export { DEFAULT_HTTP1_LIMITS, type Http1Limits } from "./http1/limits.ts";
export { RequestParser, type RequestParserOptions, RequestParserSettings } from "./http1/request.ts";
export { ResponseParser, type ResponseParserOptions, ResponseParserSettings } from "./http1/response.ts";
export {
  CHUNK_END,
  CONTINUE,
  chunkHeader,
  encodeRequestHead,
  encodeResponseHead,
  headBound,
  lastChunk,
  type RequestWriteOptions,
  type ResponseWriteOptions,
  responseFraming,
  type WireFraming,
  writeRequestHead,
  writeResponseHead,
} from "./http1/write.ts";
export { Http2Connection } from "./http2/connection.ts";
export { type ConnectionProblem, Http2Code, type StreamProblem } from "./http2/errors.ts";
export type { Http2Event } from "./http2/events.ts";
export { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "./http2/limits.ts";
export { type Http2Options, Http2Settings } from "./http2/settings.ts";
export type { Http2Stream } from "./http2/stream.ts";
export {
  DEFAULT_PROXY_PROTOCOL_LIMITS,
  type ProxyAddress,
  type ProxyHeader,
  type ProxyHeaderReading,
  type ProxyProtocolErrorCode,
  type ProxyProtocolLimits,
  readProxyHeader,
  writeProxyHeader,
} from "./proxy-protocol.ts";
