/** Backends. Definition and endpoints travel in different chunks, because endpoints change a hundred times as often. */
import type { Origin } from "./common.ts";
import type { ClientTls } from "./tls.ts";

export interface Cluster {
  /** Envoy's and Istio's form: `outbound|<port>|<subset>|<host>`. */
  readonly name: string;
  /** The service's host name, for metrics and logs. */
  readonly host: string;
  readonly port: number;
  readonly subset?: string;
  readonly origin: Origin;
  readonly discovery: "static" | "dns";
  readonly loadBalancer: { readonly policy: "round-robin" | "random" | "least-request" };
  readonly pool: PoolSettings;
  readonly tls?: ClientTls;
  /** Retries in flight may be at most this share of requests in flight, but never under `minConcurrent`. */
  readonly retryBudget: { readonly percent: number; readonly minConcurrent: number };
  /** The endpoints are the ingress of the cluster that has the service, and requests carry a passport. Undefined: they are the service's own. */
  readonly via?: ClusterVia;
  /** Quotas (by id) of the service, for requests that come without a route of this snapshot. A route that leads here names them itself. */
  readonly quotas?: readonly string[];
  /** What is spoken to the endpoints. Absent: `http1`. */
  readonly protocol?: ClusterProtocol;
  readonly http2?: ClusterHttp2;
  /** The service speaks gRPC to clients of gRPC-Web. Absent: what comes in gRPC-Web goes on as it is. */
  readonly grpcWeb?: boolean;
}

/** `client`: what the client's request came by. Over TLS the endpoint has to agree by ALPN; without TLS it is taken to know (RFC 9113 3.3). */
export type ClusterProtocol = "http1" | "http2" | "client";

export interface ClusterHttp2 {
  /** Requests at once on one connection, if the endpoint allows as many. */
  readonly maxConcurrentStreams: number;
}

/** How an edge gateway reaches a service inside a cluster. */
export interface ClusterVia {
  /** `passport`: over HTTPS to the cluster's ingress. `tunnel`: over connections that a gateway of the cluster keeps open to the site. */
  readonly kind: "passport" | "tunnel";
  /** Name of the cluster: the passport's audience. */
  readonly cluster: string;
  /** Name of the IR cluster over there that the request goes to; the passport says so. */
  readonly destination: string;
}

export interface PoolSettings {
  readonly connectTimeoutMs: number;
  /** Idle keep-alive connection is closed after this. */
  readonly idleTimeoutMs: number;
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number;
}

export interface ClusterEndpoints {
  readonly cluster: string;
  readonly endpoints: readonly Endpoint[];
}

export interface Endpoint {
  /** IP literal (canonical) or, for `discovery: "dns"`, a host name. */
  readonly address: string;
  readonly port: number;
  /** Positive. */
  readonly weight: number;
  readonly locality?: string;
}
