/**
 * The pools of an endpoint: one for each protocol that it is spoken to in. Where its connections tell who the client is (PROXY protocol), every
 * client's connection has pools of its own there, for as long as it lives.
 */
import type { UpstreamEndpoint, UpstreamTarget } from "../../core/index.ts";
import type { ConnectionInfo } from "../exchange.ts";
import { Http1Pool } from "./http1-pool.ts";
import { Http2Pool } from "./http2-pool.ts";
import type { UpstreamPool, UpstreamThread } from "./pool.ts";
import { proxyHeader } from "./proxy-header.ts";

/** Undefined: the gateway itself. */
type Client = ConnectionInfo | undefined;

class Pools {
  http1: Http1Pool | undefined;
  http2: Http2Pool | undefined;
}

class ClientPools extends Pools {
  readonly version: UpstreamTarget["proxyProtocol"];
  readonly header: Uint8Array | undefined;

  constructor(version: UpstreamTarget["proxyProtocol"], client: Client) {
    super();
    this.version = version;
    this.header = proxyHeader(version, client);
  }
}

class EndpointPools extends Pools {
  readonly clients = new Map<Client, ClientPools>();
}

/** Endpoints at which a client's connection has pools of its own. */
const visited = new WeakMap<ConnectionInfo, Set<EndpointPools>>();

/**
 * Made when it is first used and kept with the endpoint.
 *
 * @param isHttp2 what the request came by, for clusters that are spoken to likewise
 * @param client whose request it is
 */
export function poolOf(thread: UpstreamThread, target: UpstreamTarget, isHttp2: boolean, client: Client): UpstreamPool {
  const { endpoint, protocol } = target;
  let shared: EndpointPools;
  if (endpoint.runtime instanceof EndpointPools) shared = endpoint.runtime;
  else {
    shared = new EndpointPools();
    endpoint.runtime = shared;
  }
  const own = target.proxyProtocol === undefined ? undefined : clientPools(shared, target, client);
  const pools: Pools = own ?? shared;
  if (protocol === "http2" || (protocol === "client" && isHttp2)) {
    pools.http2 ??= new Http2Pool(thread, target, own?.header);
    return pools.http2;
  }
  pools.http1 ??= new Http1Pool(thread, target, own?.header);
  return pools.http1;
}

function clientPools(shared: EndpointPools, { proxyProtocol }: UpstreamTarget, client: Client): ClientPools {
  const known = shared.clients.get(client);
  if (known !== undefined) {
    if (known.version === proxyProtocol) return known;
    retire(known);
  }
  const pools = new ClientPools(proxyProtocol, client);
  shared.clients.set(client, pools);
  if (client === undefined) return pools;
  const endpoints = visited.get(client);
  if (endpoints === undefined) visited.set(client, new Set([shared]));
  else endpoints.add(shared);
  return pools;
}

/** The client's connection is gone: nobody else can use what it had. */
export function clientLeft(client: ConnectionInfo): void {
  for (const endpoint of visited.get(client) ?? []) {
    const pools = endpoint.clients.get(client);
    endpoint.clients.delete(client);
    if (pools !== undefined) retire(pools);
  }
  visited.delete(client);
}

/** An endpoint is not a place to send to any more: what waits for its next request is closed. */
export function closeIdle({ runtime }: UpstreamEndpoint): void {
  if (!(runtime instanceof EndpointPools)) return;
  for (const { http1, http2 } of [runtime, ...runtime.clients.values()]) {
    http1?.closeIdle();
    http2?.closeIdle();
  }
}

function retire({ http1, http2 }: Pools): void {
  http1?.retire();
  http2?.retire();
}
