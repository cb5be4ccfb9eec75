/**
 * The receiving half of a connection: frames, one after another, checked for form and order (RFC 9113 4 to 6), until one tells the caller something.
 */
import { type ConnectionProblemCode, Http2Code } from "./errors.ts";
import { GOAWAY_BYTES } from "./frame/goaway.ts";
import {
  ACK,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  FRAME_HEADER_BYTES,
  GOAWAY,
  HEADERS,
  PADDED,
  PING,
  PRIORITY,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  uint31,
  uint32,
  WINDOW_UPDATE,
  WITH_PRIORITY,
} from "./frame/header.ts";
import { isPong, PING_BYTES, writePong } from "./frame/ping.ts";
import { PRIORITY_BYTES } from "./frame/priority.ts";
import { RST_STREAM_BYTES } from "./frame/rst-stream.ts";
import { readSettings, SETTING_BYTES, writeSettingsAck } from "./frame/settings.ts";
import { WINDOW_UPDATE_BYTES } from "./frame/window-update.ts";
import { HeaderBlock } from "./header-block.ts";
import { FrameInput } from "./input.ts";
import { Messages, type Outcome } from "./messages.ts";
import { PREFACE } from "./preface.ts";
import type { Sender } from "./sender.ts";
import type { ConnectionState } from "./state.ts";
import type { Http2Stream } from "./stream.ts";

/** Payloads of our pings: one asks for a sign of life, the other marks the end of what was under way when we began to drain. */
export const KEEP_ALIVE_MARK = 0x4b;
export const DRAIN_MARK = 0x44;

// Phases.
const IN_PREFACE = 0;
const BEFORE_FRAME = 1;
const IN_CONTENT = 2;
/** Padding, or the payload of a frame that is not looked at. */
const SKIPPING = 3;

const NEED: { readonly kind: "need" } = { kind: "need" };
const PONG: { readonly kind: "pong" } = { kind: "pong" };

export class Receiver<Owner> {
  readonly input = new FrameInput();
  readonly messages: Messages<Owner>;
  /** Our ping that marks the end of what was under way has come back. */
  isPeerDrained = false;
  readonly #state: ConnectionState<Owner>;
  readonly #sender: Sender<Owner>;
  readonly #block: HeaderBlock;
  #phase: number;
  /** Bytes of content, or to be skipped, that are still to come of the current frame. */
  #left = 0;
  /** Padding after the content. */
  #padding = 0;
  #sawSettings = false;
  /** Last stream id of the peer's GOAWAY. */
  #goAwayLast = Number.POSITIVE_INFINITY;
  /** Streams of ours that the peer will not process. */
  readonly #lost: Http2Stream<Owner>[] = [];

  constructor(state: ConnectionState<Owner>, sender: Sender<Owner>) {
    this.#state = state;
    this.#sender = sender;
    this.messages = new Messages(state, sender);
    this.#block = new HeaderBlock(state.settings.limits);
    this.#phase = state.settings.isServer ? IN_PREFACE : BEFORE_FRAME;
  }

  /** The peer's first SETTINGS are here. */
  get isSettled(): boolean {
    return this.#sawSettings;
  }

  next(): Exclude<Outcome<Owner>, undefined> {
    for (;;) {
      if (this.#sender.hasWritable) {
        const stream = this.#sender.nextWritable();
        if (stream !== undefined) return { kind: "window", stream };
      }
      const lost = this.#lost.pop();
      if (lost !== undefined) {
        this.#state.close(lost);
        return { kind: "reset", stream: lost, code: Http2Code.refusedStream, unprocessed: true };
      }
      const outcome = this.#step();
      if (outcome !== undefined) return outcome;
      if (this.#state.out.end > this.#state.settings.limits.maxOutputBytes) return "output_not_read";
    }
  }

  #step(): Outcome<Owner> {
    switch (this.#phase) {
      case BEFORE_FRAME:
        return this.#frame();
      case IN_CONTENT:
        return this.#content();
      case SKIPPING:
        return this.#skip();
      default:
        return this.#preface();
    }
  }

  /** RFC 9113 3.4. Byte by byte, so that another protocol is recognised by its first one. */
  #preface(): Outcome<Owner> {
    const { input } = this;
    if (input.available() === 0) return NEED;
    const there = Math.min(PREFACE.length, input.end - input.pos);
    for (let i = 0; i < there; i++) if (input.bytes[input.pos + i] !== PREFACE[i]) return "bad_preface";
    if (!input.has(PREFACE.length)) return NEED;
    input.pos += PREFACE.length;
    this.#phase = BEFORE_FRAME;
    return undefined;
  }

  #frame(): Outcome<Owner> {
    const { input } = this;
    if (!input.has(FRAME_HEADER_BYTES)) return NEED;
    const { bytes, pos } = input;
    const length = ((bytes[pos] as number) << 16) | ((bytes[pos + 1] as number) << 8) | (bytes[pos + 2] as number);
    const type = bytes[pos + 3] as number;
    const flags = bytes[pos + 4] as number;
    const id = uint31(bytes, pos + 5);
    if (length > this.#state.settings.limits.maxFrameBytes) return this.#sawSettings ? "frame_too_large" : "settings_not_first";
    if (!this.#sawSettings && (type !== SETTINGS || (flags & ACK) !== 0)) return "settings_not_first";
    if (this.#block.stream !== 0 && (type !== CONTINUATION || id !== this.#block.stream)) return "header_block_interrupted";
    if (type === DATA) return this.#data(id, flags, length);
    if (type > CONTINUATION) return this.#unknown(length);
    if (!input.has(FRAME_HEADER_BYTES + length)) return NEED;
    // `has` may have moved them.
    const start = input.pos + FRAME_HEADER_BYTES;
    input.pos = start + length;
    return this.#whole(type, id, flags, start, length);
  }

  /** A frame whose payload is there in one piece. */
  #whole(type: number, id: number, flags: number, start: number, length: number): Outcome<Owner> {
    switch (type) {
      case HEADERS:
        return this.#headers(id, flags, start, start + length);
      case CONTINUATION:
        return this.#continuation(flags, start, start + length);
      case WINDOW_UPDATE:
        return this.#windowUpdate(id, start, length);
      case RST_STREAM:
        return this.#rstStream(id, start, length);
      case SETTINGS:
        return this.#settings(id, flags, start, length);
      case PING:
        return this.#ping(id, flags, start, length);
      case GOAWAY:
        return this.#goAway(id, start, length);
      case PRIORITY:
        // RFC 9113 5.3.2, 6.3: deprecated, and of no meaning here.
        if (id === 0) return "stream_expected";
        return length === PRIORITY_BYTES ? this.#idle() : "bad_frame_size";
      case PUSH_PROMISE:
        return "push_promise";
      default:
        return "bad_frame_size";
    }
  }

  /** RFC 9113 6.1. */
  #data(id: number, flags: number, length: number): Outcome<Owner> {
    const { input } = this;
    if (id === 0) return "stream_expected";
    let padding = 0;
    let overhead = 0;
    if ((flags & PADDED) !== 0) {
      if (length === 0) return "bad_frame_size";
      if (!input.has(FRAME_HEADER_BYTES + 1)) return NEED;
      padding = input.bytes[input.pos + FRAME_HEADER_BYTES] as number;
      overhead = 1 + padding;
      if (overhead > length) return "bad_padding";
    }
    input.pos += FRAME_HEADER_BYTES + overhead - padding;
    this.#left = length - overhead;
    this.#padding = padding;
    this.#phase = IN_CONTENT;
    return this.messages.data(id, length, length - overhead, (flags & END_STREAM) !== 0);
  }

  #content(): Outcome<Owner> {
    const { input } = this;
    if (this.#left === 0) {
      this.#left = this.#padding;
      this.#phase = SKIPPING;
      return undefined;
    }
    const there = input.available();
    if (there === 0) return NEED;
    const size = Math.min(this.#left, there);
    const { bytes, pos } = input;
    this.#left -= size;
    input.pos = pos + size;
    return this.messages.content(bytes.subarray(pos, pos + size), this.#left === 0);
  }

  #skip(): Outcome<Owner> {
    const { input } = this;
    if (this.#left > 0) {
      const there = input.available();
      if (there === 0) return NEED;
      const size = Math.min(this.#left, there);
      this.#left -= size;
      input.pos += size;
    }
    if (this.#left === 0) this.#phase = BEFORE_FRAME;
    return undefined;
  }

  /** RFC 9113 6.2. */
  #headers(id: number, flags: number, start: number, end: number): Outcome<Owner> {
    const { bytes } = this.input;
    if (id === 0) return "stream_expected";
    let from = start;
    let to = end;
    if ((flags & PADDED) !== 0) {
      if (from === to) return "bad_frame_size";
      to -= bytes[from++] as number;
      if (to < from) return "bad_padding";
    }
    if ((flags & WITH_PRIORITY) !== 0) {
      from += PRIORITY_BYTES;
      if (from > to) return "bad_frame_size";
    }
    const endsStream = (flags & END_STREAM) !== 0;
    if ((flags & END_HEADERS) !== 0) {
      if (to - from > this.#state.settings.limits.maxHeaderBlockBytes) return "header_block_too_large";
      if (from === to && !this.#mayBeEmpty()) return "empty_frame_flood";
      return this.messages.block(id, endsStream, bytes, from, to);
    }
    this.#block.begin(id, endsStream);
    return this.#fragment(from, to);
  }

  /** RFC 9113 6.10. */
  #continuation(flags: number, start: number, end: number): Outcome<Owner> {
    const block = this.#block;
    if (block.stream === 0) return "continuation_unexpected";
    const broken = block.continued() ?? this.#fragment(start, end);
    if (broken !== undefined || (flags & END_HEADERS) === 0) return broken;
    const outcome = this.messages.block(block.stream, block.endsStream, block.bytes, 0, block.length);
    block.clear();
    return outcome;
  }

  #fragment(start: number, end: number): ConnectionProblemCode | undefined {
    if (start === end && !this.#mayBeEmpty()) return "empty_frame_flood";
    return this.#block.add(this.input.bytes, start, end);
  }

  #mayBeEmpty(): boolean {
    return this.#state.floods.emptyFrames.spend(this.messages.nowMs);
  }

  /** RFC 9113 6.4. */
  #rstStream(id: number, start: number, length: number): Outcome<Owner> {
    if (id === 0) return "stream_expected";
    if (length !== RST_STREAM_BYTES) return "bad_frame_size";
    if (this.messages.isIdle(id)) return "frame_on_idle_stream";
    const state = this.#state;
    const stream = state.streams.get(id);
    if (stream === undefined) return this.#idle();
    const { isServer } = state.settings;
    const code = uint32(this.input.bytes, start);
    const isAnswered = stream.isLocallyClosed;
    const unprocessed = !isServer && code === Http2Code.refusedStream && !stream.isHeadIn;
    state.close(stream);
    if (isServer && !isAnswered && !state.floods.resets.spend(this.messages.nowMs)) return "reset_flood";
    return { kind: "reset", stream, code, unprocessed };
  }

  /** RFC 9113 6.5. */
  #settings(id: number, flags: number, start: number, length: number): Outcome<Owner> {
    if (id !== 0) return "stream_unexpected";
    if ((flags & ACK) !== 0) {
      if (length !== 0) return "bad_frame_size";
      return this.#acknowledged();
    }
    if (length % SETTING_BYTES !== 0) return "bad_frame_size";
    const state = this.#state;
    if (!state.floods.settings.spend(this.messages.nowMs)) return "settings_flood";
    const { peer, settings } = state;
    const windowBefore = peer.initialWindowBytes;
    // RFC 9113 6.5.2: without a word on it there is no limit.
    if (!this.#sawSettings) peer.maxConcurrentStreams = Number.POSITIVE_INFINITY;
    this.#sawSettings = true;
    const broken = readSettings(this.input.bytes, start, start + length, peer, settings.isServer);
    if (broken !== undefined) return broken;
    state.encoder.allow(peer.headerTableBytes);
    // RFC 9113 6.9.2: the difference goes to all streams, and may leave windows below 0.
    const difference = peer.initialWindowBytes - windowBefore;
    if (difference !== 0) {
      for (const stream of state.streams.values()) if (!this.#sender.widen(stream, difference)) return "bad_initial_window";
    }
    writeSettingsAck(state.out);
    return undefined;
  }

  #acknowledged(): Outcome<Owner> {
    const { messages } = this;
    if (messages.isAnnounced) return this.#idle();
    messages.isAnnounced = true;
    messages.decoder.allow(this.#state.settings.limits.maxDecoderTableBytes);
    return undefined;
  }

  /** RFC 9113 6.7. */
  #ping(id: number, flags: number, start: number, length: number): Outcome<Owner> {
    if (id !== 0) return "stream_unexpected";
    if (length !== PING_BYTES) return "bad_frame_size";
    const { bytes } = this.input;
    if ((flags & ACK) === 0) {
      if (!this.#state.floods.pings.spend(this.messages.nowMs)) return "ping_flood";
      writePong(this.#state.out, bytes, start);
      return undefined;
    }
    if (isPong(bytes, start, KEEP_ALIVE_MARK)) return PONG;
    if (!isPong(bytes, start, DRAIN_MARK)) return this.#idle();
    this.isPeerDrained = true;
    return undefined;
  }

  /** RFC 9113 6.8. */
  #goAway(id: number, start: number, length: number): Outcome<Owner> {
    if (id !== 0) return "stream_unexpected";
    if (length < GOAWAY_BYTES) return "bad_frame_size";
    const { bytes } = this.input;
    const last = uint31(bytes, start);
    const state = this.#state;
    if (last > this.#goAwayLast) return "bad_last_stream";
    const isRepeated = this.#goAwayLast !== Number.POSITIVE_INFINITY;
    this.#goAwayLast = last;
    state.isGoingAway = true;
    if (!state.settings.isServer) for (const stream of state.streams.values()) if (stream.id > last) this.#lost.push(stream);
    if (isRepeated && !state.floods.idleFrames.spend(this.messages.nowMs)) return "idle_frame_flood";
    return { kind: "goaway", code: uint32(bytes, start + 4) };
  }

  /** RFC 9113 6.9. */
  #windowUpdate(id: number, start: number, length: number): Outcome<Owner> {
    if (length !== WINDOW_UPDATE_BYTES) return "bad_frame_size";
    const { messages } = this;
    const state = this.#state;
    if (!state.floods.windowUpdates.spend(messages.nowMs)) return "window_update_flood";
    const increment = uint31(this.input.bytes, start);
    if (id === 0) {
      if (increment === 0) return "zero_increment";
      return this.#sender.widenAll(increment) ? undefined : "window_overflow";
    }
    if (messages.isIdle(id)) return "frame_on_idle_stream";
    const stream = state.streams.get(id);
    // RFC 9113 5.1: it may have been sent before the stream's end was known.
    if (stream === undefined || stream.isRefused) return undefined;
    if (increment === 0) return messages.refuse(stream, "stream_zero_increment");
    return this.#sender.widen(stream, increment) ? undefined : messages.refuse(stream, "stream_window_overflow");
  }

  /** RFC 9113 4.1, 5.5: unknown frames are ignored. */
  #unknown(length: number): Outcome<Owner> {
    this.input.pos += FRAME_HEADER_BYTES;
    this.#left = length;
    this.#phase = SKIPPING;
    return this.#idle();
  }

  #idle(): ConnectionProblemCode | undefined {
    return this.#state.floods.idleFrames.spend(this.messages.nowMs) ? undefined : "idle_frame_flood";
  }
}
