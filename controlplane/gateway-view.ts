/** A gateway's session as an operator sees it. */
import { snapshotVersion } from "../gateway/core/ir/index.ts";
import type { GatewayState, GatewayView } from "./api/index.ts";
import { type GatewayStatus, heldBy, type RefusalDetail, type SnapshotRef, sameSnapshot } from "./distribute/index.ts";

export function gatewayView(gateway: GatewayStatus, latest: SnapshotRef | undefined): GatewayView {
  const { id, pool, state, software, lastSeenMs, connected } = gateway;
  const held = heldBy(state);
  const seen = stateOf(gateway, latest);
  return {
    kind: "gateway",
    id,
    pool,
    state: seen,
    version: held && snapshotVersion(held),
    sinceMs: connected && state.kind !== "awaiting-hello" ? state.sinceMs : lastSeenMs,
    software,
    reasons: reasonsOf(gateway, seen, latest),
  };
}

function stateOf({ connected, state }: GatewayStatus, latest: SnapshotRef | undefined): GatewayState {
  if (!connected) return "disconnected";
  switch (state.kind) {
    case "awaiting-hello":
    case "idle":
      return "waiting";
    case "offered":
      return "pending";
    case "refused":
      return "refused";
    case "synced":
      if (latest !== undefined && !sameSnapshot(state.held, latest)) return "pending";
      return state.problems === undefined ? "synced" : "partial";
  }
}

function reasonsOf({ state }: GatewayStatus, seen: GatewayState, latest: SnapshotRef | undefined): string[] {
  const reasons: string[] = [];
  if (seen === "waiting" && latest === undefined) reasons.push("its pool has no snapshot yet");
  if (state.kind === "refused") reasons.push(...refusalReasons(state.refused, state.detail));
  if (state.kind === "offered") reasons.push(`was offered ${snapshotVersion(state.offered)}`);
  if (state.kind === "synced" && state.problems) reasons.push(...problemLines(state.problems));
  return reasons;
}

export function refusalReasons(refused: SnapshotRef, detail: RefusalDetail): string[] {
  return [`refused ${snapshotVersion(refused)} (${detail.code})`, ...problemLines(detail)];
}

export function problemLines({ problems }: RefusalDetail): string[] {
  return problems.map(({ name, reason }) => `${name}: ${reason}`);
}
