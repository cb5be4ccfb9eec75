/**
 * The bank of charges some of which are paid out of leases: all of them, local and leased, or none.
 *
 * What can be decided at once is decided at once. Otherwise local limits are charged first, so that what they refuse asks nobody, the request waits for
 * its leases up to a deadline, and what was charged is given back if they do not come. A bank that is not there answers `storeFailed`.
 */
import type { LocalBank, QuotaAnswer, QuotaBank, QuotaCharge } from "../ports.ts";
import { type Charge, Tally } from "./decide.ts";
import type { LeaseBreaker } from "./lease-breaker.ts";
import type { LeaseHolder, Standing } from "./lease-holder.ts";
import type { DueAsk } from "./lease-holding.ts";
import { type LeaseAnswer, MAX_BATCH_ASKS } from "./lease-messages.ts";

/** Longest that a request waits for a lease, unless told otherwise. */
export const DEFAULT_BANK_DEADLINE_MS = 50;
/** How long a request waits before it looks again whether another one's ask was answered. */
const LOOK_AGAIN_MS = 3;

/** The way to the banks, for one thread or, where nothing may outlive a request, for one request. */
export interface LeaseLink {
  /** Brings asks to their banks and their answers back; rejects when that fails. */
  carry(holder: string, asks: readonly DueAsk[]): Promise<readonly LeaseAnswer[]>;
  /** Work that goes on while nobody waits for it. It never rejects. */
  background(work: Promise<void>): void;
  pause(ms: number): Promise<void>;
}

export interface LeasedBankOptions {
  readonly holder: LeaseHolder;
  readonly breaker: LeaseBreaker;
  readonly local: LocalBank;
  /** Undefined: there is no bank, for now. */
  readonly link?: LeaseLink | undefined;
  readonly deadlineMs: number;
  /** The clock of `take` and `settle`. */
  readonly nowUs: () => number;
}

export class LeasedBank implements QuotaBank {
  /** Undefined: there is no bank, for now. */
  link: LeaseLink | undefined;
  readonly #options: LeasedBankOptions;
  readonly #answer = new Tally();
  readonly #standings: Standing[] = [];

  constructor(options: LeasedBankOptions) {
    this.#options = options;
    this.link = options.link;
  }

  /** The answer is reused unless it is a promise's: read it before the next call. */
  take(charges: readonly QuotaCharge[], nowUs: number): QuotaAnswer | Promise<QuotaAnswer> {
    const all = charges as readonly Charge[];
    const verdict = this.#stand(all, nowUs, this.#answer);
    const locals = verdict === "refused" ? [] : all.filter(isLocal);
    const local = locals.length === 0 ? undefined : this.#options.local.take(locals, nowUs);
    if (local !== undefined && !local.admitted) return this.#refusedHere(all, locals, local);
    if (verdict === "ready") return this.#admit(all, local, nowUs, this.#answer);
    if (verdict === "refused") return this.#answer;
    // The local bank writes its next answer over this one.
    const taken = local === undefined ? undefined : { ...local, remaining: [...local.remaining], resetMs: [...local.resetMs] };
    return this.#wait(all, { locals, local: taken }, nowUs, this.#request(all, nowUs));
  }

  settle(charges: readonly QuotaCharge[], nowUs: number): void {
    const all = charges as readonly Charge[];
    const locals = all.filter(isLocal);
    if (locals.length > 0) this.#options.local.settle(locals, nowUs);
    for (const { limit, key, cost, takenUs } of all) {
      if (limit.leasing !== undefined) this.#options.holder.correct(limit, key, cost, takenUs, nowUs);
    }
  }

  /** Gives back what nobody uses. Now and then. */
  sweep(nowUs: number): void {
    this.#options.holder.sweep(nowUs);
    this.#flush(nowUs);
  }

  /** Where the leased charges stand; `answer` says why if one of them is refused. */
  #stand(charges: readonly Charge[], nowUs: number, answer: Tally): "ready" | "wait" | "refused" {
    const { holder } = this.#options;
    const { link } = this;
    let outcome: "ready" | "wait" = "ready";
    answer.admitted = true;
    answer.refusedBy = -1;
    answer.storeFailed = false;
    answer.retryAfterMs = 0;
    for (let i = 0; i < charges.length; i++) {
      const { limit, key, cost } = charges[i] as Charge;
      if (limit.leasing === undefined) continue;
      const standing: Standing =
        link === undefined ? { kind: "failed", retryUs: NO_BANK_RETRY_US } : holder.check(limit, key, cost, nowUs);
      if (standing.kind === "wait") outcome = "wait";
      this.#standings[i] = standing;
      if (standing.kind !== "denied" || (answer.refusedBy !== -1 && standing.retryUs / 1000 <= answer.retryAfterMs)) continue;
      answer.admitted = false;
      answer.refusedBy = i;
      answer.retryAfterMs = standing.retryUs / 1000;
    }
    if (!answer.admitted) {
      this.#describe(charges, undefined, nowUs, answer);
      return "refused";
    }
    for (let i = 0; i < charges.length; i++) {
      const standing = (charges[i] as Charge).limit.leasing === undefined ? undefined : this.#standings[i];
      if (standing?.kind !== "failed") continue;
      answer.fail(i, standing.retryUs / 1000);
      return "refused";
    }
    return outcome;
  }

  #admit(charges: readonly Charge[], local: QuotaAnswer | undefined, nowUs: number, answer: Tally): Tally {
    for (const { limit, key, cost } of charges) {
      if (limit.leasing !== undefined) this.#options.holder.spend(limit, key, cost, nowUs);
    }
    this.#describe(charges, local, nowUs, answer);
    this.#flush(nowUs);
    return answer;
  }

  /** What is left of leased limits is told as what is held here: others may take the rest, so no more is certain. */
  #describe(charges: readonly Charge[], local: QuotaAnswer | undefined, nowUs: number, answer: Tally): void {
    let at = 0;
    for (let i = 0; i < charges.length; i++) {
      const { limit, key } = charges[i] as Charge;
      const isHere = limit.leasing === undefined;
      answer.remaining[i] = isHere ? (local?.remaining[at] ?? 0) : this.#options.holder.left(limit, key);
      answer.resetMs[i] = isHere ? (local?.resetMs[at] ?? 0) : this.#options.holder.moreUs(limit, key, nowUs) / 1000;
      if (isHere) at++;
    }
  }

  #refusedHere(charges: readonly Charge[], locals: readonly Charge[], local: QuotaAnswer): Tally {
    const answer = this.#answer;
    answer.admitted = false;
    answer.storeFailed = local.storeFailed;
    answer.retryAfterMs = local.retryAfterMs;
    answer.refusedBy = charges.indexOf(locals[local.refusedBy] as Charge);
    return answer;
  }

  /** Asks for the leases that are waited for. */
  #request(charges: readonly Charge[], nowUs: number): Promise<void> | undefined {
    for (let i = 0; i < charges.length; i++) {
      const { limit, key, cost } = charges[i] as Charge;
      if (limit.leasing !== undefined && this.#standings[i]?.kind === "wait") this.#options.holder.want(limit, key, cost, nowUs);
    }
    return this.#flush(nowUs);
  }

  /** Sends what is due; undefined: nothing was. */
  #flush(nowUs: number): Promise<void> | undefined {
    const { holder } = this.#options;
    const { link } = this;
    let work: Promise<void> | undefined;
    while (link !== undefined && holder.hasDue) {
      const asks = holder.takeAsks(nowUs, MAX_BATCH_ASKS);
      const carried = this.#carry(link, asks, nowUs);
      link.background(carried);
      work = work === undefined ? carried : Promise.all([work, carried]).then(() => undefined);
    }
    return work;
  }

  async #carry(link: LeaseLink, asks: readonly DueAsk[], sentUs: number): Promise<void> {
    const { holder, breaker, nowUs } = this.#options;
    if (!breaker.admits(sentUs)) {
      holder.failed(asks, sentUs);
      return;
    }
    // Why it failed is the link's to tell; what that means is each rule's.
    const answers = await link.carry(holder.id, asks).catch(() => undefined);
    if (answers === undefined) breaker.failed(nowUs());
    else {
      breaker.succeeded();
      holder.answered(answers, sentUs, nowUs());
    }
    holder.failed(asks, nowUs());
  }

  async #wait(charges: readonly Charge[], taken: TakenHere, fromUs: number, carried: Promise<void> | undefined): Promise<Tally> {
    const { holder, deadlineMs, nowUs, local } = this.#options;
    const { link } = this;
    const answer = new Tally();
    for (const { limit, key, cost } of charges) if (limit.leasing !== undefined) holder.waiting(limit, key, cost);
    let own = carried;
    let atUs = fromUs;
    let verdict: "ready" | "wait" | "refused" = "wait";
    while (verdict === "wait" && atUs < fromUs + deadlineMs * 1000 && link !== undefined) {
      const leftMs = (fromUs - atUs) / 1000 + deadlineMs;
      await Promise.race([
        link.pause(own === undefined ? Math.min(LOOK_AGAIN_MS, leftMs) : leftMs),
        ...(own === undefined ? [] : [own]),
      ]);
      atUs = Math.max(atUs, nowUs());
      verdict = this.#stand(charges, atUs, answer);
      if (verdict === "wait") own = this.#request(charges, atUs);
    }
    for (const { limit, key, cost } of charges) if (limit.leasing !== undefined) holder.waiting(limit, key, -cost);
    if (verdict === "ready") return this.#admit(charges, taken.local, atUs, answer);
    if (taken.locals.length > 0) local.settle(taken.locals, atUs);
    if (verdict === "refused") return answer;
    const index = charges.findIndex((charge, i) => charge.limit.leasing !== undefined && this.#standings[i]?.kind === "wait");
    const late = charges[index] as Charge;
    holder.late(late.limit, late.key);
    return answer.fail(index, LATE_RETRY_MS);
  }
}

/** What a request that waits has been charged meanwhile. */
interface TakenHere {
  readonly locals: readonly Charge[];
  readonly local: QuotaAnswer | undefined;
}

const NO_BANK_RETRY_US = 1_000_000;
const LATE_RETRY_MS = 1000;

function isLocal(charge: Charge): boolean {
  return charge.limit.leasing === undefined;
}
