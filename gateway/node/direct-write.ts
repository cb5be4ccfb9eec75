/**
 * Writes to plain sockets without the writable stream: what the kernel takes at once, which is the plain case, costs neither a place in a queue nor a
 * callback nor a tick. The rest is queued by the socket's handle, in order with whatever the stream writes later, `end` included. Where this
 * Node has no such handle, the socket is TLS or not yet connected, or the stream still holds something, the stream writes.
 */
import { Socket } from "node:net";

const CAPACITY = 64 * 1024;

/** Bytes on their way to the kernel; one memory for all of a thread's writes, for as long as the kernel takes all of it. */
let memory = Buffer.allocUnsafeSlow(CAPACITY);

/** What a handle answers when the kernel did not take everything. */
interface PendingWrite {
  oncomplete: (status: number) => void;
  /** Keeps the memory alive. */
  buffer: unknown;
  /** It was over before `oncomplete` could be set. */
  readonly writeStatus: number | null;
}

interface Handle {
  /** 0: taken; another number: an error's. */
  writeBuffer(request: null, bytes: Uint8Array): number | PendingWrite;
}

export class DirectWriter {
  readonly #socket: Socket;
  readonly #isPlain: boolean;
  readonly #drained: () => void;
  #pending = false;

  /** @param drained called when `write` has answered false and there is room again */
  constructor(socket: Socket, drained: () => void) {
    this.#socket = socket;
    this.#isPlain = Object.getPrototypeOf(socket) === Socket.prototype;
    this.#drained = drained;
    socket.on("drain", drained);
  }

  /**
   * @param bytes valid during this call
   * @returns whether there is room for more
   */
  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (!this.#isPlain || this.#pending || bytes.length > CAPACITY || socket.connecting || socket.writableLength > 0)
      return this.#byStream(bytes);
    const handle = handleOf(socket);
    if (handle === undefined) return this.#byStream(bytes);
    memory.set(bytes);
    const written = handle.writeBuffer(null, memory.subarray(0, bytes.length));
    if (written === 0) return true;
    if (typeof written === "number") this.#failed(written);
    else this.#await(written);
    return false;
  }

  #byStream(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    socket.write(Buffer.from(bytes));
    // Only what is full tells when it has room again.
    return !(socket.writableNeedDrain && socket.writableLength > 0);
  }

  #await(write: PendingWrite): void {
    this.#pending = true;
    write.buffer = memory;
    memory = Buffer.allocUnsafeSlow(CAPACITY);
    write.oncomplete = (status) => this.#over(status);
    if (write.writeStatus !== null) this.#over(write.writeStatus);
  }

  #over(status: number): void {
    if (!this.#pending) return;
    this.#pending = false;
    if (status < 0) this.#failed(status);
    else if (!this.#socket.destroyed) this.#drained();
  }

  #failed(status: number): void {
    if (!this.#socket.destroyed) this.#socket.destroy(new Error(`the connection does not take what is written (${status})`));
  }
}

function handleOf(socket: Socket): Handle | undefined {
  const handle = (socket as Socket & { readonly _handle?: unknown })._handle;
  return typeof handle === "object" && handle !== null && "writeBuffer" in handle ? (handle as Handle) : undefined;
}
