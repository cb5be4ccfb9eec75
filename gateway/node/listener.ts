/**
 * One open port: accepts connections and serves them by the tables in force.
 *
 * It outlives snapshots: what changes is what its next request is held against. Closing it stops the accepting; connections finish what they are at.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { CompiledListener, PeerInfo } from "../core/index.ts";
import type { HttpSettings } from "../core/ir/index.ts";
import { DEFAULT_HTTP1_LIMITS, DEFAULT_HTTP2_LIMITS, Http2Settings, RequestParserSettings } from "../wire/index.ts";
import { AcceptQueue } from "./accept-queue.ts";
import type { ClientConnection, HttpThread } from "./call.ts";
import { ClientSocket } from "./client-socket.ts";
import type { ConnectionInfo, ExchangeFactory } from "./exchange.ts";
import { type HelloOwner, HelloPeek } from "./hello-peek.ts";
import { type HttpListener, ServerConnection } from "./http1.ts";
import { type Http2Listener, Http2ServerConnection } from "./http2.ts";
import { decodeLatin1 } from "./latin1.ts";
import { type TlsOptions, type TlsProblem, type TlsSession, TlsTermination } from "./tls.ts";

/** Connections that the kernel holds until they are accepted. */
const BACKLOG = 1024;
/** A listener that goes away accepts until nobody has connected for this long. */
const ACCEPT_QUIET_MS = 100;
/** How long a moment is looked for at which nobody waits to be accepted. */
const QUEUE_EMPTY_MS = 1000;

export interface ListenerHooks {
  /** Bytes that made no request were answered with `status`. */
  refused(info: ConnectionInfo, status: number, reason: string): void;
  /** A client's TLS handshake came to nothing. */
  handshakeRefused(listener: string, reason: string): void;
  /** A listener's `tlsProblems` have changed. */
  tlsProblemsChanged(): void;
}

/** A client as it is known before TLS. */
interface Client {
  readonly address: string;
  readonly port: number;
}

export class Listener implements HttpListener, Http2Listener, HelloOwner {
  readonly name: string;
  readonly factory: ExchangeFactory;
  readonly #thread: HttpThread;
  readonly #hooks: ListenerHooks;
  readonly #connections = new Set<ClientConnection>();
  readonly #openings = new Set<HelloPeek>();
  readonly #tls: TlsTermination<Client> | undefined;
  readonly #server: Server;
  #compiled: CompiledListener;
  #settings: HttpSettings;
  #parser: RequestParserSettings;
  #http2: Http2Settings;
  #draining = false;
  #holding = false;
  #open = false;
  #acceptedMs = Number.NEGATIVE_INFINITY;
  #whenEmpty: (() => void) | undefined;

  constructor(
    compiled: CompiledListener,
    settings: HttpSettings,
    factory: ExchangeFactory,
    thread: HttpThread,
    hooks: ListenerHooks,
    tls: Omit<TlsOptions, "protocols">,
  ) {
    this.name = compiled.source.name;
    this.factory = factory;
    this.#thread = thread;
    this.#hooks = hooks;
    this.#compiled = compiled;
    this.#settings = settings;
    this.#parser = this.#parserFor(settings);
    this.#http2 = this.#http2For(settings);
    this.#tls =
      compiled.source.protocol === "https" ? new TlsTermination({ ...tls, protocols: () => PROTOCOLS }, this) : undefined;
    this.#server = this.#createServer();
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
  /** A forward proxy is spoken to in HTTP/1.1. */
  get http2InClear(): boolean {
    return this.protocol === "http";
  }
  get draining(): boolean {
    return this.#draining && !this.#holding;
  }
  /** Accepting. */
  get open(): boolean {
    return this.#open;
  }
  get connections(): number {
    return this.#connections.size;
  }

  /** Binds the port. @returns why it could not, or undefined */
  listen(reusePort: boolean): Promise<string | undefined> {
    const { bind, port } = this.#compiled.source;
    return new Promise((resolve) => {
      const failed = (error: Error & { code?: string }): void => resolve(bindProblem(bind, port, error));
      this.#server.once("error", failed);
      this.#server.listen({ host: bind, port, backlog: BACKLOG, reusePort, exclusive: true }, () => {
        this.#server.off("error", failed);
        this.#server.on("error", (error) => this.#thread.problem(error));
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
    this.#tls?.install(compiled);
  }

  /** Answers say `Connection: close` from now on, and idle connections go. Goes on accepting. */
  startDraining(): void {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
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
   */
  async letGo(withinMs: number): Promise<void> {
    const beganMs = this.#thread.clock.now();
    const now = (): number => this.#thread.clock.now();
    while (now() < Math.max(this.#acceptedMs, beganMs) + ACCEPT_QUIET_MS && now() < beganMs + withinMs)
      await pause(ACCEPT_QUIET_MS / 5);
    const giveUpMs = now() + QUEUE_EMPTY_MS;
    const queue = new AcceptQueue(this.#compiled.source.port);
    // The first look takes long, the next ones do not. Meanwhile clients keep their connections: who is not told to close does not come anew.
    this.#holding = true;
    queue.waiting();
    while (this.#draining && now() < giveUpMs && (queue.waiting() ?? 0) > 0) await nextTurn();
    if (this.#draining) this.stopAccepting();
  }

  /** Clients are told to close, and may come anew: to whoever has the port now. */
  sendAway(): void {
    this.#holding = false;
    if (this.#draining) this.startDraining();
  }

  /** Stops accepting. Connections live on. */
  stopAccepting(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#server.close();
  }

  /** Resolves once the last connection is gone. */
  emptied(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  /** Ends everything at once. */
  destroy(): void {
    this.stopAccepting();
    this.#tls?.close();
    for (const opening of [...this.#openings]) opening.destroy();
    for (const connection of [...this.#connections]) connection.destroy();
  }

  refused(info: ConnectionInfo, status: number, reason: string): void {
    this.#hooks.refused(info, status, reason);
  }

  becomeHttp2(connection: ServerConnection, client: ClientSocket, info: ConnectionInfo, early: Uint8Array): void {
    const successor = new Http2ServerConnection(client, this, this.#thread, info);
    this.#connections.add(successor);
    this.#connections.delete(connection);
    successor.read(early);
  }

  closed(connection: ClientConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    if (!this.#open) this.#tls?.close();
    this.#whenEmpty?.();
  }

  /** Servers whose certificates cannot be used, or not as they are. */
  get tlsProblems(): readonly TlsProblem[] {
    return this.#tls?.problems ?? [];
  }

  /** Certificates that clients are shown. */
  shown(): ReturnType<TlsTermination<Client>["shown"]> {
    return this.#tls?.shown() ?? [];
  }

  hello(peek: HelloPeek, socket: Socket, serverName: string | undefined): void {
    this.#openings.delete(peek);
    const client = clientOf(socket);
    if (client === undefined) socket.destroy();
    else this.#tls?.accept(socket, serverName, client);
  }

  noHello(peek: HelloPeek, reason: string | undefined): void {
    this.#openings.delete(peek);
    if (reason !== undefined) this.#hooks.handshakeRefused(this.name, reason);
  }

  secured(socket: TLSSocket, session: TlsSession, client: Client): void {
    const { serverName, version, ...who } = session;
    this.#serve(socket, { ...client, ...who, tls: { serverName, version } });
  }

  handshakeRefused(reason: string): void {
    this.#hooks.handshakeRefused(this.name, reason);
  }

  tlsProblemsChanged(): void {
    this.#hooks.tlsProblemsChanged();
  }

  #createServer(): Server {
    const options = { noDelay: true, allowHalfOpen: true };
    if (this.#tls !== undefined) return createServer(options, (socket) => this.#acceptTls(socket));
    return createServer(options, (socket) => {
      const client = clientOf(socket);
      if (client === undefined) socket.destroy();
      else this.#serve(socket, client);
    });
  }

  #acceptTls(socket: Socket): void {
    if (this.#tls?.takesUnread !== true) {
      this.#openings.add(new HelloPeek(socket, this.#thread, this));
      return;
    }
    const client = clientOf(socket);
    if (client === undefined) socket.destroy();
    else this.#tls.acceptUnread(socket, client);
  }

  #serve(socket: Socket, peer: PeerInfo): void {
    const info: ConnectionInfo = { listener: this.name, peer, scheme: peer.tls === undefined ? "http" : "https" };
    this.#acceptedMs = this.#thread.clock.now();
    const isHttp2 = "alpnProtocol" in socket && socket.alpnProtocol === "h2";
    const client = new ClientSocket(socket);
    this.#connections.add(
      isHttp2
        ? new Http2ServerConnection(client, this, this.#thread, info)
        : new ServerConnection(client, this, this.#thread, info),
    );
  }

  #parserFor(settings: HttpSettings): RequestParserSettings {
    const { maxRequestLineBytes, maxHeaderBytes, maxHeaderCount, maxRequestBodyBytes } = settings;
    return new RequestParserSettings({
      limits: { ...DEFAULT_HTTP1_LIMITS, maxRequestLineBytes, maxHeaderBytes, maxHeaderCount, maxRequestBodyBytes },
      scheme: this.protocol === "https" ? "https" : "http",
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
      scheme: this.protocol === "https" ? "https" : "http",
      extendedConnect: true,
      decode: decodeLatin1,
    });
  }
}

/** What is agreed on with clients that can choose (RFC 7301). */
const PROTOCOLS: readonly string[] = ["h2", "http/1.1"];

/** Undefined: it has gone already. */
function clientOf({ remoteAddress, remotePort }: Socket): Client | undefined {
  if (remoteAddress === undefined) return undefined;
  return { address: remoteAddress.startsWith("::ffff:") ? remoteAddress.slice(7) : remoteAddress, port: remotePort ?? 0 };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
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
