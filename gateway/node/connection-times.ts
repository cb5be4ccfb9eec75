/**
 * When a client connection has waited long enough, and for what. Monotonic milliseconds; it holds no timer: the connection files the answer of
 * `nextMs` with its thread's deadlines.
 *
 * Slow clients are met by what they are slow at: a head by one deadline, a body by a rate, a response by how long the client takes none of it. Time
 * in which the client is kept waiting does not count against it.
 */
import type { HttpSettings } from "../core/ir/index.ts";
import { Lifetime } from "./lifetime.ts";

/** What a connection is about: see http1.ts. */
export type Phase = "head" | "exchange" | "linger" | "tunnel" | "closed";

/** After the last answer has left, the client gets this long to read it before the connection is torn down. */
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
  /** The connection's own. */
  readonly lifetime: Lifetime;
  /** The client has taken nothing since, although there was something to take; NEVER: it has room. */
  #fullMs = NEVER;
  /** More of the body has to have come; NEVER: none is waited for. */
  #bodyMs = NEVER;
  /** What was left until `#bodyMs` when the client was told to pause; -1: it was not. */
  #bodyLeftMs = -1;

  constructor(nowMs: number) {
    this.activeMs = nowMs;
    this.lifetime = new Lifetime(nowMs);
  }

  /** A request's head is whole. */
  begin(nowMs: number, requestTimeoutMs: number): void {
    this.activeMs = nowMs;
    this.headerMs = NEVER;
    this.exchangeMs = NEVER;
    this.requestMs = requestTimeoutMs === 0 ? NEVER : nowMs + requestTimeoutMs;
    this.lifetime.requestBegun();
  }

  /** A request and its response are over. */
  over(nowMs: number): void {
    this.activeMs = nowMs;
    this.requestMs = NEVER;
    this.exchangeMs = NEVER;
    this.bodyEnded();
  }

  /**
   * A body is to come, at `minBodyRateBytes` a second over `bodyRateGraceMs`: a bucket of time that bytes fill up to the grace period and
   * waiting empties.
   */
  bodyExpected(nowMs: number, { minBodyRateBytes = 0, bodyRateGraceMs = 0 }: HttpSettings): void {
    this.#bodyMs = minBodyRateBytes === 0 ? NEVER : nowMs + bodyRateGraceMs;
    this.#bodyLeftMs = -1;
  }

  bodyCame(nowMs: number, bytes: number, { minBodyRateBytes = 0, bodyRateGraceMs = 0 }: HttpSettings): void {
    this.activeMs = nowMs;
    if (this.#bodyMs === NEVER || minBodyRateBytes === 0) return;
    const earnedMs = (bytes * 1000) / minBodyRateBytes;
    if (this.#bodyLeftMs === -1) this.#bodyMs = Math.min(this.#bodyMs + earnedMs, nowMs + bodyRateGraceMs);
    else this.#bodyLeftMs = Math.min(this.#bodyLeftMs + earnedMs, bodyRateGraceMs);
  }

  /** The client is not listened to for now. */
  bodyHeld(nowMs: number): void {
    if (this.#bodyMs !== NEVER && this.#bodyLeftMs === -1) this.#bodyLeftMs = Math.max(0, this.#bodyMs - nowMs);
  }

  bodyReleased(nowMs: number): void {
    if (this.#bodyLeftMs === -1) return;
    this.#bodyMs = nowMs + this.#bodyLeftMs;
    this.#bodyLeftMs = -1;
  }

  bodyEnded(): void {
    this.#bodyMs = NEVER;
    this.#bodyLeftMs = -1;
  }

  /** More of the response was written than the client has taken. @returns whether that is news */
  clientFull(nowMs: number): boolean {
    if (this.#fullMs !== NEVER) return false;
    this.#fullMs = nowMs;
    return true;
  }

  /** The client has taken what was written. */
  clientDrained(nowMs: number): void {
    this.#fullMs = NEVER;
    this.activeMs = nowMs;
  }

  /** The last answer has not left yet, and its time to do so is not over. */
  lingersOn(nowMs: number, { writeStallTimeoutMs = 0 }: HttpSettings): boolean {
    this.clientFull(this.activeMs);
    if (nowMs - this.#fullMs >= writeStallTimeoutMs) return false;
    this.activeMs = nowMs;
    return true;
  }

  /** The earliest moment at which the connection has waited long enough for something. A tunnel keeps its own time. */
  nextMs(phase: Phase, settings: HttpSettings, draining: boolean): number {
    switch (phase) {
      case "head":
        if (this.headerMs !== NEVER) return this.headerMs;
        return Math.min(this.activeMs + (draining ? DRAIN_QUIET_MS : settings.idleTimeoutMs), this.lifetime.endMs(settings));
      case "exchange": {
        const first = Math.min(this.exchangeMs, this.requestMs, this.#stalledMs(settings), this.#bodyDueMs());
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

  #bodyDueMs(): number {
    return this.#bodyLeftMs === -1 ? this.#bodyMs : NEVER;
  }

  #stalledMs({ writeStallTimeoutMs = 0 }: HttpSettings): number {
    return writeStallTimeoutMs === 0 ? NEVER : this.#fullMs + writeStallTimeoutMs;
  }
}
