/**
 * What an isolate asks of its site's relay, a Durable Object that holds the site's last good snapshots.
 * Nothing that it answers is trusted: an isolate verifies everything itself (snapshot-keeper.ts).
 */

export interface RelayRpc {
  /** The site's snapshot unless it is the version that the isolate has. */
  current(have: string | undefined): Promise<RelayAnswer>;
  /** As `current`, but waits up to `waitMs` (at most `MAX_WATCH_MS`) for something newer than `have`. */
  watch(have: string | undefined, waitMs: number): Promise<RelayAnswer>;
  /** Chunks by hash, those that it has. */
  chunks(hashes: readonly string[]): Promise<readonly RelayChunk[]>;
}

export type RelayAnswer =
  /** The site has no snapshot yet. */
  | { readonly kind: "none" }
  | { readonly kind: "unchanged" }
  | {
      readonly kind: "snapshot";
      /** `epoch.version`, as the relay has it; what counts is in the manifest. */
      readonly version: string;
      readonly manifest: Uint8Array;
      /** All trust roots from the pinned one on. */
      readonly roots: readonly Uint8Array[];
      /** As far as the relay knows what the isolate lacks. */
      readonly chunks: readonly RelayChunk[];
    };

export interface RelayChunk {
  readonly hash: string;
  readonly bytes: Uint8Array;
}

/** A platform ends what was left behind after a response within 30 s. */
export const MAX_WATCH_MS = 25_000;

/** The relay of a site. The stub is made when it is called, and is that request's own: most requests ask nothing. */
export function relayOf(namespace: DurableObjectNamespace, site: string): RelayRpc {
  // What the class offers over RPC is this interface; the binding itself cannot say so.
  const stub = (): RelayRpc => namespace.get(namespace.idFromName(site)) as unknown as RelayRpc;
  return {
    current: (have) => stub().current(have),
    watch: (have, waitMs) => stub().watch(have, waitMs),
    chunks: (hashes) => stub().chunks(hashes),
  };
}
