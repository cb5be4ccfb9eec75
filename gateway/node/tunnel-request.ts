/**
 * One request out of a tunnel, sent to this gateway's own listener over loopback like any client's: so every limit of the listener applies to it, its passport
 * is checked where all are, and whichever thread accepts it serves it.
 */
import type { RequestHead, ResetCode, ResponseHead, UpstreamTarget } from "../core/index.ts";
import { hasBody, RequestSender } from "./sender.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamFailure, UpstreamHead, UpstreamStream, UpstreamUser } from "./upstream/user.ts";

/** What a request asks of the tunnel connection that it came by. */
export interface TunnelStreamPort {
  head(stream: number, head: ResponseHead): void;
  /** @returns how many of the bytes there was room for; they have been copied */
  data(stream: number, bytes: Uint8Array): number;
  end(stream: number): void;
  reset(stream: number, code: ResetCode, reason: string): void;
  consumed(stream: number, bytes: number): void;
  /** Nothing more will be asked for this stream. */
  over(stream: number): void;
}

export class TunnelRequest implements UpstreamUser {
  readonly #thread: UpstreamThread;
  readonly #tunnel: TunnelStreamPort;
  readonly #stream: number;
  readonly #sender: RequestSender;
  /** Of the request: come, and not written yet. The tunnel's windows bound it. */
  readonly #incoming: Uint8Array[] = [];
  #incomingEnded = false;
  /** Of the response: read, and no room for it in the tunnel yet. At most one read's worth. */
  #outgoing: Uint8Array[] = [];
  #answered = false;
  #outgoingEnded = false;
  #over = false;

  constructor(thread: UpstreamThread, tunnel: TunnelStreamPort, stream: number) {
    this.#thread = thread;
    this.#tunnel = tunnel;
    this.#stream = stream;
    this.#sender = new RequestSender(thread, this, undefined);
  }

  start(head: RequestHead, target: UpstreamTarget): void {
    this.#incomingEnded = !hasBody(head);
    this.#sender.reset(hasBody(head), 0, false, undefined);
    try {
      const failure = this.#sender.send({
        kind: "send",
        target,
        head,
        deadlineMs: undefined,
        keepBody: false,
        isAwaited: true,
        mirrors: [],
      });
      if (failure !== undefined) this.upstreamFailed(failure);
      else if (this.#incomingEnded) this.#sender.end(undefined);
    } catch (error) {
      // A field that must not be written: nothing of the request was.
      this.#sender.abort();
      this.#fail("refused", error instanceof Error ? error.message : String(error));
    }
    this.#thread.outbox.flush();
  }

  // --- what comes by the tunnel

  data(bytes: Uint8Array): void {
    this.#incoming.push(bytes);
    this.#write();
  }

  /** The request is whole. */
  end(): void {
    if (this.#incomingEnded) return;
    this.#incomingEnded = true;
    if (this.#incoming.length === 0) this.#endRequest();
  }

  /** There is room in the tunnel again. */
  room(): void {
    while (this.#outgoing.length > 0) {
      const first = this.#outgoing[0] as Uint8Array;
      const sent = this.#tunnel.data(this.#stream, first);
      if (sent < first.length) {
        this.#outgoing[0] = first.subarray(sent);
        return;
      }
      this.#outgoing.shift();
    }
    if (this.#outgoingEnded) this.#endResponse();
    else this.#sender.resume();
  }

  /** The other side has given it up, or is gone. */
  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#sender.abort();
    this.#tunnel.over(this.#stream);
  }

  // --- what comes of the listener (UpstreamUser)

  streamReady(stream: UpstreamStream): void {
    this.#sender.ready(stream);
    this.#write();
  }

  responseInterim(): void {}

  responseHead(event: UpstreamHead): void {
    this.#answered = true;
    this.#tunnel.head(this.#stream, event.head);
  }

  responseBody(bytes: Uint8Array): void {
    if (this.#over) return;
    const sent = this.#outgoing.length > 0 ? 0 : this.#tunnel.data(this.#stream, bytes);
    if (sent === bytes.length) return;
    this.#outgoing.push(Uint8Array.prototype.slice.call(bytes, sent));
    this.#sender.pause();
  }

  responseFlush(): void {}

  responseEnd(): void {
    this.#sender.released();
    this.#outgoingEnded = true;
    if (this.#outgoing.length === 0) this.#endResponse();
  }

  requestDrained(): void {
    this.#write();
  }

  upstreamFailed(failure: UpstreamFailure): void {
    if (!this.#answered && this.#sender.again(failure)) return;
    this.#sender.released();
    this.#fail(failure.neverSent && !this.#answered ? "refused" : "broken", `${failure.code}: ${failure.reason}`);
  }

  #write(): void {
    while (this.#incoming.length > 0 && this.#sender.open) {
      const bytes = this.#incoming.shift() as Uint8Array;
      this.#sender.body(bytes);
      this.#thread.outbox.flush();
      this.#tunnel.consumed(this.#stream, bytes.length);
      if (this.#incoming.length === 0 && this.#incomingEnded) this.#endRequest();
    }
  }

  #endRequest(): void {
    this.#sender.end(undefined);
    this.#thread.outbox.flush();
  }

  #endResponse(): void {
    if (this.#over) return;
    this.#over = true;
    this.#tunnel.end(this.#stream);
    // Whoever has answered wants no more of the request.
    this.#tunnel.reset(this.#stream, "cancelled", "answered");
    this.#tunnel.over(this.#stream);
  }

  #fail(code: ResetCode, reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#tunnel.reset(this.#stream, code, reason);
    this.#tunnel.over(this.#stream);
  }
}
