/** Istio VirtualService: which requests match, and where they go. First matching route wins. */
import { z } from "zod";
import { ipOrCidr, routeHost } from "../hosts.ts";
import { defineKind, type Finding } from "../kind.ts";
import { duration, httpStatus, labels, objectName, percentNumber, portNumber, regex } from "../scalars.ts";
import {
  byHeaderName,
  exportTo,
  grpcStatus,
  headers,
  ISTIO_GROUP,
  ISTIO_VERSIONS,
  percentage,
  presenceMatch,
  stringMatch,
} from "./common.ts";

/** Largest body of a direct response, bytes (as Istio). */
export const MAX_DIRECT_BODY_BYTES = 1024 * 1024;

/** Reserved gateway name: every sidecar. */
export const MESH_GATEWAY = "mesh";

const destination = z.strictObject({
  host: routeHost.meta({ description: "Service name, short (in the rule's namespace) or whole" }),
  subset: z.string().min(1).optional(),
  port: z.strictObject({ number: portNumber }).optional(),
});
export type Destination = z.output<typeof destination>;

/** Besides fields and pseudo-headers: a verified claim, `@request.auth.claims.x`. */
const matchedHeaders = byHeaderName(presenceMatch, (name) => name.startsWith("@request.auth."));

/** `http[].match[]`; Quota's `match` has the same shape. All present conditions must hold. */
export const httpMatch = z.strictObject({
  name: z.string().optional(),
  uri: stringMatch.optional(),
  scheme: stringMatch.optional(),
  method: stringMatch.optional(),
  authority: stringMatch.optional(),
  headers: matchedHeaders.meta({ description: "{} means presence" }),
  withoutHeaders: matchedHeaders,
  queryParams: z.record(z.string(), presenceMatch).default({}),
  ignoreUriCase: z.boolean().default(false).meta({ description: "For uri exact and prefix only" }),
  port: portNumber.optional(),
  gateways: z.array(z.string().min(1)).default([]),
  sourceLabels: labels.default({}),
  sourceNamespace: z.string().optional(),
  statPrefix: z.string().optional(),
});
export type HttpMatch = z.output<typeof httpMatch>;

const weighted = z.strictObject({
  destination,
  weight: z
    .int()
    .min(0)
    .max(2_147_483_647)
    .default(0)
    .meta({ description: "Share is weight / sum; a single destination takes all" }),
  headers: headers.optional(),
});

/** A single destination takes all, whatever its weight says. */
const weightedList = z
  .array(weighted)
  .default([])
  .transform((list) => (list.length === 1 ? list.map((only) => ({ ...only, weight: 100 })) : list));

const redirectCode = z.union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)]);

const redirect = z.strictObject({
  uri: z.string().optional(),
  prefixRewrite: z.string().optional(),
  authority: z.string().optional(),
  port: portNumber.optional(),
  derivePort: z.enum(["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]).optional(),
  scheme: z.enum(["http", "https"]).optional(),
  redirectCode: redirectCode.default(301),
});

const directResponse = z.strictObject({
  status: httpStatus,
  body: z
    .strictObject({ string: z.string().optional(), bytes: z.base64().optional() })
    .optional()
    .meta({ description: "Text, or base64 bytes; at most 1 MiB" }),
});

const rewrite = z.strictObject({
  uri: z.string().optional().meta({ description: "Replaces the matched prefix, or the whole path of any other match" }),
  authority: z.string().optional(),
  uriRegexRewrite: z.strictObject({ match: regex, rewrite: z.string() }).optional(),
});

/** Conditions Envoy and Istio know for HTTP and gRPC; numbers are status codes. */
const RETRY_CONDITIONS = [
  "5xx",
  "gateway-error",
  "reset",
  "reset-before-request",
  "connect-failure",
  "envoy-ratelimited",
  "retriable-4xx",
  "refused-stream",
  "retriable-status-codes",
  "retriable-headers",
  "http3-post-connect-failure",
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
] as const;
export type RetryOn = (typeof RETRY_CONDITIONS)[number] | number;

/** Comma-separated conditions and status codes; parsed to a list. */
const retryOn = z
  .string()
  .meta({ description: "Comma-separated conditions (5xx, gateway-error, reset, connect-failure, …) and status codes" })
  .transform((text, ctx): readonly RetryOn[] => {
    const found: RetryOn[] = [];
    for (const part of text.split(",").map((part) => part.trim())) {
      const condition = RETRY_CONDITIONS.find((known) => known === part);
      if (condition) found.push(condition);
      else if (/^[1-5]\d\d$/.test(part)) found.push(Number(part));
      else if (part !== "")
        ctx.addIssue(`"${part}" is not a retry condition; known are ${RETRY_CONDITIONS.join(", ")} and status codes`);
    }
    return found;
  });

const retries = z.strictObject({
  attempts: z.int().min(0).max(100).default(2).meta({ description: "Attempts after the first; 0: none" }),
  perTryTimeout: duration().optional(),
  retryOn: retryOn.optional(),
  retryRemoteLocalities: z.boolean().optional(),
  retryIgnorePreviousHosts: z.boolean().optional(),
  backoff: duration().optional(),
});

const faultPercentage = {
  percent: percentNumber.optional().meta({ description: "Old spelling of percentage" }),
  percentage: percentage.optional(),
};
type PercentInput = { readonly percent?: number | undefined; readonly percentage?: number | undefined };
/** An unset share is 0 % (as Istio). */
const share = (input: PercentInput): number => input.percentage ?? input.percent ?? 0;

const fault = z.strictObject({
  delay: z
    .strictObject({ ...faultPercentage, fixedDelay: duration().optional(), exponentialDelay: duration().optional() })
    .transform(({ percent, percentage, ...delay }) => ({ ...delay, percentage: share({ percent, percentage }) }))
    .optional(),
  abort: z
    .strictObject({
      ...faultPercentage,
      httpStatus: httpStatus.optional(),
      grpcStatus: grpcStatus.optional(),
      http2Error: z.string().optional(),
    })
    .transform(({ percent, percentage, ...abort }) => ({ ...abort, percentage: share({ percent, percentage }) }))
    .optional(),
});

const mirrorPolicy = z.strictObject({ destination, percentage: percentage.default(100) });

const corsPolicy = z
  .strictObject({
    allowOrigin: z.array(z.string()).default([]).meta({ description: "Old spelling of allowOrigins with exact" }),
    allowOrigins: z.array(stringMatch).default([]),
    allowMethods: z.array(z.string()).default([]),
    allowHeaders: z.array(z.string()).default([]),
    exposeHeaders: z.array(z.string()).default([]),
    maxAge: duration({ min: 0 }).optional(),
    allowCredentials: z.boolean().default(false),
    unmatchedPreflights: z.enum(["UNSPECIFIED", "FORWARD", "IGNORE"]).default("FORWARD"),
  })
  .transform(({ allowOrigin, ...cors }) => ({
    ...cors,
    allowOrigins: [
      ...cors.allowOrigins,
      ...allowOrigin.map((value) => (value === "*" ? ANY_ORIGIN : ({ kind: "exact", value } as const))),
    ],
  }));
const ANY_ORIGIN = { kind: "regex", value: ".*" } as const;

const httpRoute = z
  .strictObject({
    name: z.string().default(""),
    match: z.array(httpMatch).default([]).meta({ description: "Any of; none: every request" }),
    route: weightedList,
    redirect: redirect.optional(),
    directResponse: directResponse.optional(),
    delegate: z.strictObject({ name: objectName, namespace: objectName.optional() }).optional(),
    rewrite: rewrite.optional(),
    timeout: duration({ min: 0 }).optional().meta({ description: "Whole request with retries; default and 0s: none" }),
    retries: retries.optional(),
    fault: fault.optional(),
    mirror: destination.optional(),
    mirrors: z.array(mirrorPolicy).default([]),
    mirrorPercent: percentNumber.optional().meta({ description: "Old spelling of mirrorPercentage" }),
    mirrorPercentage: percentage.optional(),
    corsPolicy: corsPolicy.optional(),
    headers: headers.optional(),
  })
  .superRefine((route, ctx) => {
    if (route.mirror && route.mirrors.length > 0) {
      ctx.addIssue({
        code: "custom",
        path: ["mirror"],
        message: "mirror and mirrors exclude one another; move the destination into mirrors",
      });
    }
  })
  .transform(({ mirror, mirrorPercent, mirrorPercentage, ...route }) => ({
    ...route,
    mirrors: mirror ? [{ destination: mirror, percentage: mirrorPercentage ?? mirrorPercent ?? 100 }] : route.mirrors,
  }));

const l4Match = {
  destinationSubnets: z.array(ipOrCidr).default([]),
  port: portNumber.optional(),
  sourceLabels: labels.default({}),
  gateways: z.array(z.string().min(1)).default([]),
  sourceNamespace: z.string().optional(),
};
/** A single destination takes all, whatever its weight says. */
const l4Route = z
  .array(
    z.strictObject({
      destination,
      weight: z
        .int()
        .min(0)
        .max(2_147_483_647)
        .default(0)
        .meta({ description: "Share is weight / sum; a single destination takes all" }),
    }),
  )
  .default([])
  .transform((list) => (list.length === 1 ? list.map((only) => ({ ...only, weight: 100 })) : list));
const tlsRoute = z.strictObject({
  match: z
    .array(z.strictObject({ sniHosts: z.array(routeHost).default([]), ...l4Match }))
    .default([])
    .meta({ description: "Any of; each with sniHosts within the hosts above" }),
  route: l4Route,
});
const tcpRoute = z.strictObject({
  match: z
    .array(z.strictObject({ ...l4Match, sourceSubnet: ipOrCidr.optional() }))
    .default([])
    .meta({ description: "Any of; none: every connection" }),
  route: l4Route,
});

const virtualServiceSchema = z.strictObject({
  hosts: z.array(routeHost),
  gateways: z.array(z.string().min(1)).default([MESH_GATEWAY]).meta({ description: "[namespace/]name, or mesh; default mesh" }),
  http: z.array(httpRoute).default([]),
  tls: z.array(tlsRoute).default([]),
  tcp: z.array(tcpRoute).default([]),
  exportTo,
});
export type VirtualServiceSpec = z.output<typeof virtualServiceSchema>;
export type HttpRoute = VirtualServiceSpec["http"][number];
export type HttpRouteDestination = HttpRoute["route"][number];
export type HttpRedirect = NonNullable<HttpRoute["redirect"]>;
export type HttpRetries = NonNullable<HttpRoute["retries"]>;
export type HttpFault = NonNullable<HttpRoute["fault"]>;
export type HttpCorsPolicy = NonNullable<HttpRoute["corsPolicy"]>;
export type TlsRoute = VirtualServiceSpec["tls"][number];
export type TcpRoute = VirtualServiceSpec["tcp"][number];
export type HttpHeaders = NonNullable<HttpRoute["headers"]>;

type At = readonly (string | number)[];

function checkActions(route: HttpRoute, at: At): Finding[] {
  const given = [
    route.route.length > 0 && "route",
    route.redirect && "redirect",
    route.directResponse && "directResponse",
    route.delegate && "delegate",
  ].filter((name) => typeof name === "string");
  if (given.length === 1) return [];
  if (given.length === 0) return [{ path: at, message: "the route does nothing; add route, redirect or directResponse" }];
  return [{ path: [...at, given[1] ?? ""], message: `${given.join(" and ")} exclude one another; keep one of them` }];
}

/** Of connections: somewhere to go, and for TLS the names that lead there. */
function checkConnections(spec: VirtualServiceSpec): Finding[] {
  const tls = spec.tls.flatMap((route, index) => [
    ...checkTarget(route, ["tls", index]),
    ...checkSni(spec, route, ["tls", index]),
  ]);
  return [...tls, ...spec.tcp.flatMap((route, index) => checkTarget(route, ["tcp", index]))];
}

function checkTarget(route: TlsRoute | TcpRoute, at: At): Finding[] {
  if (route.route.length === 0)
    return [{ path: at, message: "the route leads nowhere; add route with at least one destination" }];
  return checkWeights(route, at);
}

function checkSni(spec: VirtualServiceSpec, route: TlsRoute, at: At): Finding[] {
  if (route.match.length === 0)
    return [
      { path: at, message: "a tls route needs a match with sniHosts: the name in the ClientHello is all there is to route by" },
    ];
  return route.match.flatMap(({ sniHosts }, index) => {
    const path = [...at, "match", index, "sniHosts"];
    if (sniHosts.length === 0)
      return [{ path, message: `sniHosts is missing; list names, such as ${spec.hosts[0] ?? "a.example.com"}` }];
    return sniHosts.flatMap((name, i) =>
      spec.hosts.some((host) => isWithin(name, host))
        ? []
        : [
            {
              path: [...path, i],
              message: `"${name}" is not within the hosts of the VirtualService (${spec.hosts.join(", ")}); add it there`,
            },
          ],
    );
  });
}

/** Everything that `name` stands for is covered by `host`. */
function isWithin(name: string, host: string): boolean {
  return (
    name === host || host === "*" || (host.startsWith("*.") && name.length > host.length - 1 && name.endsWith(host.slice(1)))
  );
}

function checkWeights(route: Pick<HttpRoute, "route"> | TlsRoute | TcpRoute, at: At): Finding[] {
  const sum = route.route.reduce((total, { weight }) => total + weight, 0);
  if (route.route.length < 2 || sum > 0) return [];
  return [
    {
      path: [...at, "route"],
      message: "the weights add up to zero, so no destination would get anything; give at least one a weight",
    },
  ];
}

function checkMatches(route: HttpRoute, at: At): Finding[] {
  const found: Finding[] = [];
  route.match.forEach((match, index) => {
    const here = [...at, "match", index];
    if (match.ignoreUriCase && match.uri?.kind === "regex") {
      found.push({
        path: [...here, "ignoreUriCase"],
        message: "ignoreUriCase acts on exact and prefix only; write (?i) at the start of the regex",
      });
    }
    for (const name of Object.keys(match.withoutHeaders)) {
      const [wanted, unwanted] = [match.headers[name], match.withoutHeaders[name]];
      if (wanted && JSON.stringify(wanted) === JSON.stringify(unwanted)) {
        found.push({
          path: [...here, "withoutHeaders", name],
          message: `headers and withoutHeaders ask for the opposite of "${name}"; nothing can match`,
        });
      }
    }
  });
  return found;
}

function checkDetails(route: HttpRoute, at: At): Finding[] {
  const found: Finding[] = [];
  const { redirect, rewrite, directResponse, fault } = route;
  if (redirect?.uri !== undefined && redirect.prefixRewrite !== undefined) {
    found.push({
      path: [...at, "redirect", "prefixRewrite"],
      message: "uri and prefixRewrite exclude one another; keep one of them",
    });
  }
  if (redirect?.port !== undefined && redirect.derivePort !== undefined) {
    found.push({ path: [...at, "redirect", "derivePort"], message: "port and derivePort exclude one another; keep one of them" });
  }
  if (redirect && rewrite) found.push({ path: [...at, "rewrite"], message: "rewrite has no meaning with redirect; remove it" });
  if (rewrite?.uri !== undefined && rewrite.uriRegexRewrite) {
    found.push({
      path: [...at, "rewrite", "uriRegexRewrite"],
      message: "uri and uriRegexRewrite exclude one another; keep one of them",
    });
  }
  if (rewrite && rewrite.uri === undefined && rewrite.authority === undefined && !rewrite.uriRegexRewrite) {
    found.push({ path: [...at, "rewrite"], message: "the rewrite is empty; write uri, uriRegexRewrite or authority" });
  }
  const body = directResponse?.body;
  if (body) {
    if ((body.string === undefined) === (body.bytes === undefined)) {
      found.push({ path: [...at, "directResponse", "body"], message: "a body needs exactly one of string and bytes" });
    }
    const bytes = body.string === undefined ? ((body.bytes?.length ?? 0) * 3) / 4 : new TextEncoder().encode(body.string).length;
    if (bytes > MAX_DIRECT_BODY_BYTES) {
      found.push({
        path: [...at, "directResponse", "body"],
        message: `the body has ${Math.ceil(bytes)} bytes; at most ${MAX_DIRECT_BODY_BYTES} are allowed`,
      });
    }
  }
  if (fault && !fault.delay && !fault.abort)
    found.push({ path: [...at, "fault"], message: "the fault is empty; write delay or abort" });
  if (fault?.delay && (fault.delay.fixedDelay === undefined) === (fault.delay.exponentialDelay === undefined)) {
    found.push({ path: [...at, "fault", "delay"], message: "a delay needs fixedDelay, such as fixedDelay: 5s" });
  }
  const aborts =
    fault?.abort && [fault.abort.httpStatus, fault.abort.grpcStatus, fault.abort.http2Error].filter((kind) => kind !== undefined);
  if (aborts && aborts.length !== 1)
    found.push({ path: [...at, "fault", "abort"], message: "an abort needs exactly one status, such as httpStatus: 503" });
  found.push(...checkHeaderOperations(route.headers, [...at, "headers"]));
  route.route.forEach((to, index) => {
    found.push(...checkHeaderOperations(to.headers, [...at, "route", index, "headers"]));
  });
  return found;
}

function checkHeaderOperations(ops: HttpHeaders | undefined, at: At): Finding[] {
  const found: Finding[] = [];
  for (const side of ["request", "response"] as const) {
    for (const verb of ["set", "add"] as const) {
      for (const name of Object.keys(ops?.[side]?.[verb] ?? {})) {
        const authority = side === "request" && (name === ":authority" || name === "host");
        if ((name.startsWith(":") || name === "host") && !authority) {
          found.push({
            path: [...at, side, verb, name],
            message: `"${name}" cannot be changed here; only the request's host or :authority can be set`,
          });
        }
      }
    }
  }
  return found;
}

export const virtualService = defineKind({
  kind: "VirtualService",
  group: ISTIO_GROUP,
  versions: ISTIO_VERSIONS,
  plural: "virtualservices",
  description: "Which requests match, and where they go.",
  schema: virtualServiceSchema,
  check(spec) {
    const found: Finding[] = [];
    if (spec.hosts.length === 0) found.push({ path: ["hosts"], message: "at least one host is needed" });
    const seen = new Set<string>();
    spec.hosts.forEach((host, index) => {
      if (seen.has(host)) found.push({ path: ["hosts", index], message: `the host "${host}" is listed twice; remove one` });
      seen.add(host);
      if (host === "*" && spec.gateways.includes(MESH_GATEWAY)) {
        found.push({
          path: ["hosts", index],
          message: 'the host "*" on the mesh gateway would catch all traffic; name the hosts, or list gateways without mesh',
        });
      }
    });
    if (spec.http.length + spec.tls.length + spec.tcp.length === 0) {
      found.push({ path: [], message: "there is no route; add http, tls or tcp" });
    }
    found.push(...checkConnections(spec));
    const names = new Map<string, number>();
    spec.http.forEach((route, index) => {
      const at = ["http", index];
      found.push(...checkActions(route, at), ...checkWeights(route, at), ...checkMatches(route, at), ...checkDetails(route, at));
      if (route.name === "") return;
      const before = names.get(route.name);
      if (before !== undefined)
        found.push({
          path: [...at, "name"],
          message: `the route name "${route.name}" is taken by http[${before}]; names must differ`,
        });
      names.set(route.name, before ?? index);
    });
    return found;
  },
});
