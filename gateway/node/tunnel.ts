/**
 * CONNECT: bytes moved both ways between a client and one connection of its own.
 *
 *     dialling ──► inspecting ──► open ──► closed
 *
 * Nothing of the client's is forwarded before `inspect` has agreed. Each side can end its direction alone (half-close); when one is cut, so is the other.
 */
import { connect, type Socket } from "node:net";
import type { ErrorCode, ExchangeEnd, ResponseHead, TunnelStep } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import type { ClientSocket } from "./client-socket.ts";
import type { Timed } from "./deadlines.ts";
import type { Outbox } from "./outbox.ts";
import { SocketWriter } from "./socket-writer.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure } from "./upstream/user.ts";

/** The client's side: a connection that speaks nothing else any more, or a stream of one. */
export interface TunnelClient {
  /** @returns whether there is room for more; if not, `Tunnel.clientDrained` has to say when there is again */
  write(bytes: Uint8Array): boolean;
  /** Nobody takes what it sends, for now. */
  pause(): void;
  resume(): void;
  /** Nothing more goes to it. */
  end(): void;
  /** It is closed when it has got what was written. */
  leave(): void;
  /** It is closed at once, and is not to take what it has got for the whole. */
  cut(outcome: ExchangeEnd["outcome"]): void;
}

export interface TunnelOwner {
  /** Connected: answer with this head, then hand over what the client sends. */
  tunnelDialled(head: ResponseHead): void;
  /** Not connected; nothing was sent. */
  tunnelFailed(failure: UpstreamFailure): void;
  /** Over. Called once, after `tunnelDialled`. */
  tunnelEnded(outcome: ExchangeEnd["outcome"], requestBytes: number, responseBytes: number): void;
}

const NEVER = Number.POSITIVE_INFINITY;

export class Tunnel implements Timed {
  deadlineMs = NEVER;
  filedMs = 0;
  place = -1;

  readonly #client: TunnelClient;
  readonly #thread: UpstreamThread;
  readonly #step: TunnelStep;
  readonly #idleMs: number;
  readonly #owner: TunnelOwner;
  readonly #origin: Socket;
  readonly #toOrigin: SocketWriter;
  #state: "dialling" | "inspecting" | "open" | "closed" = "dialling";
  /** The client's bytes that were looked at and not yet forwarded. */
  #held: Buffer = Buffer.alloc(0);
  #clientEnded = false;
  #error: (Error & { code?: string }) | undefined;
  #requestBytes = 0;
  #responseBytes = 0;

  constructor(client: TunnelClient, thread: UpstreamThread, step: TunnelStep, settings: HttpSettings, owner: TunnelOwner) {
    this.#client = client;
    this.#thread = thread;
    this.#step = step;
    this.#owner = owner;
    this.#idleMs = settings.streamIdleTimeoutMs === 0 ? NEVER : settings.streamIdleTimeoutMs;
    const { endpoint, pool } = step.target;
    this.#origin = connect({ host: endpoint.address, port: endpoint.port, noDelay: true, allowHalfOpen: true });
    this.#origin.once("connect", () => this.#connected());
    this.#origin.on("data", (bytes: Buffer) => this.#originBytes(bytes));
    this.#toOrigin = new SocketWriter(this.#origin, () => this.#client.resume());
    this.#origin.on("end", () => this.#originEnded());
    this.#origin.on("error", (error) => {
      this.#error = error;
    });
    this.#origin.on("close", () => this.#originClosed());
    thread.deadlines.set(this, thread.clock.now() + pool.connectTimeoutMs);
  }

  /** @param bytes valid during this call */
  clientBytes(bytes: Uint8Array): void {
    if (this.#state === "inspecting") this.#inspect(bytes);
    else if (this.#state === "open") this.#forward(bytes);
  }

  clientDrained(): void {
    if (this.#state === "open") this.#origin.resume();
  }

  clientEnded(): void {
    this.#clientEnded = true;
    if (this.#state === "open") this.#toOrigin.end();
    else this.#close("client_gone");
  }

  clientClosed(): void {
    this.#close(this.#clientEnded ? "complete" : "client_gone");
  }

  /** It takes nothing more, whether or not it has said all that it had to say. */
  clientCut(): void {
    this.#close("client_gone");
  }

  expired(): void {
    if (this.#state === "dialling") {
      const { connectTimeoutMs } = this.#step.target.pool;
      this.#failed("upstream_connect_timeout", `no connection within ${connectTimeoutMs} ms`);
    } else {
      this.#close("timeout");
    }
  }

  #connected(): void {
    if (this.#state !== "dialling") return;
    const { opaque, inspectDeadlineMs, head } = this.#step;
    this.#state = opaque === true ? "open" : "inspecting";
    // Until the client's first bytes are agreed to, the origin is not listened to either.
    if (this.#state === "inspecting") this.#origin.pause();
    if (this.#state === "open") this.#active();
    else this.#thread.deadlines.set(this, inspectDeadlineMs ?? this.#thread.clock.now() + this.#idleMs);
    this.#owner.tunnelDialled(head);
  }

  #inspect(bytes: Uint8Array): void {
    this.#held = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes]);
    const verdict = this.#step.inspect(this.#held);
    if (verdict.kind === "more") return;
    if (verdict.kind === "deny") {
      this.#close("protocol_error", verdict.farewell);
      return;
    }
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    this.#state = "open";
    this.#forward(held);
    this.#origin.resume();
  }

  #forward(bytes: Uint8Array): void {
    this.#requestBytes += bytes.length;
    this.#active();
    this.#thread.outbox.send(this.#toOrigin, bytes);
    if (this.#toOrigin.isFull) this.#client.pause();
  }

  /** @param bytes valid during this call */
  #originBytes(bytes: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#responseBytes += bytes.length;
    this.#active();
    if (!this.#client.write(bytes)) this.#origin.pause();
  }

  #originEnded(): void {
    if (this.#state === "open") this.#client.end();
    else if (this.#state === "inspecting") this.#close("upstream_cut");
  }

  #originClosed(): void {
    if (this.#state === "dialling") {
      const code = this.#error?.code ?? "";
      const dns = code === "ENOTFOUND" || code.startsWith("EAI_");
      this.#failed(dns ? "dns_failure" : "upstream_connect", this.#error?.message ?? "closed");
      return;
    }
    this.#close(this.#error === undefined ? "complete" : "upstream_cut");
  }

  #active(): void {
    this.#thread.deadlines.set(this, this.#thread.clock.now() + this.#idleMs);
  }

  #failed(code: ErrorCode, reason: string): void {
    this.#state = "closed";
    this.#thread.deadlines.remove(this);
    this.#origin.destroy();
    this.#owner.tunnelFailed({ code, reason, neverSent: true, resend: "no" });
  }

  /** @param farewell last bytes for the client, before its connection is closed */
  #close(outcome: ExchangeEnd["outcome"], farewell?: Uint8Array): void {
    if (this.#state === "closed") return;
    const dialled = this.#state !== "dialling";
    this.#state = "closed";
    this.#thread.deadlines.remove(this);
    // RFC 9113 8.5: an error on one side is one on the other.
    if (outcome === "client_gone") this.#origin.resetAndDestroy();
    else this.#origin.destroy();
    // What was written is still delivered when both sides ended in order.
    if (outcome === "complete") this.#client.end();
    else if (farewell !== undefined) {
      this.#client.write(farewell);
      this.#client.leave();
    } else this.#client.cut(outcome);
    if (dialled) this.#owner.tunnelEnded(outcome, this.#requestBytes, this.#responseBytes);
  }
}

/** A client's whole connection. */
export class ConnectionClient implements TunnelClient {
  readonly #client: ClientSocket;
  readonly #outbox: Outbox;

  constructor(client: ClientSocket, outbox: Outbox) {
    this.#client = client;
    this.#outbox = outbox;
  }

  write(bytes: Uint8Array): boolean {
    const { writer } = this.#client;
    this.#outbox.send(writer, bytes);
    return !writer.isFull;
  }

  pause(): void {
    this.#client.socket.pause();
  }

  resume(): void {
    this.#client.socket.resume();
  }

  end(): void {
    this.#client.writer.end();
  }

  leave(): void {
    this.#client.writer.endAndClose();
  }

  cut(outcome: ExchangeEnd["outcome"]): void {
    if (outcome === "upstream_cut") this.#client.socket.resetAndDestroy();
    else this.#client.socket.destroy();
  }
}
