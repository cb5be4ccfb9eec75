/**
 * One opaque connection: bytes moved both ways between a client and a connection of its own to an endpoint.
 *
 *     dialling ──► open ──► closing ──► closed
 *         └───────────────────┴──────────▲
 *
 * Nothing is read of the client before the endpoint is connected, and nothing is waited for: who speaks first is not known. Each side may end its
 * direction alone. What the other side does not take is held, a read or two; its sender is not read meanwhile. A connection
 * that was cut on one side is cut on the other: nobody takes a part for the whole.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { ConnectionEnd, ConnectionExchange, ConnectionStep, DialStep, IncomingConnection } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { unreachable } from "../core/result.ts";
import type { HttpThread } from "./call.ts";
import { dial } from "./connection-dial.ts";
import type { Timed } from "./deadlines.ts";
import { readInto } from "./direct-read.ts";
import type { Seated } from "./roster.ts";
import { SocketWriter } from "./socket-writer.ts";
import { dialCode } from "./upstream/dial.ts";
import { proxyHeader } from "./upstream/proxy-header.ts";

/** Once one side was cut off, the other is gone after this at the latest. What a side has ended in order may take as long as a connection may idle. */
export const CLOSING_MS = 2_000;

const NEVER = Number.POSITIVE_INFINITY;

/** What the connections of one listener share. Its settings may change meanwhile. */
export interface ConnectionListener {
  readonly settings: HttpSettings;
  readonly draining: boolean;
  /** A connection is gone. */
  closed(connection: Connection): void;
}

export class Connection implements Timed, Seated {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;
  seat = -1;

  readonly #client: Socket;
  readonly #listener: ConnectionListener;
  readonly #thread: HttpThread;
  readonly #incoming: IncomingConnection;
  readonly #exchange: ConnectionExchange;
  readonly #toClient: SocketWriter;
  #origin: Socket | undefined;
  #toOrigin: SocketWriter | undefined;
  #state: "dialling" | "open" | "closing" | "closed" = "dialling";
  #outcome: ConnectionEnd["outcome"] = "complete";
  /** Of the client: read, and not yet taken by anybody. */
  #early: Uint8Array | undefined;
  #clientEnded = false;
  #originEnded = false;
  #clientPaused = true;
  #originPaused = false;
  #dialError: Error | undefined;
  #idleMs = NEVER;
  /** Has lived for as long as it may by then. */
  #endMs = NEVER;
  #maxMs = NEVER;
  /** Has to be over by then: its listener goes away. */
  #drainMs = NEVER;
  #receivedBytes = 0;
  #sentBytes = 0;
  #toldBytes = 0;

  /**
   * @param accepted nobody listens to it
   * @param early what was read of it already
   */
  constructor(
    accepted: Socket,
    early: Uint8Array | undefined,
    incoming: IncomingConnection,
    exchange: ConnectionExchange,
    listener: ConnectionListener,
    thread: HttpThread,
  ) {
    this.#listener = listener;
    this.#thread = thread;
    this.#incoming = incoming;
    this.#exchange = exchange;
    this.#early = early;
    this.#client = readInto(accepted, (bytes) => this.#clientBytes(bytes));
    const client = this.#client;
    this.#toClient = new SocketWriter(client, () => this.#clientDrained());
    client.pause();
    client.on("end", () => this.#clientEnds());
    client.on("error", IGNORED);
    client.on("close", (hadError) => this.#clientCloses(hadError));
  }

  /** Begins to carry it. */
  start(): void {
    this.#carry(this.#exchange.start());
  }

  /** Its listener goes away: it may live for as long as draining takes. */
  drain(): void {
    this.#drainMs = this.#thread.clock.now() + this.#listener.settings.drainTimeoutMs;
    if (this.#state === "open") this.#active();
  }

  /** Closes at once. */
  destroy(): void {
    this.#close("drained");
    this.#client.destroy();
    this.#origin?.destroy();
  }

  /** Tells how much has moved so far. */
  sample(): void {
    const bytes = this.#receivedBytes + this.#sentBytes;
    if (bytes === this.#toldBytes) return;
    this.#toldBytes = bytes;
    this.#exchange.moved(this.#receivedBytes, this.#sentBytes);
  }

  expired(nowMs: number): void {
    switch (this.#state) {
      case "dialling":
        this.#dialFails("upstream_connect_timeout", "no connection in time");
        return;
      case "open":
        if (this.#endMs <= nowMs) this.#close("expired");
        else if (this.#drainMs > nowMs) this.#close("timeout");
        else if (this.#listener.draining) this.#close("drained");
        else {
          this.#drainMs = NEVER;
          this.#active();
          return;
        }
        this.#client.destroy();
        this.#origin?.destroy();
        return;
      case "closing":
        this.#client.destroy();
        this.#origin?.destroy();
        return;
      case "closed":
        return;
      default:
        unreachable(this.#state);
    }
  }

  // --- dialling

  #carry(first: ConnectionStep): void {
    let step: ConnectionStep | undefined = first;
    while (step?.kind === "dial") step = this.#dial(step);
    if (step === undefined) return;
    this.#close("complete");
    cut(this.#client);
  }

  /** @returns what is to be done instead, when nothing could be started */
  #dial(step: DialStep): ConnectionStep | undefined {
    const { target, idleTimeoutMs, maxConnectionMs = NEVER } = step;
    this.#idleMs = idleTimeoutMs;
    this.#maxMs = maxConnectionMs;
    this.#dialError = undefined;
    const dialled = dial(step, proxyHeader(target.proxyProtocol, this.#incoming), this.#thread.origins, {
      read: (bytes) => this.#originBytes(bytes),
      ready: () => this.#connected(),
    });
    if (!dialled.ok) return this.#exchange.failed("upstream_tls", dialled.error);
    const origin = dialled.value;
    this.#origin = origin;
    this.#toOrigin = new SocketWriter(origin, () => this.#originDrained());
    origin.on("end", () => this.#originEnds(origin));
    origin.on("error", (error) => {
      this.#dialError = error;
    });
    origin.on("close", (hadError) => this.#originCloses(origin, hadError, target.tls !== undefined));
    this.#thread.deadlines.set(this, this.#thread.clock.now() + target.pool.connectTimeoutMs);
    return undefined;
  }

  #dialFails(code: Parameters<ConnectionExchange["failed"]>[0], reason: string): void {
    const origin = this.#origin;
    this.#origin = undefined;
    origin?.destroy();
    this.#carry(this.#exchange.failed(code, reason));
  }

  #connected(): void {
    if (this.#state !== "dialling") return;
    this.#state = "open";
    this.#endMs = this.#thread.clock.now() + this.#maxMs;
    this.#exchange.opened();
    this.#active();
    const early = this.#early;
    this.#early = undefined;
    this.#clientPaused = false;
    if (early !== undefined && early.length > 0) this.#clientBytes(early);
    if (!this.#clientPaused) this.#client.resume();
  }

  // --- bytes

  /** @param bytes valid during this call */
  #clientBytes(bytes: Uint8Array): void {
    if (this.#state !== "open" || this.#toOrigin === undefined) {
      // Put back by whoever looked at the connection's first bytes.
      if (this.#state === "dialling") this.#early = Buffer.concat([this.#early ?? NOTHING, bytes]);
      return;
    }
    this.#receivedBytes += bytes.length;
    this.#active();
    if (this.#passOn(bytes, this.#toOrigin)) return;
    this.#clientPaused = true;
    this.#client.pause();
  }

  /** @param bytes valid during this call */
  #originBytes(bytes: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#sentBytes += bytes.length;
    this.#active();
    if (this.#passOn(bytes, this.#toClient)) return;
    this.#originPaused = true;
    this.#origin?.pause();
  }

  /** @returns whether there is room for more */
  #passOn(bytes: Uint8Array, writer: SocketWriter): boolean {
    this.#thread.outbox.send(writer, bytes);
    return !writer.isFull;
  }

  #originDrained(): void {
    if (!this.#clientPaused || this.#state !== "open") return;
    this.#clientPaused = false;
    this.#client.resume();
  }

  #clientDrained(): void {
    if (!this.#originPaused) return;
    this.#originPaused = false;
    this.#origin?.resume();
  }

  #active(): void {
    this.#thread.deadlines.set(this, Math.min(this.#thread.clock.now() + this.#idleMs, this.#endMs, this.#drainMs));
  }

  // --- the end

  #clientEnds(): void {
    this.#clientEnded = true;
    if (this.#state === "open") this.#toOrigin?.end();
    else if (this.#state === "dialling") this.#client.destroy();
  }

  #originEnds(origin: Socket): void {
    if (this.#origin !== origin) return;
    this.#originEnded = true;
    if (this.#state === "open") this.#toClient.end();
  }

  #clientCloses(hadError: boolean): void {
    const origin = this.#origin;
    const isCut = hadError || !this.#clientEnded || !this.#originEnded;
    if (this.#state === "dialling") {
      this.#close("client_gone");
      origin?.destroy();
    } else if (this.#state === "open") {
      this.#close(isCut ? "client_gone" : "complete", this.#clientEnded);
      if (origin !== undefined && !origin.destroyed) part(origin, this.#toOrigin, this.#clientEnded);
    }
    this.#over();
  }

  #originCloses(origin: Socket, hadError: boolean, tls: boolean): void {
    if (this.#origin !== origin) return;
    if (this.#state === "dialling") {
      const error = this.#dialError;
      this.#dialFails(dialCode(error, tls), error?.message ?? "closed");
      return;
    }
    if (this.#state === "open") {
      const isCut = hadError || !this.#clientEnded || !this.#originEnded;
      this.#close(isCut ? "upstream_cut" : "complete", this.#originEnded);
      if (!this.#client.destroyed) part(this.#client, this.#toClient, this.#originEnded);
    }
    this.#over();
  }

  /** Nothing is read any more. @param inOrder what was written is still to be delivered */
  #close(outcome: ConnectionEnd["outcome"], inOrder = false): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    this.#state = "closing";
    this.#outcome = outcome;
    this.#thread.deadlines.set(this, this.#thread.clock.now() + (inOrder ? this.#idleMs : CLOSING_MS));
  }

  /** Tells of the end once both sockets are gone. */
  #over(): void {
    if (this.#state !== "closing" || !this.#client.closed || this.#origin?.closed === false) return;
    this.#state = "closed";
    this.#thread.deadlines.remove(this);
    this.#exchange.finished({ outcome: this.#outcome, receivedBytes: this.#receivedBytes, sentBytes: this.#sentBytes });
    this.#listener.closed(this);
  }
}

/** The other side has gone. What it had ended in order is delivered in order; otherwise this side learns that it was cut. */
function part(socket: Socket, writer: SocketWriter | undefined, inOrder: boolean): void {
  if (inOrder && writer !== undefined) writer.endAndClose();
  else cut(socket);
}

function cut(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

const NOTHING = new Uint8Array(0);
const IGNORED = (): void => undefined;
