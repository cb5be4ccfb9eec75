/** This gateway's own listener, as an endpoint to send requests out of tunnels to. */
import type { UpstreamTarget } from "../core/index.ts";
import type { ClientTls, Listener, ListenerServer, PoolSettings } from "../core/ir/index.ts";

/** Passports are not routed, so any listener does; one in clear costs least. */
export function ingressTarget(listeners: readonly Listener[], before: UpstreamTarget | undefined): UpstreamTarget | undefined {
  const listener =
    listeners.find(({ protocol }) => protocol === "http") ??
    listeners.find(({ protocol, servers }) => protocol === "https" && servers.some(takesAnybody));
  if (listener === undefined) return undefined;
  const address = loopback(listener.bind);
  const key = `tunnel|${address}|${listener.port}`;
  const tls = listener.protocol === "https" ? ownTls(listener) : undefined;
  // The connections stay with their endpoint.
  const endpoint =
    before?.endpoint.key === key
      ? before.endpoint
      : { key, address, port: listener.port, weight: 1, active: 0, runtime: undefined };
  return { endpoint, pool: POOL, tls, proxyProtocol: listener.proxyProtocol === undefined ? undefined : "v2" };
}

/** As many as tunnels may carry. Idle connections go before the listener's own idle timeout closes them under a request. */
const POOL: PoolSettings = {
  connectTimeoutMs: 1_000,
  idleTimeoutMs: 5_000,
  maxConnections: 4_096,
  maxPendingRequests: 4_096,
  maxRequestsPerConnection: 0,
};

/** We have no certificate to show. */
function takesAnybody({ tls }: ListenerServer): boolean {
  return tls?.mode === "simple" || tls?.mode === "optional-mutual";
}

function loopback(bind: string): string {
  if (bind === "0.0.0.0") return "127.0.0.1";
  return bind === "::" ? "::1" : bind;
}

/** The other end is this process: there is nobody to be told apart by a certificate. */
function ownTls({ servers }: Listener): ClientTls {
  const names = servers
    .filter(takesAnybody)
    .flatMap(({ serverNames }) => serverNames)
    .filter((name) => name !== "*");
  // Any name does that a server answers to.
  const serverName = names.find((name) => !name.startsWith("*")) ?? names[0]?.replace("*", "tunnel");
  return {
    mode: "simple",
    subjectAltNames: [],
    minVersion: "TLSv1.2",
    insecureSkipVerify: true,
    ...(serverName === undefined ? {} : { serverName }),
  };
}
