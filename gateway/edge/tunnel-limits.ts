/** What a TunnelHub takes on. */

/** Connections of one cluster's gateways. */
export const MAX_TUNNEL_CONNECTIONS = 64;
/** A request that finds no gateway waits for one this long: they come back within that when the object has been restarted. */
export const TUNNEL_WAIT_MS = 3_000;
/** Requests that wait so; more are answered at once. */
export const MAX_TUNNEL_WAITING = 128;
/** While requests are in flight: a connection that has been silent for this long is asked whether it is there, and given up after as long again. */
export const TUNNEL_SILENCE_MS = 10_000;
/** Longest name of a cluster that may connect, characters. */
export const MAX_CLUSTER_NAME_CHARS = 253;
