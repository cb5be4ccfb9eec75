/**
 * TLS termination: which certificate answers which name, from files that may change under way.
 *
 * A server whose files cannot be used is refused by name and the others keep working; files that become unusable later leave
 * the certificate that was good in place.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";
import { type CompiledListener, findHost } from "../core/index.ts";
import type { ListenerServer, TerminatedTls, TlsVersion } from "../core/ir/index.ts";

export interface TlsProblem {
  /** Server by name. */
  readonly name: string;
  readonly reason: string;
}

interface Loaded {
  readonly tls: TerminatedTls;
  readonly files: { readonly cert: Buffer; readonly key: Buffer };
  /** Hash of the file contents that `context` was made of. */
  readonly hash: string;
  readonly context: SecureContext;
}

/** A change to a file is looked at when its directory has been quiet for this long. */
const SETTLE_MS = 100;

export class TlsContexts {
  readonly #onProblem: (problem: TlsProblem) => void;
  readonly #onReload: () => void;
  readonly #watchers = new Map<string, FSWatcher>();
  #loaded = new Map<string, Loaded>();
  #listener: CompiledListener | undefined;
  #settle: NodeJS.Timeout | undefined;

  /**
   * @param onProblem told of files that have become unusable while in use
   * @param onReload told when files in use have been read again
   */
  constructor(onProblem: (problem: TlsProblem) => void, onReload: () => void) {
    this.#onProblem = onProblem;
    this.#onReload = onReload;
  }

  /** Takes over the servers of a listener. Those that cannot be loaded are named in the answer and answer nobody. */
  install(listener: CompiledListener): readonly TlsProblem[] {
    const problems: TlsProblem[] = [];
    const loaded = new Map<string, Loaded>();
    for (const server of listener.source.servers) {
      const entry = this.#load(server, problems);
      if (entry !== undefined) loaded.set(server.name, entry);
    }
    this.#loaded = loaded;
    this.#listener = listener;
    this.#watch();
    return problems;
  }

  /** The context for a server name; undefined closes the handshake. `""`: the client named none. */
  contextFor(serverName: string): SecureContext | undefined {
    const server = this.#serverFor(serverName);
    return server === undefined ? undefined : this.#loaded.get(server.name)?.context;
  }

  /** What a client that names no server gets; undefined: nothing, its handshake fails. */
  get unnamed(): Loaded["files"] | undefined {
    const server = this.#serverFor("");
    return server === undefined ? undefined : this.#loaded.get(server.name)?.files;
  }

  /** Whether a finished handshake keeps to the versions of the server it is for: contexts picked by name cannot change those. */
  permits(serverName: string, protocol: string | null): boolean {
    const tls = this.#serverFor(serverName)?.tls;
    if (tls?.mode !== "simple" || protocol === null) return false;
    return (
      VERSIONS.indexOf(protocol) >= VERSIONS.indexOf(tls.minVersion) &&
      VERSIONS.indexOf(protocol) <= VERSIONS.indexOf(tls.maxVersion)
    );
  }

  close(): void {
    clearTimeout(this.#settle);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #serverFor(serverName: string): ListenerServer | undefined {
    const listener = this.#listener;
    if (listener === undefined) return undefined;
    return (serverName === "" ? listener.servers.any : findHost(listener.servers, serverName.toLowerCase()))?.source;
  }

  #load(server: ListenerServer, problems: TlsProblem[]): Loaded | undefined {
    const { tls } = server;
    if (tls === undefined) {
      problems.push({ name: server.name, reason: "an https server needs a certificate and a private key" });
      return undefined;
    }
    if (tls.mode === "platform") {
      problems.push({ name: server.name, reason: "its TLS ends at the platform of an edge site, which this gateway is not" });
      return undefined;
    }
    const before = this.#loaded.get(server.name);
    try {
      const cert = readFileSync(tls.certificateFile);
      const key = readFileSync(tls.privateKeyFile);
      const hash = createHash("sha256").update(cert).update(key).update(JSON.stringify(tls)).digest("base64url");
      if (before?.hash === hash) return before;
      const ciphers = tls.cipherSuites.length === 0 ? {} : { ciphers: tls.cipherSuites.join(":") };
      const context = createSecureContext({ cert, key, minVersion: tls.minVersion, maxVersion: tls.maxVersion, ...ciphers });
      return { tls, files: { cert, key }, hash, context };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      problems.push({ name: server.name, reason: `certificate ${tls.certificateFile}, key ${tls.privateKeyFile}: ${reason}` });
      // Settings that point at the same files: a half-written file must not take a working server down.
      return before !== undefined && sameFiles(before.tls, tls) ? before : undefined;
    }
  }

  /** Directories are watched, not files: a file that is replaced, or reached over a link that is moved, is another file. */
  #watch(): void {
    const wanted = new Set<string>();
    for (const { tls } of this.#loaded.values()) wanted.add(dirname(tls.certificateFile)).add(dirname(tls.privateKeyFile));
    for (const [directory, watcher] of this.#watchers) {
      if (wanted.has(directory)) continue;
      watcher.close();
      this.#watchers.delete(directory);
    }
    for (const directory of wanted) {
      if (this.#watchers.has(directory)) continue;
      try {
        const watcher = watch(directory, { persistent: false }, () => this.#changed());
        watcher.on("error", () => undefined);
        this.#watchers.set(directory, watcher);
      } catch (error) {
        this.#onProblem({ name: directory, reason: `not watched for new certificates: ${String(error)}` });
      }
    }
  }

  #changed(): void {
    clearTimeout(this.#settle);
    this.#settle = setTimeout(() => {
      if (this.#listener === undefined) return;
      for (const problem of this.install(this.#listener)) this.#onProblem(problem);
      this.#onReload();
    }, SETTLE_MS);
    this.#settle.unref();
  }
}

const VERSIONS: readonly string[] = ["TLSv1.2", "TLSv1.3"] satisfies readonly TlsVersion[];

function sameFiles(one: TerminatedTls, other: TerminatedTls): boolean {
  return one.certificateFile === other.certificateFile && one.privateKeyFile === other.privateKeyFile;
}
