/** How an Istio VirtualService is written: its fields, their defaults, and what they are read into. */
import { z } from "zod";
import { ipOrCidr, routeHost } from "../hosts.ts";
import { duration, httpStatus, labels, objectName, percentNumber, portNumber, regex } from "../scalars.ts";
import { byHeaderName, exportTo, grpcStatus, headers, percentage, presenceMatch, stringMatch } from "./common.ts";

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

export const virtualServiceSchema = z.strictObject({
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
