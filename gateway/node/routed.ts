/**
 * What a listener's requests and connections are held against: the tables in force when each of them begins. A listener that is gone from the snapshot
 * serves what it still gets by the last tables that had it.
 */
import type { PassportPorts } from "../core/identity/index.ts";
import {
  type CompiledListener,
  type CompiledServer,
  type ConnectionExchange,
  type ConnectionPorts,
  carriesPassport,
  createConnection,
  createExchange,
  createPassportExchange,
  type Exchange,
  findHost,
  hostOf,
  type IncomingConnection,
  type Ports,
  type Tables,
} from "../core/index.ts";
import type { ClientRequest, ConnectionFactory, ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import { Misdirected } from "./misdirected.ts";

/** The exchanges of one routed listener. */
export class RoutedExchanges implements ExchangeFactory {
  readonly #name: string;
  readonly #current: () => Tables | undefined;
  readonly #ports: Ports;
  readonly #passports: PassportPorts;
  #tables: Tables;
  #listener: CompiledListener;

  constructor(
    name: string,
    listener: CompiledListener,
    tables: Tables,
    current: () => Tables | undefined,
    ports: Ports,
    passports: PassportPorts,
  ) {
    this.#name = name;
    this.#listener = listener;
    this.#tables = tables;
    this.#current = current;
    this.#ports = ports;
    this.#passports = passports;
  }

  follow(): void {
    const current = this.#current();
    if (current === undefined || current === this.#tables) return;
    const listener = current.listeners.get(this.#name);
    if (listener === undefined) return;
    this.#tables = current;
    this.#listener = listener;
  }

  open(request: ClientRequest, connection: ConnectionInfo): Exchange {
    this.follow();
    const { servers } = this.#listener;
    const { tls } = connection.peer;
    const server = tls?.serverName === undefined ? servers.any : findHost(servers, tls.serverName);
    if (server === undefined || asksForTlsInTheClear(request, connection) || !covers(servers, server, request, connection))
      return new Misdirected(request.head, this.#ports.clock.unixMs());
    const { peer } = connection;
    return carriesPassport(this.#tables, request.head)
      ? createPassportExchange(this.#tables, this.#listener, server, request, peer, this.#ports, this.#passports)
      : createExchange(this.#tables, this.#listener, server, request, peer, this.#ports);
  }
}

/** The exchanges of the opaque connections of one listener. */
export class RoutedConnections implements ConnectionFactory {
  readonly #name: string;
  readonly #tables: Tables;
  readonly #current: () => Tables | undefined;
  readonly #ports: ConnectionPorts;

  constructor(name: string, tables: Tables, current: () => Tables | undefined, ports: ConnectionPorts) {
    this.#name = name;
    this.#tables = tables;
    this.#current = current;
    this.#ports = ports;
  }

  open(incoming: IncomingConnection, server: CompiledServer): ConnectionExchange {
    return createConnection(this.#current() ?? this.#tables, this.#name, server, incoming, this.#ports);
  }
}

/** RFC 9110 7.4: whoever believed the target's scheme would take the request for one that came over TLS. */
function asksForTlsInTheClear({ form, head, version }: ClientRequest, { scheme }: ConnectionInfo): boolean {
  return (form === "absolute" || version === "2") && head.scheme === "https" && scheme === "http";
}

/**
 * RFC 9110 7.4: what a client was let in for by one server's certificate and rules is not for another server's hosts. A client that coalesces
 * connections (RFC 9113 9.1.1) tries again with a connection of its own.
 */
function covers(
  servers: CompiledListener["servers"],
  server: CompiledServer,
  { head }: ClientRequest,
  { peer }: ConnectionInfo,
): boolean {
  return peer.tls === undefined || head.authority === "" || findHost(servers, hostOf(head.authority)) === server;
}
