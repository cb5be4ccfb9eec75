/**
 * One connection to an edge site's hub:
 *
 *     connecting ──► open ──► draining ──► closed
 *          └───────────┴──────────────────────┘
 */
import { type ResetCode, type ResponseHead, type TunnelEvent, TunnelSession, type UpstreamTarget } from "../core/index.ts";
import type { TunnelMeters } from "./tunnel-meters.ts";
import { TunnelRequest, type TunnelStreamPort } from "./tunnel-request.ts";
import type { UpstreamThread } from "./upstream/pool.ts";

/** How often a connection says that it is there; one that has heard nothing since the last time is given up. */
export const TUNNEL_KEEPALIVE_MS = 15_000;
/** A connection that is not there by then is given up. */
const CONNECT_TIMEOUT_MS = 10_000;

/** RFC 6455 7.4.1; a client may only close with 1000 and 3000 on. */
const CLOSE = { done: 1000, protocol: 3002 } as const;

export interface TunnelLinkOptions {
  readonly url: string;
  /** A secret. */
  readonly token: string;
  readonly thread: UpstreamThread;
  /** This gateway's own listener; undefined: it has none now. */
  readonly ingress: () => UpstreamTarget | undefined;
  readonly opened: () => void;
  readonly meters: TunnelMeters;
  /** Once, whatever it was. */
  readonly closed: (reason: string) => void;
}

export class TunnelLink implements TunnelStreamPort {
  readonly #options: TunnelLinkOptions;
  readonly #socket: WebSocket;
  readonly #session = new TunnelSession("acceptor");
  readonly #requests = new Map<number, TunnelRequest>();
  #state: "connecting" | "open" | "draining" | "closed" = "connecting";
  #timer: NodeJS.Timeout;
  #heard = false;
  #reason = "";
  #whenQuiet: (() => void) | undefined;

  constructor(options: TunnelLinkOptions) {
    this.#options = options;
    this.#socket = new WebSocket(options.url, { headers: { authorization: `Bearer ${options.token}` } });
    this.#socket.binaryType = "arraybuffer";
    this.#timer = setTimeout(() => this.#close("it took too long to connect"), CONNECT_TIMEOUT_MS);
    this.#socket.addEventListener("open", () => this.#opened());
    this.#socket.addEventListener("message", ({ data }) => this.#received(data as unknown));
    this.#socket.addEventListener("error", ({ message }) => {
      this.#reason = message === "" ? "the site did not take the connection: check its URL and the token" : message;
    });
    this.#socket.addEventListener("close", ({ code, reason }) => this.#close(this.#reason || reason || `closed (${code})`));
  }

  get open(): boolean {
    return this.#state === "open" || this.#state === "draining";
  }

  /** Asks the hub for no more requests. Resolves when none can come any more; those in flight go on, and then the connection closes by itself. */
  drain(): Promise<void> {
    if (this.#state === "connecting") this.close("this gateway ends");
    if (this.#state !== "open") return Promise.resolve();
    this.#state = "draining";
    this.#session.goaway();
    const quiet = new Promise<void>((resolve) => {
      this.#whenQuiet = resolve;
    });
    this.#flush();
    return quiet;
  }

  /** At once; requests in flight are cut. */
  close(reason: string): void {
    this.#close(reason);
  }

  // --- what requests ask for

  head(stream: number, head: ResponseHead): void {
    try {
      this.#session.head(stream, head);
    } catch (error) {
      this.#session.reset(stream, "broken", error instanceof Error ? error.message : String(error));
      this.#requests.get(stream)?.abort();
    }
    this.#flush();
  }

  data(stream: number, bytes: Uint8Array): number {
    const sent = this.#session.data(stream, bytes);
    this.#flush();
    return sent;
  }

  end(stream: number): void {
    this.#session.end(stream);
    this.#flush();
  }

  reset(stream: number, code: ResetCode, reason: string): void {
    this.#session.reset(stream, code, reason);
    this.#flush();
  }

  consumed(stream: number, bytes: number): void {
    this.#session.consumed(stream, bytes);
    this.#flush();
  }

  over(stream: number): void {
    if (this.#requests.delete(stream)) this.#options.meters.ended();
    this.#flush();
  }

  // --- the connection

  #opened(): void {
    if (this.#state !== "connecting") return;
    this.#state = "open";
    clearTimeout(this.#timer);
    this.#heard = true;
    this.#timer = setInterval(() => this.#keepAlive(), TUNNEL_KEEPALIVE_MS);
    this.#options.opened();
  }

  #keepAlive(): void {
    if (!this.#heard) {
      this.#close(`nothing has come for ${TUNNEL_KEEPALIVE_MS / 1000} s`);
      return;
    }
    this.#heard = false;
    this.#socket.send("ping");
  }

  #received(data: unknown): void {
    this.#heard = true;
    if (!(data instanceof ArrayBuffer) || !this.open) return;
    this.#act(this.#session.receive(new Uint8Array(data)));
    this.#flush();
  }

  #act(event: TunnelEvent): void {
    switch (event.kind) {
      case "open": {
        const target = this.#options.ingress();
        if (target === undefined) {
          this.#session.reset(event.stream, "refused", "this gateway has no listener for requests now");
          return;
        }
        const request = new TunnelRequest(this.#options.thread, this, event.stream);
        this.#requests.set(event.stream, request);
        this.#options.meters.began();
        request.start(event.head, target);
        return;
      }
      case "data":
        this.#requests.get(event.stream)?.data(event.bytes);
        return;
      case "end":
        this.#requests.get(event.stream)?.end();
        return;
      case "reset":
        this.#requests.get(event.stream)?.abort();
        return;
      case "room":
        if (event.stream === 0) for (const request of [...this.#requests.values()]) request.room();
        else this.#requests.get(event.stream)?.room();
        return;
      case "goaway":
        this.#whenQuiet?.();
        return;
      case "violation":
        this.#close(`the hub breaks the protocol: ${event.reason}`, CLOSE.protocol);
        return;
      default:
    }
  }

  #flush(): void {
    if (!this.open) return;
    for (const message of this.#session.take()) this.#socket.send(message);
    if (this.#session.finished) this.#close("drained", CLOSE.done);
  }

  #close(reason: string, code: number = CLOSE.done): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#timer);
    // Each takes itself out.
    for (const request of [...this.#requests.values()]) request.abort();
    this.#socket.close(code);
    this.#whenQuiet?.();
    this.#options.closed(reason);
  }
}
