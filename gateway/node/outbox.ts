/**
 * Gathers what one turn has to say to one socket, so that it leaves in one write (one system call): a head and the first
 * bytes of a body above all.
 *
 * One thread has one outbox. Its memory is used again as soon as the kernel has taken everything, which is the plain case;
 * an outlet that could not take it all keeps the memory and the outbox gets new.
 */
import { writeLatin1 } from "./latin1.ts";

const CAPACITY = 64 * 1024;

/** Where it goes. */
export interface Outlet {
  /** @returns whether the memory of `bytes` may be used again; otherwise it belongs to the outlet */
  write(bytes: Uint8Array): boolean;
}

export class Outbox {
  #bytes = Buffer.allocUnsafeSlow(CAPACITY);
  #length = 0;
  #outlet: Outlet | undefined;

  /** Appends text of one byte per character to what goes to `outlet`. */
  text(outlet: Outlet, text: string): void {
    this.#aim(outlet);
    if (this.#length + text.length > CAPACITY) this.#write(outlet);
    if (text.length > CAPACITY) outlet.write(Buffer.from(text, "latin1"));
    else this.#length += writeLatin1(this.#bytes, text, this.#length);
  }

  /**
   * Makes room for a head of at most `bytes` bytes, which is then written into `memory` at the answered place and counts once it is committed.
   *
   * @returns undefined: it is larger than there can be room for
   */
  reserve(outlet: Outlet, bytes: number): number | undefined {
    if (bytes > CAPACITY) return undefined;
    this.#aim(outlet);
    if (this.#length + bytes > CAPACITY) this.#write(outlet);
    return this.#length;
  }

  /** What was reserved is written up to `end`. */
  commit(end: number): void {
    this.#length = end;
  }

  /** Valid until something else is asked of the outbox. */
  get memory(): Uint8Array {
    return this.#bytes;
  }

  /** Appends bytes; they are copied, so the caller may reuse them. */
  bytes(outlet: Outlet, bytes: Uint8Array): void {
    this.#aim(outlet);
    let rest = bytes;
    while (rest.length > CAPACITY - this.#length) {
      const room = CAPACITY - this.#length;
      this.#bytes.set(rest.subarray(0, room), this.#length);
      this.#length = CAPACITY;
      rest = rest.subarray(room);
      this.#write(outlet);
    }
    this.#bytes.set(rest, this.#length);
    this.#length += rest.length;
  }

  /** Writes bytes that nothing more is to be gathered with. They are copied. */
  send(outlet: Outlet, bytes: Uint8Array): void {
    this.bytes(outlet, bytes);
    this.flush();
  }

  /** Writes what has been gathered. */
  flush(): void {
    const outlet = this.#outlet;
    if (outlet === undefined) return;
    this.#outlet = undefined;
    this.#write(outlet);
  }

  #write(outlet: Outlet): void {
    const length = this.#length;
    this.#length = 0;
    if (length > 0 && !outlet.write(this.#bytes.subarray(0, length))) this.#bytes = Buffer.allocUnsafeSlow(CAPACITY);
  }

  #aim(outlet: Outlet): void {
    if (this.#outlet === outlet) return;
    this.flush();
    this.#outlet = outlet;
  }
}
