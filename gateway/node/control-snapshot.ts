/**
 * What a gateway holds: its trust root, the snapshot in force, and the judgement of what may follow them. Reads it back from disk, puts the next one
 * in force, and says when what is held grows old. Knows no connection.
 *
 * Whatever is wrong with what is offered, what is in force stays.
 */
import {
  type AcceptContext,
  type AcceptedState,
  acceptSnapshot,
  acceptVerified,
  chunkRefs,
  DEFAULT_SNAPSHOT_LIMITS,
  followRoots,
  type HeldSnapshot,
  missingChunks,
  nextRoot,
  type Refusal,
  type SnapshotAge,
  sectionState,
  snapshotVersion,
  type TrustRoot,
  type VerifiedManifest,
  verifyManifest,
} from "../core/ir/index.ts";
import type { Result } from "../core/result.ts";
import type { ControlStore, Enrolled } from "./control-store.ts";

export interface NamedProblem {
  readonly name: string;
  readonly reason: string;
}

export type InstallOutcome =
  /** In force; `problems` names what could not be (a listener whose port is taken). */
  | { readonly kind: "in-force"; readonly problems: readonly NamedProblem[] }
  | { readonly kind: "refused"; readonly code: string; readonly problems: readonly NamedProblem[] };

/** Puts snapshots in force. */
export interface Installer {
  /** Compiles everywhere first, calls `persist`, then swaps. Nothing changes when it answers `refused` or `persist` rejects. */
  install(next: HeldSnapshot, persist: () => Promise<void>): Promise<InstallOutcome>;
  /** The snapshot in force has grown stale or expired in some section. */
  aged(age: SnapshotAge): void;
}

export type ControlLog = (level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>) => void;

export interface SnapshotKeeperOptions {
  readonly store: ControlStore;
  readonly installer: Installer;
  /** Unix ms. */
  readonly unixMs: () => number;
  readonly log: ControlLog;
}

/** What became of an offer. */
export type TakeOutcome =
  | { readonly kind: "in-force"; readonly problems: readonly NamedProblem[] }
  /** Good, but the rollout reaches this gateway later. */
  | { readonly kind: "deferred"; readonly notBeforeS: number }
  | { readonly kind: "refused"; readonly code: string; readonly detail: string; readonly problems: readonly NamedProblem[] };

/** How far the control plane's clock may be off. */
const CLOCK_SKEW_S = 30;
/** Longest wait that a timer is set for; a later time is looked at again then. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class SnapshotKeeper {
  readonly #options: SnapshotKeeperOptions;
  #enrolled: Enrolled | undefined;
  #root: TrustRoot | undefined;
  #roots: readonly Uint8Array[] = [];
  #held: HeldSnapshot | undefined;
  #accepted: AcceptedState | undefined;
  /** Bytes of the chunks in force, for the disk. */
  #chunks: ReadonlyMap<string, Uint8Array> = new Map();
  #problems: readonly NamedProblem[] = [];
  #sinceMs: number | undefined;
  #ageTimer: NodeJS.Timeout | undefined;

  constructor(options: SnapshotKeeperOptions) {
    this.#options = options;
  }

  get held(): HeldSnapshot | undefined {
    return this.#held;
  }
  /** What of the snapshot in force is not. */
  get problems(): readonly NamedProblem[] {
    return this.#problems;
  }
  /** Of the snapshot in force, other parts are not. @returns the snapshot; undefined: there is none */
  problemsChanged(problems: readonly NamedProblem[]): HeldSnapshot | undefined {
    if (this.#held !== undefined) this.#problems = problems;
    return this.#held;
  }
  /** Unix ms. */
  get sinceMs(): number | undefined {
    return this.#sinceMs;
  }
  /** Version of the newest trust root: they are numbered from 1 without gaps. */
  get rootVersion(): number {
    return this.#roots.length;
  }
  get age(): SnapshotAge | undefined {
    return this.#held && sectionState(this.#held.manifest, this.#nowS());
  }

  /** Ends the watch over the age; what is in force stays. */
  stop(): void {
    clearTimeout(this.#ageTimer);
  }

  /** Follows from here on the roots that enrolling brought. The caller has verified them. */
  async trust(enrolled: Enrolled, root: TrustRoot, roots: readonly Uint8Array[]): Promise<void> {
    await this.#options.store.saveTrustRoots(roots);
    this.#enrolled = enrolled;
    this.#root = root;
    this.#roots = roots;
  }

  /** Puts the last good snapshot on disk in force. @returns false when the trust roots there are of no use: this gateway has to enrol again. */
  async restore(enrolled: Enrolled): Promise<boolean> {
    const { store, log } = this.#options;
    const roots = await store.trustRoots();
    // A root's expiry is looked at when it has to vouch for something new; 0 is before every expiry.
    const root = await followRoots(enrolled.rootHash, roots, 0);
    if (!root.ok) {
      log("error", "the trust roots on disk are not usable; enrol again with a join token", { reason: root.error.detail });
      return false;
    }
    this.#enrolled = enrolled;
    this.#root = root.value;
    this.#roots = roots;
    await this.#restoreSnapshot(enrolled);
    return true;
  }

  async #restoreSnapshot(enrolled: Enrolled): Promise<void> {
    const { store, log, installer } = this.#options;
    const refuse = (reason: string): void =>
      log("error", "the last good snapshot on disk was refused; waiting for the control plane", { reason });
    const stored = await store.snapshot();
    if (stored === undefined) return;
    if ("damaged" in stored) return refuse(`${stored.damaged} is damaged`);
    const accepted = readAccepted(stored.accepted);
    if (accepted === undefined) return refuse("what was accepted last is damaged");
    if (this.#held !== undefined && accepted.payloadHash === this.#accepted?.payloadHash) return;
    this.#accepted = accepted;
    const then = await followRoots(enrolled.rootHash, this.#roots.slice(0, accepted.rootVersion), 0);
    if (!then.ok) return refuse(then.error.detail);
    const context = { ...this.#context("restore"), root: then.value };
    const outcome = await acceptSnapshot(stored.manifest, stored.chunks, context);
    if (outcome.kind !== "accepted") return refuse(outcome.kind === "refused" ? outcome.refusal.detail : outcome.kind);
    const installed = await installer.install(outcome.held, () => Promise.resolve());
    if (installed.kind === "refused") {
      const { code, problems } = installed;
      log("error", "the last good snapshot on disk could not be put in force", { code, problems });
      return;
    }
    this.#hold(outcome.held, accepted, stored.chunks, installed.problems);
    log("info", "serving the last good snapshot from disk", {
      version: snapshotVersion(outcome.held.manifest),
      problems: installed.problems,
    });
  }

  /** Takes the next trust root if the one in force and the next itself sign it. */
  async follow(document: Uint8Array): Promise<void> {
    if (this.#root === undefined) return;
    const next = await nextRoot(this.#root, document);
    if (!next.ok) {
      this.#options.log("error", "a trust root was refused", { code: next.error.code, reason: next.error.detail });
      return;
    }
    this.#root = next.value;
    this.#roots = [...this.#roots, document];
    await this.#options.store.saveTrustRoots(this.#roots);
    this.#options.log("info", "trust root followed", { version: next.value.document.version });
  }

  verify(jws: Uint8Array): Promise<Result<VerifiedManifest, Refusal>> {
    return verifyManifest(jws, this.#context("update"));
  }

  /** Hashes of the chunks that have to be fetched. */
  missing({ manifest }: VerifiedManifest): readonly string[] {
    return missingChunks(manifest, this.#held, (hash) => this.#chunks.has(hash)).map(({ hash }) => hash);
  }

  /** @param fetched bytes of the chunks that were missing. */
  async take(jws: Uint8Array, verified: VerifiedManifest, fetched: ReadonlyMap<string, Uint8Array>): Promise<TakeOutcome> {
    const bytes = new Map([...this.#chunks, ...fetched]);
    const outcome = await acceptVerified(verified, bytes, this.#context("update"));
    switch (outcome.kind) {
      case "refused":
        return refusedBy(outcome.refusal);
      case "repeated":
        return { kind: "in-force", problems: this.#problems };
      case "deferred":
        return { kind: "deferred", notBeforeS: outcome.notBefore };
      case "accepted":
        return await this.#install(jws, outcome.held, outcome.state, bytes);
    }
  }

  async #install(
    manifest: Uint8Array,
    next: HeldSnapshot,
    accepted: AcceptedState,
    bytes: ReadonlyMap<string, Uint8Array>,
  ): Promise<TakeOutcome> {
    const chunks = new Map<string, Uint8Array>();
    for (const { hash } of chunkRefs(next.manifest)) {
      const content = bytes.get(hash);
      if (content !== undefined) chunks.set(hash, content);
    }
    let installed: InstallOutcome;
    try {
      const { installer, store } = this.#options;
      installed = await installer.install(next, () => store.saveSnapshot({ manifest, chunks, accepted }));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      installed = { kind: "refused", code: "not_persisted", problems: [{ name: "state directory", reason }] };
    }
    if (installed.kind === "refused") {
      const detail = installed.problems.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
      return { kind: "refused", code: installed.code, detail, problems: installed.problems };
    }
    this.#hold(next, accepted, chunks, installed.problems);
    return { kind: "in-force", problems: installed.problems };
  }

  #hold(
    held: HeldSnapshot,
    accepted: AcceptedState,
    chunks: ReadonlyMap<string, Uint8Array>,
    problems: readonly NamedProblem[],
  ): void {
    this.#held = held;
    this.#accepted = accepted;
    this.#chunks = chunks;
    this.#problems = problems;
    this.#sinceMs = this.#options.unixMs();
    this.#watchAge();
  }

  /** Says how old the snapshot is now, and again whenever that changes. */
  #watchAge(): void {
    clearTimeout(this.#ageTimer);
    const { age } = this;
    if (age === undefined) return;
    this.#options.installer.aged(age);
    if (age.nextChangeS === undefined) return;
    const waitMs = Math.min(LONGEST_TIMER_MS, Math.max(0, age.nextChangeS * 1000 - this.#options.unixMs()) + 1);
    this.#ageTimer = setTimeout(() => this.#watchAge(), waitMs);
    this.#ageTimer.unref();
  }

  #context(purpose: AcceptContext["purpose"]): AcceptContext {
    const enrolled = this.#enrolled;
    if (enrolled === undefined || this.#root === undefined) throw new Error("not enrolled");
    return {
      root: this.#root,
      audience: enrolled.pool,
      accepted: this.#accepted,
      floor: enrolled.floor,
      nowS: this.#nowS(),
      clockSkewS: CLOCK_SKEW_S,
      limits: DEFAULT_SNAPSHOT_LIMITS,
      purpose,
      gatewayId: enrolled.gatewayId,
      held: this.#held,
    };
  }

  #nowS(): number {
    return Math.floor(this.#options.unixMs() / 1000);
  }
}

/** A refusal as it is told to the control plane. */
export function refusedBy({ code, detail, issues }: Refusal): TakeOutcome & { readonly kind: "refused" } {
  const named = issues.map(({ path, problem }) => ({ name: path, reason: problem }));
  return { kind: "refused", code, detail, problems: [{ name: "snapshot", reason: detail }, ...named] };
}

/** From disk, so from outside: anything but the exact shape is no state. */
function readAccepted(value: unknown): AcceptedState | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { epoch, version, payloadHash, rootVersion, rootHash } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(version) || !Number.isSafeInteger(rootVersion)) return undefined;
  if (typeof payloadHash !== "string" || typeof rootHash !== "string") return undefined;
  return { epoch: epoch as number, version: version as number, payloadHash, rootVersion: rootVersion as number, rootHash };
}
