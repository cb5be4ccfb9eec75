/** What one gateway has reported about its endpoints. Bounded: a gateway's word is not trusted with the control plane's memory. */
import type { EndpointReport } from "../../gateway/wire/proto/index.ts";

/** Endpoints kept per gateway; what comes after is not. */
export const MAX_KEPT_ENDPOINTS = 20_000;
/** Characters of a reason or name that are kept. */
const MAX_TEXT = 512;

export interface ReportedEndpoint {
  readonly cluster: string;
  readonly address: string;
  readonly port: number;
  readonly hostname: string | undefined;
  readonly locality: string | undefined;
  readonly weight: number;
  readonly state: string;
  readonly reason: string | undefined;
  /** Unix ms. */
  readonly sinceMs: number;
}

export class EndpointReports {
  readonly #endpoints = new Map<string, ReportedEndpoint>();

  take(report: EndpointReport, nowMs: number): void {
    if (report.whole) this.#endpoints.clear();
    for (const { cluster, address, port } of report.gone) this.#endpoints.delete(keyOf(cluster, address, port));
    for (const { id, hostname, locality, weight, state, reason, forMs } of report.endpoints) {
      if (id === undefined) continue;
      const key = keyOf(id.cluster, id.address, id.port);
      if (!this.#endpoints.has(key) && this.#endpoints.size >= MAX_KEPT_ENDPOINTS) continue;
      this.#endpoints.set(key, {
        cluster: short(id.cluster),
        address: short(id.address),
        port: id.port,
        hostname: optional(hostname),
        locality: optional(locality),
        weight,
        state: short(state),
        reason: optional(reason),
        sinceMs: nowMs - Number(forMs),
      });
    }
  }

  list(): readonly ReportedEndpoint[] {
    return [...this.#endpoints.values()];
  }
}

function keyOf(cluster: string, address: string, port: number): string {
  return `${cluster}|${address}|${port}`;
}

function short(text: string): string {
  return text.slice(0, MAX_TEXT);
}

function optional(text: string): string | undefined {
  return text === "" ? undefined : short(text);
}
