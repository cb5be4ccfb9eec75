/**
 * gRPC's statuses and fields, as "gRPC over HTTP2" (PROTOCOL-HTTP2.md) and "HTTP to gRPC Status Code Mapping" of its documentation have them.
 */
import { field, type ReadonlyFieldList } from "./message.ts";

export const GrpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

/** What a client makes of a response that has no grpc-status. */
export function grpcStatusOfHttp(status: number): GrpcStatus {
  switch (status) {
    case 400:
      return GrpcStatus.internal;
    case 401:
      return GrpcStatus.unauthenticated;
    case 403:
      return GrpcStatus.permissionDenied;
    case 404:
      return GrpcStatus.unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus.unavailable;
    default:
      return GrpcStatus.unknown;
  }
}

/** What a request speaks by its content-type: gRPC, one of the forms of gRPC-Web, or neither. */
export type GrpcKind = "grpc" | "grpc-web" | "grpc-web-text";

/** PROTOCOL-HTTP2.md, Content-Type; PROTOCOL-WEB.md. A form that neither names is not gRPC. */
export function grpcKind(fields: ReadonlyFieldList): GrpcKind | undefined {
  const type = field(fields, "content-type");
  if (type === undefined || !type.startsWith(PREFIX)) return undefined;
  if (isForm(type, PREFIX)) return "grpc";
  if (isForm(type, `${PREFIX}-web-text`)) return "grpc-web-text";
  return isForm(type, `${PREFIX}-web`) ? "grpc-web" : undefined;
}

const PREFIX = "application/grpc";
const PLUS = 0x2b;
const SEMICOLON = 0x3b;
const SPACE = 0x20;

/** `name`, alone or with a message format or parameters behind it. */
function isForm(type: string, name: string): boolean {
  if (!type.startsWith(name)) return false;
  const next = type.charCodeAt(name.length);
  return Number.isNaN(next) || next === PLUS || next === SEMICOLON || next === SPACE;
}

/** What a grpc-status field says; undefined when there is none. One that nobody knows is UNKNOWN, as clients take it. */
export function grpcStatusIn(fields: ReadonlyFieldList): GrpcStatus | undefined {
  const text = field(fields, "grpc-status");
  return text === undefined ? undefined : (KNOWN.get(text) ?? GrpcStatus.unknown);
}

const KNOWN: ReadonlyMap<string, GrpcStatus> = new Map(Object.values(GrpcStatus).map((status) => [String(status), status]));

const ENCODER = new TextEncoder();

/** PROTOCOL-HTTP2.md, Status-Message: bytes outside printable ASCII and `%` are percent-encoded. */
export function grpcMessage(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/gu, (character) =>
    Array.from(ENCODER.encode(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

/** Units of grpc-timeout in milliseconds. */
const UNIT_MS: { readonly [unit: string]: number } = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** PROTOCOL-HTTP2.md, Timeout: at most eight digits and a unit. @returns milliseconds; NaN when it is anything else */
export function grpcTimeoutMs(text: string): number {
  const match = /^([0-9]{1,8})([HMSmun])$/.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * (UNIT_MS[match[2] ?? ""] ?? Number.NaN);
}

const MOST = 99_999_999;

/** What is left, in the finest unit that has room for it: rounded down, so that nobody behind us waits longer than the client does. */
export function grpcTimeout(ms: number): string {
  const micros = Math.max(0, Math.floor(ms * 1000));
  if (micros <= MOST) return `${micros}u`;
  return ms <= MOST ? `${Math.floor(ms)}m` : `${Math.min(MOST, Math.floor(ms / 1000))}S`;
}

/** Milliseconds of the client's own deadline; undefined: it has none, NaN: nobody can tell. */
export function grpcTimeoutOf(fields: ReadonlyFieldList): number | undefined {
  const text = field(fields, "grpc-timeout");
  return text === undefined ? undefined : grpcTimeoutMs(text);
}

/** Names are at even places. */
export function grpcTimeoutAt(fields: ReadonlyFieldList): number | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === "grpc-timeout") return i;
  return undefined;
}
