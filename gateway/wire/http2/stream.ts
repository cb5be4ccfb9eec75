/**
 * One stream (RFC 9113 5.1), as its owner sees it: a handle for the connection's methods, with a place for what the owner keeps about it.
 *
 *                    head                     END_STREAM sent
 *     (not here) ───────────► OPEN ──────────────────────────────► HALF_CLOSED_LOCAL
 *                              │                                          │
 *                              │ END_STREAM received                      │ END_STREAM received
 *                              ▼                                          ▼
 *                     HALF_CLOSED_REMOTE ──────────────────────────►   CLOSED  ◄── RST_STREAM, either way, from any state
 *                                             END_STREAM sent
 *
 * Idle streams are numbers not yet used; reserved ones do not exist, for nobody may push.
 */
import { ReceiveWindow } from "./flow.ts";

export const OPEN = 0;
export const HALF_CLOSED_LOCAL = 1;
export const HALF_CLOSED_REMOTE = 2;
export const CLOSED = 3;

// What DATA that could not be sent waits for.
export const NOTHING = 0;
/** The stream's own window. */
export const OWN_WINDOW = 1;
/** The connection's window, or room in the output. */
export const SHARED = 2;

/** Content is as long as it is. */
export const ANY_LENGTH = -1;

export class Http2Stream<Owner> {
  readonly id: number;
  /** The owner's own; the codec never looks. A server's sets it when it is told of the request. */
  owner: Owner | undefined;
  /** @internal */
  state = OPEN;
  /** What it may still send, by the peer's word; below 0 after the peer made it smaller. @internal */
  sendWindow: number;
  /** @internal */
  readonly receiveWindow: ReceiveWindow;
  /** Told to the owner and not yet consumed. @internal */
  held = 0;
  /** @internal */
  waitsFor = NOTHING;
  /** Content that has to come by Content-Length, or ANY_LENGTH. @internal */
  contentLeft = ANY_LENGTH;
  /** The message that is received has no content, whatever its fields say. @internal */
  hasNoContent = false;
  /** Content that came so far. @internal */
  received = 0;
  /** The final head was received. @internal */
  isHeadIn = false;
  /** 1xx heads that were received. @internal */
  interims = 0;
  /** Of the request. @internal */
  method = "";
  /** What comes is a tunnel's (RFC 9113 8.5, RFC 8441 5): only DATA, and as much as it is. @internal */
  isTunnel = false;
  /** The owner was told that a rule was broken, and has to reset it. @internal */
  isRefused = false;

  constructor(id: number, owner: Owner | undefined, sendWindow: number, receiveWindowBytes: number) {
    this.id = id;
    this.owner = owner;
    this.sendWindow = sendWindow;
    this.receiveWindow = new ReceiveWindow(receiveWindowBytes);
  }

  /** Over in both directions: the connection's methods do nothing for it any more. */
  get isClosed(): boolean {
    return this.state === CLOSED;
  }

  /** Nothing more can be sent. */
  get isLocallyClosed(): boolean {
    return this.state === HALF_CLOSED_LOCAL || this.state === CLOSED;
  }

  /** Nothing more will come. */
  get isRemotelyClosed(): boolean {
    return this.state === HALF_CLOSED_REMOTE || this.state === CLOSED;
  }
}

/** The state after END_STREAM was sent. */
export function afterLocalEnd(state: number): number {
  return state === OPEN ? HALF_CLOSED_LOCAL : state === HALF_CLOSED_REMOTE ? CLOSED : state;
}

/** The state after END_STREAM was received. */
export function afterRemoteEnd(state: number): number {
  return state === OPEN ? HALF_CLOSED_REMOTE : state === HALF_CLOSED_LOCAL ? CLOSED : state;
}
