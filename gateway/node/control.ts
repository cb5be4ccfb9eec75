/**
 * The gateway's side of distribution: enrols once, follows trust roots, verifies what it is offered, fetches only the chunks it
 * lacks, hands the snapshot over to be put in force, and answers. Starts from disk, so a gateway serves without a control plane.
 *
 * Whatever is wrong with an offer, what is in force stays, and the refusal names the reason.
 */

import type { JoinToken } from "../core/identity/index.ts";
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
  READER_VERSION,
  type Refusal,
  type SnapshotAge,
  sectionState,
  snapshotVersion,
  type TrustRoot,
  type VerifiedManifest,
  verifyManifest,
} from "../core/ir/index.ts";
import { AckSchema, create, FetchChunksSchema, HelloSchema, NackSchema, type SubscribeResponse } from "../wire/proto/index.ts";
import { backoffMs } from "./backoff.ts";
import { ControlLink } from "./control-link.ts";
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

export interface ControlOptions {
  /** `host:port` of the control plane. */
  readonly address: string;
  readonly gatewayId: string;
  readonly store: ControlStore;
  readonly joinToken: JoinToken | undefined;
  readonly installer: Installer;
  /** Unix ms. */
  readonly unixMs: () => number;
  readonly random: () => number;
  readonly log: (level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly software: string;
}

export interface ControlStatus {
  readonly connected: boolean;
  readonly gatewayId: string;
  readonly pool: string | undefined;
  readonly version: string | undefined;
  /** Unix ms at which that version was put in force. */
  readonly sinceMs: number | undefined;
  readonly age: SnapshotAge | undefined;
  readonly lastError: string | undefined;
  readonly refused: { readonly version: string; readonly code: string; readonly detail: string } | undefined;
}

/** How far the control plane's clock may be off. */
const CLOCK_SKEW_S = 30;
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** Longest wait that a timer is set for; a later time is looked at again then. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** An offer whose chunks are on their way. */
interface Offer {
  readonly jws: Uint8Array;
  readonly verified: VerifiedManifest;
  readonly chunks: Map<string, Uint8Array>;
  readonly awaited: Set<string>;
}

export class ControlClient {
  readonly #options: ControlOptions;
  #enrolled: Enrolled | undefined;
  #root: TrustRoot | undefined;
  #roots: Uint8Array[] = [];
  #held: HeldSnapshot | undefined;
  #accepted: AcceptedState | undefined;
  /** Bytes of the chunks in force, for the disk. */
  #chunks: ReadonlyMap<string, Uint8Array> = new Map();
  #sinceMs: number | undefined;
  #link: ControlLink | undefined;
  #connected = false;
  #offer: Offer | undefined;
  #work: Promise<void> = Promise.resolve();
  #attempt = 0;
  #stopped = false;
  #lastError: string | undefined;
  #refused: ControlStatus["refused"];
  #retryTimer: NodeJS.Timeout | undefined;
  #ageTimer: NodeJS.Timeout | undefined;
  #rolloutTimer: NodeJS.Timeout | undefined;

  constructor(options: ControlOptions) {
    this.#options = options;
  }

  /** Serves what the disk holds, then connects and stays connected. Resolves when the disk was read. @throws Error when there is neither an enrolment nor a join token. */
  async start(): Promise<void> {
    this.#enrolled = await this.#recall();
    if (this.#enrolled === undefined && this.#options.joinToken === undefined) {
      throw new Error(
        "this gateway is not enrolled: give it a join token with --join-token-file (make one with: tidegate keys join-token --pool <pool>)",
      );
    }
    await this.#restore();
    void this.#connect();
  }

  /** Stops following; what is in force stays. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#ageTimer);
    clearTimeout(this.#rolloutTimer);
    this.#link?.close();
    await this.#work;
  }

  status(): ControlStatus {
    return {
      connected: this.#connected,
      gatewayId: this.#options.gatewayId,
      pool: this.#enrolled?.pool,
      version: this.#held && snapshotVersion(this.#held.manifest),
      sinceMs: this.#sinceMs,
      age: this.#held && sectionState(this.#held.manifest, this.#nowS()),
      lastError: this.#lastError,
      refused: this.#refused,
    };
  }

  /** Who this gateway is, unless its join token speaks of another mesh: then it starts over. */
  async #recall(): Promise<Enrolled | undefined> {
    const { store, joinToken, log } = this.#options;
    const enrolled = await store.enrolled();
    if (enrolled === undefined || joinToken === undefined) return enrolled;
    if (enrolled.rootHash !== joinToken.rootHash) {
      log("warn", "the join token pins another trust root than this gateway's state: starting over", {
        gateway: enrolled.gatewayId,
      });
      await store.reset();
      return undefined;
    }
    return { ...enrolled, ca: joinToken.ca };
  }

  async #restore(): Promise<void> {
    const { store, log } = this.#options;
    const enrolled = this.#enrolled;
    if (enrolled === undefined) return;
    this.#roots = [...(await store.trustRoots())];
    // A root's expiry is looked at when it has to vouch for something new; 0 is before every expiry.
    const root = await followRoots(enrolled.rootHash, this.#roots, 0);
    if (!root.ok) {
      log("error", "the trust roots on disk are not usable; enrol again with a join token", { reason: root.error.detail });
      this.#enrolled = undefined;
      return;
    }
    this.#root = root.value;
    const stored = await store.snapshot();
    const accepted = readAccepted(stored?.accepted);
    if (stored === undefined || accepted === undefined) return;
    this.#accepted = accepted;
    const then = await followRoots(enrolled.rootHash, this.#roots.slice(0, accepted.rootVersion), 0);
    const outcome = then.ok
      ? await acceptSnapshot(stored.manifest, stored.chunks, { ...this.#context("restore"), root: then.value })
      : ({ kind: "refused", refusal: then.error } as const);
    if (outcome.kind !== "accepted") {
      const reason = outcome.kind === "refused" ? outcome.refusal.detail : outcome.kind;
      log("error", "the last good snapshot on disk was refused; waiting for the control plane", { reason });
      return;
    }
    const installed = await this.#options.installer.install(outcome.held, () => Promise.resolve());
    if (installed.kind === "refused") {
      log("error", "the last good snapshot on disk could not be put in force", {
        code: installed.code,
        problems: installed.problems,
      });
      return;
    }
    this.#hold(outcome.held, accepted, stored.chunks);
    log("info", "serving the last good snapshot from disk", { version: snapshotVersion(outcome.held.manifest) });
  }

  async #connect(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#enrolled === undefined) await this.#enrol();
      const enrolled = this.#enrolled;
      if (enrolled === undefined || this.#stopped) return;
      const link = new ControlLink(this.#options.address, enrolled.ca);
      this.#link = link;
      link.subscribe(enrolled.credential, {
        received: (message) => this.#received(link, message),
        closed: (reason, unauthenticated) => this.#closed(link, reason, unauthenticated),
      });
      const held = this.#accepted;
      link.send({
        case: "hello",
        value: create(HelloSchema, {
          gatewayId: enrolled.gatewayId,
          rootVersion: this.#roots.length,
          readerVersion: READER_VERSION,
          software: this.#options.software,
          ...(this.#held && held && { held: { epoch: BigInt(held.epoch), version: BigInt(held.version) } }),
        }),
      });
    } catch (error) {
      this.#retry(error instanceof Error ? error.message : String(error));
    }
  }

  async #enrol(): Promise<void> {
    const { joinToken, gatewayId, address, software, store, log } = this.#options;
    if (joinToken === undefined) throw new Error("not enrolled, and no join token");
    const link = new ControlLink(address, joinToken.ca);
    try {
      const answer = await link.enrol({ gatewayId, tokenId: joinToken.id, tokenSecret: joinToken.secret, software });
      const root = await followRoots(joinToken.rootHash, answer.trustRoots, this.#nowS());
      if (!root.ok)
        throw new Error(`the control plane's trust root is not the one that the join token pins: ${root.error.detail}`);
      const { rootHash, ca, floor } = joinToken;
      const enrolled: Enrolled = { gatewayId, pool: answer.pool, credential: answer.credential, rootHash, ca, floor };
      await store.saveTrustRoots(answer.trustRoots);
      await store.saveEnrolled(enrolled);
      this.#enrolled = enrolled;
      this.#root = root.value;
      this.#roots = [...answer.trustRoots];
      log("info", "enrolled", { gateway: gatewayId, pool: answer.pool });
    } finally {
      link.close();
    }
  }

  #closed(link: ControlLink, reason: string, unauthenticated: boolean): void {
    if (this.#link !== link) return;
    link.close();
    this.#link = undefined;
    this.#connected = false;
    this.#offer = undefined;
    // A refused credential: the control plane lost its memory or took it away. With a join token at hand, enrol again.
    if (unauthenticated && this.#options.joinToken !== undefined) this.#enrolled = undefined;
    this.#retry(reason);
  }

  #retry(reason: string): void {
    if (this.#stopped) return;
    const waitMs = backoffMs(this.#attempt, BACKOFF_BASE_MS, BACKOFF_MAX_MS, this.#options.random);
    if (this.#lastError !== reason)
      this.#options.log("warn", "no control plane; serving what is held", { reason, retryMs: Math.round(waitMs) });
    this.#lastError = reason;
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => void this.#connect(), waitMs);
  }

  /** One message at a time, in order: an offer is worked through before the next one is looked at. */
  #received(link: ControlLink, message: SubscribeResponse["message"]): void {
    if (!this.#connected) {
      this.#connected = true;
      this.#attempt = 0;
      this.#lastError = undefined;
    }
    this.#work = this.#work
      .then(() => (this.#link === link ? this.#handle(message) : undefined))
      .catch((error: unknown) => {
        this.#options.log("error", "a message of the control plane could not be worked on", { reason: String(error) });
      });
  }

  async #handle(message: SubscribeResponse["message"]): Promise<void> {
    switch (message.case) {
      case "trustRoot":
        return await this.#follow(message.value.document);
      case "manifest":
        return await this.#offered(message.value.jws);
      case "chunk":
        return await this.#chunk(message.value.hash, message.value.content);
      case "chunkMissing":
        // A newer manifest is on its way; this offer can't be completed.
        this.#offer = undefined;
        return;
      case undefined:
        return;
    }
  }

  async #follow(document: Uint8Array): Promise<void> {
    if (this.#root === undefined) return;
    const next = await nextRoot(this.#root, document);
    if (!next.ok) {
      this.#options.log("error", "a trust root was refused", { code: next.error.code, reason: next.error.detail });
      return;
    }
    this.#root = next.value;
    this.#roots.push(document);
    await this.#options.store.saveTrustRoots(this.#roots);
    this.#options.log("info", "trust root followed", { version: next.value.document.version });
  }

  async #offered(jws: Uint8Array): Promise<void> {
    const verified = await verifyManifest(jws, this.#context("update"));
    if (!verified.ok) return this.#nack(undefined, verified.error);
    const missing = missingChunks(verified.value.manifest, this.#held, (hash) => this.#chunks.has(hash));
    this.#offer = { jws, verified: verified.value, chunks: new Map(), awaited: new Set(missing.map((ref) => ref.hash)) };
    if (missing.length === 0) return await this.#complete(this.#offer);
    const snapshot = refOf(verified.value.manifest);
    this.#link?.send({ case: "fetch", value: create(FetchChunksSchema, { snapshot, hashes: [...this.#offer.awaited] }) });
  }

  async #chunk(hash: string, content: Uint8Array): Promise<void> {
    const offer = this.#offer;
    if (offer === undefined || !offer.awaited.delete(hash)) return;
    offer.chunks.set(hash, content);
    if (offer.awaited.size === 0) await this.#complete(offer);
  }

  async #complete(offer: Offer): Promise<void> {
    this.#offer = undefined;
    const { manifest } = offer.verified;
    const bytes = new Map([...this.#chunks, ...offer.chunks]);
    const outcome = await acceptVerified(offer.verified, bytes, this.#context("update"));
    switch (outcome.kind) {
      case "refused":
        return this.#nack(manifest, outcome.refusal);
      case "repeated":
        return this.#ack(manifest, []);
      case "deferred":
        return this.#defer(offer, outcome.notBefore);
      case "accepted":
        return await this.#install(offer, outcome.held, outcome.state, bytes);
    }
  }

  async #install(offer: Offer, next: HeldSnapshot, state: AcceptedState, bytes: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const hashes = chunkRefs(next.manifest).map((ref) => ref.hash);
    const chunks = new Map(hashes.flatMap((hash) => (bytes.has(hash) ? [[hash, bytes.get(hash) ?? new Uint8Array()]] : [])));
    let installed: InstallOutcome;
    try {
      installed = await this.#options.installer.install(next, () =>
        this.#options.store.saveSnapshot({ manifest: offer.jws, chunks, accepted: state }),
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      installed = { kind: "refused", code: "not_persisted", problems: [{ name: "state directory", reason }] };
    }
    if (installed.kind === "refused") {
      const detail = installed.problems.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
      this.#sendNack(next.manifest, installed.code, installed.problems, false);
      this.#noteRefusal(next.manifest, installed.code, detail);
      return;
    }
    this.#hold(next, state, chunks);
    this.#refused = undefined;
    this.#ack(next.manifest, installed.problems);
    this.#options.log("info", "snapshot in force", { version: snapshotVersion(next.manifest), problems: installed.problems });
  }

  #hold(held: HeldSnapshot, accepted: AcceptedState, chunks: ReadonlyMap<string, Uint8Array>): void {
    this.#held = held;
    this.#accepted = accepted;
    this.#chunks = chunks;
    this.#sinceMs = this.#options.unixMs();
    this.#age();
  }

  /** Says how old the snapshot is now, and again whenever that changes. */
  #age(): void {
    clearTimeout(this.#ageTimer);
    if (this.#held === undefined || this.#stopped) return;
    const age = sectionState(this.#held.manifest, this.#nowS());
    this.#options.installer.aged(age);
    if (age.nextChangeS === undefined) return;
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(0, age.nextChangeS * 1000 - this.#options.unixMs()) + 1);
    this.#ageTimer = setTimeout(() => this.#age(), waitMs);
    this.#ageTimer.unref();
  }

  /** The rollout has not reached this gateway: look again when it may have. */
  #defer(offer: Offer, notBeforeS: number): void {
    clearTimeout(this.#rolloutTimer);
    const waitMs = notBeforeS * 1000 - this.#options.unixMs();
    if (waitMs <= 0) return;
    this.#rolloutTimer = setTimeout(
      () => {
        this.#work = this.#work.then(() => this.#complete(offer));
      },
      Math.min(MAX_TIMER_MS, waitMs),
    );
    this.#rolloutTimer.unref();
  }

  #ack(manifest: { readonly epoch: number; readonly version: number }, problems: readonly NamedProblem[]): void {
    if (problems.length > 0) this.#sendNack(manifest, "partly", problems, true);
    else this.#link?.send({ case: "ack", value: create(AckSchema, { snapshot: refOf(manifest) }) });
  }

  #nack(manifest: { readonly epoch: number; readonly version: number } | undefined, refusal: Refusal): void {
    const issues = refusal.issues.map(({ path, problem }) => ({ name: path, reason: problem }));
    this.#sendNack(manifest, refusal.code, [{ name: "snapshot", reason: refusal.detail }, ...issues], false);
    this.#noteRefusal(manifest, refusal.code, refusal.detail);
  }

  #noteRefusal(manifest: { readonly epoch: number; readonly version: number } | undefined, code: string, detail: string): void {
    const version = manifest === undefined ? "unknown" : snapshotVersion(manifest);
    this.#refused = { version, code, detail };
    this.#options.log("error", "snapshot refused; what is in force stays", { version, code, reason: detail });
  }

  #sendNack(
    manifest: { readonly epoch: number; readonly version: number } | undefined,
    code: string,
    problems: readonly NamedProblem[],
    partlyInForce: boolean,
  ): void {
    this.#link?.send({
      case: "nack",
      value: create(NackSchema, {
        ...(manifest && { snapshot: refOf(manifest) }),
        code,
        problems: problems.map(({ name, reason }) => ({ name, reason })),
        partlyInForce,
      }),
    });
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

function refOf(manifest: { readonly epoch: number; readonly version: number }): { epoch: bigint; version: bigint } {
  return { epoch: BigInt(manifest.epoch), version: BigInt(manifest.version) };
}

/** From disk, so from outside: anything but the exact shape is no state. */
function readAccepted(value: unknown): AcceptedState | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { epoch, version, payloadHash, rootVersion, rootHash } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(version) || !Number.isSafeInteger(rootVersion)) return undefined;
  if (typeof payloadHash !== "string" || typeof rootHash !== "string") return undefined;
  return { epoch: epoch as number, version: version as number, payloadHash, rootVersion: rootVersion as number, rootHash };
}
