/** What translation has to say about objects: problems, and which of them are in force. */
import { type ObjectRef, type Problem, type Resource, refKey, type Severity, type SourceLocation } from "../config/resource.ts";
import { compareText } from "../registry/index.ts";

interface Place {
  readonly ref: ObjectRef;
  readonly source: SourceLocation;
}

export class Status {
  readonly #problems = new Map<string, Problem>();
  readonly #programmed = new Map<string, ObjectRef>();

  /** Said once, however often the same is found. `path` starts at `spec`. */
  report(severity: Severity, resource: Resource, path: string, message: string): void {
    this.reportOn(severity, { ref: refOf(resource), source: resource.source }, path, message);
  }

  /** The same for an object that is known only by its name and place. */
  reportOn(severity: Severity, object: Place, path: string, message: string): void {
    const { ref, source } = object;
    const key = `${refKey(ref)}\n${path}\n${severity}\n${message}`;
    if (!this.#problems.has(key)) this.#problems.set(key, { severity, ref, path, message, source });
  }

  /** A conflict is said on both objects: on the one whose part is left out, and on the one that has precedence. */
  conflict(winner: Resource, winnerPath: string, loser: Resource, loserPath: string, about: string): void {
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

  programmed(resource: Resource): void {
    this.programmedRef(refOf(resource));
  }

  programmedRef(ref: ObjectRef): void {
    this.#programmed.set(refKey(ref), ref);
  }

  isProgrammed(resource: Resource): boolean {
    return this.#programmed.has(refKey(refOf(resource)));
  }

  problems(): readonly Problem[] {
    return [...this.#problems.entries()].sort(([a], [b]) => compareText(a, b)).map(([, problem]) => problem);
  }

  programmedRefs(): readonly ObjectRef[] {
    return [...this.#programmed.entries()].sort(([a], [b]) => compareText(a, b)).map(([, ref]) => ref);
  }
}

export function refOf(resource: Resource): ObjectRef {
  return { kind: resource.kind, namespace: resource.metadata.namespace, name: resource.metadata.name };
}

/** `Kind namespace/name`. */
export function describe(resource: Resource): string {
  return `${resource.kind} ${objectKey(resource)}`;
}

/** `namespace/name`. */
export function objectKey(resource: Resource): string {
  return `${resource.metadata.namespace}/${resource.metadata.name}`;
}
