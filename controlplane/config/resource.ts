/** A configuration object as the rest of the control plane sees it: validated, typed, and still knowing where it was written. */

export interface SourceLocation {
  /** File path, `api`, or another source's name for the place. */
  readonly file: string;
  /** 1-based; 0 when unknown. */
  readonly line: number;
  readonly column: number;
}

export interface Metadata {
  readonly name: string;
  /** Filled in: objects without one are in `default`. */
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Unix ms at which this object was first seen; ties in precedence are settled by it, then name, then namespace. */
  readonly createdMs: number;
  /** Rises with each change of the spec. */
  readonly generation: number;
}

export interface Resource<Kind extends string = string, Spec = unknown> {
  readonly apiVersion: string;
  readonly kind: Kind;
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly source: SourceLocation;
}

export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** `kind/namespace/name`: the key of maps over objects. */
export function refKey(ref: ObjectRef): string {
  return `${ref.kind}/${ref.namespace}/${ref.name}`;
}

/**
 * - `error`: the object is refused.
 * - `unsupported`: the named part is left out because the feature does not work yet; the rest of the object is in force.
 * - `conflict`: another object has precedence over the named part; said on both objects.
 * - `warning`: in force, but probably not what was meant.
 */
export type Severity = "error" | "unsupported" | "conflict" | "warning";

export interface Problem {
  readonly severity: Severity;
  readonly ref: ObjectRef | undefined;
  /** Field path such as `spec.http[0].match[1].uri`. */
  readonly path: string;
  /** What is wrong, and what would be right. */
  readonly message: string;
  readonly source: SourceLocation;
}

/** `file:line:column: kind ns/name: field.path: message` */
export function formatProblem(problem: Problem): string {
  const { file, line, column } = problem.source;
  const place = line > 0 ? `${file}:${line}:${column}` : file;
  const object = problem.ref ? ` ${problem.ref.kind} ${problem.ref.namespace}/${problem.ref.name}:` : "";
  const path = problem.path === "" ? "" : ` ${problem.path}:`;
  return `${place}:${object}${path} ${problem.message}`;
}
