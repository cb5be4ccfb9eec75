/**
 * Writes to a socket past its writable stream: what the kernel takes at once, which is the plain case, costs neither a place in a queue nor a
 * callback nor a tick.
 *
 * One write at a time is given to the socket's handle; what is written before that one is over waits here, and leaves in one piece. TLS takes a
 * write in at once and tells of its end a little later in the same turn of the event loop, so a write that looks unfinished says nothing yet: only
 * when somebody has more to write, or wants to end, is its end asked for. While the socket is connecting, and where this Node has no such handle, the
 * stream writes.
 *
 * Everything that is written to the socket goes through here, its end too: that is how it stays in order.
 */
import { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { getSystemErrorName } from "node:util";

/** What may wait for a client or an origin that speaks TLS before it counts as slow: a write of the largest size is always under way there. */
const TLS_SLACK_BYTES = 64 * 1024;

/** What a handle answers when a write is not over. */
interface PendingWrite {
  /** Null: nobody asks, and `writeStatus` tells. */
  oncomplete: ((status: number) => void) | null;
  /** Keeps the memory alive that the kernel is still to read. */
  buffer: unknown;
  /** Null until it is over; 0, or an error's number. */
  readonly writeStatus: number | null;
}

interface Handle {
  /** 0: taken; another number: an error's. */
  writeBuffer(request: null, bytes: Uint8Array): number | PendingWrite;
}

export class SocketWriter {
  readonly #socket: Socket;
  readonly #isTls: boolean;
  /** Its handles are the ones that are known here. */
  readonly #isKnown: boolean;
  readonly #slack: number;
  readonly #drained: () => void;
  #pending: PendingWrite | undefined;
  /** Of `#pending`. */
  #pendingBytes = 0;
  /** Copies that wait for `#pending` to be over. */
  #queue: Uint8Array[] | undefined;
  #queuedBytes = 0;
  #ending: "no" | "half" | "whole" = "no";

  /** @param drained called when there is room again, at least each time after it was full */
  constructor(socket: Socket, drained: () => void) {
    const prototype = Object.getPrototypeOf(socket);
    this.#socket = socket;
    this.#isTls = prototype === TLSSocket.prototype;
    this.#isKnown = this.#isTls || prototype === Socket.prototype;
    this.#slack = this.#isTls ? TLS_SLACK_BYTES : 0;
    this.#drained = drained;
    socket.on("drain", () => this.#roomMade());
  }

  /** The other side does not take what it is sent: more would only wait here. `drained` is called when that has changed. */
  get isFull(): boolean {
    if (this.#pending === undefined) return this.#socket.writableNeedDrain && this.#socket.writableLength > 0;
    return this.#pendingBytes + this.#queuedBytes > this.#slack && !this.#isOver();
  }

  /** Written here and not known to be out. */
  get unsentBytes(): number {
    const { writableLength } = this.#socket;
    if (this.#pending === undefined || this.#isOver()) return writableLength;
    return this.#pendingBytes + this.#queuedBytes + writableLength;
  }

  /**
   * Does nothing once the socket is closed, or was told to end.
   *
   * @returns whether the memory of `bytes` may be used again; otherwise it belongs to the socket
   */
  write(bytes: Uint8Array): boolean {
    if (this.#pending !== undefined && !this.#isOver()) {
      this.#enqueue(bytes);
      return true;
    }
    const socket = this.#socket;
    const handle = this.#isKnown && !socket.connecting && socket.writableLength === 0 ? handleOf(socket) : undefined;
    if (handle !== undefined) return this.#give(handle, bytes);
    if (socket.writable) socket.write(Buffer.from(bytes));
    return true;
  }

  /** Ends the writing side when everything is out. */
  end(): void {
    this.#end("half");
  }

  /** Closes the socket when everything is out. */
  endAndClose(): void {
    this.#end("whole");
  }

  #end(how: "half" | "whole"): void {
    this.#ending = how;
    if (this.#pending === undefined || this.#isOver()) this.#carryOutEnd();
    else this.#ask();
  }

  #carryOutEnd(): void {
    // Ending twice is an error that the library makes and nobody hears of.
    if (this.#ending === "half" && !this.#socket.writableEnded) this.#socket.end();
    else if (this.#ending === "whole") this.#socket.destroySoon();
  }

  #give(handle: Handle, bytes: Uint8Array): boolean {
    if (!this.#socket.writable) return true;
    const written = handle.writeBuffer(null, bytes);
    if (written === 0) return true;
    if (typeof written === "number") {
      this.#failed(written);
      return true;
    }
    this.#pending = written;
    this.#pendingBytes = bytes.length;
    if (bytes.length > this.#slack) this.#ask();
    // TLS has made records of it; the kernel reads from where it lies.
    if (this.#isTls) return true;
    written.buffer = bytes;
    return false;
  }

  #enqueue(bytes: Uint8Array): void {
    if (this.#ending !== "no" || !this.#socket.writable) return;
    this.#queue ??= [];
    this.#queue.push(Uint8Array.prototype.slice.call(bytes));
    this.#queuedBytes += bytes.length;
    this.#ask();
  }

  /** Whether the write under way is over, which nobody may have been told. */
  #isOver(): boolean {
    const status = this.#pending?.writeStatus;
    if (status === undefined || status === null || this.#queuedBytes > 0) return false;
    this.#pending = undefined;
    if (status < 0) this.#failed(status);
    return true;
  }

  /** From here on the end of the write under way is told. */
  #ask(): void {
    const pending = this.#pending;
    if (pending === undefined || pending.oncomplete !== null) return;
    pending.oncomplete = (status) => {
      if (this.#pending === pending) this.#over(status);
    };
    if (pending.writeStatus !== null) this.#over(pending.writeStatus);
  }

  #over(status: number): void {
    this.#pending = undefined;
    if (status < 0) {
      this.#failed(status);
      return;
    }
    if (this.#socket.destroyed) return;
    const queued = this.#queue;
    if (queued !== undefined) {
      this.#queue = undefined;
      this.#queuedBytes = 0;
      this.write(Buffer.concat(queued));
    }
    if (this.#ending !== "no") this.#end(this.#ending);
    else this.#roomMade();
  }

  #roomMade(): void {
    if (!this.isFull) this.#drained();
  }

  #failed(status: number): void {
    this.#queue = undefined;
    this.#queuedBytes = 0;
    if (this.#socket.destroyed) return;
    const code = getSystemErrorName(status);
    this.#socket.destroy(Object.assign(new Error(`write ${code}`), { code, syscall: "write" }));
  }
}

function handleOf(socket: Socket): Handle | undefined {
  const handle = (socket as Socket & { readonly _handle?: unknown })._handle;
  return typeof handle === "object" && handle !== null && "writeBuffer" in handle ? (handle as Handle) : undefined;
}
