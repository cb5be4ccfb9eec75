/** What is generated from a kind's one schema: JSON Schema, its field paths, and the Kubernetes CRD manifest. */
import { z } from "zod";
import type { FieldPath } from "./documents.ts";
import { KINDS } from "./kinds/index.ts";
import type { KindDefinition } from "./kinds/kind.ts";

/** A JSON Schema node as far as it is walked here. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: { readonly [name: string]: JsonSchema };
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly [keyword: string]: unknown;
}

const cache = new Map<KindDefinition, JsonSchema>();

/** JSON Schema (2020-12) of a kind's spec, as users write it. */
export function specSchema(definition: KindDefinition): JsonSchema {
  const known = cache.get(definition);
  if (known) return known;
  const made = z.toJSONSchema(definition.schema, { io: "input" }) as JsonSchema;
  cache.set(definition, made);
  return made;
}

const METADATA: JsonSchema = {
  type: "object",
  required: ["name"],
  properties: {
    name: { type: "string" },
    namespace: { type: "string" },
    labels: { type: "object", additionalProperties: { type: "string" } },
    annotations: { type: "object", additionalProperties: { type: "string" } },
  },
};

/** JSON Schema of whole objects of a kind: what editors and the API's description use. */
export function objectSchema(definition: KindDefinition): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: definition.kind,
    description: definition.description,
    type: "object",
    required: ["apiVersion", "kind", "metadata"],
    additionalProperties: false,
    properties: {
      apiVersion: { enum: definition.versions.map((version) => `${definition.group}/${version}`) },
      kind: { enum: [definition.kind] },
      metadata: METADATA,
      spec: specSchema(definition),
      status: { type: "object" },
    },
  };
}

/** Fields that a path may be followed by; empty when anything or nothing may. */
export function fieldsAt(schema: JsonSchema, path: FieldPath): readonly string[] {
  return [...new Set(nodesAt(schema, path).flatMap((node) => Object.keys(node.properties ?? {})))];
}

/** The schema of what is at a path; several where alternatives exist. */
export function nodesAt(schema: JsonSchema, path: FieldPath): readonly JsonSchema[] {
  let nodes: readonly JsonSchema[] = alternatives(schema);
  for (const step of path) nodes = nodes.flatMap((node) => alternatives(child(node, step)));
  return nodes;
}

function alternatives(schema: JsonSchema | undefined): readonly JsonSchema[] {
  if (!schema) return [];
  return schema.anyOf ? schema.anyOf.flatMap(alternatives) : [schema];
}

function child(schema: JsonSchema, step: string | number): JsonSchema | undefined {
  if (typeof step === "number") return schema.items;
  const property = schema.properties?.[step];
  if (property) return property;
  return typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
}

/** Every field of a spec as a pattern: `spec.http[].match[].headers{}.exact`. Maps with free keys are `{}`, lists `[]`. */
export function fieldPatterns(definition: KindDefinition): readonly string[] {
  const found = new Set<string>();
  const walk = (schema: JsonSchema, path: string): void => {
    for (const node of alternatives(schema)) {
      for (const [name, property] of Object.entries(node.properties ?? {})) {
        found.add(`${path}.${name}`);
        walk(property, `${path}.${name}`);
      }
      if (node.items) walk(node.items, `${path}[]`);
      if (typeof node.additionalProperties === "object") walk(node.additionalProperties, `${path}{}`);
    }
  };
  walk(specSchema(definition), "spec");
  return [...found];
}

/** Keywords that a Kubernetes structural schema does not have, or has with another meaning. */
const NOT_STRUCTURAL = new Set([
  "$schema",
  "additionalProperties",
  "propertyNames",
  "const",
  "anyOf",
  "format",
  "contentEncoding",
  "default",
]);

/** The structural form that API servers accept: no unions; what they cannot say is checked by the control plane. */
function structural(schema: JsonSchema): JsonSchema {
  if (schema.anyOf) {
    const types = new Set(schema.anyOf.map((node) => node.type));
    const description = schema.description ? { description: schema.description } : {};
    const [only] = schema.anyOf;
    if (types.size === 1 && only && only.type !== "object") return { ...description, type: only.type ?? "string" };
    return { ...description, "x-kubernetes-preserve-unknown-fields": true };
  }
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (!NOT_STRUCTURAL.has(keyword)) result[keyword] = value;
  }
  if (schema.properties) {
    result["properties"] = Object.fromEntries(
      Object.entries(schema.properties).map(([name, property]) => [name, structural(property)]),
    );
  }
  if (schema.items) result["items"] = structural(schema.items);
  if (typeof schema.additionalProperties === "object") result["additionalProperties"] = structural(schema.additionalProperties);
  if (result["type"] === undefined && result["enum"] === undefined) result["x-kubernetes-preserve-unknown-fields"] = true;
  return result;
}

/** CustomResourceDefinition manifest of a kind; the newest version is stored. */
export function crdManifest(definition: KindDefinition): { readonly [field: string]: unknown } {
  const schema = {
    openAPIV3Schema: {
      type: "object",
      description: definition.description,
      properties: {
        spec: structural(specSchema(definition)),
        status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
      },
    },
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${definition.plural}.${definition.group}` },
    spec: {
      group: definition.group,
      scope: "Namespaced",
      names: {
        kind: definition.kind,
        listKind: `${definition.kind}List`,
        plural: definition.plural,
        singular: definition.kind.toLowerCase(),
      },
      versions: definition.versions.map((name, index) => ({
        name,
        served: true,
        storage: index === 0,
        subresources: { status: {} },
        schema,
      })),
    },
  };
}

/** The definition of a kind in an API group. */
export function findKind(group: string, kind: string): KindDefinition | undefined {
  return KINDS.find((definition) => definition.kind === kind && definition.group === group);
}
