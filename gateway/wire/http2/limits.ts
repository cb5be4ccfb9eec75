/**
 * How much a peer may make us hold and do. Names are those of the gateway's HTTP settings where they exist there, so that a settings object can be
 * spread over the defaults.
 */

/** `burst` at once; then `perSecond`, and what each limit says gives some back. */
export interface Http2Rate {
  readonly burst: number;
  readonly perSecond: number;
}

export interface Http2Limits {
  /** Streams that the peer may have open (SETTINGS_MAX_CONCURRENT_STREAMS); more are refused. */
  readonly maxConcurrentStreams: number;
  /** Payload of a frame (SETTINGS_MAX_FRAME_SIZE), 16384 to 16777215. */
  readonly maxFrameBytes: number;
  /** A decoded field section, each field with 32 bytes on top (SETTINGS_MAX_HEADER_LIST_SIZE, RFC 9113 6.5.2). */
  readonly maxHeaderListBytes: number;
  readonly maxHeaderCount: number;
  /** An encoded field section with all its frames. */
  readonly maxHeaderBlockBytes: number;
  /** CONTINUATION frames of one header block. */
  readonly maxContinuations: number;
  readonly maxTargetBytes: number;
  /** Content of a request, declared or received; 0: unlimited. */
  readonly maxRequestBodyBytes: number;
  /** 1xx responses before the final one. */
  readonly maxInterimResponses: number;
  /** The table that the peer's encoder may use (SETTINGS_HEADER_TABLE_SIZE). */
  readonly maxDecoderTableBytes: number;
  /** The table that our encoder uses, if the peer allows as much. */
  readonly maxEncoderTableBytes: number;
  /** Dynamic table size updates at the start of one header block (RFC 7541 4.2: two are enough for anything). */
  readonly maxTableSizeUpdates: number;
  /** What a peer may send on a stream before it is told that some was consumed (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly streamWindowBytes: number;
  /** The same for all streams of a connection together, at least 65535: what one peer can make us hold. */
  readonly connectionWindowBytes: number;
  /** While so much output waits for the socket no more DATA is taken. */
  readonly maxBufferedBytes: number;
  /** While so much output waits, a peer that makes more of it is cut off: it asks and does not read. */
  readonly maxOutputBytes: number;
  /** Ids of streams that we reset, kept to tell what was under way to them from a mistake. */
  readonly maxRememberedResets: number;
  /**
   * Streams reset by the peer, or by us because of what it sent (rapid reset, CVE-2023-44487; MadeYouReset, CVE-2025-8671). Each stream that ends as it
   * should gives one back.
   */
  readonly resets: Http2Rate;
  /** PING frames. Each DATA frame that we send gives one back, for peers measure the round trip by them. */
  readonly pings: Http2Rate;
  /** SETTINGS frames. */
  readonly settings: Http2Rate;
  /** DATA without content or end, and header frames without a byte of the block. */
  readonly emptyFrames: Http2Rate;
  /** WINDOW_UPDATE frames. Each DATA frame that we send gives back two. */
  readonly windowUpdates: Http2Rate;
  /** PRIORITY, unknown frames, frames for streams that are over. Each stream that is opened gives two back. */
  readonly idleFrames: Http2Rate;
}

export const DEFAULT_HTTP2_LIMITS: Http2Limits = {
  maxConcurrentStreams: 100,
  maxFrameBytes: 16 * 1024,
  maxHeaderListBytes: 32 * 1024,
  maxHeaderCount: 100,
  maxHeaderBlockBytes: 32 * 1024,
  maxContinuations: 8,
  maxTargetBytes: 8 * 1024,
  maxRequestBodyBytes: 0,
  maxInterimResponses: 16,
  maxDecoderTableBytes: 4096,
  maxEncoderTableBytes: 4096,
  maxTableSizeUpdates: 2,
  streamWindowBytes: 256 * 1024,
  connectionWindowBytes: 1024 * 1024,
  maxBufferedBytes: 256 * 1024,
  maxOutputBytes: 1024 * 1024,
  maxRememberedResets: 1000,
  resets: { burst: 100, perSecond: 20 },
  pings: { burst: 100, perSecond: 20 },
  settings: { burst: 20, perSecond: 1 },
  emptyFrames: { burst: 100, perSecond: 20 },
  windowUpdates: { burst: 1000, perSecond: 100 },
  idleFrames: { burst: 500, perSecond: 100 },
};
