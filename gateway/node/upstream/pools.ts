/** The pools of an endpoint: one for each protocol that it is spoken to in. */
import type { UpstreamEndpoint, UpstreamTarget } from "../../core/index.ts";
import { Http1Pool } from "./http1-pool.ts";
import { Http2Pool } from "./http2-pool.ts";
import type { UpstreamPool, UpstreamThread } from "./pool.ts";

class EndpointPools {
  http1: Http1Pool | undefined;
  http2: Http2Pool | undefined;
}

/**
 * Made when it is first used and kept with the endpoint.
 *
 * @param isHttp2 what the request came by, for clusters that are spoken to likewise
 */
export function poolOf(thread: UpstreamThread, target: UpstreamTarget, isHttp2: boolean): UpstreamPool {
  const { endpoint, protocol } = target;
  let pools: EndpointPools;
  if (endpoint.runtime instanceof EndpointPools) pools = endpoint.runtime;
  else {
    pools = new EndpointPools();
    endpoint.runtime = pools;
  }
  if (protocol === "http2" || (protocol === "client" && isHttp2)) {
    pools.http2 ??= new Http2Pool(thread, target);
    return pools.http2;
  }
  pools.http1 ??= new Http1Pool(thread, target);
  return pools.http1;
}

/** An endpoint is not a place to send to any more: what waits for its next request is closed. */
export function closeIdle({ runtime }: UpstreamEndpoint): void {
  if (!(runtime instanceof EndpointPools)) return;
  runtime.http1?.closeIdle();
  runtime.http2?.closeIdle();
}
