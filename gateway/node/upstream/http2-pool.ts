/** HTTP/2 connections to one endpoint. The first one with room carries a request: another is opened when all are full. */
import type { UpstreamTarget } from "../../core/index.ts";
import { DEFAULT_HTTP2_LIMITS, Http2Settings } from "../../wire/index.ts";
import { decodeLatin1 } from "../latin1.ts";
import { Http2UpstreamConnection } from "./http2.ts";
import { type Acquired, UpstreamPool, type UpstreamThread } from "./pool.ts";
import type { UpstreamStream, UpstreamUser } from "./user.ts";

export class Http2Pool extends UpstreamPool {
  /** For connections that are opened from now on. */
  http2: Http2Settings;
  readonly #connections: Http2UpstreamConnection[] = [];
  #maxConcurrentStreams: number | undefined;

  constructor(thread: UpstreamThread, target: UpstreamTarget, header: Uint8Array | undefined) {
    super(thread, target, "h2", header);
    this.#maxConcurrentStreams = target.http2?.maxConcurrentStreams;
    this.http2 = settingsFor(this.#maxConcurrentStreams);
  }

  override acquire(target: UpstreamTarget, user: UpstreamUser, fresh = false): Acquired {
    const streams = target.http2?.maxConcurrentStreams;
    if (streams !== this.#maxConcurrentStreams) {
      this.#maxConcurrentStreams = streams;
      this.http2 = settingsFor(streams);
      this.retire();
    }
    return super.acquire(target, user, fresh);
  }

  /** A stream has ended, or the endpoint allows more of them. */
  roomMade(): void {
    this.serveWaiting();
  }

  /** A connection has closed. */
  forget(connection: Http2UpstreamConnection): void {
    const at = this.#connections.indexOf(connection);
    if (at !== -1) this.#connections.splice(at, 1);
    this.closed();
  }

  closeIdle(): void {
    for (const connection of [...this.#connections]) connection.closeIfIdle();
  }

  protected reuse(): UpstreamStream | undefined {
    for (const connection of this.#connections) if (connection.hasRoom) return connection.open();
    return undefined;
  }

  protected connect(): UpstreamStream {
    const connection = new Http2UpstreamConnection(this);
    this.#connections.push(connection);
    return connection.open();
  }

  protected closeOldest(): boolean {
    for (const connection of [...this.#connections]) if (connection.closeIfIdle()) return true;
    return false;
  }

  retire(): void {
    for (const connection of [...this.#connections]) connection.retire();
  }
}

/** Those of one limit are shared, and with them the memory for output. */
const SETTINGS = new Map<number, Http2Settings>();

function settingsFor(maxConcurrentStreams: number | undefined): Http2Settings {
  const limit = maxConcurrentStreams ?? DEFAULT_HTTP2_LIMITS.maxConcurrentStreams;
  let settings = SETTINGS.get(limit);
  if (settings === undefined) {
    settings = new Http2Settings({
      role: "client",
      limits: { ...DEFAULT_HTTP2_LIMITS, maxConcurrentStreams: limit },
      decode: decodeLatin1,
    });
    SETTINGS.set(limit, settings);
  }
  return settings;
}
