/**
 * Publishing: the one place where versions are given out. What is published was accepted by the readers' own judgement first and is on the disk
 * before anybody is told, so a version never has two contents, whatever crashes.
 */
import {
  type AcceptedState,
  acceptSnapshot,
  acceptVerified,
  chunkRefs,
  classifyChange,
  DEFAULT_SNAPSHOT_LIMITS,
  type HeldSnapshot,
  MANIFEST_TYP,
  type Manifest,
  type PolicyClass,
  type Snapshot,
  type SnapshotLimits,
  snapshotVersion,
  type TrustRoot,
  verifyManifest,
} from "../../gateway/core/ir/index.ts";
import { fail, type Issue, ok, type Result } from "../../gateway/core/result.ts";
import { canonicalJson } from "./canonical.ts";
import { type Chunk, chunkSnapshot } from "./chunk.ts";
import { isPoolName, type SnapshotHistory, type StoredManifest, type VersionId } from "./history.ts";
import type { KeyRing } from "./keys.ts";
import { signDocument } from "./sign.ts";
import { chunkSizeIssues, manifestSizeIssues, type SizeLimits } from "./size.ts";
import {
  DEFAULT_AGES,
  EVERYWHERE_AT_ONCE,
  isRollout,
  makeManifest,
  nextVersion,
  type Rollout,
  renewAtS,
  type SectionAges,
} from "./version.ts";

export interface PublisherOptions {
  readonly history: SnapshotHistory;
  readonly keys: KeyRing;
  readonly clock: { unixMs(): number };
  readonly ages?: SectionAges;
  readonly limits?: SnapshotLimits;
}

/** The snapshot of one pool that is in force, as its gateways get it. */
export interface Published {
  readonly pool: string;
  /** `epoch.version` */
  readonly id: string;
  readonly manifest: Manifest;
  readonly jws: Uint8Array;
  /** Chunk bytes by hash. */
  readonly chunks: ReadonlyMap<string, Uint8Array>;
  readonly snapshot: Snapshot;
}

export type PublishOutcome =
  | { readonly kind: "published"; readonly published: Published; readonly policyClass: PolicyClass }
  /** Same content, still fresh: no new version. */
  | { readonly kind: "unchanged"; readonly published: Published }
  /** Nothing was given out; what was in force stays. */
  | { readonly kind: "refused"; readonly issues: readonly Issue[] };

interface PoolState {
  readonly published: Published;
  readonly held: HeldSnapshot;
  readonly state: AcceptedState;
}

interface Pool {
  current: PoolState | undefined;
  /** Highest number ever given out, readable or not. */
  highest: VersionId | undefined;
  readonly problems: readonly Issue[];
}

export class SnapshotPublisher {
  readonly #history: SnapshotHistory;
  readonly #clock: { unixMs(): number };
  readonly #limits: SnapshotLimits;
  readonly #pools = new Map<string, Pool>();
  #ages: SectionAges;
  #sizes: ReadonlyMap<string, SizeLimits> = new Map();
  #keys: KeyRing;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: PublisherOptions) {
    this.#history = options.history;
    this.#keys = options.keys;
    this.#clock = options.clock;
    this.#ages = options.ages ?? DEFAULT_AGES;
    this.#limits = options.limits ?? DEFAULT_SNAPSHOT_LIMITS;
  }

  /** After a rotation: everything is signed anew with its next `publish` or `renew`. */
  useKeys(keys: KeyRing): void {
    this.#keys = keys;
  }

  useAges(ages: SectionAges): void {
    this.#ages = ages;
  }

  /** Pools whose snapshots are kept where room is short; the readers' own limits hold for all. */
  useSizeLimits(byPool: ReadonlyMap<string, SizeLimits>): void {
    this.#sizes = byPool;
  }

  /** The pool's snapshot in force, read back from disk the first time; with what was damaged there. */
  async current(pool: string): Promise<{ readonly published: Published | undefined; readonly problems: readonly Issue[] }> {
    return this.#inTurn(async () => {
      const { current, problems } = await this.#pool(pool);
      return { published: current?.published, problems };
    });
  }

  /** Gives the snapshot out as a new version, unless it is what the pool has and that is still fresh. */
  async publish(pool: string, snapshot: Snapshot, rollout: Rollout = EVERYWHERE_AT_ONCE): Promise<PublishOutcome> {
    if (!isPoolName(pool)) return refusedPool();
    return this.#inTurn(() => this.#publish(pool, snapshot, rollout));
  }

  /** Signs what the pool has once more if that is due; call it now and then (`renewAtS` says when at the latest). */
  async renew(pool: string): Promise<PublishOutcome> {
    if (!isPoolName(pool)) return refusedPool();
    return this.#inTurn(async () => {
      const { current } = await this.#pool(pool);
      if (current === undefined) return refusedWith("pool", `nothing was published for pool ${pool} yet`);
      return this.#publish(pool, current.held.snapshot, current.published.manifest.rollout);
    });
  }

  /** Publishes the content of an older version as a new, higher one. */
  async rollback(pool: string, to: VersionId): Promise<PublishOutcome> {
    if (!isPoolName(pool)) return refusedPool();
    return this.#inTurn(async () => {
      const stored = await this.#history.manifest(pool, to);
      if (!stored.ok) return { kind: "refused", issues: stored.error };
      const restored = await this.#restore(pool, stored.value);
      if (!restored.ok) return { kind: "refused", issues: restored.error };
      return this.#publish(pool, restored.value.held.snapshot, EVERYWHERE_AT_ONCE);
    });
  }

  async #publish(name: string, snapshot: Snapshot, rollout: Rollout): Promise<PublishOutcome> {
    const pool = await this.#pool(name);
    const chunks = chunkSnapshot(snapshot);
    const nowS = Math.floor(this.#clock.unixMs() / 1_000);
    if (pool.current !== undefined && this.#isFresh(pool.current, chunks, rollout, nowS)) {
      return { kind: "unchanged", published: pool.current.published };
    }
    const sizes = this.#sizes.get(name);
    const tooLarge = sizes === undefined ? [] : chunkSizeIssues(chunks, sizes);
    if (tooLarge.length > 0) return { kind: "refused", issues: tooLarge };
    const manifest = this.#manifest(name, pool, snapshot, chunks, rollout, nowS);
    const made = await this.#sign(name, pool, manifest, chunks, nowS);
    if (!made.ok) return { kind: "refused", issues: made.error };
    // From here on the number is used up, whatever happens to the file.
    pool.highest = { epoch: manifest.epoch, version: manifest.version };
    await this.#history.save(name, manifest, made.value.published.jws, chunks);
    pool.current = made.value;
    // In the next turn: gateways are told first. What cannot be removed now is tried again after the next one.
    this.#inTurn(() => this.#history.prune(name)).catch(() => undefined);
    return { kind: "published", published: made.value.published, policyClass: manifest.policyClass };
  }

  #isFresh({ published, state }: PoolState, chunks: readonly Chunk[], rollout: Rollout, nowS: number): boolean {
    const { manifest } = published;
    const sameContent =
      canonicalJson(chunkRefs(manifest).toSorted(byKindAndName)) ===
      canonicalJson(chunks.map(({ ref }) => ref).toSorted(byKindAndName));
    const sameTerms =
      state.rootHash === this.#keys.root.hash &&
      isRollout(manifest, rollout) &&
      canonicalJson(makeManifest({ ...this.#terms(manifest), chunks }).sections) === canonicalJson(manifest.sections);
    return sameContent && sameTerms && nowS < renewAtS(manifest) && nowS >= manifest.iat;
  }

  /** What a manifest signed at the same moment would say today. */
  #terms(manifest: Manifest) {
    const { iss, aud: pool, epoch, version, prevHash, iat: nowS, policyClass, rollout } = manifest;
    return { iss, pool, epoch, version, prevHash, nowS, policyClass, rollout, ages: this.#ages };
  }

  #manifest(name: string, pool: Pool, snapshot: Snapshot, chunks: readonly Chunk[], rollout: Rollout, nowS: number): Manifest {
    const { document } = this.#keys.root;
    const last = pool.current?.state;
    const { version, prevHash } = nextVersion(document.epoch, last, pool.highest);
    const input = {
      iss: document.iss,
      pool: name,
      epoch: document.epoch,
      version,
      prevHash,
      nowS,
      ages: this.#ages,
      chunks,
      rollout: EVERYWHERE_AT_ONCE,
    };
    const draft = makeManifest({ ...input, policyClass: "widening" });
    const policyClass = classifyChange(pool.current?.held, { manifest: draft, snapshot });
    return { ...draft, policyClass, rollout: this.#rolloutOf(pool, draft, policyClass, rollout) };
  }

  /** What closes a way out must not wait for anybody. */
  #rolloutOf({ current }: Pool, draft: Manifest, policyClass: PolicyClass, wanted: Rollout): Manifest["rollout"] {
    if (!("afterS" in wanted)) return wanted;
    const held = current?.published.manifest.sections.egress.chunks ?? [];
    const narrows = policyClass === "narrowing" && canonicalJson(held) !== canonicalJson(draft.sections.egress.chunks);
    if (wanted.afterS === 0 || narrows) return EVERYWHERE_AT_ONCE;
    return { ...EVERYWHERE_AT_ONCE, notBefore: draft.iat + wanted.afterS };
  }

  /** Signs with every key at hand, then judges the result as a gateway that holds the last version would. */
  async #sign(name: string, pool: Pool, manifest: Manifest, chunks: readonly Chunk[], nowS: number): Promise<Result<PoolState>> {
    const { root, signers } = this.#keys;
    if (signers.length === 0)
      return fail([{ path: "keys", problem: "no online key of the trust root is here: nothing can be signed" }]);
    const jws = await signDocument(new TextEncoder().encode(canonicalJson(manifest)), MANIFEST_TYP, signers);
    const sizes = this.#sizes.get(name);
    const tooLarge = sizes === undefined ? [] : manifestSizeIssues(jws, sizes);
    if (tooLarge.length > 0) return fail(tooLarge);
    const bytes = new Map(chunks.map((chunk) => [chunk.ref.hash, chunk.bytes]));
    const outcome = await acceptSnapshot(jws, bytes, {
      ...this.#context(name, root, nowS),
      accepted: pool.current?.state,
      held: pool.current?.held,
      purpose: "update",
    });
    if (outcome.kind === "refused")
      return fail([{ path: "snapshot", problem: outcome.refusal.detail }, ...outcome.refusal.issues]);
    if (outcome.kind !== "accepted") return fail([{ path: "snapshot", problem: "its version was given out before" }]);
    return ok(poolState(name, jws, bytes, outcome.held, outcome.state));
  }

  async #pool(name: string): Promise<Pool> {
    const known = this.#pools.get(name);
    if (known !== undefined) return known;
    const problems: Issue[] = [];
    const ids = await this.#history.versions(name);
    let current: PoolState | undefined;
    for (const id of ids) {
      const stored = await this.#history.manifest(name, id);
      const restored = stored.ok ? await this.#restore(name, stored.value) : stored;
      if (restored.ok) {
        current = restored.value;
        break;
      }
      problems.push(...restored.error);
    }
    const pool: Pool = { current, highest: ids[0], problems };
    this.#pools.set(name, pool);
    return pool;
  }

  /** Reads a stored snapshot back as a gateway would after a restart: nothing from disk is signed again unless it was signed before. */
  async #restore(name: string, stored: StoredManifest): Promise<Result<PoolState>> {
    const chunks = await this.#history.chunks(stored.manifest);
    if (!chunks.ok) return chunks;
    let why: Issue = { path: "manifest", problem: "there is no trust root" };
    for (const root of this.#keys.chain.toReversed()) {
      const accepted = { ...stored.id, payloadHash: stored.payloadHash, rootVersion: root.document.version, rootHash: root.hash };
      const context = { ...this.#context(name, root, 0), accepted, held: undefined, purpose: "restore" as const };
      const verified = await verifyManifest(stored.jws, context);
      const outcome = verified.ok ? await acceptVerified(verified.value, chunks.value, context) : undefined;
      if (outcome?.kind === "accepted") return ok(poolState(name, stored.jws, chunks.value, outcome.held, outcome.state));
      const refusal = outcome?.kind === "refused" ? outcome.refusal : verified.ok ? undefined : verified.error;
      if (refusal !== undefined) why = { path: `${name}/${snapshotVersion(stored.id)}`, problem: refusal.detail };
    }
    return fail([why]);
  }

  #context(pool: string, root: TrustRoot, nowS: number) {
    return { root, audience: pool, floor: undefined, nowS, clockSkewS: 0, limits: this.#limits, gatewayId: undefined };
  }

  /** One after the other: a version is given out once. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(run);
    this.#queue = turn.catch(() => undefined);
    return turn;
  }
}

function poolState(
  pool: string,
  jws: Uint8Array,
  chunks: ReadonlyMap<string, Uint8Array>,
  held: HeldSnapshot,
  state: AcceptedState,
): PoolState {
  const published = { pool, id: snapshotVersion(held.manifest), manifest: held.manifest, jws, chunks, snapshot: held.snapshot };
  return { published, held, state };
}

function byKindAndName(a: { kind: string; name: string }, b: { kind: string; name: string }): number {
  return a.kind === b.kind ? (a.name < b.name ? -1 : 1) : a.kind < b.kind ? -1 : 1;
}

function refusedWith(path: string, problem: string): PublishOutcome {
  return { kind: "refused", issues: [{ path, problem }] };
}
function refusedPool(): PublishOutcome {
  return refusedWith("pool", "a pool name has lower case letters, digits, `.`, `_` and `-` only, at most 63");
}
