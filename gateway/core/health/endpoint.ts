/**
 * What is known about an endpoint's health, as a union with one transition function.
 *
 *              ┌──────── check-passed ─────────┐
 *              ▼                               │
 *     healthy / warming ──check-failed──► unhealthy ◄──check-failed── ejected
 *        ▲     │   ▲  │                                                ▲   │
 *        │     │   │  └──────────────── ejected ───────────────────────┘   │
 *        └warm─┘   └───────────────── ejection-over ───────────────────────┘
 *
 *     any ──left──► draining ──came──► healthy / warming
 *
 * An endpoint that comes (back) is warming where the cluster warms up, else healthy. A check that fails outweighs an ejection, and one that passes
 * again ends it. Ejected and unhealthy endpoints are sent no requests, unless the cluster panics.
 */
import { unreachable } from "../result.ts";

export type EndpointState =
  | { readonly kind: "healthy" }
  /** Its share grows. */
  | { readonly kind: "warming"; readonly sinceMs: number }
  /** It failed requests. */
  | { readonly kind: "ejected"; readonly untilMs: number; readonly reason: EjectionReason }
  /** It fails its checks. */
  | { readonly kind: "unhealthy"; readonly reason: string }
  /** Gone from the snapshot or the name; requests in flight go on. */
  | { readonly kind: "draining" };

export type EjectionReason = "consecutive-5xx" | "consecutive-gateway-errors" | "consecutive-local-origin-failures";

export type HealthEvent =
  | { readonly kind: "came" | "left" | "warm" | "ejection-over" | "check-passed" }
  | { readonly kind: "check-failed"; readonly reason: string }
  | { readonly kind: "ejected"; readonly untilMs: number; readonly reason: EjectionReason };

const HEALTHY: EndpointState = { kind: "healthy" };
const DRAINING: EndpointState = { kind: "draining" };

/** The only way from one state to the next; the same object when nothing changes. @param warms whether the cluster warms endpoints up */
export function transition(state: EndpointState, event: HealthEvent, nowMs: number, warms: boolean): EndpointState {
  const back = (): EndpointState => (warms ? { kind: "warming", sinceMs: nowMs } : HEALTHY);
  switch (event.kind) {
    case "came":
      return state.kind === "draining" ? back() : state;
    case "left":
      return DRAINING;
    case "warm":
      return state.kind === "warming" ? HEALTHY : state;
    case "check-failed":
      return state.kind === "draining" || state.kind === "unhealthy" ? state : { kind: "unhealthy", reason: event.reason };
    case "check-passed":
      return state.kind === "unhealthy" ? back() : state;
    case "ejected":
      // One that is out already is not put out again: it is told once more to threads that may not know.
      return state.kind === "healthy" || state.kind === "warming"
        ? { kind: "ejected", untilMs: event.untilMs, reason: event.reason }
        : state;
    case "ejection-over":
      return state.kind === "ejected" ? back() : state;
    default:
      return unreachable(event);
  }
}

/** Fit to be sent requests. A draining endpoint is met by requests of older snapshots alone, and those have nowhere else to go. */
export function isFit(state: EndpointState): boolean {
  return state.kind === "healthy" || state.kind === "warming" || state.kind === "draining";
}
