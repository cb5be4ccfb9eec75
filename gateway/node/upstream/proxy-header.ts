/** What a connection to an origin begins with where its cluster wants to know who the client is. */
import type { IncomingConnection, UpstreamTarget } from "../../core/index.ts";
import { writeProxyHeader } from "../../wire/index.ts";

/** The client, and what it has connected to. */
export type Told = Pick<IncomingConnection, "peer" | "local">;

/** A connection of our own account: of no client. */
const OURSELVES: Told = { peer: { address: "", port: 0 }, local: { address: "", port: 0 } };

/** @param version undefined: there is no header */
export function proxyHeader(version: UpstreamTarget["proxyProtocol"], { peer, local }: Told = OURSELVES): Uint8Array | undefined {
  return version === undefined ? undefined : writeProxyHeader(version === "v1" ? 1 : 2, peer, local);
}
