/** Ports a gateway opens, and what it shows there. */
import type { Origin } from "./common.ts";
import type { ConnectionRoute } from "./connection.ts";
import type { TerminatedTls } from "./tls.ts";

export interface Listener {
  /** Unique within the snapshot, stable over versions: `<bind>:<port>`. */
  readonly name: string;
  /** Address to bind: an IP literal. `0.0.0.0` and `::` mean all. */
  readonly bind: string;
  /** Port to bind. */
  readonly port: number;
  /** Port as the Gateway object declares it; what a route's `port` match sees. */
  readonly servicePort: number;
  readonly protocol: ListenerProtocol;
  /** http and tcp: exactly one. https and tls: picked by SNI, most specific name first; no match closes the handshake. forward-proxy: none. */
  readonly servers: readonly ListenerServer[];
  readonly origins: readonly Origin[];
  /** Each connection has to begin with a PROXY protocol header (version 1 or 2), which says who the client is. Absent: none is expected. */
  readonly proxyProtocol?: "accept";
}

/**
 * `https`: every server ends TLS and speaks HTTP. `tls`: at least one does not, so that the ClientHello is read before anybody is chosen.
 * `tcp`: opaque connections.
 */
export type ListenerProtocol = "http" | "https" | "tls" | "tcp" | "forward-proxy";

export interface ListenerServer {
  readonly name: string;
  /** SNI names this server answers to: exact, `*.suffix`, or `*`. */
  readonly serverNames: readonly string[];
  /** Route table by name. Absent: no HTTP is spoken. */
  readonly routeTable?: string;
  readonly tls?: ServerTls;
  /**
   * Where opaque connections go, in order. Absent: HTTP is spoken, or (auto-passthrough) the name in the ClientHello says where. A server has
   * a route table or this.
   */
  readonly connections?: readonly ConnectionRoute[];
  /** What comes in gRPC-Web goes on as gRPC to services that are spoken to in HTTP/2. Absent: as the service's cluster says. */
  readonly grpcWeb?: boolean;
}

export type ServerTls = TerminatedTls | PlatformTls | PassthroughTls | AutoPassthroughTls;

/** TLS goes through as it comes; only the ClientHello is looked at. */
export interface PassthroughTls {
  readonly mode: "passthrough";
}

/** TLS goes through to the cluster that the ClientHello names: `outbound_.<port>_.<subset>_.<host>`, which is the cluster's name, too. */
export interface AutoPassthroughTls {
  readonly mode: "auto-passthrough";
  /** Services that may be reached so: exact, `*.suffix`, or `*`. */
  readonly hosts: readonly string[];
}

/** The edge's platform terminates TLS with certificates of its own; the gateway sees requests only. */
export interface PlatformTls {
  readonly mode: "platform";
}
