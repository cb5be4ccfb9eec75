/** What both directions of a connection share: its streams, its output, the window for what is received. */

import { Floods } from "./floods.ts";
import { ReceiveWindow } from "./flow.ts";
import { DEFAULT_FRAME_BYTES, DEFAULT_WINDOW_BYTES, type PeerSettings } from "./frame/settings.ts";
import { writeWindowUpdate } from "./frame/window-update.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { Output } from "./output.ts";
import type { Http2Settings } from "./settings.ts";
import { CLOSED, type Http2Stream } from "./stream.ts";

const HIGHEST_STREAM_ID = 0x7fffffff;
/** RFC 9113 6.5.2: what a server is taken to allow before it has said anything. */
const STREAMS_BEFORE_SETTINGS = 100;

export class ConnectionState<Owner> {
  readonly settings: Http2Settings;
  readonly out: Output;
  readonly encoder: HpackEncoder;
  readonly floods: Floods;
  readonly window: ReceiveWindow;
  readonly streams = new Map<number, Http2Stream<Owner>>();
  readonly peer: PeerSettings = {
    headerTableBytes: 4096,
    maxConcurrentStreams: STREAMS_BEFORE_SETTINGS,
    initialWindowBytes: DEFAULT_WINDOW_BYTES,
    maxFrameBytes: DEFAULT_FRAME_BYTES,
    extendedConnect: false,
  };
  /** The connection's window for what is sent. */
  sendWindow = DEFAULT_WINDOW_BYTES;
  /** Highest id of a stream of the peer's. */
  lastPeerStream = 0;
  /** Id of the next stream of ours. */
  nextStream: number;
  /** GOAWAY was sent or received, or the connection is broken. */
  isGoingAway = false;
  /** Streams that we reset while the peer may still have been sending, oldest first. */
  readonly #resets = new Set<number>();

  constructor(settings: Http2Settings) {
    this.settings = settings;
    this.out = new Output(settings.pool);
    this.encoder = new HpackEncoder(settings.limits.maxEncoderTableBytes, settings.decode);
    this.floods = new Floods(settings.limits);
    this.window = new ReceiveWindow(Math.max(settings.limits.connectionWindowBytes, DEFAULT_WINDOW_BYTES));
    this.nextStream = settings.isServer ? 2 : 1;
  }

  /** A stream of ours may be opened. */
  get hasRoom(): boolean {
    const most = Math.min(this.peer.maxConcurrentStreams, this.settings.limits.maxConcurrentStreams);
    return !this.isGoingAway && this.streams.size < most && this.nextStream <= HIGHEST_STREAM_ID;
  }

  /** So much of what came has been dealt with. */
  credit(bytes: number): void {
    const increment = this.window.give(bytes);
    if (increment > 0) writeWindowUpdate(this.out, 0, increment);
  }

  /** The stream is over; what its owner still holds of it is not waited for. */
  close(stream: Http2Stream<Owner>): void {
    stream.state = CLOSED;
    this.streams.delete(stream.id);
    if (stream.held > 0) this.credit(stream.held);
    stream.held = 0;
  }

  rememberReset(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size <= this.settings.limits.maxRememberedResets) return;
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest);
      return;
    }
  }

  /** Frames for it may still be under way. */
  wasReset(id: number): boolean {
    return this.#resets.has(id);
  }
}
