/** Text → checked objects: all problems at once, each with its place. One broken object never hides another, or stops it. */

import { type FieldPath, type Json, PARSE_LIMITS, type ParseLimits, readDocuments, type TextDocument } from "./documents.ts";
import { closest, explainIssues } from "./explain-issue.ts";
import { checkFiles, type FileReader } from "./files.ts";
import { type AnyResource, KINDS, type KindName } from "./kinds/index.ts";
import type { KindDefinition } from "./kinds/kind.ts";
import { type JsonMap, readMetadata } from "./metadata.ts";
import type { Metadata, ObjectRef, Problem, SourceLocation } from "./resource.ts";
import { findKind, specSchema } from "./schema.ts";
import { pruneUnsupported } from "./unsupported.ts";

/** An object as it was written, whatever its spelling of defaults; what is stored and shown by `get`. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: KindName;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: Json;
}

/** One object of a source, in force or refused. */
export interface CheckedObject {
  readonly ref: ObjectRef;
  /** Undefined: refused; `problems` say why. */
  readonly resource: AnyResource | undefined;
  /** Undefined: too broken to be kept. */
  readonly manifest: Manifest | undefined;
  readonly problems: readonly Problem[];
  readonly source: SourceLocation;
  /** Place of a field, for problems that are found later. `path` starts below the object: `["spec", "http", 0]`. */
  readonly locate: (path: FieldPath) => SourceLocation;
}

export interface Validation {
  readonly objects: readonly CheckedObject[];
  /** What belongs to no object: broken text, unknown kinds. */
  readonly problems: readonly Problem[];
}

export interface ValidateOptions {
  /** Unix ms; `createdMs` of objects that do not say. */
  readonly nowMs: number;
  /** For objects that name no namespace. */
  readonly defaultNamespace?: string;
  /** Looks at certificate and key files; without it they are not checked. */
  readonly files?: FileReader;
  readonly limits?: ParseLimits;
}

/** Validates a file's text (YAML or JSON, one or many documents, `List` included). Never throws. */
export function validateText(text: string, file: string, options: ValidateOptions): Validation {
  const read = readDocuments(text, options.limits ?? PARSE_LIMITS);
  const objects: CheckedObject[] = [];
  const problems: Problem[] = read.problems.map(({ line, column, message }) => textProblem(file, line, column, message));
  for (const document of read.documents) {
    problems.push(...document.problems.map(({ line, column, message }) => textProblem(file, line, column, message)));
    if (document.content === undefined || document.content === null) continue;
    for (const { content, at } of unfoldList(document.content)) {
      const outcome = new ObjectCheck(content, at, document, file, options).run();
      if ("ref" in outcome) objects.push(outcome);
      else problems.push(...outcome.problems);
    }
  }
  return { objects, problems };
}

function textProblem(file: string, line: number, column: number, message: string): Problem {
  return { severity: "error", ref: undefined, path: "", message, source: { file, line, column } };
}

/** All problems of a validation, in the order of the text. */
export function problemsOf(validation: Validation): readonly Problem[] {
  const all = [...validation.problems, ...validation.objects.flatMap((object) => object.problems)];
  return all.sort((a, b) => a.source.line - b.source.line || a.source.column - b.source.column);
}

/** `kind: List` (and `…List`) holds objects in `items`, as `kubectl get -o yaml` prints them. */
function unfoldList(content: Json): readonly { readonly content: Json; readonly at: FieldPath }[] {
  const map = asMap(content);
  if (map && typeof map["kind"] === "string" && map["kind"].endsWith("List") && Array.isArray(map["items"])) {
    return map["items"].map((item: Json, index) => ({ content: item, at: ["items", index] }));
  }
  return [{ content, at: [] }];
}

function asMap(value: Json | undefined): JsonMap | undefined {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as JsonMap) : undefined;
}

/** Field path as people write it: `spec.http[0].match[1].headers.end-user`. */
export function formatPath(path: FieldPath): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    if (!/^[A-Za-z_:@][\w:@-]*$/.test(step)) return `${text}["${step}"]`;
    return text === "" ? step : `${text}.${step}`;
  }, "");
}

/** Groups whose objects mean something to a mesh: what is not known in them is refused, not skipped. */
const NOT_YET: { readonly [group: string]: readonly string[] } = {
  "networking.istio.io": ["WorkloadGroup", "Sidecar", "ProxyConfig", "EnvoyFilter"],
  "security.istio.io": ["PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy"],
  "telemetry.istio.io": ["Telemetry"],
  "extensions.istio.io": ["WasmPlugin"],
  "config.istio.io": [
    "handler",
    "instance",
    "rule",
    "adapter",
    "template",
    "attributemanifest",
    "QuotaSpec",
    "QuotaSpecBinding",
    "HTTPAPISpec",
  ],
  "gateway.networking.k8s.io": [
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "GRPCRoute",
    "TLSRoute",
    "TCPRoute",
    "ReferenceGrant",
    "BackendTLSPolicy",
  ],
  "networking.k8s.io": ["Ingress"],
  "mesh.tidegate.dev": [],
};

/** Fields of an object that are its own, and those that only servers write. */
const OBJECT_FIELDS: readonly string[] = ["apiVersion", "kind", "metadata", "spec", "status"];

class ObjectCheck {
  private readonly problems: Problem[] = [];
  private ref: ObjectRef | undefined;
  private readonly content: Json;
  private readonly at: FieldPath;
  private readonly document: TextDocument;
  private readonly file: string;
  private readonly options: ValidateOptions;

  constructor(content: Json, at: FieldPath, document: TextDocument, file: string, options: ValidateOptions) {
    this.content = content;
    this.at = at;
    this.document = document;
    this.file = file;
    this.options = options;
  }

  run(): CheckedObject | { readonly problems: readonly Problem[] } {
    const object = asMap(this.content);
    if (!object) {
      this.error([], "this is not an object; a document is a map with apiVersion, kind, metadata and spec");
      return { problems: this.problems };
    }
    const { metadata, problems } = readMetadata(object["metadata"], this.options);
    const kind = typeof object["kind"] === "string" ? object["kind"] : "";
    if (kind !== "" && metadata) this.ref = { kind, namespace: metadata.namespace, name: metadata.name };
    const definition = this.definition(object);
    if (!definition) return { problems: this.problems };
    for (const { path, message, atKey } of problems) this.error(["metadata", ...path], message, atKey ? "key" : "value");
    for (const key of Object.keys(object)) {
      if (OBJECT_FIELDS.includes(key)) continue;
      const close = closest(key, OBJECT_FIELDS);
      this.error(
        [key],
        `unknown field "${key}"; ${close ? `did you mean "${close}"?` : `known here: ${OBJECT_FIELDS.join(", ")}. Other fields belong under spec`}`,
        "key",
      );
    }
    return this.finish(object, definition, metadata);
  }

  private finish(
    object: JsonMap,
    definition: KindDefinition,
    metadata: Metadata | undefined,
  ): CheckedObject | { readonly problems: readonly Problem[] } {
    const spec = withoutNulls(object["spec"] ?? {});
    const parsed = this.checkSpec(spec, definition, metadata);
    if (!metadata || !this.ref) return { problems: this.problems };
    const source = this.locate([]);
    const kind = definition.kind as KindName;
    const apiVersion = String(object["apiVersion"]);
    const { name, namespace, labels, annotations } = metadata;
    const refused = parsed === undefined || this.problems.some((problem) => problem.severity === "error");
    return {
      ref: this.ref,
      resource: refused ? undefined : ({ apiVersion, kind, metadata, spec: parsed, source } as AnyResource),
      manifest: { apiVersion, kind, metadata: { name, namespace, labels, annotations }, spec },
      problems: this.problems,
      source,
      locate: (path) => this.locate(path),
    };
  }

  private definition(object: JsonMap): KindDefinition | undefined {
    const { apiVersion, kind } = object;
    for (const field of ["apiVersion", "kind"] as const) {
      if (typeof object[field] === "string" && object[field] !== "") continue;
      this.error(
        [field],
        `${field} is missing; write for example ${field === "kind" ? "kind: Gateway" : "apiVersion: networking.istio.io/v1"}`,
      );
    }
    if (typeof apiVersion !== "string" || typeof kind !== "string" || kind === "" || apiVersion === "") return undefined;
    const slash = apiVersion.indexOf("/");
    const group = slash === -1 ? "" : apiVersion.slice(0, slash);
    const definition = findKind(group, kind);
    if (definition) {
      const version = apiVersion.slice(slash + 1);
      if (!definition.versions.includes(version)) {
        this.error(
          ["apiVersion"],
          `${kind} has no version "${version}"; known are ${definition.versions.map((known) => `${group}/${known}`).join(", ")}`,
        );
      }
      return definition;
    }
    this.unknownKind(group, kind);
    return undefined;
  }

  private unknownKind(group: string, kind: string): void {
    const inGroup = KINDS.filter((definition) => definition.group === group).map((definition) => definition.kind);
    const later = NOT_YET[group];
    if (later?.includes(kind)) {
      this.error(["kind"], `kind ${kind} of ${group} is not supported yet, so the object is refused; known are ${listKinds()}`);
      return;
    }
    if (later) {
      const close = closest(kind, [...inGroup, ...later]);
      this.error(["kind"], `${group} has no kind "${kind}"; ${close ? `did you mean ${close}?` : `known are ${listKinds()}`}`);
      return;
    }
    const same = KINDS.find((definition) => definition.kind === kind);
    if (same) {
      this.error(["apiVersion"], `${kind} is not a kind of "${group}"; did you mean ${same.group}/${same.versions[0]}?`);
      return;
    }
    const message = `${kind} of ${group === "" ? "the Kubernetes core" : group} is not a Tidegate kind and is skipped; known are ${listKinds()}`;
    this.problems.push({ ...this.problem(["kind"], message, "value"), severity: "warning" });
  }

  /** The parsed spec, or undefined when the object is refused. */
  private checkSpec(spec: Json, definition: KindDefinition, metadata: Metadata | undefined): unknown {
    const first = definition.schema.safeParse(spec);
    if (!first.success) {
      for (const { path, message, atKey } of explainIssues(first.error.issues, spec, specSchema(definition))) {
        this.error(["spec", ...path], message, atKey ? "key" : "value");
      }
      return undefined;
    }
    const { name = "", namespace = "" } = metadata ?? {};
    for (const { path, message, severity } of definition.check(first.data, { name, namespace })) {
      this.problems.push({ ...this.problem(["spec", ...path], message, "value"), severity: severity ?? "error" });
    }
    const kind = definition.kind as KindName;
    const pruned = pruneUnsupported(kind, spec);
    for (const { path, message, refused } of pruned.parts) {
      this.problems.push({ ...this.problem(["spec", ...path], message, "value"), severity: refused ? "error" : "unsupported" });
    }
    const second = definition.schema.safeParse(pruned.spec);
    if (!second.success) {
      this.error(["spec"], "nothing is left of the object without the parts that are not supported yet, so it is refused");
      return undefined;
    }
    if (this.options.files) {
      const object = { kind, spec: second.data } as Pick<AnyResource, "kind" | "spec">;
      for (const { path, message } of checkFiles(object, this.options.files)) this.error(["spec", ...path], message);
    }
    return second.data;
  }

  private locate(path: FieldPath, part: "key" | "value" = "value"): SourceLocation {
    return { file: this.file, ...this.document.locate([...this.at, ...path], part) };
  }

  private problem(path: FieldPath, message: string, part: "key" | "value"): Problem {
    return { severity: "error", ref: this.ref, path: formatPath(path), message, source: this.locate(path, part) };
  }

  private error(path: FieldPath, message: string, part: "key" | "value" = "value"): void {
    this.problems.push(this.problem(path, message, part));
  }
}

function listKinds(): string {
  return KINDS.map((definition) => definition.kind).join(", ");
}

/** A field that is null is a field that is not set, as Kubernetes and protobuf's JSON read it. Null items of lists stay and are refused. */
function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map((item: Json) => withoutNulls(item));
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, item]) => item !== null);
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutNulls(item)]));
}
