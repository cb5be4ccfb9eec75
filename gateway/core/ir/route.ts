/** What a request is held against, and what then happens to it. First match wins: all precedence is settled in translation. */
import type { FieldMatch, Origin, StringMatch } from "./common.ts";

export interface RouteTable {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHost[];
  /** Quotas (by id) charged for every request that reaches this table, routed or not. */
  readonly quotas: readonly string[];
}

export interface VirtualHost {
  readonly name: string;
  /** Exact names, `*.suffix`, or `*`; lower case, without port. No two virtual hosts of a table share one. */
  readonly domains: readonly string[];
  /** Present: answer everything over plain HTTP with 301 to https. */
  readonly httpsRedirect?: HttpsRedirect;
  readonly quotas: readonly string[];
  readonly routes: readonly Route[];
}

export interface HttpsRedirect {
  readonly status: 301 | 302 | 303 | 307 | 308;
  /** Port for the Location; undefined or 443: none is written. */
  readonly port?: number;
}

export interface Route {
  /**
   * Stable over versions: `<namespace>/<object>/<route name or index>`. A configured route keeps its id in every table and virtual host
   * that it is bound to; within one virtual host ids are unique.
   */
  readonly id: string;
  readonly name?: string;
  readonly origin: Origin;
  /** Any of; empty: everything. */
  readonly matches: readonly RouteMatch[];
  readonly action: RouteAction;
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
  readonly cors?: CorsPolicy;
  readonly fault?: Fault;
  /** Quota ids in the order they are charged. */
  readonly quotas: readonly string[];
}

/** All present conditions must hold. */
export interface RouteMatch {
  readonly name?: string;
  readonly path?: StringMatch;
  /** Compare `path` without regard to case (exact and prefix only). */
  readonly ignorePathCase?: boolean;
  readonly method?: StringMatch;
  readonly scheme?: StringMatch;
  readonly authority?: StringMatch;
  readonly headers?: readonly FieldMatch[];
  readonly query?: readonly FieldMatch[];
  /** Declared (service) port of the listener. */
  readonly port?: number;
}

export type RouteAction = ForwardAction | RedirectAction | DirectResponseAction;

export interface ForwardAction {
  readonly kind: "forward";
  readonly destinations: readonly WeightedDestination[];
  readonly rewrite?: Rewrite;
  /** Whole request including retries; undefined: none. */
  readonly timeoutMs?: number;
  readonly retry: RetryPolicy;
  readonly mirrors: readonly Mirror[];
}

export interface WeightedDestination {
  /** Cluster name; a name that the snapshot lacks is answered with 503 and flag NC. */
  readonly cluster: string;
  /** Positive; the share is weight / sum. */
  readonly weight: number;
  /** Authority sent to this destination; the route's `rewrite.authority` wins over it. */
  readonly authority?: string;
  readonly requestHeaders?: HeaderOps;
  readonly responseHeaders?: HeaderOps;
}

export interface Rewrite {
  /** Replaces the matched prefix for a prefix match, the whole path otherwise; the query is kept. */
  readonly path?: string;
  readonly pathRegex?: { readonly match: string; readonly substitution: string };
  readonly authority?: string;
}

export interface RedirectAction {
  readonly kind: "redirect";
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly scheme?: "http" | "https";
  readonly authority?: string;
  readonly port?: number | "from-protocol-default" | "from-request";
  /** Replaces the whole path. */
  readonly path?: string;
  /** Replaces the matched prefix. */
  readonly prefix?: string;
}

export interface DirectResponseAction {
  readonly kind: "direct";
  readonly status: number;
  /** UTF-8 text or base64 bytes. */
  readonly body?: { readonly text: string } | { readonly base64: string };
}

/** Applied in this order: remove, set, add. Names lower case. */
export interface HeaderOps {
  readonly remove?: readonly string[];
  readonly set?: readonly (readonly [name: string, value: string])[];
  readonly add?: readonly (readonly [name: string, value: string])[];
}

export interface RetryPolicy {
  /** Extra attempts after the first; 0: none. */
  readonly attempts: number;
  readonly on: readonly RetryCondition[];
  readonly statusCodes: readonly number[];
  readonly perTryTimeoutMs?: number;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  /** Retry requests with methods that RFC 9110 9.2.2 does not call idempotent once bytes were sent. */
  readonly nonIdempotent: boolean;
  /** A retry may go to an endpoint that was tried already. Absent: it looks for another. */
  readonly sameHosts?: boolean;
  /** A retry prefers levels of the cluster (see `LocalityPolicy`) that were not tried. Absent: it goes where any request goes. */
  readonly remoteLocalities?: boolean;
}

export type RetryCondition =
  | "connect-failure"
  | "refused-stream"
  | "reset"
  | "reset-before-request"
  | "gateway-error"
  | "5xx"
  | "retriable-4xx"
  | "retriable-status-codes"
  | "cancelled"
  | "deadline-exceeded"
  | "internal"
  | "resource-exhausted"
  | "unavailable"
  /** The origin says by `x-envoy-ratelimited` that it turned the request away. */
  | "envoy-ratelimited";

export interface Mirror {
  readonly cluster: string;
  readonly percent: number;
}

export interface CorsPolicy {
  readonly allowOrigins: readonly StringMatch[];
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly maxAgeS?: number;
  readonly allowCredentials: boolean;
  /** A preflight that no origin matches: passed on, or answered here without CORS headers. */
  readonly unmatchedPreflights: "forward" | "ignore";
}

/** A request that a fault was injected into skips the route's timeout and retries. */
export interface Fault {
  readonly delay?: { readonly ms: number; readonly percent: number };
  /** `grpcStatus`: what gRPC clients are told; absent: what `status` means to them. */
  readonly abort?: { readonly status: number; readonly percent: number; readonly grpcStatus?: number };
}
