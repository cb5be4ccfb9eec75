/** What each object's owner is told: accepted or why not, and which gateways enforce it since which snapshot. */
import type { MergedObject } from "./merge.ts";
import { type ObjectRef, type Problem, refKey, type SourceLocation } from "./resource.ts";

/** Where an object is enforced. */
export interface Programmed {
  /** Gateway pool. */
  readonly pool: string;
  /** `epoch.version` of the first snapshot that had this generation. */
  readonly snapshot: string;
  readonly sinceMs: number;
}

/** Told by those who translate and distribute. */
export interface ProgrammedSource {
  programmed(ref: ObjectRef, generation: number): readonly Programmed[];
}

export interface ObjectStatus {
  readonly ref: ObjectRef;
  /** Source it comes from: `directory`, `api`. */
  readonly origin: string;
  readonly accepted: boolean;
  /** Generation in force; undefined when nothing is. When the newest text is refused, the last good generation stays in force. */
  readonly generation: number | undefined;
  readonly problems: readonly Problem[];
  readonly programmed: readonly Programmed[];
  readonly source: SourceLocation;
}

/**
 * Statuses of a set. `more` are problems found by later stages (references, translation); they are added to the object they name.
 */
export function statusesOf(
  objects: readonly MergedObject[],
  more: readonly Problem[],
  programmed?: ProgrammedSource,
): readonly ObjectStatus[] {
  const later = new Map<string, Problem[]>();
  for (const problem of more) {
    if (!problem.ref) continue;
    const key = refKey(problem.ref);
    const list = later.get(key);
    if (list) list.push(problem);
    else later.set(key, [problem]);
  }
  return objects.map(({ ref, origin, resource, problems, source }) => {
    const all = [...problems, ...(later.get(refKey(ref)) ?? [])];
    const generation = resource?.metadata.generation;
    return {
      ref,
      origin,
      accepted: resource !== undefined && !all.some((problem) => problem.severity === "error"),
      generation,
      problems: all,
      programmed: generation === undefined || !programmed ? [] : programmed.programmed(ref, generation),
      source,
    };
  });
}

/** `file:line:column`, or the file alone. */
export function formatProblemPlace({ file, line, column }: SourceLocation): string {
  return line > 0 ? `${file}:${line}:${column}` : file;
}
