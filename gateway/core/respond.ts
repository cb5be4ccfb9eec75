/**
 * The one place where an error code becomes something a client sees: HTTP status, gRPC status and response flag together.
 *
 * Bodies are short `text/plain` for everybody: one line that says what happened and, where it helps, the detail. Clients of gRPC and gRPC-Web get a
 * response of trailers only (the status in fields), because they do not read bodies.
 */
import type { Culprit, ErrorCode } from "./error.ts";
import type { QuotaRefusal } from "./filter/quota-refusal.ts";
import { type GrpcKind, grpcKind, grpcMessage, grpcStatusOfHttp } from "./http/grpc-status.ts";
import { NO_BODY, type ReadonlyFieldList, type ResponseHead } from "./http/message.ts";
import type { RespondStep } from "./step.ts";
import type { ResponseFlag } from "./telemetry/flags.ts";

export interface ErrorFace {
  readonly status: number;
  /** Code of google.rpc, as sent in grpc-status. */
  readonly grpc: number;
  readonly flag: ResponseFlag | undefined;
  readonly culprit: Culprit;
  /** What happened, for the person at the other end. Names no host, address or rule of ours. */
  readonly title: string;
}

const DOWN = "downstream";
const LOCAL = "local";
const UP = "upstream";

export const ERROR_FACES: { readonly [code in ErrorCode]: ErrorFace } = {
  bad_request: { status: 400, grpc: 3, flag: "DPE", culprit: DOWN, title: "bad request" },
  header_too_large: { status: 431, grpc: 3, flag: "IH", culprit: DOWN, title: "header fields too large" },
  uri_too_long: { status: 414, grpc: 3, flag: "IH", culprit: DOWN, title: "request target too long" },
  body_too_large: { status: 413, grpc: 8, flag: undefined, culprit: DOWN, title: "request body too large" },
  request_timeout: { status: 408, grpc: 4, flag: "SI", culprit: DOWN, title: "the request did not arrive in time" },
  misdirected_request: { status: 421, grpc: 5, flag: undefined, culprit: DOWN, title: "this connection is not for that host" },
  client_gone: { status: 499, grpc: 1, flag: "DC", culprit: DOWN, title: "the client closed the connection" },
  no_route: { status: 404, grpc: 12, flag: "NR", culprit: LOCAL, title: "no route" },
  no_cluster: { status: 503, grpc: 14, flag: "NC", culprit: LOCAL, title: "the route's destination does not exist" },
  denied: { status: 403, grpc: 7, flag: undefined, culprit: LOCAL, title: "denied" },
  unauthenticated: { status: 401, grpc: 16, flag: undefined, culprit: LOCAL, title: "credentials are missing or wrong" },
  proxy_auth_required: {
    status: 407,
    grpc: 16,
    flag: undefined,
    culprit: LOCAL,
    title: "proxy credentials are missing or wrong",
  },
  quota_exceeded: { status: 429, grpc: 8, flag: "RL", culprit: LOCAL, title: "over quota" },
  quota_unavailable: { status: 503, grpc: 14, flag: "RLSE", culprit: LOCAL, title: "the quota cannot be checked" },
  fault_abort: { status: 503, grpc: 14, flag: "FI", culprit: LOCAL, title: "fault injected" },
  overload: { status: 503, grpc: 14, flag: "OM", culprit: LOCAL, title: "overloaded" },
  draining: { status: 503, grpc: 14, flag: "OM", culprit: LOCAL, title: "shutting down" },
  loop_detected: { status: 508, grpc: 9, flag: undefined, culprit: LOCAL, title: "the request came through here before" },
  snapshot_expired: { status: 503, grpc: 14, flag: undefined, culprit: LOCAL, title: "the configuration has expired" },
  no_snapshot: { status: 503, grpc: 14, flag: undefined, culprit: LOCAL, title: "there is no configuration yet" },
  not_supported: { status: 501, grpc: 12, flag: undefined, culprit: LOCAL, title: "not supported" },
  internal: { status: 500, grpc: 13, flag: undefined, culprit: LOCAL, title: "internal error" },
  no_healthy_upstream: { status: 503, grpc: 14, flag: "UH", culprit: UP, title: "no healthy upstream" },
  upstream_connect: { status: 503, grpc: 14, flag: "UF", culprit: UP, title: "upstream connect error" },
  upstream_connect_timeout: { status: 503, grpc: 14, flag: "UF", culprit: UP, title: "upstream connect timeout" },
  upstream_reset: { status: 503, grpc: 14, flag: "UC", culprit: UP, title: "upstream closed the connection before it answered" },
  upstream_protocol: { status: 502, grpc: 14, flag: "UPE", culprit: UP, title: "upstream broke the protocol" },
  upstream_timeout: { status: 504, grpc: 4, flag: "UT", culprit: UP, title: "upstream request timeout" },
  upstream_tls: { status: 503, grpc: 14, flag: "UF", culprit: UP, title: "upstream TLS error" },
  upstream_overflow: { status: 503, grpc: 14, flag: "UO", culprit: UP, title: "upstream has too many requests pending" },
  dns_failure: { status: 503, grpc: 14, flag: "DF", culprit: UP, title: "upstream name does not resolve" },
};

/**
 * The answer for an error.
 *
 * @param request fields of the request, as far as they are known: tell a gRPC client from others
 * @param detail appended to the title; must be fit for the client's eyes
 * @param status overrides the code's own status where configuration names one (fault abort, quota response)
 * @param grpc the same for gRPC
 */
export function respondError(
  code: ErrorCode,
  request: ReadonlyFieldList,
  detail?: string,
  status = ERROR_FACES[code].status,
  close = false,
  grpc = ERROR_FACES[code].grpc,
): RespondStep {
  const face = ERROR_FACES[code];
  const text = detail === undefined ? face.title : `${face.title}: ${detail}`;
  const kind = grpcKind(request);
  if (kind !== undefined) return { kind: "respond", head: trailersOnly(kind, grpc, text), body: "", close };
  const body = ENCODER.encode(`${text}\n`);
  const fields = ["content-type", "text/plain; charset=utf-8"];
  return { kind: "respond", head: { status, fields, body: { kind: "length", bytes: body.length } }, body, close };
}

/**
 * The head of an answer that a runtime makes on its own, where no code says what happened: undefined when the client speaks no gRPC. The status means to it
 * what it means in the table above.
 */
export function grpcHead(request: ReadonlyFieldList, status: number, text: string): ResponseHead | undefined {
  const kind = grpcKind(request);
  return kind === undefined ? undefined : trailersOnly(kind, GRPC_OF_OURS.get(status) ?? grpcStatusOfHttp(status), text);
}

function trailersOnly(kind: GrpcKind, grpc: number, text: string): ResponseHead {
  const fields = ["content-type", GRPC_TYPES[kind], "grpc-status", String(grpc), "grpc-message", grpcMessage(text)];
  return { status: 200, fields, body: NO_BODY };
}

/** By HTTP status; of several codes with one status the first. */
const GRPC_OF_OURS: ReadonlyMap<number, number> = new Map(
  Object.values(ERROR_FACES)
    .reverse()
    .map(({ status, grpc }) => [status, grpc]),
);

/** The answer for a refusal that brings its fields (`content-type` last) and body along. gRPC clients get the reason instead of the body. */
export function respondRefusal(refusal: QuotaRefusal, request: ReadonlyFieldList): RespondStep {
  if (grpcKind(request) !== undefined) {
    const step = respondError(refusal.code, request, refusal.reason);
    step.head.fields.push(...refusal.fields.slice(0, -2), "grpc-retry-pushback-ms", pushback(refusal.retryAfterMs));
    return step;
  }
  const body = ENCODER.encode(refusal.body);
  const head = { status: refusal.status, fields: refusal.fields, body: { kind: "length", bytes: body.length } } as const;
  return { kind: "respond", head, body, close: false };
}

const ENCODER = new TextEncoder();

/** PROTOCOL-WEB.md: a client reads a response of headers alone as one of trailers alone. */
const GRPC_TYPES: { readonly [kind in GrpcKind]: string } = {
  grpc: "application/grpc",
  "grpc-web": "application/grpc-web+proto",
  "grpc-web-text": "application/grpc-web-text+proto",
};

/** gRFC A6: when to come back, for clients that retry by themselves; a negative number tells them not to. */
function pushback(retryAfterMs: number): string {
  return Number.isFinite(retryAfterMs) ? String(Math.ceil(retryAfterMs)) : "-1";
}
