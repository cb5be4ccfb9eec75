/** Flow control (RFC 9113 5.2, 6.9) of what is received: one window for a connection, one for each stream. */

export class ReceiveWindow {
  /** What the peer may still send. */
  #left: number;
  /** Consumed and not yet told. */
  #owed = 0;
  readonly #size: number;

  constructor(bytes: number) {
    this.#size = bytes;
    this.#left = bytes;
  }

  /** So much has come. @returns false when it was more than the window */
  take(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** So much was consumed. @returns what the peer is to be told now: nothing until it is half of the window, so that an update is worth its frame */
  give(bytes: number): number {
    this.#owed += bytes;
    if (this.#owed * 2 < this.#size) return 0;
    const increment = this.#owed;
    this.#left += increment;
    this.#owed = 0;
    return increment;
  }
}
