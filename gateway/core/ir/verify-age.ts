/** What time does to a snapshot: sections grow stale and expire, rollouts reach one gateway after the other. */
import { type Manifest, SECTIONS, type Section, type SectionInfo } from "./manifest.ts";

type SectionState =
  | { readonly kind: "fresh" }
  /** Past its soft age: serve on, and raise the alarm. */
  | { readonly kind: "stale"; readonly forS: number }
  /** Past its hard age: `keep` serves on, `closed` acts as if the section allowed nothing. */
  | { readonly kind: "expired"; readonly forS: number; readonly failMode: SectionInfo["failMode"] };

export interface SnapshotAge {
  readonly sections: { readonly [name in Section]: SectionState };
  /** Unix seconds at which something of this changes next; undefined: never again. */
  readonly nextChangeS: number | undefined;
}

/** How old each section is at `nowS` (Unix seconds). Ask again at `nextChangeS`. */
export function sectionState(manifest: Manifest, nowS: number): SnapshotAge {
  const { routes, egress, quota } = manifest.sections;
  const ahead = [routes, egress, quota].flatMap((info) => [info.softExp, info.exp]).filter((at) => at > nowS);
  return {
    sections: { routes: stateOf(routes, nowS), egress: stateOf(egress, nowS), quota: stateOf(quota, nowS) },
    nextChangeS: ahead.length === 0 ? undefined : Math.min(...ahead),
  };
}

function stateOf({ softExp, exp, failMode }: SectionInfo, nowS: number): SectionState {
  if (nowS >= exp) return { kind: "expired", forS: nowS - exp, failMode };
  if (nowS >= softExp) return { kind: "stale", forS: nowS - softExp };
  return { kind: "fresh" };
}

/** Sections that have expired with fail mode `closed`, and what to say about it. */
export type ClosedSections = { readonly [name in Section]?: string };

export function closedSections({ sections }: SnapshotAge): ClosedSections {
  const closed: { [name in Section]?: string } = {};
  for (const name of SECTIONS) {
    const state = sections[name];
    if (state.kind !== "expired" || state.failMode !== "closed") continue;
    closed[name] = `the ${name} section of the snapshot has expired and its fail mode is closed`;
  }
  return closed;
}

/** Where a gateway stands in a rollout: a number in [0, 100), spread evenly, another order with each salt. */
export function cohortOf(salt: string, gatewayId: string): number {
  // FNV-1a over both, a zero between them so that ("a", "bc") is not ("ab", "c"), and murmur3's finalizer to spread near ids.
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(`${salt}\u0000${gatewayId}`)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  hash ^= hash >>> 16;
  return ((hash >>> 0) / 0x1_0000_0000) * 100;
}

/** Whether the rollout has reached this gateway at `nowS` (Unix seconds). A higher percentage keeps those it had reached. */
export function isRolledOut(rollout: Manifest["rollout"], gatewayId: string, nowS: number): boolean {
  return nowS >= rollout.notBefore && cohortOf(rollout.salt, gatewayId) < rollout.percent;
}
