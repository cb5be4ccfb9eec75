/**
 * One gateway's subscription as a union with one transition function. Pure: the stream (grpc.ts) feeds events and sends what comes back.
 *
 *     awaiting-hello ──hello──► idle ──published──► offered ──ack──► synced
 *                                 ▲                  ▲  │              │
 *                                 └── nothing yet    │  └──nack──► refused
 *                                                    └──published────┴── (from any state but awaiting-hello)
 */

export interface SnapshotRef {
  readonly epoch: number;
  readonly version: number;
}

export interface RefusalDetail {
  readonly code: string;
  readonly problems: readonly { readonly name: string; readonly reason: string }[];
}

export type SessionState =
  | { readonly kind: "awaiting-hello" }
  /** Connected; its pool has no snapshot yet. */
  | { readonly kind: "idle"; readonly held: SnapshotRef | undefined; readonly sinceMs: number }
  /** A manifest was sent and not yet answered. */
  | { readonly kind: "offered"; readonly offered: SnapshotRef; readonly held: SnapshotRef | undefined; readonly sinceMs: number }
  /** In force. `problems`: named resources that could not be put in force (a listener whose port is taken). */
  | { readonly kind: "synced"; readonly held: SnapshotRef; readonly sinceMs: number; readonly problems?: RefusalDetail }
  /** The gateway goes on with what it held. */
  | {
      readonly kind: "refused";
      readonly refused: SnapshotRef;
      readonly held: SnapshotRef | undefined;
      readonly detail: RefusalDetail;
      readonly sinceMs: number;
    };

export type SessionEvent =
  | { readonly kind: "hello"; readonly held: SnapshotRef | undefined; readonly latest: SnapshotRef | undefined }
  | { readonly kind: "published"; readonly latest: SnapshotRef }
  | { readonly kind: "ack"; readonly snapshot: SnapshotRef }
  | { readonly kind: "nack"; readonly snapshot: SnapshotRef; readonly detail: RefusalDetail; readonly partlyInForce: boolean };

/** What the stream has to do after a transition. */
export type SessionAction =
  | { readonly kind: "offer"; readonly snapshot: SnapshotRef }
  | { readonly kind: "close"; readonly reason: string };

export interface Transition {
  readonly state: SessionState;
  readonly action: SessionAction | undefined;
}

export function sameSnapshot(a: SnapshotRef | undefined, b: SnapshotRef | undefined): boolean {
  return a !== undefined && b !== undefined && a.epoch === b.epoch && a.version === b.version;
}

export function heldBy(state: SessionState): SnapshotRef | undefined {
  return state.kind === "awaiting-hello" ? undefined : state.held;
}

/** The only way from one state to the next. */
export function transition(state: SessionState, event: SessionEvent, nowMs: number): Transition {
  if (state.kind === "awaiting-hello") {
    if (event.kind === "hello") return greeted(event.held, event.latest, nowMs);
    if (event.kind === "published") return { state, action: undefined };
    return { state, action: { kind: "close", reason: `${event.kind} before hello` } };
  }
  switch (event.kind) {
    case "hello":
      return { state, action: { kind: "close", reason: "a second hello on one stream" } };
    case "published":
      return offer(event.latest, heldBy(state), nowMs);
    case "ack":
      return acked(state, event.snapshot, undefined, nowMs);
    case "nack":
      return event.partlyInForce
        ? acked(state, event.snapshot, event.detail, nowMs)
        : nacked(state, event.snapshot, event.detail, nowMs);
  }
}

/** A gateway that already holds the latest version is in sync without another byte. */
function greeted(held: SnapshotRef | undefined, latest: SnapshotRef | undefined, nowMs: number): Transition {
  if (latest === undefined) return { state: { kind: "idle", held, sinceMs: nowMs }, action: undefined };
  if (held !== undefined && sameSnapshot(held, latest))
    return { state: { kind: "synced", held, sinceMs: nowMs }, action: undefined };
  return offer(latest, held, nowMs);
}

function offer(snapshot: SnapshotRef, held: SnapshotRef | undefined, nowMs: number): Transition {
  return { state: { kind: "offered", offered: snapshot, held, sinceMs: nowMs }, action: { kind: "offer", snapshot } };
}

/** An answer about an older offer moves what is held and leaves the newer offer open. */
function acked(
  state: Exclude<SessionState, { kind: "awaiting-hello" }>,
  snapshot: SnapshotRef,
  problems: RefusalDetail | undefined,
  nowMs: number,
): Transition {
  if (state.kind === "offered" && !sameSnapshot(state.offered, snapshot)) {
    return { state: { ...state, held: snapshot }, action: undefined };
  }
  return { state: { kind: "synced", held: snapshot, sinceMs: nowMs, ...(problems && { problems }) }, action: undefined };
}

function nacked(
  state: Exclude<SessionState, { kind: "awaiting-hello" }>,
  snapshot: SnapshotRef,
  detail: RefusalDetail,
  nowMs: number,
): Transition {
  if (state.kind === "offered" && !sameSnapshot(state.offered, snapshot)) return { state, action: undefined };
  return { state: { kind: "refused", refused: snapshot, held: heldBy(state), detail, sinceMs: nowMs }, action: undefined };
}
