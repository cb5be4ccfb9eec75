/**
 * TLS termination of one listener: which server a client gets by the name it asks for, and what becomes of the handshake.
 *
 * Where there are several, the name is read out of the ClientHello before the library sees it, so each server has its own versions, ciphers, certificates, rules for
 * clients and session tickets, whatever else is on the port. Files may change under way: what can be used takes the place of what was, for new
 * connections; what cannot is told, and what was in force stays. A server whose files cannot be used from the start answers nobody, and the others
 * keep working.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { type CompiledListener, findHost } from "../core/index.ts";
import type { ListenerServer, PemFile, TerminatedTls } from "../core/ir/index.ts";
import { FileWatch } from "./file-watch.ts";
import type { PemFiles } from "./pem-files.ts";
import { Recent } from "./recent.ts";
import { type ClientFacts, type ClientVerdict, judgeClient, shownBy } from "./tls-client.ts";
import { Handshake, type HandshakeThread, leaveAccepted, takeHandshake } from "./tls-handshake.ts";
import { readServer, type ShownCertificate, validityProblems } from "./tls-material.ts";
import { TlsServer, type TlsServerOwner } from "./tls-server.ts";

export interface TlsProblem {
  /** Server by name. */
  readonly name: string;
  readonly reason: string;
}

/** What a handshake has established. */
export interface TlsSession {
  readonly serverName: string | undefined;
  readonly version: string;
  /** What the client has proven about itself, if anything. */
  readonly who: ClientFacts | undefined;
}

/** Whoever handed a connection in, with `given` as its own note about it. */
export interface TlsOwner<Given> {
  secured(socket: TLSSocket, session: TlsSession, given: Given): void;
  /** It is closed. */
  handshakeRefused(reason: string, serverName: string | undefined, given: Given): void;
  /** `problems` is not what it was at `install`, or when this was told before. */
  tlsProblemsChanged(): void;
}

export interface TlsOptions {
  readonly files: PemFiles;
  readonly thread: HandshakeThread;
  /** The same in all threads. */
  readonly ticketSecret: Uint8Array;
  readonly unixMs: () => number;
  readonly protocols: (server: ListenerServer) => readonly string[];
}

/** Servers whose library side is kept at once; of more, those are made anew whose last client was longest ago. */
export const MAX_LIVE_SERVERS = 1_024;
/** Fatal alert (RFC 8446 6): unrecognized_name (112). */
const UNRECOGNIZED_NAME = Uint8Array.of(21, 3, 3, 0, 2, 2, 112);

const TOO_LATE = "the handshake was not over in time";
const NO_SERVER = "no server has the name that the client asks for";
const ANYBODY: ClientVerdict = { kind: "allow", who: undefined };
const KEPT = "what was read before stays in force";

export class TlsTermination<Given> implements TlsServerOwner {
  readonly ticketSecret: Uint8Array;
  readonly unixMs: () => number;
  readonly protocols: (server: ListenerServer) => readonly string[];
  readonly #files: PemFiles;
  readonly #owner: TlsOwner<Given>;
  readonly #watch: FileWatch;
  readonly #thread: HandshakeThread;
  readonly #live = new Recent<TlsServer>(MAX_LIVE_SERVERS, (server) => server.rest());
  #servers = new Map<string, TlsServer>();
  /** Of one. */
  #only: TlsServer | undefined;
  #listener: CompiledListener | undefined;
  #problems: readonly TlsProblem[] = [];

  constructor({ files, thread, ticketSecret, unixMs, protocols }: TlsOptions, owner: TlsOwner<Given>) {
    this.ticketSecret = ticketSecret;
    this.unixMs = unixMs;
    this.protocols = protocols;
    this.#files = files;
    this.#thread = thread;
    this.#owner = owner;
    this.#watch = new FileWatch(
      () => this.#reload(),
      (directory, reason) => this.#tell({ name: directory, reason: `not watched for new certificates: ${reason}` }),
    );
  }

  /** What is wrong with certificates now. */
  get problems(): readonly TlsProblem[] {
    return this.#problems;
  }

  /** Takes over the servers of a listener that end TLS. */
  install(listener: CompiledListener): void {
    const problems: TlsProblem[] = [];
    const servers = new Map<string, TlsServer>();
    const paths = new Set<string>();
    for (const source of listener.source.servers) {
      const tls = terminated(source, problems);
      if (tls === undefined) continue;
      for (const file of filesOf(tls)) {
        const path = this.#files.pathOf(file);
        if (path !== undefined) paths.add(path);
      }
      const server = this.#load(source, tls, problems);
      if (server !== undefined) servers.set(source.name, server);
    }
    this.#live.keep((server) => servers.get(server.source.name) === server);
    this.#servers = servers;
    this.#only = listener.source.servers.length === 1 ? servers.values().next().value : undefined;
    this.#listener = listener;
    this.#problems = problems;
    this.#watch.follow(paths);
  }

  /** Certificates that clients are shown. */
  shown(): readonly ShownCertificate[] {
    return [...this.#servers.values()].flatMap(({ material }) => material.shown);
  }

  /** Whether `acceptUnread` does: there is nothing to choose by a name. */
  get takesUnread(): boolean {
    return this.#only !== undefined;
  }

  /**
   * Shakes hands on an accepted connection whose ClientHello has been read and put back. What was established is told to the owner, or why
   * nothing was.
   *
   * @param serverName as the client wrote it; undefined: it named none
   */
  accept(socket: Socket, serverName: string | undefined, given: Given): void {
    const name = serverName?.toLowerCase();
    const server = this.#serverFor(name);
    if (server === undefined) {
      this.#owner.handshakeRefused(name === undefined ? "the client names no server" : NO_SERVER, name, given);
      socket.end(UNRECOGNIZED_NAME);
      socket.destroySoon();
      return;
    }
    this.#shake(server, socket, new Handshake(socket, given, name, true, this.#thread));
  }

  /** The same for a connection of which nothing has been read, where there is one server: the name is looked at when the handshake is over. */
  acceptUnread(socket: Socket, given: Given): void {
    if (this.#only === undefined) socket.destroy();
    else this.#shake(this.#only, socket, new Handshake(socket, given, undefined, false, this.#thread));
  }

  #shake(server: TlsServer, socket: Socket, handshake: Handshake<Given>): void {
    try {
      server.accept(socket);
      this.#live.use(server);
    } catch (error) {
      const reason = `its certificate cannot be used: ${error instanceof Error ? error.message : String(error)}`;
      this.#tell({ name: server.source.name, reason });
      this.#thread.deadlines.remove(handshake);
      this.#owner.handshakeRefused(reason, handshake.serverName, handshake.given);
      socket.destroy();
    }
  }

  /** Stops watching files. Connections live on. */
  close(): void {
    this.#watch.close();
  }

  shaken(server: TlsServer, socket: TLSSocket): void {
    const handshake = takeHandshake<Given>(socket, this.#thread);
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    leaveAccepted(socket);
    const { given } = handshake;
    const serverName = handshake.isRead ? handshake.serverName : this.#nameOf(server, socket);
    const verdict = this.#judge(server, socket, serverName);
    if (verdict.kind === "deny") {
      this.#owner.handshakeRefused(verdict.reason, serverName, given);
      socket.destroy();
      return;
    }
    this.#owner.secured(socket, { serverName, version: socket.getProtocol() ?? "", who: verdict.who }, given);
  }

  /** The name of a handshake whose ClientHello nobody has read. */
  #nameOf({ source }: TlsServer, socket: TLSSocket): string | undefined {
    if (typeof socket.servername === "string") return socket.servername.toLowerCase();
    // A session is this server's alone, but which of its names was asked for TLS 1.2 does not tell when it is resumed.
    return socket.isSessionReused() && socket.getProtocol() === "TLSv1.2" ? source.serverNames[0] : undefined;
  }

  #judge(server: TlsServer, socket: TLSSocket, serverName: string | undefined): ClientVerdict {
    // The library leaves the name out when a session of TLS 1.2 is resumed; any other name is not the one that this server was chosen by.
    if (typeof socket.servername === "string" && socket.servername.toLowerCase() !== serverName)
      return { kind: "deny", reason: "the handshake is for another name than its ClientHello" };
    if (this.#serverFor(serverName)?.source.name !== server.source.name) return { kind: "deny", reason: NO_SERVER };
    return server.tls.mode === "simple" ? ANYBODY : judgeClient(server.tls, shownBy(socket), this.unixMs());
  }

  failed(_server: TlsServer, socket: TLSSocket, error: Error & { readonly code?: unknown }): void {
    const handshake = takeHandshake<Given>(socket, this.#thread);
    if (handshake !== undefined) {
      const reason = handshake.isLate ? TOO_LATE : `handshake: ${typeof error.code === "string" ? error.code : error.message}`;
      this.#owner.handshakeRefused(reason, handshake.serverName, handshake.given);
    }
    socket.destroy();
  }

  #serverFor(serverName: string | undefined): TlsServer | undefined {
    const listener = this.#listener;
    if (listener === undefined) return undefined;
    const source = serverName === undefined ? listener.servers.any : findHost(listener.servers, serverName);
    return source === undefined ? undefined : this.#servers.get(source.source.name);
  }

  #load(source: ListenerServer, tls: TerminatedTls, problems: TlsProblem[]): TlsServer | undefined {
    const before = this.#servers.get(source.name);
    const nowMs = this.unixMs();
    const protocols = String(this.protocols(source));
    const isSame = before !== undefined && JSON.stringify(before.tls) === JSON.stringify(tls);
    const stamp = this.#files.stamp(filesOf(tls));
    if (isSame && before.stamp === stamp && String(this.protocols(before.source)) === protocols) {
      for (const reason of validityProblems(before.material.shown, nowMs)) problems.push({ name: source.name, reason });
      return before;
    }
    const read = readServer(tls, this.#files, source.name);
    if (!read.ok) {
      // What other rules asked for is no stand-in: a server that came to ask for certificates would go on without.
      const kept = isSame ? before : undefined;
      problems.push({
        name: source.name,
        reason: `${read.error}${kept === undefined ? "" : "; what was read before stays in force"}`,
      });
      return kept;
    }
    const material = read.value;
    const issues = validityProblems(material.shown, nowMs);
    if (before?.material.hash === material.hash && String(this.protocols(before.source)) === protocols) {
      for (const reason of issues) problems.push({ name: source.name, reason });
      before.stamp = stamp;
      return before;
    }
    const isWorse = before !== undefined && issues.length > 0 && validityProblems(before.material.shown, nowMs).length === 0;
    const kept = isWorse && before.material.session === material.session;
    for (const reason of issues) problems.push({ name: source.name, reason: kept ? `${reason}; ${KEPT}` : reason });
    return kept ? before : new TlsServer(source, tls, material, stamp, this);
  }

  #reload(): void {
    if (this.#listener === undefined) return;
    const before = JSON.stringify(this.#problems);
    this.install(this.#listener);
    if (JSON.stringify(this.#problems) !== before) this.#owner.tlsProblemsChanged();
  }

  #tell(problem: TlsProblem): void {
    if (this.#problems.some(({ name, reason }) => name === problem.name && reason === problem.reason)) return;
    this.#problems = [...this.#problems, problem];
    this.#owner.tlsProblemsChanged();
  }
}

/** Undefined: TLS does not end here. */
function terminated({ name, tls }: ListenerServer, problems: TlsProblem[]): TerminatedTls | undefined {
  switch (tls?.mode) {
    case undefined:
      problems.push({ name, reason: "an https server needs a certificate and a private key" });
      return undefined;
    case "passthrough":
    case "auto-passthrough":
      return undefined;
    case "platform":
      problems.push({ name, reason: "its TLS ends at the platform of an edge site, which this gateway is not" });
      return undefined;
    default:
      return tls;
  }
}

function filesOf(tls: TerminatedTls): readonly PemFile[] {
  const pairs = [tls, ...(tls.otherCertificates ?? [])].flatMap(({ certificateFile, privateKeyFile }) => [
    certificateFile,
    privateKeyFile,
  ]);
  const { caFile, crlFile } = tls.mode === "simple" ? {} : tls.client;
  return [...pairs, caFile, crlFile].filter((file) => file !== undefined);
}
