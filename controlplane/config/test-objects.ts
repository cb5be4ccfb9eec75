/** What tests of this room share: validate a text, and look at what came of it. */
import { formatProblem } from "./resource.ts";
import { problemsOf, type ValidateOptions, type Validation, validateText } from "./validate.ts";

export const NOW_MS = 1_700_000_000_000;

export function validate(text: string, options: Partial<ValidateOptions> = {}): Validation {
  return validateText(text, "a.yaml", { nowMs: NOW_MS, ...options });
}

/** `error a.yaml:1:2: …` lines in the order of the text. */
export function told(validation: Validation): readonly string[] {
  return problemsOf(validation).map((problem) => `${problem.severity} ${formatProblem(problem)}`);
}

const GROUPS: { readonly [kind: string]: string } = {
  Quota: "mesh.tidegate.dev/v1",
  EgressPolicy: "mesh.tidegate.dev/v1",
  EdgeSite: "mesh.tidegate.dev/v1",
  MeshConfig: "mesh.tidegate.dev/v1",
};

/** An object of a kind with this spec (JSON or flow YAML), named `x`. */
export function object(kind: string, spec: string): string {
  return `apiVersion: ${GROUPS[kind] ?? "networking.istio.io/v1"}\nkind: ${kind}\nmetadata: { name: x }\nspec: ${spec}\n`;
}

/** `severity path: message` of every problem of an object with this spec. */
export function complaints(kind: string, spec: string): readonly string[] {
  return problemsOf(validate(object(kind, spec))).map(({ severity, path, message }) => `${severity} ${path}: ${message}`);
}

/** The parsed spec of an object that must be accepted. */
export function accepted(kind: string, spec: string): unknown {
  const { objects } = validate(object(kind, spec));
  const [only] = objects;
  if (!only?.resource) throw new Error(complaints(kind, spec).join("\n"));
  return only.resource.spec;
}
