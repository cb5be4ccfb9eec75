/**
 * Outlier detection: from what becomes of requests to which endpoint is left alone for how long. Pure: outcomes, numbers and time in, decisions out.
 */
import { GrpcStatus, grpcKind } from "../http/grpc-status.ts";
import { field, type ReadonlyFieldList, type ResponseHead } from "../http/message.ts";
import type { OutlierDetection } from "../ir/index.ts";
import type { EjectionReason } from "./endpoint.ts";

/** What one attempt says about its endpoint. `local-failure`: no response came of it (not connected, cut off, out of time). */
export type Outcome = "success" | "5xx" | "gateway-error" | "local-failure";

/** In a row, per endpoint. */
export interface OutlierCounts {
  consecutive5xx: number;
  consecutiveGateway: number;
  consecutiveLocal: number;
  /** How often it was ejected, less one for each interval that it did well. */
  ejections: number;
}

/** Longest ejection, unless a single one is longer (Envoy's default). */
export const MAX_EJECTION_MS = 300_000;

export function newCounts(): OutlierCounts {
  return { consecutive5xx: 0, consecutiveGateway: 0, consecutiveLocal: 0, ejections: 0 };
}

/** The outcome that a response stands for; undefined: it is gRPC, and its trailers will say. */
export function outcomeOf({ status, fields }: ResponseHead): Outcome | undefined {
  if (status >= 500) return status >= 502 && status <= 504 ? "gateway-error" : "5xx";
  if (status !== 200 || grpcKind(fields) === undefined) return "success";
  return field(fields, "grpc-status") === undefined ? undefined : grpcOutcome(fields);
}

/** The outcome that a gRPC response's last fields stand for. */
export function grpcOutcome(fields: ReadonlyFieldList): Outcome {
  return GRPC_OUTCOMES.get(Number(field(fields, "grpc-status"))) ?? "success";
}

/** What is the server's failure among the statuses of gRPC. */
const GRPC_OUTCOMES: ReadonlyMap<number, Outcome> = new Map([
  [GrpcStatus.unknown, "5xx"],
  [GrpcStatus.internal, "5xx"],
  [GrpcStatus.dataLoss, "5xx"],
  [GrpcStatus.deadlineExceeded, "gateway-error"],
  [GrpcStatus.unavailable, "gateway-error"],
]);

/** Counts an outcome; answers why the endpoint is to be ejected, if it is. Its counts start over then. */
export function observe(counts: OutlierCounts, outcome: Outcome, policy: OutlierDetection): EjectionReason | undefined {
  if (outcome === "local-failure" && policy.splitLocalOrigin) {
    counts.consecutiveLocal++;
    if (!reaches(counts.consecutiveLocal, policy.consecutiveLocalOriginFailures)) return undefined;
    startOver(counts);
    return "consecutive-local-origin-failures";
  }
  // Whatever came back, the way there is open.
  counts.consecutiveLocal = 0;
  counts.consecutive5xx = outcome === "success" ? 0 : counts.consecutive5xx + 1;
  counts.consecutiveGateway = outcome === "gateway-error" || outcome === "local-failure" ? counts.consecutiveGateway + 1 : 0;
  const reason = reaches(counts.consecutiveGateway, policy.consecutiveGatewayErrors)
    ? "consecutive-gateway-errors"
    : reaches(counts.consecutive5xx, policy.consecutive5xx)
      ? "consecutive-5xx"
      : undefined;
  if (reason !== undefined) startOver(counts);
  return reason;
}

function reaches(count: number, threshold: number): boolean {
  return threshold > 0 && count >= threshold;
}

function startOver(counts: OutlierCounts): void {
  counts.consecutive5xx = 0;
  counts.consecutiveGateway = 0;
  counts.consecutiveLocal = 0;
}

/** Whether one more of the endpoints may be ejected. */
export function mayEject(ejected: number, total: number, maxEjectionPercent: number): boolean {
  return total > 0 && (ejected + 1) * 100 <= maxEjectionPercent * total;
}

/** @param ejections this one included */
export function ejectionMs({ baseEjectionMs }: OutlierDetection, ejections: number): number {
  return Math.min(baseEjectionMs * ejections, Math.max(MAX_EJECTION_MS, baseEjectionMs));
}
