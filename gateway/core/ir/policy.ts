/** Quotas and egress: what may be used, and who may call what outside. */
import type { Origin, StringMatch } from "./common.ts";
import type { RouteMatch } from "./route.ts";

export interface QuotaPolicy {
  /** `<namespace>/<name>`; counters are kept under it, so they survive snapshots. */
  readonly id: string;
  readonly origin: Origin;
  /** Any of; empty: every request of the target. */
  readonly matches: readonly RouteMatch[];
  /** Empty: one counter for the target. */
  readonly key: readonly QuotaKeyPart[];
  readonly limits: readonly QuotaLimit[];
  readonly cost: QuotaCost;
  readonly unit: "requests" | "bytes" | "concurrent";
  readonly overrides: readonly QuotaOverride[];
  readonly whenKeyMissing: "share" | "skip" | "deny";
  readonly scope: QuotaScope;
  /** Absent: strict. */
  readonly accuracy?: QuotaAccuracy;
  readonly onStoreFailure:
    | { readonly kind: "allow" }
    | { readonly kind: "deny" }
    | { readonly kind: "local"; readonly percent: number };
  readonly mode: "enforce" | "shadow";
  readonly headers: "draft" | "legacy" | "both" | "none";
  readonly response: { readonly status: number; readonly body?: string };
}

/** `local`: one gateway process. `global`: edge sites and clusters together, out of one lease bank. */
export type QuotaScope = "local" | "global";

/** How far counting may be off. Local counters are strict whatever this says. */
export type QuotaAccuracy =
  /** Never more than the limit in any window. */
  | { readonly kind: "strict" }
  /** Never more than the limit and this share of it. */
  | { readonly kind: "bounded"; readonly percent: number }
  | { readonly kind: "bestEffort" };

export type QuotaKeyPart =
  | { readonly kind: "header"; readonly name: string }
  | { readonly kind: "query"; readonly name: string }
  | { readonly kind: "cookie"; readonly name: string }
  | { readonly kind: "clientIp"; readonly v4Prefix: number; readonly v6Prefix: number }
  | { readonly kind: "pathVariable"; readonly name: string; readonly template: string }
  | { readonly kind: "identity" };

export interface QuotaLimit {
  readonly name: string;
  readonly amount: number;
  /** Milliseconds; ignored for unit `concurrent`. */
  readonly perMs: number;
  readonly window: "rolling" | "smooth" | "calendar";
  /** Smooth only: bucket size. */
  readonly burst?: number;
  /** Calendar only: IANA zone and the unit whose start resets the counter. */
  readonly timeZone?: string;
  readonly calendarUnit?: "minute" | "hour" | "day" | "week" | "month" | "year";
}

export type QuotaCost =
  | { readonly kind: "fixed"; readonly amount: number }
  | { readonly kind: "header"; readonly name: string; readonly max: number; readonly default: number };

export interface QuotaOverride {
  /** Values by key part, in the order of `key`; null: any value. First override that fits wins. */
  readonly key: readonly (string | null)[];
  readonly limits: readonly QuotaLimit[];
}

/** Everything an egress gateway needs to decide; deny by default. */
export interface EgressConfig {
  readonly policies: readonly EgressPolicy[];
  /** Names the gateway resolves itself, before DNS: lower case host → addresses. From ServiceEntry objects with STATIC resolution. */
  readonly staticHosts: readonly {
    readonly host: string;
    readonly endpoints: readonly { readonly address: string; readonly port?: number }[];
  }[];
  /** Proxy users by name → how their password is checked. */
  readonly users: readonly EgressUser[];
  /** `REGISTRY_ONLY` denies what no policy allows; there is no other mode at an egress gateway. */
  readonly realm: string;
}

export interface EgressUser {
  readonly name: string;
  /** `scrypt$N$r$p$<salt base64>$<hash base64>`. Verified at most once per connection and cached by the runtime. */
  readonly passwordHash: string;
}

export interface EgressPolicy {
  readonly id: string;
  readonly origin: Origin;
  readonly namespace: string;
  /** In the root namespace: its denies bind every namespace. */
  readonly floor: boolean;
  readonly from: readonly EgressPrincipal[];
  /** `report` and `learn` let pass what the lists do not allow, and say so: what enforcing would refuse, or what rule would allow it. */
  readonly mode: "enforce" | "report" | "learn";
  readonly allow: readonly EgressRule[];
  readonly deny: readonly EgressDeny[];
}

export type EgressPrincipal =
  | { readonly kind: "proxyUser"; readonly name: string }
  | { readonly kind: "ipBlock"; readonly cidr: string }
  /** A Worker behind a service binding; its binding's `props` say so. */
  | { readonly kind: "edgeService"; readonly name: string };

export interface EgressRule {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  readonly protocol: "https" | "http" | "tls" | "tcp";
  /** Empty: all. Only where the gateway sees the request. */
  readonly methods: readonly string[];
  readonly paths: readonly StringMatch[];
  /** The only way to reach special-purpose addresses. */
  readonly addresses: readonly { readonly cidr: string; readonly ports: readonly number[] }[];
  readonly quotas: readonly string[];
  /**
   * The client speaks plain HTTP to the gateway, and the gateway TLS to the host. Protocol `https` only. `http://host/` goes to port 443, which
   * `ports` has to list; `http://host:8443/` to port 8443.
   */
  readonly originate?: { readonly tls: "simple" };
  /** Credentials that the gateway adds; it holds them, a snapshot only names them. Absent: none. */
  readonly inject?: readonly EgressInjection[];
}

/** `<prefix><secret>` as the value of `header`, in place of whatever the client sent under that name. */
export interface EgressInjection {
  readonly header: string;
  readonly secret: { readonly namespace: string; readonly name: string; readonly key: string };
  readonly prefix: string;
}

export interface EgressDeny {
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  readonly reason: string;
}
