/** What a new version of a snapshot says besides its content: its number, its predecessor, its times. */
import type { Manifest, PolicyClass, Section, SectionInfo } from "../../gateway/core/ir/index.ts";
import { READER_VERSION, SECTIONS } from "../../gateway/core/ir/index.ts";
import { type Chunk, sectionRefs } from "./chunk.ts";
import type { VersionId } from "./history.ts";

interface SectionAge {
  /** Seconds after signing from which readers alarm. */
  readonly softS: number;
  /** Seconds after signing from which the fail mode applies. */
  readonly hardS: number;
  readonly failMode: SectionInfo["failMode"];
}
export type SectionAges = { readonly [name in Section]: SectionAge };

/** Routes and quotas keep serving; what egress allows expires closed. */
export const DEFAULT_AGES: SectionAges = {
  routes: { softS: 3_600, hardS: 30 * 86_400, failMode: "keep" },
  egress: { softS: 3_600, hardS: 86_400, failMode: "closed" },
  quota: { softS: 3_600, hardS: 30 * 86_400, failMode: "keep" },
};

export const EVERYWHERE_AT_ONCE: Manifest["rollout"] = { salt: "", percent: 100, notBefore: 0 };

/** To whom a snapshot goes when: by the manifest's own words, or to all some time after it was signed (a change that only narrows egress: at once). */
export type Rollout = Manifest["rollout"] | { readonly afterS: number };

/** Whether what a manifest says is what is wanted: a delay that it has begun with is not begun again. */
export function isRollout(manifest: Manifest, wanted: Rollout): boolean {
  const { salt, percent, notBefore } = manifest.rollout;
  if (!("afterS" in wanted)) return salt === wanted.salt && percent === wanted.percent && notBefore === wanted.notBefore;
  return percent === EVERYWHERE_AT_ONCE.percent && notBefore <= manifest.iat + wanted.afterS;
}

/** The last version that is known good. */
export interface Predecessor extends VersionId {
  readonly payloadHash: string;
}

/**
 * Number and predecessor of the next version in `epoch`. `highest` is the highest number that was ever given out. When that one cannot be read any
 * more, one number is left out: its holders would otherwise be handed a direct successor that does not name what they hold.
 */
export function nextVersion(
  epoch: number,
  last: Predecessor | undefined,
  highest: VersionId | undefined,
): { readonly version: number; readonly prevHash: string | null } {
  const given = highest?.epoch === epoch ? highest.version : 0;
  const lost = given > 0 && (last?.epoch !== epoch || last.version !== given);
  return { version: given + (lost ? 2 : 1), prevHash: last?.payloadHash ?? null };
}

export interface ManifestInput {
  readonly iss: string;
  readonly pool: string;
  readonly epoch: number;
  readonly version: number;
  readonly prevHash: string | null;
  readonly nowS: number;
  readonly ages: SectionAges;
  readonly chunks: readonly Chunk[];
  readonly rollout: Manifest["rollout"];
  readonly policyClass: PolicyClass;
}

export function makeManifest(input: ManifestInput): Manifest {
  const { nowS, ages, chunks } = input;
  const section = (name: Section): SectionInfo => ({
    softExp: nowS + ages[name].softS,
    exp: nowS + ages[name].hardS,
    failMode: ages[name].failMode,
    chunks: sectionRefs(chunks, name),
  });
  return {
    iss: input.iss,
    aud: input.pool,
    epoch: input.epoch,
    version: input.version,
    iat: nowS,
    nbf: nowS,
    schema: 1,
    minReader: READER_VERSION,
    sections: { routes: section("routes"), egress: section("egress"), quota: section("quota") },
    prevHash: input.prevHash,
    rollout: input.rollout,
    policyClass: input.policyClass,
  };
}

/** Unix seconds from which on an unchanged snapshot is signed anew: half of the shortest soft age is over. */
export function renewAtS(manifest: Manifest): number {
  const softest = Math.min(...SECTIONS.map((name) => manifest.sections[name].softExp));
  return manifest.iat + (softest - manifest.iat) / 2;
}
