/** What translation is told and what it answers. */

import type { EgressUser, Snapshot } from "../../gateway/core/ir/index.ts";
import type { AnyResource, MeshConfigSpec } from "../config/index.ts";
import type { ObjectRef, Problem } from "../config/resource.ts";
import type { Registry } from "../registry/index.ts";

/** Gateways that run the same snapshot; a `gatewayPools` item of MeshConfig is one. */
export interface Pool {
  readonly name: string;
  /** Namespace of the gateways themselves: what they may see (`exportTo`), and where their own DestinationRules are. Default: the root namespace. */
  readonly namespace?: string;
  /** What a Gateway's `selector` is held against. */
  readonly labels: Readonly<Record<string, string>>;
  readonly role: "ingress" | "egress";
  /** IP literal for servers without `bind`, and for the forward proxy. */
  readonly bind: string;
  /** Declared port → port to bind. A port that is not listed is bound as it is. */
  readonly ports: Readonly<Record<string, number>>;
  /** Egress only: port of the forward proxy. */
  readonly forwardProxyPort?: number | undefined;
}

export interface TranslateInput {
  /** Accepted objects in any order. */
  readonly config: readonly AnyResource[];
  readonly registry: Registry;
  readonly pool: Pool;
  readonly mesh: MeshConfigSpec;
  /** Proxy users with their password hashes, from the file that MeshConfig names. */
  readonly proxyUsers?: readonly EgressUser[];
}

export interface Translation {
  readonly snapshot: Snapshot;
  /** Sorted; no two alike. */
  readonly problems: readonly Problem[];
  /** Objects that some part of the snapshot comes from, sorted by key. */
  readonly programmed: readonly ObjectRef[];
}

/** The pool with its namespace settled. */
export type LocatedPool = Pool & { readonly namespace: string };
