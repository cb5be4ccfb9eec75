import { expect, test } from "vitest";
import { KINDS } from "./kinds/index.ts";
import { crdManifest, type JsonSchema, objectSchema } from "./schema.ts";

const byName = (kind: string) => KINDS.find((definition) => definition.kind === kind)!;

test("JSON Schema describes what users write, unknown fields excluded", () => {
  const schema = objectSchema(byName("Quota"));
  expect(schema).toMatchObject({ title: "Quota", additionalProperties: false, required: ["apiVersion", "kind", "metadata"] });
  expect(schema.properties?.["apiVersion"]?.enum).toEqual(["mesh.tidegate.dev/v1"]);
  const spec = schema.properties?.["spec"];
  expect(spec?.required).toEqual(["targets", "limits"]);
  expect(spec?.properties?.["scope"]).toMatchObject({ enum: ["local", "cluster", "global"], default: "local" });
});

test.each(KINDS.map((definition) => [definition.kind, definition] as const))("%s: the CRD is structural", (_, definition) => {
  const crd = crdManifest(definition) as {
    spec: { versions: { name: string; storage: boolean; schema: { openAPIV3Schema: JsonSchema } }[] };
  };
  expect(crd.spec.versions.filter(({ storage }) => storage)).toHaveLength(1);
  const walk = (schema: JsonSchema, path: string): void => {
    for (const keyword of ["anyOf", "oneOf", "$ref", "$schema", "propertyNames", "const", "default"])
      expect(`${path} ${keyword in schema}`).toBe(`${path} false`);
    expect(`${path} ${schema.type !== undefined || schema["x-kubernetes-preserve-unknown-fields"] === true}`).toBe(
      `${path} true`,
    );
    expect(typeof schema.additionalProperties).not.toBe("boolean");
    for (const [name, property] of Object.entries(schema.properties ?? {})) walk(property, `${path}.${name}`);
    if (schema.items) walk(schema.items, `${path}[]`);
    if (typeof schema.additionalProperties === "object") walk(schema.additionalProperties, `${path}{}`);
  };
  walk(crd.spec.versions[0]!.schema.openAPIV3Schema, definition.kind);
});
