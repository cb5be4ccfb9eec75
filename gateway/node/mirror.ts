/** A copy of a request, sent on the side: nobody waits for its response, and it never slows the request that it copies. */
import type { RequestHead, ResponseHead, UpstreamTarget } from "../core/index.ts";
import { CHUNK_END, chunkHeader, type HeadEvent, lastChunk, writeRequestHead } from "../wire/index.ts";
import type { Outbox } from "./outbox.ts";
import { UpstreamConnection } from "./upstream/connection.ts";
import { poolOf, type UpstreamThread } from "./upstream/pool.ts";
import type { UpstreamUser } from "./upstream/user.ts";

/** A copy that is this far behind is given up. */
const MAX_QUEUED_BYTES = 256 * 1024;

export class MirrorCopy implements UpstreamUser {
  readonly #thread: UpstreamThread;
  readonly #outbox: Outbox;
  readonly #head: RequestHead;
  readonly #target: UpstreamTarget;
  #connection: UpstreamConnection | undefined;
  #ended = false;

  constructor(thread: UpstreamThread, outbox: Outbox, head: RequestHead, target: UpstreamTarget) {
    this.#thread = thread;
    this.#outbox = outbox;
    this.#head = head;
    this.#target = target;
  }

  /** False when there is no connection for it: a copy does not stand in line. */
  start(): boolean {
    const pool = poolOf(this.#thread, this.#target);
    const acquired = pool.acquire(this.#target, this);
    if (!(acquired instanceof UpstreamConnection)) {
      if (acquired === "waiting") pool.cancel(this);
      return false;
    }
    this.#connection = acquired;
    acquired.begin(this, this.#head.method);
    this.#outbox.text(acquired.socket, writeRequestHead(this.#head, { keepAlive: true }));
    return true;
  }

  body(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    if (connection.socket.writableLength > MAX_QUEUED_BYTES) {
      this.abort();
      return;
    }
    const chunked = this.#head.body.kind === "stream";
    if (chunked) this.#outbox.text(connection.socket, chunkHeader(bytes.length));
    this.#outbox.bytes(connection.socket, bytes);
    if (chunked) this.#outbox.text(connection.socket, CHUNK_END);
  }

  end(): void {
    const connection = this.#connection;
    if (connection === undefined || this.#ended) return;
    this.#ended = true;
    if (this.#head.body.kind === "stream") this.#outbox.text(connection.socket, lastChunk(undefined));
    connection.requestEnded();
  }

  /** The request that it copies has been cut: so is the copy. */
  abort(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  connectionReady(connection: UpstreamConnection): void {
    connection.abandon();
  }
  responseInterim(_head: ResponseHead): void {}
  responseHead(_event: HeadEvent<ResponseHead>): void {}
  responseBody(_bytes: Uint8Array): void {}
  responseFlush(): void {}
  responseEnd(): void {
    this.#connection = undefined;
  }
  requestDrained(): void {}
  upstreamFailed(): void {
    this.#connection = undefined;
  }
}
