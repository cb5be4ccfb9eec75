/** Several sources → one set: an object that is there twice is in force once, and both places say so. */
import type { FieldPath } from "./documents.ts";
import type { AnyResource } from "./kinds/index.ts";
import { type ObjectRef, type Problem, refKey, type SourceLocation } from "./resource.ts";
import { formatProblemPlace } from "./status.ts";
import type { CheckedObject } from "./validate.ts";

/** One source's objects, in its own order. */
export interface SourceObjects {
  /** `directory`, `api`: shown in statuses. */
  readonly name: string;
  readonly objects: readonly CheckedObject[];
  /** What belongs to no object. */
  readonly problems: readonly Problem[];
}

export interface MergedObject {
  readonly ref: ObjectRef;
  readonly origin: string;
  readonly resource: AnyResource | undefined;
  readonly problems: readonly Problem[];
  readonly source: SourceLocation;
  readonly locate: (path: FieldPath) => SourceLocation;
}

export interface Merged {
  /** In the order of sources, then of objects in them. */
  readonly objects: readonly MergedObject[];
  readonly problems: readonly Problem[];
}

/**
 * Merges sources; the first one that has an object wins (directory before API: what is written down and reviewed beats what was typed), and within
 * a source the first object. The loser is a `conflict` on both. What was never good takes nothing out of force: it loses to a good one of another
 * source. Only one MeshConfig is in force: the first; any other is refused by name.
 */
export function mergeSources(sources: readonly SourceObjects[]): Merged {
  const winners = new Map<string, { readonly origin: string; readonly object: CheckedObject; readonly problems: Problem[] }>();
  const problems: Problem[] = sources.flatMap((source) => source.problems);
  for (const { name: origin, objects } of sources) {
    for (const object of objects) {
      const key = refKey(object.ref);
      const winner = winners.get(key);
      if (!winner) winners.set(key, { origin, object, problems: [...object.problems] });
      else if (!winner.object.resource && object.resource && winner.origin !== origin) {
        const problems = [...winner.problems, ...object.problems, ...conflict({ origin, object }, winner)];
        winners.set(key, { origin, object, problems });
      } else winner.problems.push(...object.problems, ...conflict(winner, { origin, object }));
    }
  }
  const merged = [...winners.values()].map(({ origin, object, problems }) => {
    const { ref, resource, source, locate } = object;
    return { ref, origin, resource, problems, source, locate };
  });
  return { objects: refuseSecondMeshConfig(merged), problems };
}

interface Placed {
  readonly origin: string;
  readonly object: CheckedObject;
}

function conflict(winner: Placed, loser: Placed): readonly Problem[] {
  const where = ({ origin, object }: Placed): string => formatProblemPlace(object.source) || origin;
  const base = { severity: "conflict", ref: winner.object.ref, path: "metadata.name" } as const;
  return [
    {
      ...base,
      message: `the object is defined again at ${where(loser)}, which is not used; remove one of them`,
      source: winner.object.locate(["metadata", "name"]),
    },
    {
      ...base,
      message: `the object is defined already at ${where(winner)}, so this one is not used; remove one of them`,
      source: loser.object.locate(["metadata", "name"]),
    },
  ];
}

function refuseSecondMeshConfig(objects: readonly MergedObject[]): readonly MergedObject[] {
  const first = objects.find(({ ref, resource }) => ref.kind === "MeshConfig" && resource);
  if (!first) return objects;
  return objects.map((object) => {
    if (object === first || object.ref.kind !== "MeshConfig" || !object.resource) return object;
    const problem: Problem = {
      severity: "error",
      ref: object.ref,
      path: "metadata.name",
      message: `a mesh has one MeshConfig, and ${first.ref.namespace}/${first.ref.name} is in force; change that one, or delete it first`,
      source: object.locate(["metadata", "name"]),
    };
    return { ...object, resource: undefined, problems: [...object.problems, problem] };
  });
}
