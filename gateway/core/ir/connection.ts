/** What a connection whose bytes nobody reads is held against, and where it then goes. First match wins, the most specific SNI name before others. */
import type { Origin } from "./common.ts";

export interface ConnectionRoute {
  /** Stable over versions: `<namespace>/<object>/tcp/<index>` or `…/tls/<index>`. Unique within a server. */
  readonly id: string;
  readonly origin: Origin;
  /** Any of; empty: everything. */
  readonly matches: readonly ConnectionMatch[];
  readonly destinations: readonly ConnectionDestination[];
}

/** All present conditions must hold. */
export interface ConnectionMatch {
  /** SNI names, any of: exact, `*.suffix`, or `*`. Absent: any name, or none. */
  readonly serverNames?: readonly string[];
  /** Address that the client has connected to, any of: CIDR blocks. */
  readonly destinationSubnets?: readonly string[];
  /** Address of the client, any of: CIDR blocks. */
  readonly sourceSubnets?: readonly string[];
}

export interface ConnectionDestination {
  /** Cluster name; a connection to a name that the snapshot lacks is closed, with flag NC. */
  readonly cluster: string;
  /** Positive; the share is weight / sum. */
  readonly weight: number;
}
