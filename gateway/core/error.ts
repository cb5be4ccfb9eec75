/**
 * Everything that can go wrong with a request, as one closed list of codes.
 *
 * A code says what happened; `respond.ts` alone says how it looks outside (HTTP status, gRPC status, response flag).
 */
export type ErrorCode =
  // the client's doing
  | "bad_request"
  | "header_too_large"
  | "uri_too_long"
  | "body_too_large"
  | "request_timeout"
  | "misdirected_request"
  | "client_gone"
  // decided here
  | "no_route"
  | "no_cluster"
  | "denied"
  | "unauthenticated"
  | "proxy_auth_required"
  | "quota_exceeded"
  | "quota_unavailable"
  | "fault_abort"
  | "overload"
  | "draining"
  | "loop_detected"
  | "snapshot_expired"
  | "no_snapshot"
  | "not_supported"
  | "internal"
  // the origin's doing
  | "no_healthy_upstream"
  | "upstream_connect"
  | "upstream_connect_timeout"
  | "upstream_reset"
  | "upstream_protocol"
  | "upstream_timeout"
  | "upstream_tls"
  | "upstream_overflow"
  | "dns_failure";

export type Culprit = "downstream" | "local" | "upstream";

/** A failure that travels as an exception only where a value cannot: out of a port or a codec. */
export class MeshError extends Error {
  readonly code: ErrorCode;
  readonly culprit: Culprit;

  constructor(code: ErrorCode, culprit: Culprit, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "MeshError";
    this.code = code;
    this.culprit = culprit;
  }
}
