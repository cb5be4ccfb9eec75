/** The response of one request on its way to the client: its head, its body in the framing that the client understands, and how much went. */
import type { ResponseHead } from "../core/index.ts";
import {
  CHUNK_END,
  CONTINUE,
  chunkHeader,
  encodeResponseHead,
  headBound,
  lastChunk,
  type ResponseWriteOptions,
  responseFraming,
  type WireFraming,
  writeResponseHead,
} from "../wire/index.ts";
import { writeLatin1 } from "./latin1.ts";
import type { Outbox, Outlet } from "./outbox.ts";

export class ResponseWriter {
  /** The final head is out. */
  started = false;
  /** Whole. */
  done = false;
  /** Bytes of the body so far. */
  bytes = 0;
  readonly #outlet: Outlet;
  readonly #outbox: Outbox;
  readonly #writing = { keepAlive: true, method: "", minor: 1 as 0 | 1 };
  #framing: WireFraming = "none";
  #takesTrailers = false;
  /** The go-ahead is out. */
  #wentAhead = false;

  constructor(outlet: Outlet, outbox: Outbox) {
    this.#outlet = outlet;
    this.#outbox = outbox;
  }

  /** A request with this method and HTTP minor version is to be answered; `takesTrailers`: it asked for trailer fields. */
  begin(method: string, minor: 0 | 1, takesTrailers: boolean): void {
    this.started = false;
    this.done = false;
    this.bytes = 0;
    this.#writing.method = method;
    this.#writing.minor = minor;
    this.#takesTrailers = takesTrailers;
    this.#wentAhead = false;
  }

  /** Only the connection's end marks the body's: an orderly close would make a part of it look whole. */
  get endsByClosing(): boolean {
    return this.started && this.#framing === "close";
  }

  /** RFC 9110 10.1.1: go ahead with the body. */
  goAhead(): void {
    this.#wentAhead = true;
    this.#outbox.text(this.#outlet, CONTINUE);
  }

  /** A 1xx of the origin (RFC 9110 15.2). The go-ahead is given once; HTTP/1.0 knows no 1xx. */
  interim(head: ResponseHead): void {
    if ((head.status === 100 && this.#wentAhead) || this.#writing.minor === 0 || this.started) return;
    this.#head(head, this.#writing);
  }

  /** From here on bytes belong to another protocol. */
  switched(): void {
    this.#framing = "length";
  }

  /** @returns whether the connection can live on after this response */
  head(head: ResponseHead, keepAlive: boolean): boolean {
    const writing = this.#writing;
    this.#framing = responseFraming(head.status, head.body, writing);
    writing.keepAlive = keepAlive && this.#framing !== "close";
    this.#head(head, writing);
    this.started = true;
    return writing.keepAlive;
  }

  #head(head: ResponseHead, writing: ResponseWriteOptions): void {
    const at = this.#outbox.reserve(this.#outlet, headBound(head));
    if (at === undefined) this.#outbox.text(this.#outlet, writeResponseHead(head, writing));
    else this.#outbox.commit(encodeResponseHead(head, writing, this.#outbox.memory, at, writeLatin1));
  }

  /** Part of the body; dropped where the response has none (HEAD, 304). */
  body(bytes: Uint8Array): void {
    if (this.#framing === "none" || bytes.length === 0) return;
    this.bytes += bytes.length;
    if (this.#framing === "chunked") this.#outbox.text(this.#outlet, chunkHeader(bytes.length));
    this.#outbox.bytes(this.#outlet, bytes);
    if (this.#framing === "chunked") this.#outbox.text(this.#outlet, CHUNK_END);
  }

  end(trailers: readonly string[] | undefined): void {
    if (this.#framing === "chunked") this.#outbox.text(this.#outlet, lastChunk(this.#takesTrailers ? trailers : undefined));
    this.done = true;
  }
}
