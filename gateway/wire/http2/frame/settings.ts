/** SETTINGS (RFC 9113 6.5): pairs of an identifier and a value. */
import type { ConnectionProblemCode } from "../errors.ts";
import type { Output } from "../output.ts";
import { ACK, FRAME_HEADER_BYTES, putUint32, SETTINGS, uint32, writeFrameHeader } from "./header.ts";

export const SETTING_BYTES = 6;

// RFC 9113 6.5.2, RFC 8441 3.
export const SETTINGS_HEADER_TABLE_SIZE = 0x1;
export const SETTINGS_ENABLE_PUSH = 0x2;
export const SETTINGS_MAX_CONCURRENT_STREAMS = 0x3;
export const SETTINGS_INITIAL_WINDOW_SIZE = 0x4;
export const SETTINGS_MAX_FRAME_SIZE = 0x5;
export const SETTINGS_MAX_HEADER_LIST_SIZE = 0x6;
export const SETTINGS_ENABLE_CONNECT_PROTOCOL = 0x8;

/** RFC 9113 6.9.1. */
export const LARGEST_WINDOW_BYTES = 0x7fffffff;
/** RFC 9113 6.5.2: what holds before anything was said, and the least that a peer has to take. */
export const DEFAULT_WINDOW_BYTES = 65_535;
export const DEFAULT_FRAME_BYTES = 16_384;
export const LARGEST_FRAME_BYTES = 16_777_215;

export type Setting = readonly [id: number, value: number];

export function writeSettings(out: Output, settings: readonly Setting[]): void {
  out.reserve(FRAME_HEADER_BYTES + settings.length * SETTING_BYTES);
  writeFrameHeader(out, settings.length * SETTING_BYTES, SETTINGS, 0, 0);
  for (const [id, value] of settings) {
    out.bytes[out.end] = id >>> 8;
    out.bytes[out.end + 1] = id;
    putUint32(out.bytes, out.end + 2, value);
    out.end += SETTING_BYTES;
  }
}

export function writeSettingsAck(out: Output): void {
  out.reserve(FRAME_HEADER_BYTES);
  writeFrameHeader(out, 0, SETTINGS, ACK, 0);
}

/** What a peer's settings say; those that it has not named have the values they had. */
export interface PeerSettings {
  headerTableBytes: number;
  maxConcurrentStreams: number;
  initialWindowBytes: number;
  maxFrameBytes: number;
  extendedConnect: boolean;
}

/** Reads the payload `[start, end)` of a frame into `peer`. @returns the rule that it breaks */
export function readSettings(
  bytes: Uint8Array,
  start: number,
  end: number,
  peer: PeerSettings,
  isServer: boolean,
): ConnectionProblemCode | undefined {
  for (let at = start; at < end; at += SETTING_BYTES) {
    const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const broken = readSetting(peer, id, uint32(bytes, at + 2), isServer);
    if (broken !== undefined) return broken;
  }
  return undefined;
}

function readSetting(peer: PeerSettings, id: number, value: number, isServer: boolean): ConnectionProblemCode | undefined {
  switch (id) {
    case SETTINGS_HEADER_TABLE_SIZE:
      peer.headerTableBytes = value;
      return undefined;
    case SETTINGS_ENABLE_PUSH:
      // RFC 9113 6.5.2: a server says 0, if it says anything.
      return value > 1 || (value === 1 && !isServer) ? "bad_setting" : undefined;
    case SETTINGS_MAX_CONCURRENT_STREAMS:
      peer.maxConcurrentStreams = value;
      return undefined;
    case SETTINGS_INITIAL_WINDOW_SIZE:
      if (value > LARGEST_WINDOW_BYTES) return "bad_initial_window";
      peer.initialWindowBytes = value;
      return undefined;
    case SETTINGS_MAX_FRAME_SIZE:
      if (value < DEFAULT_FRAME_BYTES || value > LARGEST_FRAME_BYTES) return "bad_setting";
      peer.maxFrameBytes = value;
      return undefined;
    case SETTINGS_ENABLE_CONNECT_PROTOCOL:
      // RFC 8441 3: once offered it stays.
      if (value > 1 || (value === 0 && peer.extendedConnect)) return "bad_setting";
      peer.extendedConnect = value === 1;
      return undefined;
    default:
      // RFC 9113 6.5.2: unknown ones are ignored. What the peer takes as a list of fields (0x6) is advice: what it refuses it says by itself.
      return undefined;
  }
}
