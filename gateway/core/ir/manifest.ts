/**
 * The root of a snapshot. The manifest is signed; everything else is named in it by the SHA-256 of its exact bytes.
 * Wire form: RFC 7515 General JSON serialization; the payload is this object as UTF-8 JSON.
 */
import type { Cluster, ClusterEndpoints } from "./cluster.ts";
import type { Listener } from "./listener.ts";
import type { EgressConfig, QuotaPolicy } from "./policy.ts";
import type { RouteTable } from "./route.ts";
import type { Settings } from "./settings.ts";

/** Highest snapshot format that this code reads. A manifest's `minReader` above it is refused. */
export const READER_VERSION = 1;
export const MANIFEST_TYP = "application/tidegate-snapshot+jws";

/** A section is signed for by a role of the same name, and ages by itself. */
export type Section = "routes" | "egress" | "quota";
export const SECTIONS: readonly Section[] = ["routes", "egress", "quota"];

export interface Manifest {
  /** Mesh that issued it (trust domain). */
  readonly iss: string;
  /** Gateway pool it is for. */
  readonly aud: string;
  readonly epoch: number;
  /** Rises by at least one within an epoch. */
  readonly version: number;
  /** Unix seconds. */
  readonly iat: number;
  readonly nbf: number;
  readonly schema: 1;
  readonly minReader: number;
  readonly sections: { readonly [name in Section]: SectionInfo };
  /** SHA-256 (base64url) of the previous manifest's payload bytes; null for the first. */
  readonly prevHash: string | null;
  readonly rollout: { readonly salt: string; readonly percent: number; readonly notBefore: number };
  readonly policyClass: PolicyClass;
}

/** `narrowing`: lets no more out than before. Anything not provably so is `widening`. */
export type PolicyClass = "narrowing" | "widening";

export interface SectionInfo {
  /** Unix seconds after which a reader alarms. */
  readonly softExp: number;
  /** Unix seconds after which the fail mode applies. */
  readonly exp: number;
  readonly failMode: "keep" | "closed";
  readonly chunks: readonly ChunkRef[];
}

export interface ChunkRef {
  readonly kind: ChunkKind;
  /** Unique within kind. */
  readonly name: string;
  /** SHA-256 of the exact bytes, base64url. */
  readonly hash: string;
  readonly bytes: number;
}

/** Chunk content: UTF-8 JSON in the form that decode/shared.ts tells, of the kind's resources (`settings` and `egress`: exactly one). */
export type ChunkKind = "settings" | "listeners" | "routes" | "clusters" | "endpoints" | "quotas" | "egress";

/** Which section a chunk kind belongs to. */
export const CHUNK_SECTION: { readonly [kind in ChunkKind]: Section } = {
  settings: "routes",
  listeners: "routes",
  routes: "routes",
  clusters: "routes",
  endpoints: "routes",
  quotas: "quota",
  egress: "egress",
};

/** A whole decoded snapshot: what translation makes and compilation takes. */
export interface Snapshot {
  readonly settings: Settings;
  readonly listeners: readonly Listener[];
  readonly routeTables: readonly RouteTable[];
  readonly clusters: readonly Cluster[];
  readonly endpoints: readonly ClusterEndpoints[];
  readonly quotas: readonly QuotaPolicy[];
  readonly egress: EgressConfig | undefined;
}

/** `epoch.version`, as logs, headers and status show it. */
export type SnapshotVersion = string;
export function snapshotVersion(manifest: { readonly epoch: number; readonly version: number }): SnapshotVersion {
  return `${manifest.epoch}.${manifest.version}`;
}
