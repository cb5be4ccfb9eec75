/** What an egress exchange asks of its runtime, and what it tells. */

import type { QuotaFilter } from "../filter/quota.ts";
import type { EgressUser, PoolSettings } from "../ir/index.ts";
import type { Clock, PeerInfo, Reporter } from "../ports.ts";
import type { EgressTables } from "./compile.ts";

/** One snapshot's egress section as an exchange sees it: read once per request. */
export interface EgressSnapshot {
  readonly version: string;
  readonly tables: EgressTables;
  /** Why nothing at all is allowed now, whatever the tables say; undefined: they are in force. */
  readonly closed: string | undefined;
  /** Tell the snapshot's version in answers. */
  readonly explainHeaders: boolean;
}

export interface EgressPorts {
  readonly clock: Clock;
  /**
   * Undefined: the runtime resolves names itself when it connects, and has to keep to public addresses by itself; then nothing is told about
   * the address that a name has.
   */
  readonly resolver: Resolver | undefined;
  readonly credentials: CredentialChecker;
  readonly decisions: DecisionLog;
  /** Undefined: this gateway opens none. */
  readonly tunnels: Tunnels | undefined;
  readonly secrets: Secrets;
  readonly quotas: QuotaFilter;
  readonly reporter: Reporter;
  readonly limits: EgressLimits;
}

export interface EgressLimits {
  /** How long a name may take to resolve. */
  readonly resolveTimeoutMs: number;
  /** How long a password check may take, its place in the queue included. */
  readonly credentialTimeoutMs: number;
  /** From the tunnel's 200 to a whole ClientHello. */
  readonly helloTimeoutMs: number;
  /** How long a quota kept elsewhere may take to answer. */
  readonly quotaTimeoutMs: number;
  readonly pool: PoolSettings;
}

/** Resolve 5 s, connect 10 s: what people who run such proxies have settled on. */
export const DEFAULT_EGRESS_LIMITS: EgressLimits = {
  resolveTimeoutMs: 5_000,
  credentialTimeoutMs: 5_000,
  helloTimeoutMs: 10_000,
  quotaTimeoutMs: 1_000,
  pool: {
    connectTimeoutMs: 10_000,
    idleTimeoutMs: 30_000,
    maxConnections: 256,
    maxPendingRequests: 1_024,
    maxRequestsPerConnection: 0,
  },
};

/** Names to addresses. Called at most once per decision: what it answers is checked, and dialled as it stands. */
export interface Resolver {
  /** `host` is a canonical name without trailing dot. Never throws and never rejects. */
  resolve(host: string): Resolution | Promise<Resolution>;
}

export type Resolution =
  /** Every address of either family, IP literals without zone. */
  | { readonly kind: "found"; readonly addresses: readonly string[] }
  | { readonly kind: "none"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Proxy passwords. Must take as long for a user that does not exist as for one that does. */
export interface CredentialChecker {
  check(attempt: CredentialAttempt): CredentialVerdict | Promise<CredentialVerdict>;
}

export interface CredentialAttempt {
  /** Who asks: failures are counted by it. */
  readonly peer: string;
  readonly user: string;
  readonly password: string;
  /** Undefined: there is no such user. */
  readonly known: EgressUser | undefined;
}

/** `throttled`: too many wrong ones from there lately, not checked. `overloaded`: no room to check it now. */
export type CredentialVerdict = "valid" | "wrong" | "throttled" | "overloaded";

/** Reads one TLS ClientHello out of the first bytes of a tunnel, however they were split into records and packets. */
export interface HelloReader {
  /** The bytes that came since the last call. */
  feed(bytes: Uint8Array): HelloReading;
}

export type HelloReading =
  | { readonly kind: "need" }
  /** `serverName`: of the outer ClientHello, as sent; undefined when the extension is absent. */
  | { readonly kind: "hello"; readonly serverName: string | undefined }
  /** `reason`: fit for the client's eyes. */
  | { readonly kind: "bad"; readonly reason: string };

export interface Tunnels {
  readonly gate: TunnelGate;
  readonly openHello: () => HelloReader;
}

/** Credentials that rules add to requests, as this gateway holds them. */
export interface Secrets {
  /** Undefined: it is not here. */
  value(namespace: string, name: string, key: string): string | undefined;
}

/** Bounds how many tunnels are open at once. */
export interface TunnelGate {
  /** False: no room. */
  acquire(peer: PeerInfo): boolean;
  /** Once for each successful `acquire`. */
  release(peer: PeerInfo): void;
}

/** Told once per request, when its decision is final: for a tunnel that is looked into, after its ClientHello. */
export interface DecisionLog {
  decided(record: EgressDecisionRecord): void;
}

export interface EgressDecisionRecord {
  readonly unixMs: number;
  readonly snapshotVersion: string;
  readonly listener: string;
  /** Its address is empty where the caller has none that would prove anything. */
  readonly peer: PeerInfo;
  /** Proxy user, only once proved. */
  readonly user: string | undefined;
  /** Worker behind the service binding that it came by. */
  readonly service: string | undefined;
  readonly kind: "http" | "connect";
  readonly method: string;
  /** Authority as the client gave it. */
  readonly authority: string;
  /** `report`, `learn`: passed, but enforcing would have refused it; see `wouldDeny`, and `learned` for what would allow it. */
  readonly verdict: "allow" | "deny" | "report" | "learn";
  /** `allowed`, or a word for why not. */
  readonly code: string;
  readonly rule: string | undefined;
  readonly reason: string;
  readonly wouldDeny: { readonly code: string; readonly rule: string | undefined; readonly reason: string } | undefined;
  readonly learned: Learned | undefined;
  /** Checked address and port that was dialled. */
  readonly address: string | undefined;
  /** Rule that opened a special-purpose address. */
  readonly openedBy: string | undefined;
  readonly status: number;
}

/** What a rule would have to list to allow a request. */
export interface Learned {
  readonly host: string;
  readonly port: number;
  /** `tunnel`: nothing is known of what it carries. */
  readonly protocol: "http" | "https" | "tunnel";
  /** Undefined: not seen in a tunnel. */
  readonly method: string | undefined;
  readonly path: string | undefined;
}
