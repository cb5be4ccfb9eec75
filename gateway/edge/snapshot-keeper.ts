/**
 * What an isolate holds: its trust root, the snapshot in force as compiled tables, and the judgement of what may follow them.
 *
 * Invariant: nothing is put in force that core's verifier has not accepted and core has not compiled, whoever brought it; whatever is wrong
 * with it, what is in force stays, and what was refused is remembered with the reason. It holds plain data only (tables, bytes, imported
 * keys), so every request of the isolate may use it; two requests may bring snapshots at the same time, and the newer one stays.
 */
import {
  type CompileOptions,
  compile,
  compileEgress,
  type EgressTables,
  NO_EGRESS,
  refreshHealth,
  type Tables,
} from "../core/index.ts";
import {
  type AcceptContext,
  type AcceptedState,
  type AcceptOutcome,
  acceptVerified,
  EDGE_SNAPSHOT_LIMITS,
  followRoots,
  type HeldSnapshot,
  missingChunks,
  nextRoot,
  type Refusal,
  snapshotVersion,
  type TrustRoot,
  type VerifiedManifest,
  verifyManifest,
} from "../core/ir/index.ts";
import { ok, type Result } from "../core/result.ts";
import { workerClock } from "./clock.ts";
import type { RelayAnswer, RelayChunk } from "./relay-rpc.ts";

export interface KeeperOptions {
  /** Name of the site: all its isolates stand at the same place of a rollout. */
  readonly site: string;
  readonly audience: string;
  readonly trustRoot: string;
  readonly floor: { readonly epoch: number; readonly version: number } | undefined;
  readonly compile: CompileOptions;
}

export type SnapshotOffer = Extract<RelayAnswer, { kind: "snapshot" }>;
export type FetchChunks = (hashes: readonly string[]) => Promise<readonly RelayChunk[]>;

/** A snapshot in force, whatever its age. */
export interface HeldTables {
  readonly held: HeldSnapshot;
  readonly version: string;
  readonly tables: Tables;
  readonly egress: EgressTables;
}

export type OfferOutcome =
  | { readonly kind: "in-force" }
  /** Good, but its rollout has not reached this site. */
  | { readonly kind: "deferred"; readonly notBeforeS: number }
  | { readonly kind: "refused"; readonly code: string; readonly detail: string };

/** How far the control plane's clock may be off. */
const CLOCK_SKEW_S = 30;
/** Snapshots that arrive at once are judged one after the other; each turn that is lost means a newer one was put in force. */
const MAX_LOST_TURNS = 8;

export class SnapshotKeeper {
  readonly #options: KeeperOptions;
  #root: TrustRoot | undefined;
  #accepted: AcceptedState | undefined;
  #current: HeldTables | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  get current(): HeldTables | undefined {
    return this.#current;
  }

  /** Judges a snapshot and puts it in force if it is good. @param nowS Unix seconds. @throws what `fetchChunks` throws */
  async take(offer: SnapshotOffer, fetchChunks: FetchChunks, nowS: number): Promise<OfferOutcome> {
    const root = await this.#follow(offer.roots, nowS);
    if (!root.ok) return refused(root.error);
    const verified = await verifyManifest(offer.manifest, this.#context(root.value, nowS));
    if (!verified.ok) return refused(verified.error);
    const chunks = new Map(offer.chunks.map(({ hash, bytes }) => [hash, bytes]));
    const missing = missingChunks(verified.value.manifest, this.#current?.held, (hash) => chunks.has(hash));
    if (missing.length > 0) {
      for (const { hash, bytes } of await fetchChunks(missing.map(({ hash }) => hash))) chunks.set(hash, bytes);
    }
    return this.#accept(verified.value, chunks, nowS);
  }

  /** Follows the chain from the pin, or from where this isolate stands: what it has verified once is not looked at again. */
  async #follow(documents: readonly Uint8Array[], nowS: number): Promise<Result<TrustRoot, Refusal>> {
    if (this.#root === undefined) {
      const first = await followRoots(this.#options.trustRoot, documents, nowS);
      if (!first.ok) return first;
      return ok(this.#trust(first.value));
    }
    let root = this.#root;
    // Roots are numbered from 1 without gaps.
    for (const document of documents.slice(root.document.version)) {
      const next = await nextRoot(root, document);
      if (!next.ok) return next;
      root = this.#trust(next.value);
    }
    return ok(root);
  }

  /** Another request may have come further meanwhile. */
  #trust(root: TrustRoot): TrustRoot {
    if (this.#root === undefined || root.document.version > this.#root.document.version) this.#root = root;
    return this.#root;
  }

  /** What was accepted by another request in the meantime changes what this one is held against: then it is judged again. */
  async #accept(verified: VerifiedManifest, chunks: ReadonlyMap<string, Uint8Array>, nowS: number): Promise<OfferOutcome> {
    for (let turn = 0; turn <= MAX_LOST_TURNS; turn++) {
      const before = this.#current;
      const root = this.#root;
      if (root === undefined || root.hash !== verified.state.rootHash) {
        return { kind: "refused", code: "root_version", detail: "a newer trust root was followed while it was looked at" };
      }
      const outcome = await acceptVerified(verified, chunks, this.#context(root, nowS));
      if (this.#current === before && this.#root === root) return this.#put(outcome);
    }
    return { kind: "refused", code: "lost_turns", detail: "other snapshots were put in force again and again meanwhile" };
  }

  /** No other request can come between its judgement and the swap: there is no wait in here. */
  #put(outcome: AcceptOutcome): OfferOutcome {
    switch (outcome.kind) {
      case "refused":
        return refused(outcome.refusal);
      case "deferred":
        return { kind: "deferred", notBeforeS: outcome.notBefore };
      case "repeated":
        return { kind: "in-force" };
      case "accepted":
        return this.#compile(outcome.held, outcome.state);
    }
  }

  #compile(held: HeldSnapshot, accepted: AcceptedState): OfferOutcome {
    const version = snapshotVersion(held.manifest);
    const { snapshot } = held;
    const tables = compile(snapshot, version, this.#current?.tables, this.#options.compile);
    if (!tables.ok) return notCompiled(tables.error);
    const egress = compileEgress(snapshot.egress ?? NO_EGRESS, tables.value.quotas);
    if (!egress.ok) return notCompiled(egress.error.map(({ path, problem }) => ({ path: `egress.${path}`, problem })));
    this.#accepted = accepted;
    this.#current = { held, version, tables: tables.value, egress: egress.value };
    refreshHealth(tables.value, workerClock.now());
    return { kind: "in-force" };
  }

  #context(root: TrustRoot, nowS: number): AcceptContext {
    const { audience, floor, site } = this.#options;
    return {
      root,
      audience,
      accepted: this.#accepted,
      floor,
      nowS,
      clockSkewS: CLOCK_SKEW_S,
      limits: EDGE_SNAPSHOT_LIMITS,
      purpose: "update",
      gatewayId: site,
      held: this.#current?.held,
    };
  }
}

function refused({ code, detail, issues }: Refusal): OfferOutcome {
  const more = issues.map(({ path, problem }) => `; ${path}: ${problem}`).join("");
  return { kind: "refused", code, detail: shortened(detail + more) };
}

function notCompiled(issues: readonly { readonly path: string; readonly problem: string }[]): OfferOutcome {
  return {
    kind: "refused",
    code: "not_compiled",
    detail: shortened(issues.map(({ path, problem }) => `${path}: ${problem}`).join("; ")),
  };
}

/** A reason is kept and told: not a page of it. */
const MAX_DETAIL_CHARS = 2_000;

function shortened(text: string): string {
  return text.length <= MAX_DETAIL_CHARS ? text : `${text.slice(0, MAX_DETAIL_CHARS)}…`;
}
