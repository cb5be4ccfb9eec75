/** One TLS handshake under way: what is known of its connection meanwhile, and how long it may take. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Clock } from "../core/index.ts";
import type { Deadlines, Timed } from "./deadlines.ts";

/** A TLS handshake that takes longer is given up. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

export interface HandshakeThread {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
}

const HANDSHAKE = Symbol("handshake");

/** A socket as it is accepted. Its fields are Node's own. */
interface Accepted {
  /** Undefined: its connection is another socket's affair. */
  _handle?: unknown;
  /** The server that counts it among its connections. */
  _server?: unknown;
  [HANDSHAKE]?: Handshake<unknown> | undefined;
}

/** The library tells of a handshake by another socket than the one that it was given, which stays below. */
interface Wrapping {
  readonly _parent?: Accepted;
  _server?: unknown;
}

export class Handshake<Given> implements Timed {
  deadlineMs = Number.POSITIVE_INFINITY;
  filedMs = 0;
  place = -1;

  readonly given: Given;
  /** In lower case, out of the ClientHello. */
  readonly serverName: string | undefined;
  /** The ClientHello was read. */
  readonly isRead: boolean;
  /** It has taken too long. */
  isLate = false;
  readonly #socket: Socket;

  /** @param accepted all of its bytes are still to be read */
  constructor(accepted: Socket, given: Given, serverName: string | undefined, isRead: boolean, thread: HandshakeThread) {
    this.given = given;
    this.serverName = serverName;
    this.isRead = isRead;
    this.#socket = accepted;
    (accepted as Socket & Accepted)[HANDSHAKE] = this;
    thread.deadlines.set(this, thread.clock.now() + HANDSHAKE_TIMEOUT_MS);
  }

  /** The library gives up on what is above. */
  expired(): void {
    this.isLate = true;
    this.#socket.destroy();
  }
}

/** Once for each connection: its handshake is over. */
export function takeHandshake<Given>(secure: TLSSocket, { deadlines }: HandshakeThread): Handshake<Given> | undefined {
  const { _parent: accepted } = secure as TLSSocket & Wrapping;
  const handshake = accepted?.[HANDSHAKE] as Handshake<Given> | undefined;
  if (accepted === undefined || handshake === undefined) return undefined;
  accepted[HANDSHAKE] = undefined;
  deadlines.remove(handshake);
  return handshake;
}

/**
 * The socket below has had its day: what goes on with the connection concerns the one above alone, its closing above all, which would be gone through
 * twice otherwise.
 */
export function leaveAccepted(secure: TLSSocket): void {
  const above = secure as TLSSocket & Wrapping;
  const { _parent: below } = above;
  if (below?._handle === undefined || below._handle === null) return;
  above._server = below._server;
  below._server = null;
  below._handle = undefined;
}
