/** The seam between a listener's connections and what decides about their requests. */
import type { Exchange, PeerInfo, RequestHead } from "../core/index.ts";
import type { HeadEvent } from "../wire/index.ts";

/** What a connection knows before its first request. Fixed for the connection's life. */
export interface ConnectionInfo {
  /** Name of the listener that accepted it. */
  readonly listener: string;
  readonly peer: PeerInfo;
  readonly scheme: "http" | "https";
}

/**
 * Makes the exchange for one request. A listener has one factory, which reads the current tables once in `open`: everything
 * about that request comes from one snapshot.
 */
export interface ExchangeFactory {
  /** `event.head` belongs to the exchange from here on; `event` itself must not be kept. */
  open(event: HeadEvent<RequestHead>, connection: ConnectionInfo): Exchange;
}
