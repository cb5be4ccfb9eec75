import type {
  CorsPolicy,
  DirectResponseAction,
  Fault,
  ForwardAction,
  HeaderOps,
  HttpsRedirect,
  Mirror,
  RedirectAction,
  RetryCondition,
  RetryPolicy,
  Rewrite,
  Route,
  RouteAction,
  RouteMatch,
  RouteTable,
  VirtualHost,
  WeightedDestination,
} from "../route.ts";
import { array, boolean, type Check, either, integer, oneOf, pair, recurring, text, unique } from "./check.ts";
import {
  durationMs,
  fieldName,
  fieldValue,
  headerMatch,
  hostPattern,
  name,
  origin,
  percent,
  port,
  queryMatch,
  quotaIds,
  someText,
  stringMatch,
  weight,
} from "./common.ts";
import { DECODE_LIMITS as LIMITS } from "./limits.ts";
import { type Make, object, optional, refined, type Shape, variants } from "./object.ts";

const redirectStatus = oneOf(301, 302, 303, 307, 308);
const status = integer(100, 599);
/** What is written into a head must not end a line. */
const lineText = fieldValue;

export const routeMatch = object<RouteMatch>(
  {
    path: optional(stringMatch),
    method: optional(stringMatch),
    headers: optional(recurring(array(headerMatch, LIMITS.conditionsPerMatch), 0, 2, 4)),
    name: optional(name),
    query: optional(array(queryMatch, LIMITS.conditionsPerMatch)),
    ignorePathCase: optional(boolean),
    scheme: optional(stringMatch),
    authority: optional(stringMatch),
    port: optional(port),
  },
  (path, method, headers, name, query, ignorePathCase, scheme, authority, port) => ({
    path,
    method,
    headers,
    name,
    query,
    ignorePathCase,
    scheme,
    authority,
    port,
  }),
);

const headerOps = object<HeaderOps>(
  {
    set: optional(array(pair(fieldName, fieldValue), LIMITS.headerOps)),
    add: optional(array(pair(fieldName, fieldValue), LIMITS.headerOps)),
    remove: optional(array(fieldName, LIMITS.headerOps)),
  },
  (set, add, remove) => ({ set, add, remove }),
);

const destination = object<WeightedDestination>(
  {
    cluster: name,
    weight,
    authority: optional(lineText),
    requestHeaders: optional(headerOps),
    responseHeaders: optional(headerOps),
  },
  (cluster, weight, authority, requestHeaders, responseHeaders) => ({
    cluster,
    weight,
    authority,
    requestHeaders,
    responseHeaders,
  }),
);

const rewrite = object<Rewrite>({
  path: optional(lineText),
  pathRegex: optional(object<NonNullable<Rewrite["pathRegex"]>>({ match: someText, substitution: lineText })),
  authority: optional(lineText),
});

const retryCondition = oneOf<RetryCondition>(
  "connect-failure",
  "refused-stream",
  "reset",
  "reset-before-request",
  "gateway-error",
  "5xx",
  "retriable-4xx",
  "retriable-status-codes",
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
  "envoy-ratelimited",
);

const retryFields = object<RetryPolicy>({
  attempts: integer(0, 1_000),
  on: recurring(array(retryCondition, LIMITS.listLength), 0),
  statusCodes: recurring(array(status, LIMITS.listLength)),
  backoffBaseMs: durationMs,
  backoffMaxMs: durationMs,
  nonIdempotent: boolean,
  perTryTimeoutMs: optional(durationMs),
  sameHosts: optional(boolean),
  remoteLocalities: optional(boolean),
});
const retry = recurring(retryFields, 1, 2);

const mirrors = array(object<Mirror>({ cluster: name, percent }), LIMITS.destinationsPerRoute);
const forward: Shape<Omit<ForwardAction, "kind">> = {
  destinations: recurring(array(destination, LIMITS.destinationsPerRoute, 1), 0, 1),
  retry,
  mirrors: recurring(mirrors, 0, 1),
  timeoutMs: optional(durationMs),
  rewrite: optional(rewrite),
};
const makeForward: Make = (kind, destinations, retry, mirrors, timeoutMs, rewrite) => ({
  kind,
  destinations,
  retry,
  mirrors,
  timeoutMs,
  rewrite,
});

const redirect: Shape<Omit<RedirectAction, "kind">> = {
  status: redirectStatus,
  scheme: optional(oneOf("http", "https")),
  authority: optional(lineText),
  port: optional(either(port, oneOf("from-protocol-default", "from-request"))),
  path: optional(lineText),
  prefix: optional(lineText),
};

type Body = NonNullable<DirectResponseAction["body"]>;
const textBody = object<Extract<Body, { text: string }>>({ text: text({ max: LIMITS.bodyLength, min: 0 }) });
const base64Body = object<Extract<Body, { base64: string }>>({
  base64: text({
    max: LIMITS.bodyLength,
    min: 0,
    pattern: /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
    is: "base64",
  }),
});
/** Told apart by its field's name, so it is always written with it. */
const body: Check<Body> = (value, issues) => {
  const bytes = typeof value === "object" && value !== null && "base64" in value;
  return (bytes ? base64Body : textBody)(value, issues);
};

const actionFields = variants<RouteAction, "kind">(
  "kind",
  { forward, redirect, direct: { status: integer(200, 599), body: optional(body) } },
  { forward: makeForward },
);
/** By its first destination, after the kind. */
const action = recurring(actionFields, 1, 2, 3);

const cors = object<CorsPolicy>({
  allowOrigins: array(stringMatch, LIMITS.listLength),
  allowMethods: array(fieldValue, LIMITS.listLength),
  allowHeaders: array(fieldValue, LIMITS.listLength),
  exposeHeaders: array(fieldValue, LIMITS.listLength),
  maxAgeS: optional(integer(0, LIMITS.durationMs / 1_000)),
  allowCredentials: boolean,
  unmatchedPreflights: oneOf("forward", "ignore"),
});

const fault = object<Fault>({
  delay: optional(object<NonNullable<Fault["delay"]>>({ ms: durationMs, percent })),
  abort: optional(
    object<NonNullable<Fault["abort"]>>({ status: integer(200, 599), percent, grpcStatus: optional(integer(1, 16)) }),
  ),
});

const route = object<Route>(
  {
    id: name,
    origin,
    matches: array(routeMatch, LIMITS.matchesPerRoute),
    action,
    quotas: quotaIds,
    name: optional(name),
    requestHeaders: optional(headerOps),
    responseHeaders: optional(headerOps),
    cors: optional(cors),
    fault: optional(fault),
  },
  (id, origin, matches, action, quotas, name, requestHeaders, responseHeaders, cors, fault) => ({
    id,
    origin,
    matches,
    action,
    quotas,
    name,
    requestHeaders,
    responseHeaders,
    cors,
    fault,
  }),
);

const virtualHostFields = object<VirtualHost>({
  name,
  domains: array(hostPattern, LIMITS.domainsPerVirtualHost, 1),
  httpsRedirect: optional(object<HttpsRedirect>({ status: redirectStatus, port: optional(port) })),
  quotas: quotaIds,
  routes: array(route, LIMITS.routesPerVirtualHost),
});
const virtualHost = refined(virtualHostFields, ({ routes }, issues) => unique(routes, (item) => item.id, "routes", issues));

export const routeTable = object<RouteTable>({
  name,
  virtualHosts: array(virtualHost, LIMITS.virtualHostsPerTable),
  quotas: quotaIds,
});
