/** A site at the edge as an operator sees it. */
import { READER_VERSION, type RelayHello, snapshotVersion } from "../gateway/core/ir/index.ts";
import type { GatewayState, GatewayView } from "./api/index.ts";
import { heldBy, type SiteKnowledge, type SiteStatus, type SnapshotRef, sameSnapshot } from "./distribute/index.ts";
import { problemLines, refusalReasons } from "./gateway-view.ts";

/** @param pin hash of this control plane's first trust root */
export function siteView(site: SiteStatus, latest: SnapshotRef | undefined, pin: string): GatewayView {
  const { known, connection, lastError } = site;
  const held = heldBy(known.state) ?? known.hello?.held;
  const state = stateOf(site, latest);
  return {
    kind: "site",
    id: site.name,
    pool: site.pool,
    state,
    version: held && snapshotVersion(held),
    sinceMs: sinceOf(site),
    software: known.hello?.software ?? "",
    reasons: reasonsOf(site, state, latest, pin),
    site: {
      url: site.url,
      via: connection?.via,
      connectedMs: connection?.sinceMs,
      lastError,
      acceptedMs: known.acceptedMs,
      enforced: known.enforced && snapshotVersion(known.enforced),
    },
  };
}

/** Whether a site has said what became of the pool's newest snapshot: refused, or in force at its isolates. */
export function siteAnswered({ known }: SiteStatus, latest: SnapshotRef): boolean {
  const { state } = known;
  if (state.kind === "refused") return sameSnapshot(state.refused, latest);
  return state.kind === "synced" && sameSnapshot(state.held, latest) && isEnforced(known);
}

function isEnforced({ state, enforced }: SiteKnowledge): boolean {
  return sameSnapshot(enforced, heldBy(state));
}

function stateOf({ connection, known }: SiteStatus, latest: SnapshotRef | undefined): GatewayState {
  const { state } = known;
  if (connection === undefined) return "disconnected";
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
      if (!isEnforced(known)) return "pending";
      return state.problems === undefined ? "synced" : "partial";
  }
}

function sinceOf({ connection, known, lastSeenMs }: SiteStatus): number {
  if (connection === undefined) return lastSeenMs ?? 0;
  return known.state.kind === "awaiting-hello" ? connection.sinceMs : known.state.sinceMs;
}

function reasonsOf(site: SiteStatus, seen: GatewayState, latest: SnapshotRef | undefined, pin: string): string[] {
  const { known, connection, lastError } = site;
  const { state, deferred, late } = known;
  const reasons: string[] = [];
  if (connection === undefined && lastError !== undefined) reasons.push(lastError);
  if (known.hello !== undefined) reasons.push(...mismatches(known.hello, site, pin));
  if (seen === "waiting" && latest === undefined) reasons.push("its pool has no snapshot yet");
  if (state.kind === "refused")
    reasons.push(...wordsOf(state.detail.code, known.hello), ...refusalReasons(state.refused, state.detail));
  if (state.kind === "offered") reasons.push(offerReason(state.offered, deferred));
  if (state.kind === "synced") {
    if (state.problems !== undefined) reasons.push(...problemLines(state.problems));
    if (!isEnforced(known)) reasons.push("accepted; its isolates take it over now");
    else if (late !== undefined)
      reasons.push(`${late.watchers - late.returned} of ${late.watchers} isolates did not come back with it in time`);
  }
  return reasons;
}

function offerReason(offered: SnapshotRef, deferred: SiteKnowledge["deferred"]): string {
  if (!sameSnapshot(deferred?.snapshot, offered) || deferred === undefined) return `was offered ${snapshotVersion(offered)}`;
  const begins = new Date(deferred.notBeforeS * 1000).toISOString();
  return `holds ${snapshotVersion(offered)} back: its rollout, from ${begins}, has not reached the site`;
}

/** What its bindings say otherwise than this control plane: the cause of most refusals. */
function mismatches(hello: RelayHello, { name, pool }: SiteStatus, pin: string): string[] {
  const found: string[] = [];
  if (hello.pin !== pin) {
    found.push(
      `wrong root: the site is deployed with TRUST_ROOT ${hello.pin}, this control plane's is ${pin}; deploy it with that`,
    );
  }
  if (hello.audience !== pool) {
    found.push(
      `wrong audience: the site is deployed with AUDIENCE ${hello.audience}, its EdgeSite says ${pool}; make them the same`,
    );
  }
  if (hello.site !== name)
    found.push(`the site is deployed with SITE ${hello.site}, its EdgeSite is called ${name}; make them the same`);
  return found;
}

function wordsOf(code: string, hello: RelayHello | undefined): string[] {
  if (code !== "reader_too_old") return [];
  return [
    `reader too old: its Worker reads snapshots of format ${hello?.readerVersion ?? "?"}, this control plane writes ${READER_VERSION}; deploy the Worker of this release`,
  ];
}
