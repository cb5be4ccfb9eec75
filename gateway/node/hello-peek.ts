/** Reads the ClientHello of an accepted connection and puts it back, so that whoever shakes hands knows which server the client asks for. */
import type { Socket } from "node:net";
import { ClientHelloReader } from "../wire/index.ts";
import type { HttpThread } from "./call.ts";
import type { Timed } from "./deadlines.ts";

/** From the accept until the ClientHello is whole. */
export const CLIENT_HELLO_TIMEOUT_MS = 10_000;

export interface HelloOwner {
  /** @param serverName as the client wrote it */
  hello(peek: HelloPeek, socket: Socket, serverName: string | undefined): void;
  /** The socket is closed; undefined: by the client. */
  noHello(peek: HelloPeek, reason: string | undefined): void;
}

export class HelloPeek implements Timed {
  deadlineMs = Number.POSITIVE_INFINITY;
  filedMs = 0;
  place = -1;

  readonly #socket: Socket;
  readonly #deadlines: HttpThread["deadlines"];
  readonly #owner: HelloOwner;
  readonly #reader = new ClientHelloReader();
  readonly #readable = (): void => this.#read();
  readonly #gone = (): void => this.#refuse(undefined);
  #bytes: Buffer | undefined;

  constructor(socket: Socket, { clock, deadlines }: Pick<HttpThread, "clock" | "deadlines">, owner: HelloOwner) {
    this.#socket = socket;
    this.#deadlines = deadlines;
    this.#owner = owner;
    // Nothing flows: what has come is taken when there is something, which costs a third of what `data` does.
    socket.on("readable", this.#readable);
    socket.on("end", this.#gone);
    socket.on("error", this.#gone);
    deadlines.set(this, clock.now() + CLIENT_HELLO_TIMEOUT_MS);
  }

  expired(): void {
    this.#refuse("the ClientHello did not come in time");
  }

  destroy(): void {
    this.#leave();
    this.#socket.destroy();
  }

  #read(): void {
    const bytes = this.#socket.read() as Buffer | null;
    if (bytes === null) return;
    this.#bytes = this.#bytes === undefined ? bytes : Buffer.concat([this.#bytes, bytes]);
    const event = this.#reader.feed(bytes);
    if (event.kind === "need") return;
    if (event.kind === "error") {
      this.#refuse(`ClientHello ${event.code}`);
      return;
    }
    this.#leave();
    this.#socket.unshift(this.#bytes);
    this.#owner.hello(this, this.#socket, event.hello.serverName);
  }

  #refuse(reason: string | undefined): void {
    this.destroy();
    this.#owner.noHello(this, reason);
  }

  #leave(): void {
    this.#deadlines.remove(this);
    this.#socket.off("readable", this.#readable);
    this.#socket.off("end", this.#gone);
    this.#socket.off("error", this.#gone);
    this.#socket.on("error", IGNORED);
  }
}

const IGNORED = (): void => undefined;
