/** What goes over the operator's API as JSON. The command line and the server share these shapes. */
import type { FieldChange } from "../config/index.ts";
import type { ObjectRef, Problem } from "../config/resource.ts";

/** A YAML or JSON text, and the name to call it by in messages. */
export interface Document {
  readonly file: string;
  readonly text: string;
}

export interface ApplyRequest {
  readonly documents: readonly Document[];
  /** Validate and compare; change nothing. */
  readonly dryRun?: boolean;
  /** Wait until every connected gateway enforces it, at most this long. */
  readonly waitMs?: number;
}

export interface DeleteRequest {
  readonly refs: readonly ObjectRef[];
  readonly waitMs?: number;
}

export type ChangeKind = "created" | "updated" | "unchanged" | "deleted" | "refused" | "missing";

export interface ObjectChange {
  readonly ref: ObjectRef;
  readonly change: ChangeKind;
  /** Dry run: which fields differ. */
  readonly fields?: readonly FieldChange[];
}

export interface ChangeResponse {
  readonly changes: readonly ObjectChange[];
  readonly problems: readonly Problem[];
  /** Newest snapshot of each pool after the change. */
  readonly snapshots: readonly { readonly pool: string; readonly version: string }[];
  /** Present when waiting was asked for. */
  readonly enforced?: EnforcedAnswer;
}

export interface EnforcedAnswer {
  /** Every connected gateway and site of every pool enforces its pool's newest snapshot. */
  readonly complete: boolean;
  readonly tookMs: number;
  readonly gateways: readonly GatewayView[];
}

/**
 * `synced`: enforces the newest; `partial`: all of it but what `reasons` names; `pending`: was offered it; `refused`: keeps an older one;
 * `waiting`: there is none for it yet; `disconnected`: last seen with `version`.
 */
export type GatewayState = "synced" | "partial" | "pending" | "refused" | "waiting" | "disconnected";

export interface GatewayView {
  /** `site`: a place at the edge; its relay takes snapshots for all of its isolates. */
  readonly kind: "gateway" | "site";
  readonly id: string;
  readonly pool: string;
  readonly state: GatewayState;
  /** Version it enforces, a site: that its relay has accepted; undefined: none yet. */
  readonly version: string | undefined;
  readonly sinceMs: number;
  readonly software: string;
  /** Why not synced, or what of the snapshot is not in force. */
  readonly reasons: readonly string[];
  /** Of a site only. */
  readonly site?: SiteDetails;
}

export interface SiteDetails {
  readonly url: string;
  /** How it is connected; undefined: not. */
  readonly via: "websocket" | "https" | undefined;
  readonly connectedMs: number | undefined;
  /** Why it is not connected, or why it was not before. */
  readonly lastError: string | undefined;
  /** When the relay accepted `version`. */
  readonly acceptedMs: number | undefined;
  /** Version that its isolates have in force. */
  readonly enforced: string | undefined;
}

export interface PoolView {
  readonly name: string;
  /** Name of the EdgeSite that the pool is. Undefined: gateways on Node. */
  readonly site?: string | undefined;
  readonly version: string | undefined;
  readonly publishedMs: number | undefined;
  readonly gateways: readonly GatewayView[];
}

export interface StatusResponse {
  readonly pools: readonly PoolView[];
  readonly objects: { readonly accepted: number; readonly refused: number; readonly withProblems: number };
  readonly problems: readonly Problem[];
}

export interface ObjectView {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly generation: number;
    readonly createdMs: number;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: unknown;
  readonly status: {
    readonly accepted: boolean;
    /** Where it is part of a snapshot, and since which version. */
    readonly programmed: readonly { readonly pool: string; readonly since: string }[];
    readonly problems: readonly Problem[];
  };
  readonly source: string;
}

export interface ObjectsResponse {
  readonly items: readonly ObjectView[];
}

/** One endpoint as one gateway finds it. */
export interface EndpointView {
  readonly pool: string;
  /** Undefined: no gateway of the pool is connected. */
  readonly gateway: string | undefined;
  /** Name in the snapshot. */
  readonly cluster: string;
  /** Of the service. */
  readonly host: string;
  readonly servicePort: number;
  readonly subset: string | undefined;
  readonly address: string;
  readonly port: number;
  /** The name that the address was resolved from. */
  readonly hostname: string | undefined;
  readonly locality: string | undefined;
  readonly weight: number;
  /** `healthy`, `warming`, `ejected`, `unhealthy`; `unknown` where no gateway is connected. */
  readonly state: string;
  /** Why it is ejected or unhealthy. */
  readonly reason: string | undefined;
  /** Unix ms; undefined: always, as far as anybody knows. */
  readonly sinceMs: number | undefined;
}

export interface EndpointsResponse {
  readonly items: readonly EndpointView[];
}

export interface SnapshotListResponse {
  readonly items: readonly {
    readonly pool: string;
    readonly version: string;
    readonly publishedMs: number;
    readonly policyClass: string;
    readonly bytes: number;
    readonly current: boolean;
  }[];
}

export interface RollbackRequest {
  readonly to: string;
  readonly waitMs?: number;
}

export interface RollbackResponse {
  readonly pool: string;
  readonly version: string;
  readonly enforced?: EnforcedAnswer;
}

export interface JoinTokenRequest {
  readonly pool: string;
  readonly ttlMs?: number;
  readonly uses?: number;
}

export interface JoinTokenResponse {
  readonly token: string;
  readonly pool: string;
  readonly expiresMs: number;
  readonly uses: number;
}

/** What somebody is given to know this control plane's snapshots by, without a gateway's join token. Nothing in it is secret. */
export interface TrustResponse {
  /** The mesh that the keys speak for. */
  readonly issuer: string;
  /** SHA-256 (base64url) of the first trust root's bytes. */
  readonly pin: string;
  /** Of the trust root in force. */
  readonly version: number;
  readonly expiresMs: number;
}

export interface RevokeResponse {
  readonly gateway: string;
}

/** RFC 9457. */
export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}
