/** How long a client's connection lives on, whatever it speaks: no request is cut for it, but no further one is invited. */
import type { Clock } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";

const NEVER = Number.POSITIVE_INFINITY;

export class Lifetime {
  readonly #openedMs: number;
  #requests = 0;

  constructor(nowMs: number) {
    this.#openedMs = nowMs;
  }

  /** A request has begun. */
  requestBegun(): void {
    this.#requests += 1;
  }

  /** The connection has carried as many requests, or lived as long, as it may. */
  isOver(settings: HttpSettings, clock: Pick<Clock, "now">): boolean {
    const { maxRequestsPerConnection = 0 } = settings;
    if (maxRequestsPerConnection !== 0 && this.#requests >= maxRequestsPerConnection) return true;
    const endMs = this.endMs(settings);
    return endMs !== NEVER && clock.now() >= endMs;
  }

  /** When it has lived as long as it may. */
  endMs({ maxConnectionDurationMs = 0 }: HttpSettings): number {
    return maxConnectionDurationMs === 0 ? NEVER : this.#openedMs + maxConnectionDurationMs;
  }
}
