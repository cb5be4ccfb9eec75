/** The seam between a listener's connections and what decides about their requests. */
import type {
  CompiledServer,
  ConnectionExchange,
  Exchange,
  IncomingConnection,
  IncomingRequest,
  PeerInfo,
} from "../core/index.ts";

/** What a connection knows before its first request. Fixed for the connection's life. */
export interface ConnectionInfo {
  /** Name of the listener that accepted it. */
  readonly listener: string;
  readonly peer: PeerInfo;
  /** Where the client has connected to. */
  readonly local: IncomingConnection["local"];
  readonly scheme: "http" | "https";
  /** One more than requests are taken from: those that come are refused. */
  readonly surplus?: boolean;
}

/** A request as its connection hands it over. */
export interface ClientRequest extends IncomingRequest {
  /** The target as it came (RFC 9112 3.2); over HTTP/2 there is only one form. */
  readonly form: "origin" | "absolute" | "authority" | "asterisk";
  readonly expectContinue: boolean;
  /** Names of fields that came with the mark that no HPACK table may keep them (RFC 7541 6.2.3); the mark travels on. */
  readonly neverIndexed?: readonly string[] | undefined;
}

/**
 * Makes the exchange for one request. A listener has one factory, which reads the current tables once in `open`: everything
 * about that request comes from one snapshot.
 */
export interface ExchangeFactory {
  /** `request.head` belongs to the exchange from here on. */
  open(request: ClientRequest, connection: ConnectionInfo): Exchange;
  /** Other tables are in force. Without that the next `open` finds out, and until then the old ones are kept in memory for nobody. */
  follow?(): void;
}

/** Makes the exchange for one opaque connection, by the tables in force at that moment. */
export interface ConnectionFactory {
  /** @param server out of the tables that the listener has at the moment */
  open(incoming: IncomingConnection, server: CompiledServer): ConnectionExchange;
}
