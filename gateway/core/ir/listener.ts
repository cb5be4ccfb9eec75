/** Ports a gateway opens, and what it shows there. */
import type { Origin } from "./common.ts";
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
  /** http: exactly one. https: picked by SNI, most specific name first; no match closes the handshake. forward-proxy: none. */
  readonly servers: readonly ListenerServer[];
  readonly origins: readonly Origin[];
}

export type ListenerProtocol = "http" | "https" | "forward-proxy";

export interface ListenerServer {
  readonly name: string;
  /** SNI names this server answers to: exact, `*.suffix`, or `*`. */
  readonly serverNames: readonly string[];
  /** Route table by name. */
  readonly routeTable: string;
  readonly tls?: ServerTls;
}

export type ServerTls = TerminatedTls | PlatformTls;

/** The edge's platform terminates TLS with certificates of its own; the gateway sees requests only. */
export interface PlatformTls {
  readonly mode: "platform";
}
