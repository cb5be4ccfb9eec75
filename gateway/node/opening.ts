/**
 * The first bytes of a connection on ports where they say who it is: a PROXY protocol header, a ClientHello, or one after the other.
 *
 *     header ──► hello ──► opened     what was read beyond the header is the connection's
 *        └─────────┴─────► refused    missing, malformed, too long or too late
 */
import type { Socket } from "node:net";
import { type ClientHello, ClientHelloReader, type ProxyHeader, readProxyHeader } from "../wire/index.ts";
import type { Deadlines, Timed } from "./deadlines.ts";
import type { Seated } from "./roster.ts";

/** From the accept until a PROXY header is whole. */
export const PROXY_HEADER_TIMEOUT_MS = 5_000;
/** From then on (or from the accept, where there is none) until a ClientHello is whole. */
export const CLIENT_HELLO_TIMEOUT_MS = 10_000;

/** What is read at the start of a connection. */
export interface OpeningPlan {
  readonly proxyHeader: boolean;
  readonly clientHello: boolean;
}

export interface OpenedBy {
  readonly header: ProxyHeader | undefined;
  readonly hello: ClientHello | undefined;
  /** The connection's own bytes so far, the ClientHello included. */
  readonly rest: Buffer;
}

export interface OpeningOwner {
  /** Nobody listens to the socket any more, and nothing flows. */
  opened(opening: Opening, socket: Socket, by: OpenedBy): void;
  /** The socket is to be closed. */
  refused(opening: Opening, socket: Socket, reason: string): void;
  /** The client has gone. */
  gone(opening: Opening): void;
}

export class Opening implements Timed, Seated {
  deadlineMs = Number.POSITIVE_INFINITY;
  filedMs = 0;
  place = -1;
  seat = -1;

  readonly #socket: Socket;
  readonly #deadlines: Deadlines;
  readonly #now: () => number;
  readonly #plan: OpeningPlan;
  readonly #owner: OpeningOwner;
  readonly #readable = (): void => this.#read();
  readonly #closed = (): void => this.#gone();
  #bytes: Buffer = Buffer.alloc(0);
  #header: ProxyHeader | undefined;
  #reader: ClientHelloReader | undefined;
  /** Of `#bytes`, what the reader has had. */
  #fedBytes = 0;

  constructor(
    socket: Socket,
    plan: OpeningPlan,
    owner: OpeningOwner,
    thread: { readonly clock: { now(): number }; readonly deadlines: Deadlines },
  ) {
    this.#socket = socket;
    this.#deadlines = thread.deadlines;
    this.#now = () => thread.clock.now();
    this.#plan = plan;
    this.#owner = owner;
    // Nothing flows: what has come is taken when there is something, which costs a third of what `data` does.
    socket.on("readable", this.#readable);
    socket.on("error", IGNORED);
    socket.on("end", this.#closed);
    socket.on("close", this.#closed);
    if (!plan.proxyHeader) this.#expectHello();
    else this.#deadlines.set(this, this.#now() + PROXY_HEADER_TIMEOUT_MS);
  }

  /** Nothing is in flight that could be finished first. */
  drain(): void {}

  destroy(): void {
    this.#socket.destroy();
  }

  expired(): void {
    this.#refuse(this.#reader === undefined ? "the PROXY header did not come in time" : "the ClientHello did not come in time");
  }

  /** What is being waited for. */
  get awaits(): "header" | "hello" {
    return this.#reader === undefined ? "header" : "hello";
  }

  #read(): void {
    const bytes = this.#socket.read() as Buffer | null;
    if (bytes === null) return;
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    if (this.#reader === undefined && !this.#readHeader()) return;
    if (this.#reader !== undefined) this.#readHello(this.#reader);
  }

  /** @returns whether there is more to read */
  #readHeader(): boolean {
    const reading = readProxyHeader(this.#bytes);
    if (reading.kind === "need") return false;
    if (reading.kind === "error") {
      this.#refuse(`PROXY header ${reading.code}: ${reading.message}`);
      return false;
    }
    this.#header = reading.header;
    this.#bytes = this.#bytes.subarray(reading.bytes);
    if (this.#plan.clientHello) this.#expectHello();
    else this.#open(undefined);
    return this.#plan.clientHello;
  }

  #expectHello(): void {
    this.#reader = new ClientHelloReader({ addresses: "unnamed" });
    this.#deadlines.set(this, this.#now() + CLIENT_HELLO_TIMEOUT_MS);
  }

  #readHello(reader: ClientHelloReader): void {
    const fresh = this.#bytes.subarray(this.#fedBytes);
    this.#fedBytes = this.#bytes.length;
    const event = reader.feed(fresh);
    if (event.kind === "error") this.#refuse(`ClientHello ${event.code}`);
    else if (event.kind === "hello") this.#open(event.hello);
  }

  #open(hello: ClientHello | undefined): void {
    this.#leave();
    this.#owner.opened(this, this.#socket, { header: this.#header, hello, rest: this.#bytes });
  }

  #refuse(reason: string): void {
    this.#leave();
    this.#owner.refused(this, this.#socket, reason);
  }

  #gone(): void {
    this.#leave();
    this.#socket.destroy();
    this.#owner.gone(this);
  }

  #leave(): void {
    this.#deadlines.remove(this);
    this.#socket.off("readable", this.#readable);
    this.#socket.off("end", this.#closed);
    this.#socket.off("close", this.#closed);
  }
}

const IGNORED = (): void => undefined;
