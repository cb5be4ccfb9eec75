/**
 * What the requests of one isolate are held against, and when its relay is asked for something newer.
 *
 *     no tables ──► the request fetches for itself ──► in force
 *     in force, asked within the soft TTL    ──► answer at once
 *               older than that              ──► answer at once, ask under `waitUntil`
 *               older than the hard TTL      ──► ask first; no answer: the sections' ages and fail modes decide
 *
 * Besides, one `watch` is kept open under `waitUntil`, so that a change arrives without anybody asking. A relay that fails or says nothing of use is left
 * alone for a while, and what is in force stays.
 *
 * On Workers a promise or an I/O object must not cross requests: what requests share here are tables, numbers, and flags with a time at which they lapse,
 * because a request may be cut off at any wait and then clears nothing up.
 */
import type { Clock, EgressTables, Random, Tables } from "../core/index.ts";
import { type ClosedSections, closedSections, type SnapshotAge, sectionState } from "../core/ir/index.ts";
import { MAX_WATCH_MS, type RelayAnswer, type RelayRpc } from "./relay-rpc.ts";
import type { WaitingContext } from "./request-context.ts";
import { type HeldTables, type KeeperOptions, SnapshotKeeper } from "./snapshot-keeper.ts";

export interface IsolateOptions extends KeeperOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Calls back after `delayMs`, for the request that asks; the answer calls it off. */
  readonly arm: ArmTimer;
  readonly log: EdgeLog;
}

export type ArmTimer = (delayMs: number, run: () => void) => () => void;
export type EdgeLog = (level: "info" | "warn" | "error", message: string, fields: Readonly<Record<string, unknown>>) => void;

/** All that a request is held against; swapped as one. */
export interface InForce {
  readonly version: string;
  /** Closed (`tables.closed`) when the routes section is. */
  readonly tables: Tables;
  readonly egress: EgressTables;
  readonly closed: ClosedSections;
  readonly age: SnapshotAge;
}

export interface IsolateStatus {
  readonly version: string | undefined;
  /** Since the relay last answered; undefined: it has not yet. */
  readonly askedMsAgo: number | undefined;
  readonly age: SnapshotAge | undefined;
  /** What was refused last, unless something newer is in force since. */
  readonly refused: RefusedOffer | undefined;
}

export interface RefusedOffer {
  readonly version: string;
  readonly code: string;
  readonly detail: string;
}

/** Older answers of the relay are renewed in the background. */
export const SOFT_TTL_MS = 2_000;
/** Older answers are renewed before anything is held against them. */
export const HARD_TTL_MS = 10_000;
/** Longest that asking may take, chunks included. */
export const MAX_ASK_MS = 5_000;
/** What was refused is not looked at again before. */
export const JUDGE_AGAIN_MS = 30_000;
/** Between the end of a watch and the next. */
const WATCH_GAP_MS = 100;
/** After something was refused. */
const REFUSED_GAP_MS = 2_000;
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;
/** How often a request looks whether another one that is asking has its answer. */
const LOOK_MS = 5;

export class Isolate {
  readonly #options: IsolateOptions;
  readonly #keeper: SnapshotKeeper;
  #inForce: InForce | undefined;
  /** What `#inForce` was made of. */
  #source: HeldTables | undefined;
  /** When a section's age changes next; monotonic, so that a request reads one clock. */
  #ageChangesMs = 0;
  #answeredMs = Number.NEGATIVE_INFINITY;
  #softMs = 0;
  /** Somebody is asking, until then at the latest. */
  #askingUntilMs = 0;
  /** A watch is open or must not be opened, until then at the latest. */
  #watchedUntilMs = 0;
  /** The relay is left alone until then. */
  #holdOffUntilMs = 0;
  #failures = 0;
  #refused: RefusedOffer | undefined;
  #judgeAgainMs = 0;

  constructor(options: IsolateOptions) {
    this.#options = options;
    this.#keeper = new SnapshotKeeper(options);
  }

  /**
   * What requests are held against now; undefined: there is no snapshot. A promise only when nothing usable is held.
   *
   * @param relay the request's own
   * @param waiting keeps the request's context alive until the promise has settled
   */
  inForce(relay: RelayRpc, waiting: WaitingContext): InForce | undefined | Promise<InForce | undefined> {
    const nowMs = this.#options.clock.now();
    const held = this.#aged(nowMs);
    if (nowMs < this.#holdOffUntilMs) return held;
    if (!this.#isFresh(nowMs)) return this.#renewed(relay, waiting);
    if (nowMs >= this.#softMs && nowMs >= this.#askingUntilMs) waiting.waitUntil(this.#ask(relay));
    this.#keepWatch(relay, waiting, nowMs);
    return held;
  }

  status(): IsolateStatus {
    const nowMs = this.#options.clock.now();
    const held = this.#aged(nowMs);
    const agoMs = nowMs - this.#answeredMs;
    return {
      version: held?.version,
      askedMsAgo: Number.isFinite(agoMs) ? agoMs : undefined,
      age: held?.age,
      refused: this.#refused,
    };
  }

  #isFresh(nowMs: number): boolean {
    return this.#keeper.current !== undefined && nowMs - this.#answeredMs < HARD_TTL_MS;
  }

  /** Asks, or waits by timers of its own for another request that is asking. */
  async #renewed(relay: RelayRpc, waiting: WaitingContext): Promise<InForce | undefined> {
    const { clock } = this.#options;
    for (let nowMs = clock.now(); !this.#isFresh(nowMs) && nowMs >= this.#holdOffUntilMs; nowMs = clock.now()) {
      if (nowMs < this.#askingUntilMs) await this.#pause(LOOK_MS);
      else await this.#ask(relay);
    }
    const nowMs = clock.now();
    this.#keepWatch(relay, waiting, nowMs);
    return this.#aged(nowMs);
  }

  #keepWatch(relay: RelayRpc, waiting: WaitingContext, nowMs: number): void {
    // To watch says to hold that version. What was refused is not held, and what is held would be answered at once: then asking has to do.
    if (this.#isRefusing(nowMs)) return;
    if (nowMs >= this.#watchedUntilMs && nowMs >= this.#holdOffUntilMs) waiting.waitUntil(this.#watch(relay));
  }

  async #ask(relay: RelayRpc): Promise<void> {
    const untilMs = this.#options.clock.now() + MAX_ASK_MS;
    this.#askingUntilMs = untilMs;
    await this.#round(relay, () => relay.current(this.#have()), MAX_ASK_MS);
    if (this.#askingUntilMs === untilMs) this.#askingUntilMs = 0;
  }

  async #watch(relay: RelayRpc): Promise<void> {
    const { clock } = this.#options;
    const longestMs = MAX_WATCH_MS + MAX_ASK_MS;
    const untilMs = clock.now() + longestMs;
    this.#watchedUntilMs = untilMs;
    const good = await this.#round(relay, () => relay.watch(this.#keeper.current?.version, MAX_WATCH_MS), longestMs);
    if (this.#watchedUntilMs === untilMs) this.#watchedUntilMs = clock.now() + (good ? WATCH_GAP_MS : REFUSED_GAP_MS);
  }

  /** One question and what follows from its answer. Never rejects. @returns false: no answer, or nothing good in it */
  async #round(relay: RelayRpc, question: () => Promise<RelayAnswer>, longestMs: number): Promise<boolean> {
    try {
      return await this.#within(longestMs, async () => this.#judge(await question(), relay));
    } catch (error) {
      this.#failed("the relay did not answer", error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  async #judge(answer: RelayAnswer, relay: RelayRpc): Promise<boolean> {
    if (answer.kind === "none") {
      this.#failed("the relay has no snapshot yet", "");
      return false;
    }
    if (answer.kind === "unchanged") return this.#answered(true);
    const { version } = answer;
    const before = this.#keeper.current;
    const outcome = await this.#keeper.take(answer, (hashes) => relay.chunks(hashes), this.#nowS());
    const { log, clock } = this.#options;
    if (outcome.kind === "in-force") {
      if (this.#keeper.current !== before) log("info", "snapshot in force", { version: this.#keeper.current?.version });
      this.#refused = undefined;
      return this.#answered(true);
    }
    const refused: RefusedOffer =
      outcome.kind === "refused"
        ? { version, code: outcome.code, detail: outcome.detail }
        : {
            version,
            code: "deferred",
            detail: `its rollout begins at ${outcome.notBeforeS} (Unix seconds) or with a later manifest`,
          };
    const again = this.#refused?.version === version && this.#refused.code === refused.code;
    if (!again) log(outcome.kind === "refused" ? "error" : "info", "snapshot not taken; what is in force stays", { ...refused });
    this.#refused = refused;
    this.#judgeAgainMs = clock.now() + JUDGE_AGAIN_MS;
    return this.#answered(false);
  }

  /** The version to ask for something newer than: what was refused is not sent again and again, but once in a while. */
  #have(): string | undefined {
    const refused = this.#isRefusing(this.#options.clock.now()) ? this.#refused?.version : undefined;
    return refused ?? this.#keeper.current?.version;
  }

  #isRefusing(nowMs: number): boolean {
    return this.#refused !== undefined && nowMs < this.#judgeAgainMs;
  }

  #answered(good: boolean): boolean {
    const { clock, random } = this.#options;
    if (this.#keeper.current === undefined) {
      this.#backOff();
      return false;
    }
    this.#failures = 0;
    this.#answeredMs = clock.now();
    // Isolates that began together do not stay together.
    this.#softMs = this.#answeredMs + SOFT_TTL_MS * (0.75 + random() / 4);
    return good;
  }

  #failed(message: string, reason: string): void {
    if (this.#failures === 0) this.#options.log("warn", message, { reason });
    this.#backOff();
  }

  #backOff(): void {
    const { clock, random } = this.#options;
    const wholeMs = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    this.#holdOffUntilMs = clock.now() + wholeMs / 2 + (wholeMs / 2) * random();
  }

  /** What is in force, by how old it is now. */
  #aged(nowMs: number): InForce | undefined {
    const source = this.#keeper.current;
    if (source === undefined) return undefined;
    if (this.#inForce !== undefined && this.#source === source && nowMs < this.#ageChangesMs) return this.#inForce;
    const unixMs = this.#options.clock.unixMs();
    const nowS = Math.floor(unixMs / 1000);
    const age = sectionState(source.held.manifest, nowS);
    const closed = closedSections(age);
    const { version, egress } = source;
    const tables = closed.routes === undefined ? source.tables : { ...source.tables, closed: closed.routes };
    for (const [section, state] of Object.entries(age.sections)) {
      if (state.kind !== "fresh") this.#options.log("warn", "a section of the snapshot is old", { version, section, ...state });
    }
    this.#source = source;
    this.#ageChangesMs = age.nextChangeS === undefined ? Number.POSITIVE_INFINITY : nowMs + age.nextChangeS * 1000 - unixMs;
    this.#inForce = { version, tables, egress, closed, age };
    return this.#inForce;
  }

  #nowS(): number {
    return Math.floor(this.#options.clock.unixMs() / 1000);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#options.arm(ms, resolve));
  }

  /** @throws Error when the work takes longer than `ms`; what it does then has no effect but a good one */
  async #within<T>(ms: number, work: () => Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#options.arm(ms, () => reject(new Error(`no answer within ${ms} ms`)));
    const working = work();
    // Whoever comes second is heard by nobody.
    working.catch(() => undefined);
    late.catch(() => undefined);
    try {
      return await Promise.race([working, late]);
    } finally {
      cancel();
    }
  }
}
