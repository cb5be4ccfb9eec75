/**
 * Endpoints made up as names resolve: one per address and port, so that requests share connections; the least recently used go first. A
 * connection with TLS belongs to the name that its certificate was checked for, and is never used for another name at the same address.
 */
import type { UpstreamEndpoint } from "../step.ts";

/** Most endpoints kept; one that is forgotten finishes what it has and lets its idle connections expire. */
export const MAX_ENDPOINTS = 4_096;

/**
 * A runtime bounds connections by cluster. One cluster for everything would let one slow host use up all of it, one for each address would
 * grow without bound: addresses are dealt out over this many.
 */
const CLUSTERS = 256;

export class EndpointTable {
  readonly #endpoints = new Map<string, UpstreamEndpoint>();
  readonly #max: number;

  constructor(max: number = MAX_ENDPOINTS) {
    this.#max = max;
  }

  get size(): number {
    return this.#endpoints.size;
  }

  /** @param tlsName host that TLS is made for; undefined: none is */
  get(address: string, port: number, tlsName?: string): UpstreamEndpoint {
    const place = tlsName === undefined ? `${address}|${port}` : `${address}|${port}|${tlsName}`;
    const key = `egress-${shardOf(place)}|${place}`;
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

function shardOf(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (hash * 31 + text.charCodeAt(i)) % 0x7fffffff;
  return hash % CLUSTERS;
}
