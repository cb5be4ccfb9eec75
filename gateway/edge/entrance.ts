/** Which listener and server a request has come in by: the platform has accepted its connection, so the request alone says. */
import { type CompiledListener, type CompiledServer, findHost, hostOf, type RequestHead, type Tables } from "../core/index.ts";

export interface Entrance {
  readonly listener: CompiledListener;
  readonly server: CompiledServer;
}

type Listeners = Tables["listeners"];

export class Entrances {
  /** Of the tables that were asked about last; their listeners are the same however they age. */
  #listeners: Listeners | undefined;
  #byPort: ReadonlyMap<string, CompiledListener> = new Map();
  /** What was found last, and for what: most requests of an isolate name the same host. */
  #scheme = "";
  #authority = "";
  #found: Entrance | undefined;

  /** The listener for the port that the authority names, else for the scheme's own; undefined: the site has none. */
  find(listeners: Listeners, asked: Pick<RequestHead, "scheme" | "authority">): Entrance | undefined {
    const { scheme, authority } = asked;
    if (this.#listeners === listeners && this.#authority === authority && this.#scheme === scheme) return this.#found;
    if (this.#listeners !== listeners) {
      this.#byPort = byPort(listeners);
      this.#listeners = listeners;
    }
    this.#scheme = scheme;
    this.#authority = authority;
    this.#found = this.#lookUp(asked);
    return this.#found;
  }

  #lookUp({ scheme, authority }: Pick<RequestHead, "scheme" | "authority">): Entrance | undefined {
    const host = hostOf(authority);
    const named =
      authority.length === host.length ? undefined : this.#byPort.get(`${scheme}:${authority.slice(host.length + 1)}`);
    const listener = named ?? this.#byPort.get(scheme === "https" ? "https:443" : "http:80");
    if (listener === undefined) return undefined;
    // The name that the client asked for in TLS is not told; the platform has seen to it that it fits the Host.
    const server = scheme === "https" ? findHost(listener.servers, host) : listener.servers.any;
    return server === undefined ? undefined : { listener, server };
  }
}

/** By scheme and declared port. A listener whose TLS the platform ends is https whatever it says of itself. */
function byPort(listeners: Listeners): ReadonlyMap<string, CompiledListener> {
  const found = new Map<string, CompiledListener>();
  for (const listener of listeners.values()) {
    const { protocol, servicePort, servers } = listener.source;
    if (protocol === "forward-proxy") continue;
    const isTls = protocol === "https" || servers.some(({ tls }) => tls?.mode === "platform");
    const key = `${isTls ? "https" : "http"}:${servicePort}`;
    if (!found.has(key)) found.set(key, listener);
  }
  return found;
}
