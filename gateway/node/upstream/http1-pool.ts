/** HTTP/1.1 connections to one endpoint, last in first out, so that as few as the load needs stay warm and the rest age away. */
import type { UpstreamTarget } from "../../core/index.ts";
import { Http1UpstreamConnection } from "./http1.ts";
import { UpstreamPool, type UpstreamThread } from "./pool.ts";
import type { UpstreamStream } from "./user.ts";

export class Http1Pool extends UpstreamPool {
  readonly #idle: Http1UpstreamConnection[] = [];
  /** How often the connections' settings have changed. */
  generation = 0;

  constructor(thread: UpstreamThread, target: UpstreamTarget, header: Uint8Array | undefined) {
    super(thread, target, "http/1.1", header);
  }

  /** A response ended and its connection can carry another request. */
  release(connection: Http1UpstreamConnection): void {
    const { maxRequestsPerConnection: max, maxConnectionMs, idleTimeoutMs } = this.settings;
    const nowMs = this.thread.clock.now();
    const oldMs = maxConnectionMs === undefined ? Number.POSITIVE_INFINITY : connection.openedMs + maxConnectionMs;
    const isUsedUp = (max !== 0 && connection.requests >= max) || nowMs >= oldMs;
    if (isUsedUp || connection.generation !== this.generation) {
      connection.destroy();
      return;
    }
    connection.rest(Math.min(nowMs + idleTimeoutMs, oldMs));
    this.#idle.push(connection);
    this.serveWaiting();
  }

  /** A connection has closed. */
  forget(connection: Http1UpstreamConnection, wasIdle: boolean): void {
    if (wasIdle) {
      const at = this.#idle.indexOf(connection);
      if (at !== -1) this.#idle.splice(at, 1);
    }
    this.closed();
  }

  closeIdle(): void {
    for (const connection of [...this.#idle]) connection.destroy();
  }

  protected reuse(): UpstreamStream | undefined {
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (last.usable) return last;
      last.destroy();
    }
    return undefined;
  }

  protected connect(): UpstreamStream {
    return new Http1UpstreamConnection(this);
  }

  protected closeOldest(): boolean {
    this.#idle[0]?.destroy();
    return this.#idle.length > 0;
  }

  retire(): void {
    this.generation += 1;
    this.closeIdle();
  }
}
