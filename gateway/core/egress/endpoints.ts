/** Endpoints made up as names resolve: one per address and port, so that requests share connections; the least recently used go first. */
import type { UpstreamEndpoint } from "../step.ts";

/** Most endpoints kept; one that is forgotten finishes what it has and lets its idle connections expire. */
export const MAX_ENDPOINTS = 4_096;

export class EndpointTable {
  readonly #endpoints = new Map<string, UpstreamEndpoint>();
  readonly #max: number;

  constructor(max: number = MAX_ENDPOINTS) {
    this.#max = max;
  }

  get size(): number {
    return this.#endpoints.size;
  }

  get(address: string, port: number): UpstreamEndpoint {
    const key = `egress|${address}|${port}`;
    let endpoint = this.#endpoints.get(key);
    if (endpoint === undefined) {
      endpoint = { key, address, port, weight: 1, active: 0, runtime: undefined };
      this.#makeRoom();
    } else this.#endpoints.delete(key);
    this.#endpoints.set(key, endpoint);
    return endpoint;
  }

  #makeRoom(): void {
    if (this.#endpoints.size < this.#max) return;
    for (const key of this.#endpoints.keys()) {
      this.#endpoints.delete(key);
      return;
    }
  }
}
