/**
 * The relay's judgement: what a site holds, and what may follow it. It follows trust roots from the pin, asks for the chunks it lacks, verifies with
 * core's verifier as every gateway does, and answers. Knows no connection and no clock of its own; all it has to remember is in its storage before it
 * answers, so it may be thrown away between any two calls. One call at a time.
 *
 * Whatever is wrong with what is offered, what is held stays.
 */
import {
  type AcceptContext,
  type AcceptedState,
  acceptSnapshot,
  acceptVerified,
  type ChunkRef,
  chunkRefs,
  EDGE_SNAPSHOT_LIMITS,
  followRoots,
  type HeldSnapshot,
  MAX_RELAY_HASHES,
  missingChunks,
  nextRoot,
  openRoot,
  READER_VERSION,
  RELAY_PROTOCOL,
  type Refusal,
  type RelayHello,
  type RelayMessage,
  type RelayProblem,
  relayProblems,
  type SnapshotLimits,
  type TrustRoot,
  type VerifiedManifest,
  type VersionFloor,
  verifyChunk,
  verifyManifest,
} from "../core/ir/index.ts";
import { fail, ok, type Result } from "../core/result.ts";

/** A snapshot as it is kept. */
export interface StoredSnapshot {
  /** JWS, as signed. */
  readonly manifest: Uint8Array;
  /** Hashes of its chunks, in the manifest's order. */
  readonly chunks: readonly string[];
  readonly accepted: AcceptedState;
  /** Unix ms at which it was accepted. */
  readonly sinceMs: number;
  /** Whether the isolates have it in force, as far as the relay knows. */
  readonly enforced: boolean;
}

/** A verified manifest that is not yet accepted: some of its chunks are missing, or its rollout has not come. */
export interface StoredOffer {
  readonly manifest: Uint8Array;
  /** Unix seconds at which it is looked at again; undefined: with its next chunk. */
  readonly notBeforeS: number | undefined;
}

/** What the relay remembers. Each call is done, and durable before the relay's answer leaves, when it returns. */
export interface RelayStorage {
  /** Trust roots in order of version, from the pinned one on. */
  roots(): readonly Uint8Array[];
  addRoot(document: Uint8Array): void;
  current(): StoredSnapshot | undefined;
  /** The one that `current` replaced: isolates that hold it lack little. */
  previous(): StoredSnapshot | undefined;
  offer(): StoredOffer | undefined;
  setOffer(offer: StoredOffer | undefined): void;
  hasChunk(hash: string): boolean;
  chunk(hash: string): Uint8Array | undefined;
  putChunk(hash: string, content: Uint8Array): void;
  /** In one step: `next` becomes current, current becomes previous, the offer is over. */
  accept(next: StoredSnapshot): void;
  markEnforced(): void;
  /** Drops every chunk that is not named. */
  keepChunks(hashes: ReadonlySet<string>): void;
}

export interface RelayOptions {
  readonly site: string;
  readonly audience: string;
  /** Hash of the first trust root. */
  readonly pin: string;
  readonly floor: VersionFloor | undefined;
  readonly storage: RelayStorage;
  /** Unix ms. */
  readonly unixMs: () => number;
  readonly software: string;
  /** Compiles for trial, as isolates will; what it names, the snapshot is refused for. */
  readonly trial: (held: HeldSnapshot) => readonly RelayProblem[];
  readonly limits?: SnapshotLimits;
}

/** What an offer comes to. */
export type OfferAnswer = Extract<RelayMessage, { readonly type: "need" | "ack" | "nack" | "deferred" }>;

/** How far the control plane's clock may be off. */
const CLOCK_SKEW_S = 30;
/** Chunks asked for at a time: what is on its way waits in the relay's memory. A larger chunk comes alone. */
export const MAX_AWAITED_BYTES = 4_194_304;

interface Offer {
  readonly manifest: Uint8Array;
  readonly verified: VerifiedManifest;
  /** What is asked for together, by hash. Depends on the manifest alone, so that a relay that starts anew knows what is on its way. */
  readonly batches: readonly ReadonlyMap<string, ChunkRef>[];
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #limits: SnapshotLimits;
  #root: TrustRoot | undefined;
  /** Why the newest root that came was not followed. */
  #rootRefusal: Refusal | undefined;
  /** Read back when it is first needed: isolates are served without it. */
  #held: HeldSnapshot | undefined;
  #heldRead = false;
  #offer: Offer | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#limits = options.limits ?? EDGE_SNAPSHOT_LIMITS;
  }

  hello(): RelayHello {
    const { site, audience, pin, storage, software } = this.#options;
    const current = storage.current();
    return {
      type: "hello",
      protocol: RELAY_PROTOCOL,
      site,
      audience,
      pin,
      rootVersion: storage.roots().length,
      ...(current && { held: refOf(current.accepted), heldSinceMs: current.sinceMs }),
      enforced: current?.enforced ?? false,
      readerVersion: READER_VERSION,
      software,
    };
  }

  /** Takes the next trust root if the one in force (at first: the pin) and the root itself vouch for it. What is refused shows with the next manifest. */
  async follow(document: Uint8Array): Promise<void> {
    const { storage, pin } = this.#options;
    if (storage.roots().some((known) => sameBytes(known, document))) return;
    const held = await this.#trustRoot();
    const next = held === undefined ? await openRoot(document, pin) : await nextRoot(held, document);
    this.#rootRefusal = next.ok ? undefined : next.error;
    if (!next.ok) return;
    storage.addRoot(document);
    this.#root = next.value;
  }

  /** A manifest; the newest takes the place of one whose chunks are still on their way. */
  async offered(manifest: Uint8Array): Promise<OfferAnswer> {
    const { storage } = this.#options;
    const root = await this.#trustRoot();
    const verified = root ? await verifyManifest(manifest, this.#context("update", root, undefined)) : fail(NO_ROOT);
    if (root === undefined || !verified.ok) {
      this.#drop();
      return refusedBy(this.#unverified(verified.ok ? NO_ROOT : verified.error), undefined);
    }
    this.#rootRefusal = undefined;
    storage.setOffer({ manifest, notBeforeS: undefined });
    const refs = chunkRefs(verified.value.manifest);
    this.#offer = { manifest, verified: verified.value, batches: batchesOf(refs) };
    // Chunks of an offer that was cut short stay if this one names them too.
    this.#collect(refs.map(({ hash }) => hash));
    return await this.#proceed(this.#offer, root);
  }

  /** @returns undefined: more of the same request are awaited, or nobody asked for this one. */
  async chunk(hash: string, content: Uint8Array): Promise<OfferAnswer | undefined> {
    const { storage } = this.#options;
    const root = await this.#trustRoot();
    const pending = root && (await this.#pending(root));
    if (root === undefined || pending === undefined) return undefined;
    if (!pending.ok) return pending.error;
    const offer = pending.value;
    if (storage.hasChunk(hash)) return undefined;
    const batch = offer.batches.find((refs) => refs.has(hash));
    const ref = batch?.get(hash);
    if (batch === undefined || ref === undefined) return undefined;
    const whole = await verifyChunk(ref, content);
    if (!whole.ok) {
      this.#drop();
      return refusedBy(whole.error, offer.verified);
    }
    storage.putChunk(hash, content);
    return this.#lacking(batch).length > 0 ? undefined : await this.#proceed(offer, root);
  }

  /** Looks again at an offer whose rollout has begun. @returns undefined: there is none. */
  async due(): Promise<OfferAnswer | undefined> {
    const notBeforeS = this.#options.storage.offer()?.notBeforeS;
    if (notBeforeS === undefined || notBeforeS > this.#nowS()) return undefined;
    const root = await this.#trustRoot();
    const pending = root && (await this.#pending(root));
    if (root === undefined || pending === undefined) return undefined;
    return pending.ok ? await this.#proceed(pending.value, root) : pending.error;
  }

  /** A root that was not followed explains a signature that cannot be judged better than the signature does. */
  #unverified(refusal: Refusal): Refusal {
    return (NEEDS_NEWER_ROOT.has(refusal.code) ? this.#rootRefusal : undefined) ?? refusal;
  }

  // ── one offer ──────────────────────────────────────────────────────────────

  async #proceed(offer: Offer, root: TrustRoot): Promise<OfferAnswer> {
    for (const batch of offer.batches) {
      const lacking = this.#lacking(batch);
      if (lacking.length > 0) return { type: "need", snapshot: refOf(offer.verified.manifest), hashes: lacking };
    }
    return await this.#take(offer, root);
  }

  #lacking(batch: ReadonlyMap<string, ChunkRef>): readonly string[] {
    return [...batch.keys()].filter((hash) => !this.#options.storage.hasChunk(hash));
  }

  async #take({ manifest, verified }: Offer, root: TrustRoot): Promise<OfferAnswer> {
    const { storage, trial, unixMs } = this.#options;
    const held = await this.#heldSnapshot();
    const outcome = await acceptVerified(verified, this.#fresh(verified, held), this.#context("update", root, held));
    const snapshot = refOf(verified.manifest);
    switch (outcome.kind) {
      case "refused":
        this.#drop();
        return refusedBy(outcome.refusal, verified);
      case "repeated":
        this.#drop();
        return { type: "ack", snapshot };
      case "deferred": {
        const ahead = outcome.notBefore > this.#nowS() ? outcome.notBefore : undefined;
        storage.setOffer({ manifest, notBeforeS: ahead });
        return { type: "deferred", snapshot, notBeforeS: outcome.notBefore };
      }
      case "accepted": {
        const problems = trial(outcome.held);
        if (problems.length > 0) {
          this.#drop();
          return { type: "nack", snapshot, code: "not_compiled", problems: relayProblems(problems), partly: false };
        }
        const chunks = [...new Set(chunkRefs(verified.manifest).map(({ hash }) => hash))];
        storage.accept({ manifest, chunks, accepted: outcome.state, sinceMs: unixMs(), enforced: false });
        this.#held = outcome.held;
        this.#heldRead = true;
        this.#drop();
        return { type: "ack", snapshot };
      }
    }
  }

  /** Bytes of the chunks that are not decoded yet. */
  #fresh({ manifest }: VerifiedManifest, held: HeldSnapshot | undefined): ReadonlyMap<string, Uint8Array> {
    const chunks = new Map<string, Uint8Array>();
    for (const { hash } of missingChunks(manifest, held, () => false)) {
      const content = this.#options.storage.chunk(hash);
      if (content !== undefined) chunks.set(hash, content);
    }
    return chunks;
  }

  /** Ends the offer. */
  #drop(): void {
    const { storage } = this.#options;
    this.#offer = undefined;
    if (storage.offer() !== undefined) storage.setOffer(undefined);
    this.#collect([]);
  }

  /** Lets go of chunks that nothing names any more. */
  #collect(offered: readonly string[]): void {
    const { storage } = this.#options;
    const kept = [storage.current(), storage.previous()].flatMap((snapshot) => snapshot?.chunks ?? []);
    storage.keepChunks(new Set([...kept, ...offered]));
  }

  // ── what was remembered ────────────────────────────────────────────────────

  async #trustRoot(): Promise<TrustRoot | undefined> {
    const roots = this.#options.storage.roots();
    if (this.#root !== undefined || roots.length === 0) return this.#root;
    // A root's expiry is looked at when it has to vouch for something new; 0 is before every expiry.
    const followed = await followRoots(this.#options.pin, roots, 0);
    if (followed.ok) this.#root = followed.value;
    else this.#rootRefusal = followed.error;
    return this.#root;
  }

  /** The offer in hand; after a start, the one in storage, verified again: it may have expired, or its keys may be gone. */
  async #pending(root: TrustRoot): Promise<Result<Offer, OfferAnswer> | undefined> {
    if (this.#offer !== undefined) return ok(this.#offer);
    const manifest = this.#options.storage.offer()?.manifest;
    if (manifest === undefined) return undefined;
    const verified = await verifyManifest(manifest, this.#context("update", root, undefined));
    if (!verified.ok) {
      this.#drop();
      return fail(refusedBy(verified.error, undefined));
    }
    this.#offer = { manifest, verified: verified.value, batches: batchesOf(chunkRefs(verified.value.manifest)) };
    return ok(this.#offer);
  }

  /** What the next snapshot is compared with. One that cannot be read back counts as none: then anything new is judged as widening. */
  async #heldSnapshot(): Promise<HeldSnapshot | undefined> {
    if (this.#heldRead) return this.#held;
    this.#heldRead = true;
    const { storage, pin } = this.#options;
    const current = storage.current();
    if (current === undefined) return undefined;
    const then = await followRoots(pin, storage.roots().slice(0, current.accepted.rootVersion), 0);
    if (!then.ok) return undefined;
    const chunks = new Map(current.chunks.map((hash) => [hash, storage.chunk(hash) ?? new Uint8Array()]));
    const restored = await acceptSnapshot(current.manifest, chunks, this.#context("restore", then.value, undefined));
    this.#held = restored.kind === "accepted" ? restored.held : undefined;
    return this.#held;
  }

  #context(purpose: AcceptContext["purpose"], root: TrustRoot, held: HeldSnapshot | undefined): AcceptContext {
    const { audience, floor, site, storage } = this.#options;
    return {
      root,
      audience,
      accepted: storage.current()?.accepted,
      floor,
      nowS: this.#nowS(),
      clockSkewS: CLOCK_SKEW_S,
      limits: this.#limits,
      purpose,
      gatewayId: site,
      held,
    };
  }

  #nowS(): number {
    return Math.floor(this.#options.unixMs() / 1000);
  }
}

/** What a root that did not come explains. */
const NEEDS_NEWER_ROOT: ReadonlySet<string> = new Set<Refusal["code"]>([
  "unknown_kid",
  "alg_key_mismatch",
  "signer_outside_role",
  "below_threshold",
  "epoch_ahead",
  "root_expired",
  "root_pin",
]);

const NO_ROOT: Refusal = {
  code: "root_pin",
  detail: "no trust root has come that the site's TRUST_ROOT vouches for",
  issues: [],
};

function refusedBy({ code, detail, issues }: Refusal, verified: VerifiedManifest | undefined): OfferAnswer {
  const named = issues.map(({ path, problem }) => ({ name: path, reason: problem }));
  return {
    type: "nack",
    ...(verified && { snapshot: refOf(verified.manifest) }),
    code,
    problems: relayProblems([{ name: "snapshot", reason: detail }, ...named]),
    partly: false,
  };
}

function batchesOf(refs: readonly ChunkRef[]): readonly ReadonlyMap<string, ChunkRef>[] {
  const batches: Map<string, ChunkRef>[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  for (const ref of refs) {
    if (seen.has(ref.hash)) continue;
    seen.add(ref.hash);
    let batch = batches.at(-1);
    if (batch === undefined || bytes + ref.bytes > MAX_AWAITED_BYTES || batch.size >= MAX_RELAY_HASHES) {
      batch = new Map();
      batches.push(batch);
      bytes = 0;
    }
    batch.set(ref.hash, ref);
    bytes += ref.bytes;
  }
  return batches;
}

function refOf({ epoch, version }: { readonly epoch: number; readonly version: number }): { epoch: number; version: number } {
  return { epoch, version };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}
