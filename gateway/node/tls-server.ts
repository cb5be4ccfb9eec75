/** TLS of one server of a listener: its certificates, its rules for clients, its session tickets, and the library's server that carries them out. */
import { constants } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import type { ListenerServer, TerminatedTls } from "../core/ir/index.ts";
import type { ServerMaterial } from "./tls-material.ts";
import { SESSION_TIMEOUT_S, ticketKeys, ticketPeriod } from "./tls-tickets.ts";

/** The library's own timer, which costs each connection a timer of its own: the thread's deadlines look after handshakes. */
const NO_TIMER = -1;

export interface TlsServerOwner {
  readonly ticketSecret: Uint8Array;
  unixMs(): number;
  /** Protocols to agree on (RFC 7301), best first; none: nothing is agreed on. */
  protocols(server: ListenerServer): readonly string[];
  shaken(server: TlsServer, socket: TLSSocket): void;
  /** The socket is to be closed. */
  failed(server: TlsServer, socket: TLSSocket, error: Error): void;
}

export class TlsServer {
  readonly source: ListenerServer;
  readonly tls: TerminatedTls;
  readonly material: ServerMaterial;
  /** Of the files that `material` was read from, at that time. */
  stamp: string;
  readonly #owner: TlsServerOwner;
  #engine: Server | undefined;
  #period = 0;

  constructor(source: ListenerServer, tls: TerminatedTls, material: ServerMaterial, stamp: string, owner: TlsServerOwner) {
    this.source = source;
    this.tls = tls;
    this.material = material;
    this.stamp = stamp;
    this.#owner = owner;
  }

  /**
   * Shakes hands on an accepted connection whose bytes are all still to be read. Throws what the library says about certificates that it will not
   * use.
   */
  accept(socket: Socket): void {
    this.#current().emit("connection", socket);
  }

  /** Frees what the next handshake makes anew: some 40 KB. */
  rest(): void {
    this.#engine = undefined;
  }

  #current(): Server {
    const period = ticketPeriod(this.#owner.unixMs());
    if (this.#engine === undefined) this.#engine = this.#create(period);
    else if (period !== this.#period) this.#engine.setTicketKeys(this.#keys(period));
    this.#period = period;
    return this.#engine;
  }

  #create(period: number): Server {
    const { mode } = this.tls;
    const skips = mode !== "simple" && this.tls.client.insecureSkipVerify;
    const protocols = this.#owner.protocols(this.source);
    const engine = createServer({
      ...this.material.options,
      handshakeTimeout: NO_TIMER,
      ...(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] }),
      requestCert: mode !== "simple",
      // Only what the library itself would refuse is refused in the handshake, with an alert; the rest is judged afterwards.
      rejectUnauthorized: mode === "mutual" && !skips,
      // Who the client is stays what the first handshake has found.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      sessionIdContext: this.material.session.slice(0, SESSION_CONTEXT_CHARS),
      sessionTimeout: SESSION_TIMEOUT_S,
      ticketKeys: this.#keys(period),
    });
    engine.on("secureConnection", (socket) => this.#owner.shaken(this, socket));
    engine.on("tlsClientError", (error, socket) => this.#owner.failed(this, socket, error));
    return engine;
  }

  #keys(period: number): Buffer {
    return ticketKeys(this.#owner.ticketSecret, this.material.session, period);
  }
}

/** OpenSSL takes 32 bytes at most. */
const SESSION_CONTEXT_CHARS = 32;
