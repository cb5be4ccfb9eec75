/** An accepted socket, and whoever makes sense of its bytes: that may change under way. */
import type { Socket } from "node:net";
import { readInto } from "./direct-read.ts";
import { SocketWriter } from "./socket-writer.ts";

export interface SocketOwner {
  /** @param bytes valid during this call */
  read(bytes: Uint8Array): void;
  /** There is room for more to be written. */
  drained(): void;
  /** The client sends nothing more. */
  ended(): void;
  closed(): void;
}

export class ClientSocket {
  readonly socket: Socket;
  readonly writer: SocketWriter;
  #owner: SocketOwner | undefined;

  /** @param accepted in this very turn */
  constructor(accepted: Socket) {
    const socket = readInto(accepted, (bytes) => this.#owner?.read(bytes));
    this.socket = socket;
    this.writer = new SocketWriter(socket, () => this.#owner?.drained());
    socket.on("end", () => this.#owner?.ended());
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed());
  }

  /** From here on `owner` is told. */
  ownedBy(owner: SocketOwner): void {
    this.#owner = owner;
  }

  /** The library's objects of a closed socket live on until all of the heap is gone through; what belongs to us need not live on with them. */
  #closed(): void {
    const owner = this.#owner;
    this.#owner = undefined;
    owner?.closed();
  }
}
