/** What is asked about a request, and what is told. */
import type { FieldList, RequestHead, Scheme } from "../http/message.ts";
import type { Origin } from "../ir/index.ts";

export interface ExplainRequest {
  readonly method: string;
  readonly scheme: Scheme;
  /** host[:port] */
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
  readonly fields: FieldList;
  /** Address of the client's end of the connection. */
  readonly source: string;
  /** Listener by name; undefined: the first that speaks the scheme, on the authority's port if there is one. */
  readonly listener?: string;
}

export interface Explanation {
  readonly snapshot: string;
  readonly listener: { readonly name: string; readonly servicePort: number; readonly origins: readonly Origin[] } | undefined;
  readonly server: { readonly name: string; readonly routeTable: string } | undefined;
  /** As conditions see it; undefined: refused. */
  readonly path: string | undefined;
  readonly virtualHost: { readonly name: string; readonly domain: string } | undefined;
  /** Every match that was looked at before the verdict, in order. */
  readonly tried: readonly TriedMatch[];
  readonly route: { readonly id: string; readonly name: string | undefined; readonly origin: Origin } | undefined;
  /** What happens to the request besides being routed, in order. */
  readonly filters: readonly { readonly filter: string; readonly effect: string }[];
  readonly quotas: readonly ExplainedQuota[];
  readonly outcome: ExplainedOutcome;
}

export interface TriedMatch {
  readonly route: string;
  /** Index into the route's matches; undefined: it has none and takes everything. */
  readonly match: number | undefined;
  readonly verdict: "matches" | "fails";
  /** The first condition that does not hold. */
  readonly why: string | undefined;
}

export interface ExplainedQuota {
  readonly id: string;
  readonly mode: "enforce" | "shadow";
  readonly applies: boolean;
  /** Why it does not apply, or what it does about a missing key. */
  readonly note: string | undefined;
  /** Key that the request is counted under; "": one counter for all. */
  readonly key: string | undefined;
  readonly cost: number;
  readonly limits: readonly { readonly name: string; readonly amount: number; readonly perMs: number; readonly window: string }[];
}

/** What comes of the request. */
export type ExplainedOutcome =
  | { readonly kind: "refused"; readonly reason: string }
  | {
      readonly kind: "answered";
      readonly by: "last-hop" | "https-redirect" | "cors" | "redirect" | "direct";
      readonly status: number;
      readonly location?: string;
    }
  | {
      readonly kind: "forwarded";
      readonly destinations: readonly ExplainedDestination[];
      readonly timeoutMs: number | undefined;
      readonly retry:
        | { readonly attempts: number; readonly perTryTimeoutMs: number | undefined; readonly on: readonly string[] }
        | undefined;
      readonly mirrors: readonly { readonly cluster: string; readonly percent: number }[];
    };

export interface ExplainedDestination {
  readonly cluster: string;
  /** Of 1. */
  readonly share: number;
  readonly endpoints: readonly string[];
  /** Why nothing can be sent there. */
  readonly problem: string | undefined;
  /** What the origin would get. */
  readonly head: RequestHead;
}
