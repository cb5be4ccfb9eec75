/** What a snapshot becomes: immutable tables that requests are held against. Only endpoints and counters inside live on. */
import type { RE2JS } from "re2js";
import type { HashTables } from "../balance/hash-table.ts";
import type { BodyKind, FieldList } from "../http/message.ts";
import type {
  Fault,
  Listener,
  ListenerServer,
  RedirectAction,
  Route,
  RouteTable,
  Settings,
  SnapshotVersion,
  VirtualHost,
} from "../ir/index.ts";
import type { HostTable } from "../match/host.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import type { ClusterMap, CompiledCluster } from "./clusters.ts";
import type { CompiledConnections } from "./connections.ts";
import type { HeaderEdit } from "./headers.ts";
import type { PathNode } from "./route-index.ts";
import type { RegexCache, StringTest } from "./string.ts";

export interface Tables {
  /** Why nothing is routed: the routes section has expired and its fail mode is closed. */
  readonly closed?: string;
  readonly version: SnapshotVersion;
  readonly settings: Settings;
  /** By name. */
  readonly listeners: ReadonlyMap<string, CompiledListener>;
  readonly routeTables: ReadonlyMap<string, CompiledRouteTable>;
  readonly clusters: ClusterMap;
  readonly hashTables: HashTables;
  /** By id. */
  readonly quotas: ReadonlyMap<string, CompiledQuota>;
  readonly regexes: RegexCache;
}

export interface CompiledListener {
  readonly source: Listener;
  /** By SNI name; a listener without TLS has its one server under `*`. */
  readonly servers: HostTable<CompiledServer>;
}

export interface CompiledServer {
  readonly source: ListenerServer;
  /** Empty where no HTTP is spoken. */
  readonly routes: CompiledRouteTable;
  /** Where opaque connections go. Undefined: HTTP is spoken. */
  readonly connections: CompiledConnections | undefined;
}

export interface CompiledRouteTable {
  readonly source: RouteTable;
  /** For requests that no virtual host takes. */
  readonly quotas: readonly CompiledQuota[];
  readonly hosts: HostTable<CompiledVirtualHost>;
}

export interface CompiledVirtualHost {
  readonly source: VirtualHost;
  /** The table's and its own, for requests that no route takes; none twice. */
  readonly quotas: readonly CompiledQuota[];
  readonly index: PathNode<CompiledRoute>;
  /** In list order. */
  readonly routes: readonly CompiledRoute[];
}

export interface CompiledRoute {
  readonly source: Route;
  /** The table's, the virtual host's and its own, in this order; none twice. */
  readonly quotas: readonly CompiledQuota[];
  readonly action: CompiledAction;
  /** For requests that go to a destination without operations of its own. */
  readonly requestEdit: HeaderEdit | undefined;
  /** For responses made here, and those of a destination without operations of its own. */
  readonly responseEdit: HeaderEdit | undefined;
  readonly cors: CompiledCors | undefined;
  readonly fault: Fault | undefined;
}

export type CompiledAction = CompiledForward | CompiledRedirect | CompiledDirect;

export interface CompiledForward {
  readonly kind: "forward";
  readonly destinations: readonly CompiledDestination[];
  readonly rewrite: CompiledRewrite | undefined;
  readonly timeoutMs: number | undefined;
  readonly retry: CompiledRetry | undefined;
  readonly mirrors: readonly CompiledMirror[];
  /** Some destination or mirror is reached by way of its cluster's gateway, which wants to know what was established here. */
  readonly handsOn: boolean;
}

export interface CompiledDestination {
  /** Name in the configuration; it may be missing from the snapshot. */
  readonly name: string;
  readonly cluster: CompiledCluster | undefined;
  /** Share of this destination and those before it, in (0, 1]; the last one's is 1. */
  readonly upTo: number;
  /** Authority to send; undefined: the client's. */
  readonly authority: string | undefined;
  /** The destination's operations, then the route's: where both touch a field, the route's stand. Undefined: the route's alone. */
  readonly requestEdit: HeaderEdit | undefined;
  readonly responseEdit: HeaderEdit | undefined;
}

export interface CompiledRewrite {
  readonly path: string | undefined;
  readonly regex: { readonly pattern: RE2JS; readonly substitution: string } | undefined;
}

export interface CompiledRetry {
  readonly attempts: number;
  /** Union of the bits in retry/policy.ts. */
  readonly on: number;
  readonly statusCodes: ReadonlySet<number>;
  readonly perTryTimeoutMs: number | undefined;
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
  readonly nonIdempotent: boolean;
  readonly sameHosts: boolean;
  readonly remoteLocalities: boolean;
}

export interface CompiledMirror {
  readonly cluster: CompiledCluster;
  readonly percent: number;
}

export interface CompiledRedirect {
  readonly kind: "redirect";
  readonly source: RedirectAction;
}

export interface CompiledDirect {
  readonly kind: "direct";
  readonly status: number;
  readonly fields: Readonly<FieldList>;
  readonly body: string | Uint8Array;
  readonly framing: BodyKind;
}

export interface CompiledCors {
  readonly anyOrigin: boolean;
  readonly origins: readonly StringTest[];
  readonly unmatchedPreflights: "forward" | "ignore";
  /** Fields of an answered preflight besides the origin's own; flat. */
  readonly preflight: readonly string[];
  /** Fields of any other response besides the origin's own; flat. */
  readonly actual: readonly string[];
}
