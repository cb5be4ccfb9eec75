/** May this request be tried again? Says yes or no about one outcome; whether it can be afforded is the budget's question. */
import type { CompiledRetry } from "../compile/tables.ts";
import type { ErrorCode } from "../error.ts";
import { field, type ResponseHead } from "../http/message.ts";
import type { RetryCondition, RetryPolicy } from "../ir/index.ts";
import type { AttemptFailure } from "../step.ts";

const BIT: { readonly [word in RetryCondition]: number } = {
  "connect-failure": 1,
  "refused-stream": 2,
  reset: 4,
  "reset-before-request": 8,
  "gateway-error": 16,
  "5xx": 32,
  "retriable-4xx": 64,
  "retriable-status-codes": 128,
  cancelled: 256,
  "deadline-exceeded": 512,
  internal: 1024,
  "resource-exhausted": 2048,
  unavailable: 4096,
  "envoy-ratelimited": 8192,
};

/** Conditions on the status that gRPC carries in a field. */
const GRPC_CONDITIONS: ReadonlyMap<string, number> = new Map([
  ["1", BIT.cancelled],
  ["4", BIT["deadline-exceeded"]],
  ["8", BIT["resource-exhausted"]],
  ["13", BIT.internal],
  ["14", BIT.unavailable],
]);
const ANY_GRPC = BIT.cancelled | BIT["deadline-exceeded"] | BIT["resource-exhausted"] | BIT.internal | BIT.unavailable;

/** The origin's application cannot have seen the request: any condition about connections or resets covers that. */
const NEVER_SENT =
  BIT["connect-failure"] | BIT["refused-stream"] | BIT["reset-before-request"] | BIT.reset | BIT["gateway-error"] | BIT["5xx"];
/** It may have seen it, and no response came. */
const NO_RESPONSE = BIT.reset | BIT["gateway-error"] | BIT["5xx"];

const NO_CODES: ReadonlySet<number> = new Set();

/** Undefined when the policy never retries. */
export function compileRetry(policy: RetryPolicy): CompiledRetry | undefined {
  if (policy.attempts <= 0) return undefined;
  let on = 0;
  for (const word of policy.on) on |= BIT[word];
  return {
    attempts: policy.attempts,
    on,
    statusCodes: policy.statusCodes.length === 0 ? NO_CODES : new Set(policy.statusCodes),
    perTryTimeoutMs: policy.perTryTimeoutMs,
    backoffBaseMs: policy.backoffBaseMs,
    backoffMaxMs: policy.backoffMaxMs,
    nonIdempotent: policy.nonIdempotent,
    sameHosts: policy.sameHosts === true,
    remoteLocalities: policy.remoteLocalities === true,
  };
}

/** RFC 9110 9.2.2. */
export function isIdempotent(method: string): boolean {
  switch (method) {
    case "GET":
    case "HEAD":
    case "PUT":
    case "DELETE":
    case "OPTIONS":
    case "TRACE":
      return true;
    default:
      return false;
  }
}

/** A request whose bytes may have reached the application is repeated only when doing it twice is the same as doing it once. */
export function mayRepeatSent(policy: CompiledRetry, method: string): boolean {
  return policy.nonIdempotent || isIdempotent(method);
}

export function retriesFailure(policy: CompiledRetry, method: string, failure: AttemptFailure): boolean {
  if (!failure.replayable || !RETRIABLE_CODES.has(failure.code)) return false;
  if (failure.neverSent) return (policy.on & NEVER_SENT) !== 0;
  return (policy.on & NO_RESPONSE) !== 0 && mayRepeatSent(policy, method);
}

/** The time for one attempt is up. The driver cannot say any more whether the body is still there, so the caller does. */
export function retriesTimeout(policy: CompiledRetry, method: string, replayable: boolean): boolean {
  return replayable && (policy.on & NO_RESPONSE) !== 0 && mayRepeatSent(policy, method);
}

export function retriesResponse(policy: CompiledRetry, method: string, head: ResponseHead, replayable: boolean): boolean {
  return replayable && responseCondition(policy, head) && mayRepeatSent(policy, method);
}

function responseCondition(policy: CompiledRetry, head: ResponseHead): boolean {
  const { on } = policy;
  const { status } = head;
  if (status >= 500) {
    if ((on & BIT["5xx"]) !== 0) return true;
    if ((on & BIT["gateway-error"]) !== 0 && status >= 502 && status <= 504) return true;
  }
  if (status === 409 && (on & BIT["retriable-4xx"]) !== 0) return true;
  if ((on & BIT["retriable-status-codes"]) !== 0 && policy.statusCodes.has(status)) return true;
  if ((on & BIT["envoy-ratelimited"]) !== 0 && field(head.fields, "x-envoy-ratelimited") !== undefined) return true;
  if ((on & ANY_GRPC) === 0) return false;
  const grpcStatus = field(head.fields, "grpc-status");
  return grpcStatus !== undefined && ((GRPC_CONDITIONS.get(grpcStatus) ?? 0) & on) !== 0;
}

/** Failures of an attempt, as against failures of the request or of this gateway. A full pool is not one: more attempts would fill it further. */
const RETRIABLE_CODES: ReadonlySet<ErrorCode> = new Set([
  "upstream_connect",
  "upstream_connect_timeout",
  "upstream_reset",
  "upstream_protocol",
  "upstream_timeout",
  "upstream_tls",
  "dns_failure",
]);
