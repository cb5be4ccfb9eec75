/** What a kind consists of: where its objects live, its one schema, what of it does not work yet, and what a schema cannot say. */
import type { z } from "zod";

/** A problem of one object, before it has a place in a file. `path` starts below `spec`: `["http", 0, "match"]`. */
export interface Finding {
  readonly path: readonly (string | number)[];
  /** What is wrong, and what would be right. */
  readonly message: string;
  /** Default `error`: the object is refused. */
  readonly severity?: "error" | "warning";
}

export interface KindDefinition<Kind extends string = string, Schema extends z.ZodType = z.ZodType> {
  readonly kind: Kind;
  /** API group: `networking.istio.io`. */
  readonly group: string;
  /** Accepted versions, newest first: `["v1", "v1beta1"]`. */
  readonly versions: readonly string[];
  readonly plural: string;
  /** One sentence for the CRD and for help. */
  readonly description: string;
  /** The spec: type (`z.output`, every default filled in), validation and JSON Schema in one. */
  readonly schema: Schema;
  /** Rules of one object that span fields, over the parsed spec. */
  readonly check: (spec: z.output<Schema>, object: { readonly name: string; readonly namespace: string }) => readonly Finding[];
}

/** Keeps the literal types of a definition. */
export function defineKind<const Kind extends string, Schema extends z.ZodType>(
  definition: KindDefinition<Kind, Schema>,
): KindDefinition<Kind, Schema> {
  return definition;
}
