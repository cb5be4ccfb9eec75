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
  /**
   * static: endpoints are addresses. dns: names stand for all their addresses. logical-dns: each name stands for its first address.
   * A runtime that resolves nothing itself is given the names.
   */
  readonly discovery: "static" | "dns" | "logical-dns";
  readonly loadBalancer: LoadBalancer;
  readonly pool: PoolSettings;
  readonly tls?: ClientTls;
  /** Retries in flight may be at most this share of requests in flight, but never under `minConcurrent`. Each thread of a gateway counts its own, with its share of the latter, rounded up. */
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
  /** Endpoints that fail requests are left out for a while. Absent: they are not. */
  readonly outlier?: OutlierDetection;
  /** Endpoints are asked whether they are well. Absent: they are not. */
  readonly healthCheck?: HealthCheck;
  /** Absent: no limits. Each thread of a gateway has its share, rounded up. */
  readonly circuit?: CircuitLimits;
  /** Every connection begins with a PROXY protocol header of this version that tells its client's address, and carries that client's requests alone. Absent: none is sent. */
  readonly proxyProtocol?: "v1" | "v2";
}

/** `client`: what the client's request came by. Over TLS the endpoint has to agree by ALPN; without TLS it is taken to know (RFC 9113 3.3). */
export type ClusterProtocol = "http1" | "http2" | "client";

export interface ClusterHttp2 {
  /** Requests at once on one connection, if the endpoint allows as many. */
  readonly maxConcurrentStreams: number;
}

export interface LoadBalancer {
  readonly policy: "round-robin" | "random" | "least-request" | "ring-hash" | "maglev";
  /** With ring-hash and maglev only. */
  readonly hash?: HashPolicy;
  /** How near endpoints are preferred. Absent: all share. */
  readonly locality?: LocalityPolicy;
  /** What newly come endpoints get at first. Absent: their whole share. */
  readonly warmup?: Warmup;
  /** Fewer healthy endpoints than this share of a level, and all of its endpoints are used, well or not. Default 50; 0: never. */
  readonly panicPercent?: number;
}

export interface HashPolicy {
  readonly on: HashSource;
  /** ring-hash: fewest places on the ring. maglev: places in the table, a prime. */
  readonly tableSize: number;
}

/** What of a request says where it goes. A request that lacks it goes anywhere. */
export type HashSource =
  | { readonly kind: "header"; readonly name: string }
  | {
      readonly kind: "cookie";
      readonly name: string;
      readonly path?: string;
      /** A cookie that is absent is set, for this long; 0: for the session. Absent: it is not set. */
      readonly ttlMs?: number;
      /** Further attributes of the cookie that is set: name and value, or a name alone. */
      readonly attributes?: readonly string[];
    }
  | { readonly kind: "source-ip" }
  | { readonly kind: "query"; readonly name: string };

/** Localities are `region/zone/subzone`; the gateway's own is its setting or that of `Settings`. */
export type LocalityPolicy =
  /** Shares by locality; `*` and what is left out take any. The first that takes the gateway's locality holds; endpoints that nobody names get nothing. */
  | {
      readonly kind: "distribute";
      readonly rules: readonly { readonly from: string; readonly to: readonly (readonly [locality: string, weight: number])[] }[];
    }
  /** The nearest endpoints first; of other regions, those that the gateway's region fails over to before others. */
  | { readonly kind: "failover"; readonly regions: readonly (readonly [from: string, to: string])[] }
  /** Endpoints that carry more of these labels, counted from the first, go first. */
  | { readonly kind: "failover-priority"; readonly labels: readonly PriorityLabel[] };

export interface PriorityLabel {
  readonly name: string;
  /** Absent: what the gateway's locality says, for the names of region, zone and subzone; otherwise nothing matches. */
  readonly value?: string;
}

export interface Warmup {
  readonly durationMs: number;
  /** Share of its weight that an endpoint has at least. */
  readonly minimumPercent: number;
  /** 1: the share grows in a straight line; more: faster at first. */
  readonly aggression: number;
}

/** In all counts 0 is off. */
export interface OutlierDetection {
  /** Responses of 5xx in a row; failures without a response, too, unless `splitLocalOrigin`. */
  readonly consecutive5xx: number;
  /** Of 502, 503 and 504. */
  readonly consecutiveGatewayErrors: number;
  /** Failures without a response count apart. */
  readonly splitLocalOrigin: boolean;
  readonly consecutiveLocalOriginFailures: number;
  /** How often it is looked whether an ejection is over. */
  readonly intervalMs: number;
  /** Times the number of ejections. */
  readonly baseEjectionMs: number;
  /** Of the cluster's endpoints at most so many are ejected. */
  readonly maxEjectionPercent: number;
}

export interface HealthCheck {
  readonly probe: HealthProbe;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Each interval is longer by up to this share of it. */
  readonly jitterPercent: number;
  /** Failures in a row that make a healthy endpoint unhealthy. */
  readonly unhealthyThreshold: number;
  /** Successes in a row that make an unhealthy endpoint healthy. */
  readonly healthyThreshold: number;
  /** Absent: the endpoint's own. */
  readonly port?: number;
}

export type HealthProbe =
  /** Well: one of the statuses. */
  | {
      readonly kind: "http";
      readonly path: string;
      /** Absent: the service's host. */
      readonly host?: string;
      /** Ranges, both ends included. */
      readonly statuses: readonly (readonly [from: number, to: number])[];
    }
  /** Well: it takes a connection (and finishes the TLS handshake, where the cluster has TLS). */
  | { readonly kind: "tcp" }
  /** Well: `grpc.health.v1.Health/Check` says SERVING. */
  | { readonly kind: "grpc"; readonly service: string; readonly authority?: string };

export interface CircuitLimits {
  /** Requests in flight. */
  readonly maxRequests?: number;
  /** Retries in flight, besides what `retryBudget` allows. */
  readonly maxRetries?: number;
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
  /** Of the cluster and gateway; each thread has its share, rounded up. So of the next one. */
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  /** 0: no limit. */
  readonly maxRequestsPerConnection: number;
  /** A connection older than this takes no more requests and is closed when it is idle. Absent: no limit. */
  readonly maxConnectionMs?: number;
  /** Probes on idle connections. Absent: what the system does. */
  readonly keepAlive?: TcpKeepAlive;
  /** An opaque connection on which nothing moves either way is closed after this. Absent: `idleTimeoutMs`. */
  readonly tcpIdleTimeoutMs?: number;
}

export interface TcpKeepAlive {
  /** Without a byte for this long, probing begins. */
  readonly idleMs: number;
  readonly intervalMs?: number;
  /** Without an answer to so many, the connection is dead. */
  readonly probes?: number;
}

export interface ClusterEndpoints {
  readonly cluster: string;
  readonly endpoints: readonly Endpoint[];
}

export interface Endpoint {
  /** IP literal (canonical) or, unless `discovery` is static, a host name. */
  readonly address: string;
  readonly port: number;
  /** Positive. */
  readonly weight: number;
  readonly locality?: string;
  /** Those that its cluster's failover-priority names: name and value. */
  readonly labels?: readonly (readonly [name: string, value: string])[];
}
