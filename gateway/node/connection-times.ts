/**
 * When a client connection has waited long enough, and for what. Monotonic milliseconds; it holds no timer: the connection files the answer of
 * `nextMs` with its thread's deadlines.
 */
import type { HttpSettings } from "../core/ir/index.ts";

/** What a connection is about: see http1.ts. */
export type Phase = "head" | "exchange" | "linger" | "tunnel" | "closed";

/** After the last answer the client gets this long to read it before the connection is torn down. */
const LINGER_MS = 2000;
/** While draining, a keep-alive connection that has been quiet this long is closed. */
const DRAIN_QUIET_MS = 1000;

export const NEVER = Number.POSITIVE_INFINITY;

export class ConnectionTimes {
  /** Something moved last. */
  activeMs: number;
  /** The head that has begun has to be whole. */
  headerMs = NEVER;
  /** The request has to be whole. */
  requestMs = NEVER;
  /** The exchange wants to be asked again. */
  exchangeMs = NEVER;

  constructor(nowMs: number) {
    this.activeMs = nowMs;
  }

  /** A request's head is whole. */
  begin(nowMs: number, requestTimeoutMs: number): void {
    this.activeMs = nowMs;
    this.headerMs = NEVER;
    this.exchangeMs = NEVER;
    this.requestMs = requestTimeoutMs === 0 ? NEVER : nowMs + requestTimeoutMs;
  }

  /** A request and its response are over. */
  over(nowMs: number): void {
    this.activeMs = nowMs;
    this.requestMs = NEVER;
    this.exchangeMs = NEVER;
  }

  /** The earliest moment at which the connection has waited long enough for something. A tunnel keeps its own time. */
  nextMs(phase: Phase, settings: HttpSettings, draining: boolean): number {
    switch (phase) {
      case "head":
        if (this.headerMs !== NEVER) return this.headerMs;
        return this.activeMs + (draining ? DRAIN_QUIET_MS : settings.idleTimeoutMs);
      case "exchange": {
        const first = Math.min(this.exchangeMs, this.requestMs);
        if (settings.streamIdleTimeoutMs === 0) return first;
        return Math.min(first, this.activeMs + settings.streamIdleTimeoutMs);
      }
      case "linger":
        return this.activeMs + LINGER_MS;
      case "tunnel":
      case "closed":
        return NEVER;
    }
  }
}
