/** One WebSocket that a gateway has opened to a hub, and the streams on it. */
import { type IdleSession, type RequestHead, type ResetCode, type TunnelEvent, TunnelSession } from "../core/index.ts";
import { TUNNEL_SILENCE_MS } from "./tunnel-limits.ts";
import { HubStream, type StreamLink } from "./tunnel-stream.ts";

/** RFC 6455 7.4.1. */
const CLOSE = { done: 1000, protocol: 1002, dead: 1011 } as const;

export class HubLink implements StreamLink {
  readonly #socket: WebSocket;
  readonly #session: TunnelSession;
  readonly #streams = new Map<number, HubStream>();
  #kept: IdleSession | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isQuiet = false;
  #closed = false;

  /** @param socket accepted for hibernation; what it carries says where the session before a hibernation was */
  constructor(socket: WebSocket) {
    this.#socket = socket;
    this.#kept = (socket.deserializeAttachment() as IdleSession | null) ?? undefined;
    this.#session = new TunnelSession("opener", this.#kept);
  }

  /** Requests in flight, or undefined when it takes no more. */
  get load(): number | undefined {
    return this.#closed || !this.#session.accepts ? undefined : this.#session.live;
  }

  /** @throws RangeError for a head that fits no frame */
  open(head: RequestHead): HubStream {
    const id = this.#session.open(head);
    const stream = new HubStream(this, id, head.method);
    this.#streams.set(id, stream);
    this.#flush();
    this.#watch();
    return stream;
  }

  send(stream: number, bytes: Uint8Array): number {
    const sent = this.#session.data(stream, bytes);
    this.#flush();
    return sent;
  }

  end(stream: number): void {
    this.#session.end(stream);
    this.#forget(stream);
    this.#flush();
  }

  reset(stream: number, code: ResetCode, reason: string): void {
    this.#session.reset(stream, code, reason);
    this.#streams.delete(stream);
    this.#flush();
  }

  consumed(stream: number, bytes: number): void {
    this.#session.consumed(stream, bytes);
    this.#forget(stream);
    this.#flush();
  }

  received(message: ArrayBuffer | string): void {
    this.#isQuiet = false;
    // Text is for the keep-alive, which the runtime answers without waking anybody.
    if (typeof message === "string" || this.#closed) return;
    this.#act(this.#session.receive(new Uint8Array(message)));
    this.#flush();
  }

  /** The connection is gone, and with it what was on it. */
  lost(reason: string): void {
    this.#closed = true;
    clearTimeout(this.#timer ?? null);
    for (const stream of this.#streams.values()) stream.failed("broken", reason);
    this.#streams.clear();
  }

  #act(event: TunnelEvent): void {
    switch (event.kind) {
      case "head":
        this.#streams.get(event.stream)?.head(event.head);
        this.#forget(event.stream);
        return;
      case "data":
        this.#streams.get(event.stream)?.data(event.bytes);
        return;
      case "end":
        this.#streams.get(event.stream)?.end();
        this.#forget(event.stream);
        return;
      case "reset":
        this.#streams.get(event.stream)?.failed(event.code, event.reason);
        this.#streams.delete(event.stream);
        return;
      case "room":
        if (event.stream === 0) for (const stream of this.#streams.values()) stream.room();
        else this.#streams.get(event.stream)?.room();
        return;
      case "violation":
        this.#close(CLOSE.protocol, event.reason);
        return;
      default:
    }
  }

  /** Nothing more of it goes over this connection; what its reader needs, it has. */
  #forget(stream: number): void {
    if (!this.#session.has(stream)) this.#streams.delete(stream);
  }

  #flush(): void {
    if (this.#closed) return;
    for (const message of this.#session.take()) this.#socket.send(message);
    if (this.#session.finished) this.#close(CLOSE.done, "drained");
    const { idle } = this.#session;
    if (idle === undefined || (idle.nextStream === this.#kept?.nextStream && idle.room === this.#kept.room)) return;
    // Nothing is in flight: the object may be put to sleep, and only this comes back.
    this.#socket.serializeAttachment(idle);
    this.#kept = idle;
  }

  /** Runs only while there are streams: a timer would keep the object awake. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    this.#isQuiet = true;
    this.#timer = setTimeout(() => this.#look(false), TUNNEL_SILENCE_MS);
  }

  #look(asked: boolean): void {
    this.#timer = undefined;
    if (this.#closed || this.#session.live === 0) return;
    if (this.#isQuiet && asked) {
      this.#close(CLOSE.dead, `nothing has come for ${(2 * TUNNEL_SILENCE_MS) / 1000} s`);
      return;
    }
    const ask = this.#isQuiet;
    if (ask) this.#session.ping(1);
    this.#flush();
    this.#isQuiet = true;
    this.#timer = setTimeout(() => this.#look(ask), TUNNEL_SILENCE_MS);
  }

  #close(code: number, reason: string): void {
    if (this.#closed) return;
    this.lost(reason);
    try {
      // RFC 6455 5.5: a close frame has room for 123 bytes.
      this.#socket.close(code, reason.slice(0, 100));
    } catch {
      // It had closed by itself.
    }
  }
}
