/**
 * The gateway's side of distribution: enrols once, stays connected, fetches only the chunks it lacks of what it is offered, and answers what
 * became of it. What is held and what may follow is the keeper's to judge (control-snapshot.ts). Starts from disk, so a gateway serves without a control plane.
 */
import type { JoinToken } from "../core/identity/index.ts";
import { followRoots, READER_VERSION, type SnapshotAge, snapshotVersion, type VerifiedManifest } from "../core/ir/index.ts";
import {
  AckSchema,
  create,
  type EndpointReport,
  FetchChunksSchema,
  HelloSchema,
  NackSchema,
  type SubscribeResponse,
} from "../wire/proto/index.ts";
import { backoffMs } from "./backoff.ts";
import { ControlLink } from "./control-link.ts";
import {
  type ControlLog,
  type Installer,
  LONGEST_TIMER_MS,
  type NamedProblem,
  refusedBy,
  SnapshotKeeper,
  type TakeOutcome,
} from "./control-snapshot.ts";
import type { ControlStore, Enrolled } from "./control-store.ts";

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
  readonly log: ControlLog;
  readonly software: string;
  /** A stream has begun. */
  readonly opened?: () => void;
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

const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;

/** An offer whose chunks are on their way. */
interface Offer {
  readonly jws: Uint8Array;
  readonly verified: VerifiedManifest;
  readonly chunks: Map<string, Uint8Array>;
  readonly awaited: Set<string>;
}

type Numbered = { readonly epoch: number; readonly version: number };

export class ControlClient {
  readonly #options: ControlOptions;
  readonly #keeper: SnapshotKeeper;
  #enrolled: Enrolled | undefined;
  #link: ControlLink | undefined;
  /** When the stream in use was opened, by `performance.now()`. */
  #openedMs: number | undefined;
  #offer: Offer | undefined;
  #work: Promise<void> = Promise.resolve();
  #attempt = 0;
  #stopped = false;
  /** What the state directory holds is another mesh's. */
  #startsOver = false;
  #lastError: string | undefined;
  #refused: ControlStatus["refused"];
  #retryTimer: NodeJS.Timeout | undefined;
  #rolloutTimer: NodeJS.Timeout | undefined;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#keeper = new SnapshotKeeper(options);
  }

  /** Serves what the disk holds, then follows. @throws Error when there is neither an enrolment nor a join token. */
  async start(): Promise<void> {
    await this.restore();
    this.follow();
  }

  /**
   * Serves what the disk holds, and writes nothing there. Asked again, it takes what has come to the disk since.
   *
   * @throws Error when there is neither an enrolment nor a join token.
   */
  async restore(): Promise<void> {
    const enrolled = await this.#recall();
    if (enrolled === undefined && this.#options.joinToken === undefined) {
      throw new Error(
        "this gateway is not enrolled: give it a join token with --join-token-file (make one with: tidegate keys join-token --pool <pool>)",
      );
    }
    if (enrolled !== undefined && (await this.#keeper.restore(enrolled))) this.#enrolled = enrolled;
  }

  /** Connects and stays connected. */
  follow(): void {
    void this.#connect();
  }

  /** Tells how endpoints are. False: there is no stream. */
  report(report: EndpointReport): boolean {
    if (this.#openedMs === undefined || this.#link === undefined) return false;
    this.#link.send({ case: "endpoints", value: report });
    return true;
  }

  /** Stops following; what is in force stays. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#rolloutTimer);
    this.#keeper.stop();
    this.#link?.close();
    await this.#work;
    await this.#options.store.settled();
    // What was still being worked on may have begun to watch over its age.
    this.#keeper.stop();
  }

  status(): ControlStatus {
    const { held, sinceMs, age } = this.#keeper;
    return {
      connected: this.#openedMs !== undefined,
      gatewayId: this.#options.gatewayId,
      pool: this.#enrolled?.pool,
      version: held && snapshotVersion(held.manifest),
      sinceMs,
      age,
      lastError: this.#lastError,
      refused: this.#refused,
    };
  }

  // ── enrolment and connection ───────────────────────────────────────────────

  /** Who this gateway is, unless its join token speaks of another mesh: then it starts over. @throws Error when the state directory is another pool's. */
  async #recall(): Promise<Enrolled | undefined> {
    const { store, joinToken, log } = this.#options;
    const enrolled = await store.enrolled();
    if (enrolled === undefined) return undefined;
    if ("damaged" in enrolled) {
      log("error", "who this gateway is cannot be read; it has to enrol again with a join token", { file: enrolled.damaged });
      return undefined;
    }
    if (joinToken === undefined) return enrolled;
    if (enrolled.rootHash !== joinToken.rootHash) {
      log("warn", "the join token pins another trust root than this gateway's state: starting over", {
        gateway: enrolled.gatewayId,
      });
      this.#startsOver = true;
      return undefined;
    }
    if (enrolled.pool !== joinToken.pool) {
      throw new Error(
        `the state directory belongs to a gateway of pool ${enrolled.pool}, the join token is for pool ${joinToken.pool}: give another directory with --state, or a token for pool ${enrolled.pool}`,
      );
    }
    return { ...enrolled, ca: joinToken.ca };
  }

  async #connect(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#startsOver) await this.#options.store.reset();
      this.#startsOver = false;
      this.#enrolled ??= await this.#enrol();
      if (this.#stopped) return;
      const { ca, credential, gatewayId } = this.#enrolled;
      const link = new ControlLink(this.#options.address, ca);
      this.#link = link;
      link.subscribe(credential, {
        opened: () => this.#opened(link),
        received: (message) => this.#enqueue(async () => (this.#link === link ? await this.#handle(message) : undefined)),
        closed: (reason, unauthenticated) => this.#closed(link, reason, unauthenticated),
      });
      this.#greet(link, gatewayId);
    } catch (error) {
      this.#retry(error instanceof Error ? error.message : String(error));
    }
  }

  /** Parts of the snapshot in force are not in force any more, or are again: the control plane is told like after a new one. */
  problemsChanged(problems: readonly NamedProblem[]): void {
    const held = this.#keeper.problemsChanged(problems);
    if (held === undefined) return;
    if (problems.length > 0) this.#nack(held.manifest, "partly", problems, true);
    else this.#link?.send({ case: "ack", value: create(AckSchema, { snapshot: refOf(held.manifest) }) });
  }

  #greet(link: ControlLink, gatewayId: string): void {
    const { held, rootVersion, problems } = this.#keeper;
    const { software } = this.#options;
    const hello = { gatewayId, rootVersion, readerVersion: READER_VERSION, software };
    link.send({ case: "hello", value: create(HelloSchema, { ...hello, ...(held && { held: refOf(held.manifest) }) }) });
    if (held !== undefined && problems.length > 0) this.#answer(held.manifest, { kind: "in-force", problems });
  }

  async #enrol(): Promise<Enrolled> {
    const { joinToken, gatewayId, address, software, store, log } = this.#options;
    if (joinToken === undefined) throw new Error("not enrolled, and no join token");
    const link = new ControlLink(address, joinToken.ca);
    try {
      const answer = await link.enrol({ gatewayId, tokenId: joinToken.id, tokenSecret: joinToken.secret, software });
      const { trustRoots, pool, credential } = answer;
      const root = await followRoots(joinToken.rootHash, trustRoots, Math.floor(this.#options.unixMs() / 1000));
      if (!root.ok)
        throw new Error(`the control plane's trust root is not the one that the join token pins: ${root.error.detail}`);
      const { rootHash, ca, floor } = joinToken;
      const enrolled: Enrolled = { gatewayId, pool, credential, rootHash, ca, floor };
      await this.#keeper.trust(enrolled, root.value, trustRoots);
      await store.saveEnrolled(enrolled);
      log("info", "enrolled", { gateway: gatewayId, pool });
      return enrolled;
    } finally {
      link.close();
    }
  }

  #opened(link: ControlLink): void {
    if (this.#link !== link) return;
    this.#openedMs = performance.now();
    this.#lastError = undefined;
    this.#options.opened?.();
  }

  #closed(link: ControlLink, reason: string, unauthenticated: boolean): void {
    if (this.#link !== link) return;
    link.close();
    this.#link = undefined;
    this.#offer = undefined;
    // A stream that is cut again and again (another gateway with this one's state) does not start over with the short wait.
    if (this.#openedMs !== undefined && performance.now() - this.#openedMs > BACKOFF_MAX_MS) this.#attempt = 0;
    this.#openedMs = undefined;
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

  // ── what the control plane says ────────────────────────────────────────────

  /** One thing at a time, in order: an offer is worked through before the next message is looked at. */
  #enqueue(run: () => Promise<void>): void {
    this.#work = this.#work.then(run).catch((error: unknown) => {
      this.#options.log("error", "a message of the control plane could not be worked on", { reason: String(error) });
    });
  }

  async #handle(message: SubscribeResponse["message"]): Promise<void> {
    switch (message.case) {
      case "trustRoot":
        return await this.#keeper.follow(message.value.document);
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

  async #offered(jws: Uint8Array): Promise<void> {
    clearTimeout(this.#rolloutTimer);
    this.#offer = undefined;
    const verified = await this.#keeper.verify(jws);
    if (!verified.ok) return this.#answer(undefined, refusedBy(verified.error));
    const awaited = new Set(this.#keeper.missing(verified.value));
    const offer: Offer = { jws, verified: verified.value, chunks: new Map(), awaited };
    if (offer.awaited.size === 0) return await this.#complete(offer);
    this.#offer = offer;
    const snapshot = refOf(verified.value.manifest);
    this.#link?.send({ case: "fetch", value: create(FetchChunksSchema, { snapshot, hashes: [...offer.awaited] }) });
  }

  async #chunk(hash: string, content: Uint8Array): Promise<void> {
    const offer = this.#offer;
    if (offer === undefined || !offer.awaited.delete(hash)) return;
    offer.chunks.set(hash, content);
    if (offer.awaited.size > 0) return;
    this.#offer = undefined;
    await this.#complete(offer);
  }

  async #complete(offer: Offer): Promise<void> {
    const { manifest } = offer.verified;
    // Before it is judged: a rollout may begin meanwhile.
    const askedMs = this.#options.unixMs();
    const outcome = await this.#keeper.take(offer.jws, offer.verified, offer.chunks);
    if (outcome.kind === "deferred") this.#defer(offer, outcome.notBeforeS, askedMs);
    else this.#answer(manifest, outcome);
  }

  /** The rollout has not reached this gateway: look again when it begins, unless something newer came. A share that grows comes with a manifest of its own. */
  #defer(offer: Offer, notBeforeS: number, askedMs: number): void {
    const { epoch, version } = offer.verified.manifest;
    this.#options.log("info", "snapshot waits for its rollout", { version: `${epoch}.${version}`, notBeforeS });
    if (askedMs >= notBeforeS * 1000) return;
    const waitMs = Math.max(1, notBeforeS * 1000 - this.#options.unixMs());
    this.#rolloutTimer = setTimeout(() => this.#enqueue(() => this.#complete(offer)), Math.min(LONGEST_TIMER_MS, waitMs));
    this.#rolloutTimer.unref();
  }

  // ── what the gateway answers ───────────────────────────────────────────────

  /** @param manifest undefined: it could not even be read. */
  #answer(manifest: Numbered | undefined, outcome: Exclude<TakeOutcome, { kind: "deferred" }>): void {
    const { log } = this.#options;
    const version = manifest === undefined ? "unknown" : snapshotVersion(manifest);
    if (outcome.kind === "refused") {
      const { code, detail, problems } = outcome;
      this.#refused = { version, code, detail };
      this.#nack(manifest, code, problems, false);
      log("error", "snapshot refused; what is in force stays", { version, code, reason: detail });
      return;
    }
    this.#refused = undefined;
    if (outcome.problems.length > 0) this.#nack(manifest, "partly", outcome.problems, true);
    else if (manifest) this.#link?.send({ case: "ack", value: create(AckSchema, { snapshot: refOf(manifest) }) });
    log("info", "snapshot in force", { version, problems: outcome.problems });
  }

  #nack(manifest: Numbered | undefined, code: string, problems: readonly NamedProblem[], partlyInForce: boolean): void {
    const told = problems.map(({ name, reason }) => ({ name, reason }));
    const snapshot = manifest && { snapshot: refOf(manifest) };
    this.#link?.send({ case: "nack", value: create(NackSchema, { ...snapshot, code, problems: told, partlyInForce }) });
  }
}

function refOf({ epoch, version }: Numbered): { epoch: bigint; version: bigint } {
  return { epoch: BigInt(epoch), version: BigInt(version) };
}
