/**
 * Gathers what one turn has to say to one socket, so that it leaves in one write (one system call): a head and the first
 * bytes of a body above all.
 *
 * One thread has one outbox. Its memory is used again as soon as the kernel has taken everything, which is the plain case;
 * a socket that could not take it all keeps the memory and the outbox gets new.
 */
import type { Socket } from "node:net";
import { writeLatin1 } from "./latin1.ts";

const CAPACITY = 64 * 1024;

export class Outbox {
  #bytes = Buffer.allocUnsafeSlow(CAPACITY);
  #length = 0;
  #socket: Socket | undefined;

  /** Appends text of one byte per character to what goes to `socket`. */
  text(socket: Socket, text: string): void {
    this.#aim(socket);
    if (this.#length + text.length > CAPACITY) this.#write(socket);
    if (text.length > CAPACITY) socket.write(text, "latin1");
    else this.#length += writeLatin1(this.#bytes, text, this.#length);
  }

  /** Appends bytes; they are copied, so the caller may reuse them. */
  bytes(socket: Socket, bytes: Uint8Array): void {
    this.#aim(socket);
    let rest = bytes;
    while (rest.length > CAPACITY - this.#length) {
      const room = CAPACITY - this.#length;
      this.#bytes.set(rest.subarray(0, room), this.#length);
      this.#length = CAPACITY;
      rest = rest.subarray(room);
      this.#write(socket);
    }
    this.#bytes.set(rest, this.#length);
    this.#length += rest.length;
  }

  /** Writes what has been gathered. Whether the socket wants a pause is `socket.writableNeedDrain` afterwards. */
  flush(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#write(socket);
  }

  #write(socket: Socket): void {
    const length = this.#length;
    this.#length = 0;
    if (length === 0 || !socket.writable) return;
    // A socket that will not write at once would hold on to all of the memory for a few bytes.
    const queued = socket.writableLength > 0 || socket.connecting || "encrypted" in socket;
    const view = this.#bytes.subarray(0, length);
    socket.write(queued ? Buffer.from(view) : view);
    if (!queued && socket.writableLength > 0) this.#bytes = Buffer.allocUnsafeSlow(CAPACITY);
  }

  #aim(socket: Socket): void {
    if (this.#socket === socket) return;
    this.flush();
    this.#socket = socket;
  }
}
