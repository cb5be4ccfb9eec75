/**
 * The front door of a port: what an accepted socket goes through before somebody serves it.
 *
 *     accept ─┬──────────────────────────────► HTTP | opaque         http, tcp
 *             └─► opening ─┬─────────────────► HTTP | opaque         after a PROXY header; TLS that goes through
 *                          └─► TLS ──────────► HTTP | opaque         by the name in the ClientHello
 *
 * What an opening has read and not used is put back, so that whoever comes next reads the connection from its own first byte.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type CompiledListener, type CompiledServer, findHost, type IncomingConnection, type PeerInfo } from "../core/index.ts";
import type { HttpThread } from "./call.ts";
import { type OpenedBy, Opening, type OpeningOwner } from "./opening.ts";
import { type TlsOptions, type TlsOwner, type TlsProblem, type TlsSession, TlsTermination } from "./tls.ts";
import type { ShownCertificate } from "./tls-material.ts";

const SERVER_OPTIONS = { noDelay: true, allowHalfOpen: true };

type Local = IncomingConnection["local"];

/** Both ends of a connection, as far as they are known. */
export interface Ends {
  readonly peer: PeerInfo;
  /** As a PROXY header has it; undefined: the socket is asked when somebody wants to know. */
  readonly local: Local | undefined;
}

/** Whoever serves what has come through the door. */
export interface FrontOwner {
  /** As it is in force. */
  readonly compiled: CompiledListener;
  readonly thread: HttpThread;
  /** A connection that speaks HTTP. */
  http(socket: Socket, ends: Ends): void;
  /** A connection that nobody looks into. `early`: what was read of it already. */
  opaque(socket: Socket, server: CompiledServer, incoming: IncomingConnection, early?: Uint8Array): void;
  /** Counts a connection of which nobody knows yet what it is. */
  opening(opening: Opening): void;
  /** It is counted no more: it was passed on, or is gone. */
  openingOver(opening: Opening): void;
  /** It is closed before it was anything. */
  refusedConnection(incoming: IncomingConnection, reason: string): void;
  /** Its ClientHello or its handshake came to nothing. */
  handshakeRefused(reason: string): void;
  tlsProblemsChanged(): void;
}

export class Front implements OpeningOwner, TlsOwner<Ends> {
  /** What listens. */
  readonly server: Server;
  readonly #owner: FrontOwner;
  /** Undefined: no TLS on this port. */
  readonly #tls: TlsTermination<Ends> | undefined;
  /** TLS may go through, or have something else than HTTP in it: the name decides. */
  readonly #isMixed: boolean;
  readonly #readsHeader: boolean;

  constructor({ source }: CompiledListener, owner: FrontOwner, tls: Omit<TlsOptions, "thread">) {
    const hasTls = source.protocol === "https" || source.protocol === "tls";
    this.#owner = owner;
    this.#tls = hasTls ? new TlsTermination({ ...tls, thread: owner.thread }, this) : undefined;
    this.#isMixed = source.protocol === "tls";
    this.#readsHeader = source.proxyProtocol !== undefined;
    this.server = createServer(SERVER_OPTIONS, (socket) => this.#accepted(socket));
  }

  /** The same port by new tables. */
  install(compiled: CompiledListener): void {
    this.#tls?.install(compiled);
  }

  /** Servers whose certificates cannot be used, or not as they are. */
  get problems(): readonly TlsProblem[] {
    return this.#tls?.problems ?? [];
  }

  /** Certificates that clients are shown. */
  shown(): readonly ShownCertificate[] {
    return this.#tls?.shown() ?? [];
  }

  close(): void {
    this.#tls?.close();
  }

  #accepted(socket: Socket): void {
    const tls = this.#tls;
    const clientHello = tls !== undefined && (this.#isMixed || !tls.takesUnread);
    if (this.#readsHeader || clientHello) {
      const plan = { proxyHeader: this.#readsHeader, clientHello };
      this.#owner.opening(new Opening(socket, plan, this, this.#owner.thread));
      return;
    }
    const ends = endsOf(socket);
    if (ends === undefined) socket.destroy();
    else if (tls === undefined) this.#pass(socket, ends);
    else tls.acceptUnread(socket, ends);
  }

  /** Without TLS. */
  #pass(socket: Socket, ends: Ends, early?: Buffer): void {
    const server = this.#owner.compiled.servers.any;
    if (server?.connections !== undefined) {
      const { peer, local = localOf(socket) } = ends;
      this.#owner.opaque(socket, server, { peer, local, serverName: undefined }, early);
      return;
    }
    if (early !== undefined && early.length > 0) socket.unshift(early);
    this.#owner.http(socket, ends);
  }

  // --- after an opening

  opened(opening: Opening, socket: Socket, by: OpenedBy): void {
    const own = endsOf(socket);
    if (own === undefined) socket.destroy();
    else this.#passOn(socket, own, by);
    // Last, so that it is counted as one thing or the other all the time.
    this.#owner.openingOver(opening);
  }

  #passOn(socket: Socket, own: Ends, { header, hello, rest }: OpenedBy): void {
    const ends: Ends = { peer: header?.source ?? own.peer, local: header?.destination };
    if (this.#tls === undefined) this.#pass(socket, ends, rest);
    else if (hello === undefined) {
      if (rest.length > 0) socket.unshift(rest);
      this.#tls.acceptUnread(socket, ends);
    } else this.#byName(this.#tls, socket, hello.serverName, ends, rest);
  }

  #byName(tls: TlsTermination<Ends>, socket: Socket, asked: string | undefined, ends: Ends, rest: Buffer): void {
    const serverName = asked?.toLowerCase();
    const server = serverFor(this.#owner.compiled, serverName);
    const mode = server?.source.tls?.mode;
    if (server !== undefined && (mode === "passthrough" || mode === "auto-passthrough")) {
      const { peer, local = localOf(socket) } = ends;
      this.#owner.opaque(socket, server, { peer, local, serverName }, rest);
      return;
    }
    socket.unshift(rest);
    tls.accept(socket, asked, ends);
  }

  refused(opening: Opening, socket: Socket, reason: string): void {
    const ends = endsOf(socket);
    if (opening.awaits === "hello") this.#owner.handshakeRefused(reason);
    else if (ends !== undefined)
      this.#owner.refusedConnection({ peer: ends.peer, local: localOf(socket), serverName: undefined }, reason);
    socket.destroy();
    this.#owner.openingOver(opening);
  }

  gone(opening: Opening): void {
    this.#owner.openingOver(opening);
  }

  // --- TLS that has ended here

  secured(socket: TLSSocket, session: TlsSession, { peer, local }: Ends): void {
    const { serverName, version, who } = session;
    const client: PeerInfo = { ...peer, ...who, tls: { serverName, version } };
    const server = serverFor(this.#owner.compiled, serverName);
    if (server?.connections !== undefined)
      this.#owner.opaque(socket, server, { peer: client, local: local ?? localOf(socket), serverName });
    else this.#owner.http(socket, { peer: client, local });
  }

  handshakeRefused(reason: string): void {
    this.#owner.handshakeRefused(reason);
  }

  tlsProblemsChanged(): void {
    this.#owner.tlsProblemsChanged();
  }
}

function serverFor({ servers }: CompiledListener, serverName: string | undefined): CompiledServer | undefined {
  return serverName === undefined ? servers.any : findHost(servers, serverName);
}

/** Undefined: the client has gone already. */
function endsOf(socket: Socket): Ends | undefined {
  const { remoteAddress, remotePort = 0 } = socket;
  if (remoteAddress === undefined) return undefined;
  return { peer: { address: unmapped(remoteAddress), port: remotePort }, local: undefined };
}

/** Where the client has connected to. */
export function localOf({ localAddress = "", localPort = 0 }: Socket): Local {
  return { address: unmapped(localAddress), port: localPort };
}

/** A dual-stack socket shows an IPv4 address as `::ffff:a.b.c.d`. */
function unmapped(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
