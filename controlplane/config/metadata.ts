/** `metadata` of an object: the four fields that are the user's, and those that Kubernetes writes, which are taken and not kept. */
import type { FieldPath, Json } from "./documents.ts";
import { closest } from "./explain-issue.ts";
import { isDnsLabel } from "./kinds/scalars.ts";
import type { Metadata } from "./resource.ts";

export type JsonMap = { readonly [key: string]: Json };

const OWN = ["name", "namespace", "labels", "annotations"] as const;
const SERVER_FIELDS: readonly string[] = [
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "finalizers",
  "generateName",
  "generation",
  "managedFields",
  "ownerReferences",
  "resourceVersion",
  "selfLink",
  "uid",
];

export interface MetadataFinding {
  readonly path: FieldPath;
  readonly message: string;
  readonly atKey?: boolean;
}

/** Namespace of objects that name none. */
const DEFAULT_NAMESPACE = "default";

/** Reads metadata. It is given back whenever the object can be named, even with problems, so that they are told by name. */
export function readMetadata(
  input: Json | undefined,
  options: { readonly nowMs: number; readonly defaultNamespace?: string },
): { readonly metadata: Metadata | undefined; readonly problems: readonly MetadataFinding[] } {
  const problems: MetadataFinding[] = [];
  if (input === null || typeof input !== "object" || Array.isArray(input)) {
    const message =
      input === undefined || input === null ? "metadata is missing; write metadata: { name: … }" : "metadata must be a map";
    return { metadata: undefined, problems: [{ path: [], message }] };
  }
  const map = input as JsonMap;
  for (const key of Object.keys(map)) {
    if (OWN.some((own) => own === key) || SERVER_FIELDS.includes(key)) continue;
    const close = closest(key, OWN);
    problems.push({
      path: [key],
      message: `unknown field "${key}"; ${close ? `did you mean "${close}"?` : `known here: ${OWN.join(", ")}`}`,
      atKey: true,
    });
  }
  const name = readName(map["name"], problems);
  const namespace = readNamespace(map["namespace"] ?? options.defaultNamespace ?? DEFAULT_NAMESPACE, problems);
  const labels = readTexts("labels", map["labels"], problems);
  const annotations = readTexts("annotations", map["annotations"], problems);
  if (name === undefined || namespace === undefined) return { metadata: undefined, problems };
  const createdMs = readCreated(map["creationTimestamp"]) ?? options.nowMs;
  return { metadata: { name, namespace, labels, annotations, createdMs, generation: 1 }, problems };
}

function readName(value: Json | undefined, problems: MetadataFinding[]): string | undefined {
  if (typeof value !== "string" || value === "") {
    problems.push({ path: ["name"], message: "the name is missing; write metadata: { name: … }" });
    return undefined;
  }
  if (value.length > 253 || !value.split(".").every(isDnsLabel)) {
    problems.push({
      path: ["name"],
      message: `"${shorten(value)}" is not a name; use lower case letters, digits, "-" and "." (RFC 1123), at most 253 characters`,
    });
  }
  return value;
}

function readNamespace(value: Json, problems: MetadataFinding[]): string | undefined {
  if (typeof value === "string" && isDnsLabel(value)) return value;
  const shown = typeof value === "string" ? `"${shorten(value)}"` : "this";
  problems.push({
    path: ["namespace"],
    message: `${shown} is not a namespace; use lower case letters, digits and "-" (RFC 1123), at most 63 characters`,
  });
  return typeof value === "string" ? value : undefined;
}

function readTexts(field: string, value: Json | undefined, problems: MetadataFinding[]): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    problems.push({ path: [field], message: `${field} must be a map of texts` });
    return {};
  }
  const result: Record<string, string> = {};
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "string") result[key] = item;
    else
      problems.push({ path: [field, key], message: `the value must be text; write ${JSON.stringify(String(item))} in quotes` });
  }
  return result;
}

function readCreated(value: Json | undefined): number | undefined {
  const ms = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
