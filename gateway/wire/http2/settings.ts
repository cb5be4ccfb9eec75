/** What the connections of a listener or cluster have in common. */
import type { Scheme } from "../../core/http/message.ts";
import { decodeLatin1, type Latin1Decoder } from "../http1/chars.ts";
import {
  SETTINGS_ENABLE_CONNECT_PROTOCOL,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_HEADER_TABLE_SIZE,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_MAX_FRAME_SIZE,
  SETTINGS_MAX_HEADER_LIST_SIZE,
  type Setting,
} from "./frame/settings.ts";
import { HpackDecoderSettings } from "./hpack/decoder.ts";
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from "./limits.ts";
import type { RequestRules } from "./message/request.ts";
import { BufferPool } from "./output.ts";

export interface Http2Options {
  readonly role: "server" | "client";
  readonly limits?: Http2Limits;
  /** Server: what the connection is, `https` behind TLS; a CONNECT request, which names no scheme, is taken to have it. Default `http`. */
  readonly scheme?: Scheme;
  /** Server: offer extended CONNECT (RFC 8441). Default true. */
  readonly extendedConnect?: boolean;
  /** The runtime's decoder; the portable one by default. */
  readonly decode?: Latin1Decoder;
}

/** Options with everything filled in and derived: made once per listener or cluster, shared by its connections (which also share output buffers by it). */
export class Http2Settings {
  readonly isServer: boolean;
  readonly limits: Http2Limits;
  readonly decode: Latin1Decoder;
  readonly rules: RequestRules;
  readonly hpack: HpackDecoderSettings;
  readonly pool = new BufferPool();
  /** What our SETTINGS frame says. */
  readonly announced: readonly Setting[];

  constructor(options: Http2Options) {
    const { limits = DEFAULT_HTTP2_LIMITS, decode = decodeLatin1, scheme = "http", extendedConnect = true } = options;
    const { maxTargetBytes, maxRequestBodyBytes } = limits;
    this.isServer = options.role === "server";
    this.limits = limits;
    this.decode = decode;
    this.rules = { scheme, extendedConnect, maxTargetBytes, maxRequestBodyBytes };
    this.hpack = new HpackDecoderSettings(limits, decode);
    this.announced = [
      [SETTINGS_HEADER_TABLE_SIZE, limits.maxDecoderTableBytes],
      [SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindowBytes],
      [SETTINGS_MAX_FRAME_SIZE, limits.maxFrameBytes],
      [SETTINGS_MAX_HEADER_LIST_SIZE, limits.maxHeaderListBytes],
      ...this.#roleSettings(extendedConnect),
    ];
  }

  #roleSettings(extendedConnect: boolean): readonly Setting[] {
    // RFC 9113 6.5.2: nobody may push to us.
    if (!this.isServer) return [[SETTINGS_ENABLE_PUSH, 0]];
    const streams: Setting = [SETTINGS_MAX_CONCURRENT_STREAMS, this.limits.maxConcurrentStreams];
    return extendedConnect ? [streams, [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1]] : [streams];
  }
}
