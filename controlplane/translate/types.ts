/** What translation is told and what it answers. */

import type { EgressUser, PassportSettings, Snapshot } from "../../gateway/core/ir/index.ts";
import type { AnyResource, MeshConfigSpec } from "../config/index.ts";
import type { ObjectRef, Problem } from "../config/resource.ts";
import type { Registry } from "../registry/index.ts";
import type { EdgeSiteResource } from "./objects.ts";

/** Gateways that run the same snapshot; a `gatewayPools` item of MeshConfig is one, an EdgeSite another. */
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
  /** Where its gateways are, `region/zone/subzone`. */
  readonly locality?: string | undefined;
  /** Whoever is in front begins every connection to its Gateways with a PROXY protocol header. */
  readonly proxyProtocol?: boolean | undefined;
  /** A site at the edge; it names its Gateways itself. Undefined: gateways on Node. */
  readonly site?: EdgeSiteResource;
}

export interface TranslateInput {
  /** Accepted objects in any order. */
  readonly config: readonly AnyResource[];
  readonly registry: Registry;
  readonly pool: Pool;
  readonly mesh: MeshConfigSpec;
  /** Proxy users with their password hashes, from the file that MeshConfig names. */
  readonly proxyUsers?: readonly EgressUser[];
  /** What sites ask of gateways on Node. */
  readonly sites?: SiteDemands;
  /** The site that counts global quotas; undefined: there is none, or nothing for it to count. */
  readonly bank?: BankSite | undefined;
}

/** The one site whose banks count global quotas, for all sites and clusters. */
export interface BankSite {
  readonly site: EdgeSiteResource;
  /** Where it answers those who draw on its banks. */
  readonly url: string;
}

/** A site's public key for passports. */
export interface SiteKey {
  readonly kid: string;
  /** Ed25519, base64url (RFC 8037 `x`). */
  readonly x: string;
}

/** What sites at the edge ask of gateways on Node. */
export interface SiteDemands {
  readonly passports: PassportSettings | undefined;
  /** Services that sites reach through this pool, sorted. */
  readonly services: readonly WantedService[];
}

/** A service by its whole name, which the pool needs a cluster for though none of its own routes may name it. */
export interface WantedService {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly site: EdgeSiteResource;
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
