/** A copy of a request, sent on the side: nobody waits for its response, and it never slows the request that it copies. */
import type { RequestHead, UpstreamTarget } from "../core/index.ts";
import type { ConnectionInfo } from "./exchange.ts";
import type { UpstreamThread } from "./upstream/pool.ts";
import { poolOf } from "./upstream/pools.ts";
import type { UpstreamHead, UpstreamStream, UpstreamUser } from "./upstream/user.ts";

/** A copy that is this far behind is given up. */
const MAX_QUEUED_BYTES = 256 * 1024;

const NO_OPTIONS = { neverIndexed: undefined, switchTo: undefined };

export class MirrorCopy implements UpstreamUser {
  readonly #thread: UpstreamThread;
  readonly #head: RequestHead;
  readonly #target: UpstreamTarget;
  readonly #isHttp2: boolean;
  readonly #client: ConnectionInfo | undefined;
  #stream: UpstreamStream | undefined;
  #ended = false;

  constructor(
    thread: UpstreamThread,
    head: RequestHead,
    target: UpstreamTarget,
    isHttp2: boolean,
    client: ConnectionInfo | undefined,
  ) {
    this.#thread = thread;
    this.#head = head;
    this.#target = target;
    this.#isHttp2 = isHttp2;
    this.#client = client;
  }

  /** False when there is no connection for it: a copy does not stand in line. */
  start(): boolean {
    const pool = poolOf(this.#thread, this.#target, this.#isHttp2, this.#client);
    const acquired = pool.acquire(this.#target, this);
    if (acquired === "waiting") pool.cancel(this);
    if (acquired === "waiting" || "reason" in acquired) return false;
    this.#stream = acquired;
    acquired.start(this, this.#head, NO_OPTIONS);
    return true;
  }

  body(bytes: Uint8Array): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (stream.queuedBytes > MAX_QUEUED_BYTES) this.abort();
    else stream.body(bytes);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream?.end(undefined);
  }

  /** The request that it copies has been cut: so is the copy. */
  abort(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  streamReady(stream: UpstreamStream): void {
    stream.cancel();
  }
  responseInterim(): void {}
  responseHead(_event: UpstreamHead): void {}
  responseBody(_bytes: Uint8Array): void {}
  responseFlush(): void {}
  responseEnd(): void {
    this.#stream = undefined;
  }
  requestDrained(): void {}
  upstreamFailed(): void {
    this.#stream = undefined;
  }
}
