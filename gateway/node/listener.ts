/**
 * One open port: accepts connections and serves them by the tables in force.
 *
 * It outlives snapshots: what changes is what its next request is held against. Closing it stops the accepting; connections finish what they are at.
 */
import type { Socket } from "node:net";
import type { CompiledListener, CompiledServer, IncomingConnection } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { DEFAULT_HTTP1_LIMITS, DEFAULT_HTTP2_LIMITS, Http2Settings, RequestParserSettings } from "../wire/index.ts";
import { AcceptedConnection } from "./accepted.ts";
import type { ClientConnection, HttpThread } from "./call.ts";
import { ClientSocket } from "./client-socket.ts";
import type { ConnectionFactory, ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import { type Ends, Front, type FrontOwner } from "./front.ts";
import { type HttpListener, ServerConnection } from "./http1.ts";
import { type Http2Listener, Http2ServerConnection } from "./http2.ts";
import { decodeLatin1 } from "./latin1.ts";
import type { Opening } from "./opening.ts";
import type { Overload } from "./overload.ts";
import { closeUnnoticed, descriptorOf, HANDSHAKE_QUIET_MS, nextTurn, SHARES_PORTS } from "./ports.ts";
import { Roster } from "./roster.ts";
import { Connection, type ConnectionListener } from "./tcp.ts";
import type { TlsOptions, TlsProblem } from "./tls.ts";
import type { ShownCertificate } from "./tls-material.ts";

/** Connections that the kernel holds until they are accepted. */
const BACKLOG = 1024;
/** A listener that goes away accepts until nobody has connected for this long. */
const ACCEPT_QUIET_MS = 100;
/** When clients never stop coming: those that were told to close get this long to come anew, before the port closes. */
const LAST_COMERS_MS = 500;

export interface ListenerHooks {
  readonly overload: Overload;
  /** A connection was closed unheard: there are too many. */
  dropped(): void;
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  /** A connection was closed before it was known what it is. */
  refusedConnection(listener: string, incoming: IncomingConnection, reason: string): void;
  /** A client's TLS handshake came to nothing. */
  handshakeRefused(listener: string, reason: string): void;
  /** A listener's `tlsProblems` have changed. */
  tlsProblemsChanged(): void;
}

/** A connection in any state. */
type Accepted = ClientConnection | Connection | Opening;

export class Listener implements HttpListener, Http2Listener, ConnectionListener, FrontOwner {
  readonly name: string;
  readonly factory: ExchangeFactory;
  readonly thread: HttpThread;
  readonly #opaque: ConnectionFactory;
  readonly #hooks: ListenerHooks;
  readonly #connections = new Roster<Accepted>();
  readonly #front: Front;
  #compiled: CompiledListener;
  #settings: HttpSettings;
  #parser: RequestParserSettings;
  #http2: Http2Settings;
  #draining = false;
  #holding = false;
  #open = false;
  #acceptedMs = Number.NEGATIVE_INFINITY;
  /** Neither accepting nor serving any more, TLS handshakes included. */
  readonly #over: Promise<void>;

  constructor(
    compiled: CompiledListener,
    settings: HttpSettings,
    factory: ExchangeFactory,
    opaque: ConnectionFactory,
    thread: HttpThread,
    hooks: ListenerHooks,
    tls: Omit<TlsOptions, "protocols" | "thread">,
  ) {
    this.name = compiled.source.name;
    this.factory = factory;
    this.thread = thread;
    this.#opaque = opaque;
    this.#hooks = hooks;
    this.#compiled = compiled;
    this.#settings = settings;
    this.#parser = this.#parserFor(settings);
    this.#http2 = this.#http2For(settings);
    this.#front = new Front(compiled, this, {
      ...tls,
      protocols: ({ connections }) => (connections === undefined ? PROTOCOLS : []),
    });
    const { server } = this.#front;
    this.#over = new Promise((resolve) => server.once("close", resolve));
    void this.#over.then(() => this.#front.close());
    server.on("drop", () => hooks.dropped());
    this.limit(false);
  }

  /** Whether the port can be served on by these tables; otherwise it has to be opened anew. */
  takes({ source }: CompiledListener): boolean {
    const own = this.#compiled.source;
    return source.name === own.name && source.protocol === own.protocol && source.proxyProtocol === own.proxyProtocol;
  }

  get compiled(): CompiledListener {
    return this.#compiled;
  }
  get protocol(): CompiledListener["source"]["protocol"] {
    return this.#compiled.source.protocol;
  }
  get settings(): HttpSettings {
    return this.#settings;
  }
  get parser(): RequestParserSettings {
    return this.#parser;
  }
  get http2(): Http2Settings {
    return this.#http2;
  }
  get http2InClear(): boolean {
    return this.protocol === "http" || this.protocol === "forward-proxy";
  }
  get draining(): boolean {
    return (this.#draining && !this.#holding) || this.#hooks.overload.pressure !== "calm";
  }
  /** Accepting. */
  get open(): boolean {
    return this.#open;
  }
  /** Undefined when it does not listen, or this Node does not tell. */
  get descriptor(): number | undefined {
    return this.#open ? descriptorOf(this.#front.server) : undefined;
  }
  get connections(): number {
    return this.#connections.size;
  }

  /** Binds the port. @returns why it could not, or undefined */
  listen(): Promise<string | undefined> {
    const { bind, port } = this.#compiled.source;
    return new Promise((resolve) => {
      const failed = (error: Error & { code?: string }): void => resolve(bindProblem(bind, port, error));
      this.#front.server.once("error", failed);
      this.#front.server.listen({ host: bind, port, backlog: BACKLOG, reusePort: SHARES_PORTS, exclusive: true }, () => {
        this.#front.server.off("error", failed);
        this.#front.server.on("error", (error) => this.thread.problem(error));
        this.#open = true;
        resolve(undefined);
      });
    });
  }

  /** The same port by new tables. */
  update(compiled: CompiledListener, settings: HttpSettings): void {
    if (settings !== this.#settings) {
      this.#parser = this.#parserFor(settings);
      this.#http2 = this.#http2For(settings);
    }
    this.#compiled = compiled;
    this.#settings = settings;
    this.#front.install(compiled);
  }

  /** Answers say `Connection: close` from now on (`held`: from `sendAway` on), and idle connections go. Goes on accepting. */
  startDraining(held = false): void {
    this.#draining = true;
    this.#holding = held;
    for (const connection of this.#connections) connection.drain();
  }

  /** Asked now and then. @param relieve idle connections should go */
  limit(relieve: boolean): void {
    this.#front.server.maxConnections = this.#hooks.overload.mostConnections;
    if (relieve) for (const connection of this.#connections) connection.drain();
  }

  /** Was going away, and is wanted again. */
  stopDraining(): void {
    this.#draining = false;
  }

  /**
   * Accepts until nobody has connected for a while (or `withinMs` is over), then stops at a moment when nobody waits to be accepted: whom
   * the kernel has told that he is connected is served. Does nothing more when it is wanted again meanwhile.
   *
   * Afterwards clients keep their connections until `sendAway`.
   *
   * @param succeeded another gateway listens there, too, and gets the new connections
   */
  async letGo(withinMs: number, succeeded = false): Promise<void> {
    const beganMs = this.thread.clock.now();
    await this.#quiet(beganMs, succeeded ? HANDSHAKE_QUIET_MS : ACCEPT_QUIET_MS, withinMs);
    // Clients keep their connections while a moment is looked for: who is not told to close does not come anew.
    this.#holding = true;
    await this.#quiet(beganMs, ACCEPT_QUIET_MS, Math.min(LAST_COMERS_MS, withinMs));
    if (!this.#open) return;
    await closeUnnoticed(this.#front.server, () => this.#draining && this.#open);
    if (this.#draining) this.#open = false;
  }

  /** Resolves when nobody has connected for `quietMs`, counted from `sinceMs` on, or `withinMs` are over. */
  async #quiet(sinceMs: number, quietMs: number, withinMs: number): Promise<void> {
    const now = (): number => this.thread.clock.now();
    const giveUpMs = now() + withinMs;
    while (now() < Math.max(this.#acceptedMs, sinceMs) + quietMs && now() < giveUpMs) {
      await pause(ACCEPT_QUIET_MS / 5);
      // Who came while the process stood still is accepted after timers.
      await nextTurn();
    }
  }

  /** Clients are told to close, and may come anew: to whoever has the port now. */
  sendAway(): void {
    if (this.#draining) this.startDraining();
  }

  /** Tells metrics how much has moved on connections that live on. */
  sample(): void {
    for (const connection of this.#connections) if (connection instanceof Connection) connection.sample();
  }

  /** Stops accepting. Connections live on. */
  stopAccepting(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#front.server.close();
  }

  /** Resolves once it accepts no more and the last connection is gone. */
  emptied(): Promise<void> {
    return this.#over;
  }

  /** Ends everything at once. */
  destroy(): void {
    this.stopAccepting();
    this.#front.close();
    for (const connection of this.#connections) connection.destroy();
  }

  refused(info: ConnectionInfo, status: number, reason: string): void {
    this.#hooks.refused(info, status, reason);
  }

  becomeHttp2(connection: ServerConnection, client: ClientSocket, info: ConnectionInfo, early: Uint8Array): void {
    const successor = new Http2ServerConnection(client, this, this.thread, info);
    this.#connections.add(successor);
    this.#connections.delete(connection);
    successor.read(early);
  }

  closed(connection: Accepted): void {
    if (this.#connections.delete(connection)) this.#hooks.overload.connections -= 1;
  }

  // --- what comes through the front door

  http(socket: Socket, ends: Ends): void {
    const verdict = this.#count(socket);
    if (verdict === "closed") return;
    this.#acceptedMs = this.thread.clock.now();
    const isHttp2 = "alpnProtocol" in socket && socket.alpnProtocol === "h2";
    const client = new ClientSocket(socket);
    const info = new AcceptedConnection(this.name, client.socket, ends, verdict === "surplus");
    this.#connections.add(
      isHttp2
        ? new Http2ServerConnection(client, this, this.thread, info)
        : new ServerConnection(client, this, this.thread, info),
    );
  }

  opaque(socket: Socket, server: CompiledServer, incoming: IncomingConnection, early?: Uint8Array): void {
    if (this.#count(socket) === "closed") return;
    this.#acceptedMs = this.thread.clock.now();
    const exchange = this.#opaque.open(incoming, server);
    const connection = new Connection(socket, early, incoming, exchange, this, this.thread);
    this.#connections.add(connection);
    connection.start();
    if (this.#draining) connection.drain();
  }

  /** One more that is served, unless it is one too many. */
  #count(socket: Socket): Overload["connection"] {
    const { overload, dropped } = this.#hooks;
    overload.connections += 1;
    const verdict = overload.connection;
    if (verdict !== "closed") return verdict;
    overload.connections -= 1;
    dropped();
    socket.destroy();
    return verdict;
  }

  opening(opening: Opening): void {
    this.#acceptedMs = this.thread.clock.now();
    this.#connections.add(opening);
  }

  openingOver(opening: Opening): void {
    this.#connections.delete(opening);
  }

  refusedConnection(incoming: IncomingConnection, reason: string): void {
    this.#hooks.refusedConnection(this.name, incoming, reason);
  }

  handshakeRefused(reason: string): void {
    this.#hooks.handshakeRefused(this.name, reason);
  }

  tlsProblemsChanged(): void {
    this.#hooks.tlsProblemsChanged();
  }

  /** Servers whose certificates cannot be used, or not as they are. */
  get tlsProblems(): readonly TlsProblem[] {
    return this.#front.problems;
  }

  /** Certificates that clients are shown. */
  shown(): readonly ShownCertificate[] {
    return this.#front.shown();
  }

  #parserFor(settings: HttpSettings): RequestParserSettings {
    const { maxRequestLineBytes, maxHeaderBytes, maxHeaderCount, maxRequestBodyBytes } = settings;
    return new RequestParserSettings({
      limits: { ...DEFAULT_HTTP1_LIMITS, maxRequestLineBytes, maxHeaderBytes, maxHeaderCount, maxRequestBodyBytes },
      scheme: this.#scheme,
      decode: decodeLatin1,
    });
  }

  #http2For(settings: HttpSettings): Http2Settings {
    const { maxRequestLineBytes, maxHeaderBytes, maxHeaderCount, maxRequestBodyBytes } = settings;
    return new Http2Settings({
      role: "server",
      limits: {
        ...DEFAULT_HTTP2_LIMITS,
        maxConcurrentStreams: settings.maxConcurrentStreams ?? DEFAULT_HTTP2_LIMITS.maxConcurrentStreams,
        maxTargetBytes: maxRequestLineBytes,
        maxHeaderListBytes: maxHeaderBytes,
        maxHeaderBlockBytes: maxHeaderBytes,
        maxHeaderCount,
        maxRequestBodyBytes,
      },
      scheme: this.#scheme,
      // A forward proxy passes on no other protocol than by a tunnel.
      extendedConnect: this.protocol !== "forward-proxy",
      decode: decodeLatin1,
    });
  }

  get #scheme(): "http" | "https" {
    return this.protocol === "https" || this.protocol === "tls" ? "https" : "http";
  }
}

/** What is agreed on with clients that can choose (RFC 7301), where HTTP is spoken. */
const PROTOCOLS: readonly string[] = ["h2", "http/1.1"];

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function bindProblem(bind: string, port: number, error: Error & { code?: string }): string {
  const where = `${bind}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return `${where} is in use by another process: stop that, or choose another port`;
    case "EACCES":
      return `${where} may not be opened by this user: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE`;
    case "EADDRNOTAVAIL":
      return `${where}: this machine has no such address`;
    default:
      return `${where}: ${error.message}`;
  }
}
