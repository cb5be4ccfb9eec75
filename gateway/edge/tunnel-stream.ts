/** One request on its way through a hub: a body from the isolate to a gateway, a response back, each as fast as its reader reads. */
import { type AttemptFailure, bodyBehind, type ResetCode, type ResponseHead } from "../core/index.ts";

/** What a stream asks of its connection. */
export interface StreamLink {
  /** Sends what there is room for. @returns how many bytes those were */
  send(stream: number, bytes: Uint8Array): number;
  end(stream: number): void;
  reset(stream: number, code: ResetCode, reason: string): void;
  consumed(stream: number, bytes: number): void;
}

export type HubAnswer =
  | { readonly kind: "response"; readonly head: ResponseHead; readonly body: ReadableStream<Uint8Array> | null }
  | { readonly kind: "failure"; readonly failure: Omit<AttemptFailure, "replayable"> };

export class HubStream {
  /** Settled by the response's head, or by the failure that came instead of it. */
  readonly answer: Promise<HubAnswer>;
  readonly id: number;
  readonly #link: StreamLink;
  readonly #method: string;
  readonly #settle: (answer: HubAnswer) => void;
  #state: "waiting" | "answered" | "over" = "waiting";
  /** Of the response: come, and not asked for yet. The windows bound it. */
  readonly #unread: Uint8Array[] = [];
  #isWhole = false;
  #broken: string | undefined;
  #wakeReader: (() => void) | undefined;
  /** The request goes no further. */
  #isStopped = false;
  #wakeSender: (() => void) | undefined;

  constructor(link: StreamLink, id: number, method: string) {
    this.#method = method;
    this.#link = link;
    this.id = id;
    const { promise, resolve } = Promise.withResolvers<HubAnswer>();
    this.answer = promise;
    this.#settle = resolve;
  }

  /** Moves the request's body until it is whole, nobody wants it any more, or whoever sends it has gone. */
  async pump(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (!(await this.#sendAll(part.value))) break;
      }
      if (this.#isStopped) await reader.cancel("the request is not wanted any more");
      else this.#link.end(this.id);
    } catch (error) {
      this.giveUp(`the request was cut: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Whoever waits for the answer, or reads it, has gone. */
  giveUp(reason: string): void {
    if (this.#state === "over") return;
    this.#link.reset(this.id, "cancelled", reason);
    this.failed("cancelled", reason);
  }

  // --- what comes from the gateway

  head(head: ResponseHead): void {
    this.#state = "answered";
    const isEmpty = bodyBehind(this.#method, head).kind === "none";
    this.#settle({ kind: "response", head, body: isEmpty ? null : this.#body() });
  }

  data(bytes: Uint8Array): void {
    this.#unread.push(bytes);
    this.#wake();
  }

  end(): void {
    this.#isWhole = true;
    this.#wake();
  }

  /** There is room for more of the request. */
  room(): void {
    const wake = this.#wakeSender;
    this.#wakeSender = undefined;
    wake?.();
  }

  /** The stream is gone. A response that has come whole stays whole: the gateway only wants no more of the request. */
  failed(code: ResetCode, reason: string): void {
    this.#isStopped = true;
    this.room();
    if (this.#state === "waiting") {
      const neverSent = code === "refused";
      this.#settle({ kind: "failure", failure: { code: neverSent ? "upstream_connect" : "upstream_reset", reason, neverSent } });
    } else if (!this.#isWhole) {
      this.#broken = reason;
    }
    this.#state = "over";
    this.#wake();
  }

  // --- the two bodies

  /** @returns false when the rest is not wanted */
  async #sendAll(bytes: Uint8Array): Promise<boolean> {
    let rest = bytes;
    while (rest.length > 0 && !this.#isStopped) {
      rest = rest.subarray(this.#link.send(this.id, rest));
      if (rest.length > 0) {
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve;
        });
      }
    }
    return !this.#isStopped;
  }

  /** Nothing is taken out before it is asked for. */
  #body(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => this.#pull(controller),
        cancel: () => this.giveUp("the client has gone"),
      },
      { highWaterMark: 0 },
    );
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#unread.length === 0 && !this.#isWhole && this.#broken === undefined) {
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
    const bytes = this.#broken === undefined ? this.#unread.shift() : undefined;
    if (bytes !== undefined) {
      this.#link.consumed(this.id, bytes.length);
      controller.enqueue(bytes);
    } else if (this.#broken !== undefined) {
      controller.error(new Error(this.#broken));
    } else {
      this.#state = "over";
      controller.close();
    }
  }

  #wake(): void {
    const wake = this.#wakeReader;
    this.#wakeReader = undefined;
    wake?.();
  }
}
