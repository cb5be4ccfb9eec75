/** Whether the other end of an HTTP/2 connection is still there: with requests under way, one that is quiet is asked for a sign of life (RFC 9113 6.7). */

/** Quiet for so long, it is asked. */
export const PING_AFTER_MS = 30_000;
/** How long it has to answer. */
export const PONG_WITHIN_MS = 15_000;

export class Http2Liveness {
  /** Something came last, monotonic. */
  heardMs: number;
  /** When it was asked; undefined: no question is open. */
  #askedMs: number | undefined;

  constructor(nowMs: number) {
    this.heardMs = nowMs;
  }

  /** When `due` has something to say, if nothing comes until then. */
  get nextMs(): number {
    return this.#askedMs === undefined ? this.heardMs + PING_AFTER_MS : this.#askedMs + PONG_WITHIN_MS;
  }

  /** `nextMs` has passed. `ask`: a PING is to be sent now. */
  due(nowMs: number): "ask" | "dead" {
    if (this.#askedMs !== undefined) return "dead";
    this.#askedMs = nowMs;
    return "ask";
  }

  /** Our PING was answered. */
  answered(): void {
    this.#askedMs = undefined;
  }
}
