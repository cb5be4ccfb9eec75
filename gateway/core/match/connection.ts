/** A connection → where it goes: the most specific SNI name first, then the routes' order. */
import type { CompiledConnectionMatch, CompiledConnections } from "../compile/connections.ts";
import { type Cidr, type IpAddress, inCidr, parseAddress, unmapped } from "../egress/address.ts";
import { findHost, type HostTable } from "./host.ts";

/** What a connection is matched by. */
export interface ConnectionView {
  /** SNI name in lower case; undefined: there is no TLS, or no name in it. */
  readonly serverName: string | undefined;
  /** Address of the client. */
  readonly source: string;
  /** Address that the client has connected to. */
  readonly destination: string;
}

/** The first alternative that holds. A name that matches nothing falls back to wider ones. */
export function findConnection(
  byName: HostTable<readonly CompiledConnectionMatch[]>,
  view: ConnectionView,
): CompiledConnectionMatch | undefined {
  const { serverName } = view;
  const addresses = new Addresses(view);
  if (serverName !== undefined) {
    const exact = addresses.first(byName.exact.get(serverName));
    if (exact !== undefined) return exact;
    for (let dot = serverName.indexOf(".", 1); dot !== -1; dot = serverName.indexOf(".", dot + 1)) {
      const found = addresses.first(byName.suffix.get(serverName.slice(dot)));
      if (found !== undefined) return found;
    }
  }
  return addresses.first(byName.any);
}

/** The view's addresses, read when a range is first asked for. */
class Addresses {
  readonly #view: ConnectionView;
  #source: IpAddress | undefined;
  #destination: IpAddress | undefined;

  constructor(view: ConnectionView) {
    this.#view = view;
  }

  first(matches: readonly CompiledConnectionMatch[] | undefined): CompiledConnectionMatch | undefined {
    return matches?.find((match) => this.#holds(match));
  }

  #holds({ sourceSubnets, destinationSubnets }: CompiledConnectionMatch): boolean {
    if (sourceSubnets !== undefined) {
      this.#source ??= read(this.#view.source);
      if (!within(sourceSubnets, this.#source)) return false;
    }
    if (destinationSubnets !== undefined) {
      this.#destination ??= read(this.#view.destination);
      if (!within(destinationSubnets, this.#destination)) return false;
    }
    return true;
  }
}

function read(text: string): IpAddress | undefined {
  const address = parseAddress(text);
  return address === undefined ? undefined : unmapped(address);
}

function within(ranges: readonly Cidr[], address: IpAddress | undefined): boolean {
  return address !== undefined && ranges.some((range) => inCidr(range, address));
}

/** `outbound_.<port>_.<subset>_.<host>`. */
const CLUSTER_NAME = /^outbound_\.\d{1,5}_\.[^.]*_\.(.+)$/;

/** The cluster that an SNI name stands for, if its service may be reached so. */
export function namedCluster(
  connections: Extract<CompiledConnections, { readonly kind: "named" }>,
  serverName: string | undefined,
): string | undefined {
  const host = serverName === undefined ? undefined : CLUSTER_NAME.exec(serverName)?.[1];
  if (serverName === undefined || host === undefined || findHost(connections.hosts, host) === undefined) return undefined;
  return serverName;
}
