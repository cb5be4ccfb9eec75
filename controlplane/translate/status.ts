/** What translation has to say about objects: problems, and which of them are in force. */
import { type AnyResource, refOf } from "../config/index.ts";
import { type ObjectRef, type Problem, refKey, type Severity, type SourceLocation } from "../config/resource.ts";
import { compareText } from "../registry/index.ts";

interface Place {
  readonly ref: ObjectRef;
  readonly source: SourceLocation;
}

export class Status {
  readonly #problems = new Map<string, Problem>();
  readonly #programmed = new Map<string, ObjectRef>();

  /** Said once, however often the same is found. `path` starts at `spec`. */
  report(severity: Severity, resource: AnyResource, path: string, message: string): void {
    this.reportOn(severity, { ref: refOf(resource), source: resource.source }, path, message);
  }

  /** The same for an object that is known only by its name and place. */
  reportOn(severity: Severity, object: Place, path: string, message: string): void {
    const { ref, source } = object;
    const key = `${refKey(ref)}\n${path}\n${severity}\n${message}`;
    if (!this.#problems.has(key)) this.#problems.set(key, { severity, ref, path, message, source });
  }

  /** A conflict is said on both objects: on the one whose part is left out, and on the one that has precedence. */
  conflict(winner: AnyResource, winnerPath: string, loser: AnyResource, loserPath: string, about: string): void {
    this.report(
      "conflict",
      winner,
      winnerPath,
      `${about} is also declared by ${describe(loser)} ${loserPath}; this one has precedence`,
    );
    this.report(
      "conflict",
      loser,
      loserPath,
      `${about} is already declared by ${describe(winner)} ${winnerPath}, which has precedence`,
    );
  }

  programmed(resource: AnyResource): void {
    this.programmedRef(refOf(resource));
  }

  programmedRef(ref: ObjectRef): void {
    this.#programmed.set(refKey(ref), ref);
  }

  problems(): readonly Problem[] {
    return [...this.#problems.entries()].sort(([a], [b]) => compareText(a, b)).map(([, problem]) => problem);
  }

  programmedRefs(): readonly ObjectRef[] {
    return [...this.#programmed.entries()].sort(([a], [b]) => compareText(a, b)).map(([, ref]) => ref);
  }
}

/** `Kind namespace/name`. */
export function describe(resource: AnyResource): string {
  return `${resource.kind} ${objectKey(resource)}`;
}

/** `namespace/name`. */
export function objectKey(resource: AnyResource): string {
  return `${resource.metadata.namespace}/${resource.metadata.name}`;
}
