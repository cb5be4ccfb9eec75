/** What a route does: forward, redirect or answer, with the policies of a forwarded request. */

import type {
  CorsPolicy,
  DirectResponseAction,
  Fault,
  HeaderOps,
  RedirectAction,
  RetryCondition,
  RetryPolicy,
  Rewrite,
} from "../../gateway/core/ir/index.ts";
import type { HttpCorsPolicy, HttpFault, HttpHeaders, HttpRedirect, HttpRetries, HttpRoute, RetryOn } from "../config/index.ts";
import { compareText } from "../registry/index.ts";

const DEFAULT_ATTEMPTS = 2;
const BACKOFF_BASE_MS = 25;
/** The cap that Envoy puts on its back-off: ten times the base. */
const BACKOFF_CAP = 10;
/** A plain 503 may come from a handler that did its work, so no status code is retried unless somebody asks for it. */
const DEFAULT_RETRY_ON: readonly RetryCondition[] = [
  "connect-failure",
  "refused-stream",
  "unavailable",
  "cancelled",
  "retriable-status-codes",
];

/**
 * Retries of a route. Without `retryOn` they keep to requests that are idempotent or were never sent; conditions that somebody wrote down
 * hold for every method, as in Istio.
 */
export function retryPolicy(retries: HttpRetries | undefined): RetryPolicy {
  const base = retries?.backoff ?? BACKOFF_BASE_MS;
  const asked = retries?.retryOn ?? [];
  const known = asked.filter(isCondition);
  const statusCodes = [...new Set(asked.filter((item) => typeof item === "number"))].sort((a, b) => a - b);
  const codes: readonly RetryCondition[] = statusCodes.length > 0 ? ["retriable-status-codes"] : [];
  return {
    attempts: retries?.attempts ?? DEFAULT_ATTEMPTS,
    on: asked.length === 0 ? DEFAULT_RETRY_ON : [...new Set([...known, ...codes])],
    statusCodes,
    ...(retries?.perTryTimeout === undefined ? {} : { perTryTimeoutMs: retries.perTryTimeout }),
    backoffBaseMs: base,
    backoffMaxMs: base * BACKOFF_CAP,
    nonIdempotent: asked.length > 0,
    ...(retries?.retryIgnorePreviousHosts === false ? { sameHosts: true } : {}),
    ...(retries?.retryRemoteLocalities === true ? { remoteLocalities: true } : {}),
  };
}

/** What never comes to pass: no field lists the headers of the first, and no origin is spoken to in HTTP/3. */
const IDLE_CONDITIONS: readonly RetryOn[] = ["retriable-headers", "http3-post-connect-failure"];

function isCondition(item: RetryOn): item is RetryCondition {
  return typeof item === "string" && !IDLE_CONDITIONS.includes(item);
}

/** Delay and abort; a share of 0 % is as good as none. */
export function faultOf(fault: HttpFault | undefined): Fault | undefined {
  const { delay, abort } = fault ?? {};
  const found: Fault = {
    ...(delay?.fixedDelay !== undefined && delay.percentage > 0
      ? { delay: { ms: delay.fixedDelay, percent: delay.percentage } }
      : {}),
    ...(abort !== undefined && abort.percentage > 0 ? abortOf(abort) : {}),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

/** A gRPC status is for gRPC clients; others are told what it means in HTTP. */
function abortOf({ httpStatus, grpcStatus, percentage: percent }: NonNullable<HttpFault["abort"]>): Pick<Fault, "abort"> {
  if (httpStatus !== undefined) return { abort: { status: httpStatus, percent } };
  return grpcStatus === undefined ? {} : { abort: { status: HTTP_OF_GRPC[grpcStatus] ?? 500, percent, grpcStatus } };
}

/** As google.rpc.Code says, by number. */
const HTTP_OF_GRPC: readonly number[] = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

export function corsPolicy(cors: HttpCorsPolicy): CorsPolicy {
  return {
    allowOrigins: cors.allowOrigins,
    allowMethods: cors.allowMethods,
    allowHeaders: cors.allowHeaders,
    exposeHeaders: cors.exposeHeaders,
    ...(cors.maxAge === undefined ? {} : { maxAgeS: Math.floor(cors.maxAge / 1000) }),
    allowCredentials: cors.allowCredentials,
    unmatchedPreflights: cors.unmatchedPreflights === "IGNORE" ? "ignore" : "forward",
  };
}

export function redirectAction(redirect: HttpRedirect): RedirectAction {
  return {
    kind: "redirect",
    status: redirect.redirectCode,
    ...(redirect.scheme === undefined ? {} : { scheme: redirect.scheme }),
    ...(redirect.authority === undefined ? {} : { authority: redirect.authority }),
    ...redirectPort(redirect),
    ...(redirect.uri === undefined ? {} : { path: redirect.uri }),
    ...(redirect.prefixRewrite === undefined ? {} : { prefix: redirect.prefixRewrite }),
  };
}

function redirectPort({ port, derivePort }: HttpRedirect): Pick<RedirectAction, "port"> {
  if (port !== undefined) return { port };
  if (derivePort === undefined) return {};
  return { port: derivePort === "FROM_REQUEST_PORT" ? "from-request" : "from-protocol-default" };
}

export function directAction({ status, body }: NonNullable<HttpRoute["directResponse"]>): DirectResponseAction {
  if (body?.bytes !== undefined) return { kind: "direct", status, body: { base64: body.bytes } };
  return { kind: "direct", status, ...(body?.string === undefined ? {} : { body: { text: body.string } }) };
}

/** Authority: `rewrite.authority`, else what the route's header operations say about Host. */
export function rewriteOf(rewrite: HttpRoute["rewrite"], headers: HttpHeaders | undefined): Rewrite | undefined {
  const authority = rewrite?.authority ?? authorityOf(headers);
  const regex = rewrite?.uriRegexRewrite;
  const found: Rewrite = {
    ...(rewrite?.uri === undefined ? {} : { path: rewrite.uri }),
    ...(regex === undefined ? {} : { pathRegex: { match: regex.match, substitution: regex.rewrite } }),
    ...(authority === undefined ? {} : { authority }),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

const AUTHORITY = [":authority", "host"] as const;

/** Setting (or adding) Host or :authority is a rewrite of the authority. */
export function authorityOf(headers: HttpHeaders | undefined): string | undefined {
  const { set = {}, add = {} } = headers?.request ?? {};
  for (const name of AUTHORITY) {
    const value = set[name] ?? add[name];
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Header operations without those on the authority, sorted by name. */
function headerOps(operations: HttpHeaders["request"]): HeaderOps | undefined {
  if (operations === undefined) return undefined;
  const found: HeaderOps = {
    ...(operations.remove.length === 0 ? {} : { remove: [...operations.remove].sort(compareText) }),
    ...pairs("set", operations.set),
    ...pairs("add", operations.add),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

function pairs(verb: "set" | "add", values: Readonly<Record<string, string>>): HeaderOps {
  const kept = Object.entries(values).filter(([name]) => !AUTHORITY.some((pseudo) => pseudo === name));
  if (kept.length === 0) return {};
  return { [verb]: kept.sort(([a], [b]) => compareText(a, b)) };
}

/** Both directions, as the IR spreads them. */
export function headerFields(headers: HttpHeaders | undefined): { requestHeaders?: HeaderOps; responseHeaders?: HeaderOps } {
  const request = headerOps(headers?.request);
  const response = headerOps(headers?.response);
  return {
    ...(request === undefined ? {} : { requestHeaders: request }),
    ...(response === undefined ? {} : { responseHeaders: response }),
  };
}
