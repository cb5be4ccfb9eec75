/**
 * The holder's side of leases: what one process (on Node one thread, at the edge one isolate) may spend by itself, and when to ask for more.
 *
 *     nothing held ──ask──► asked ──granted──► held ──a fifth is left──► held and asked
 *                             │                 └──expired, or idle──► ended: told to the bank with what was left
 *                             └──no room──► denied until it may have changed
 *
 * Spending is synchronous and never more than what was granted; a lease's end is counted on the holder's own monotonic clock from the moment it was
 * asked for, which is before the bank counts it from. One ask at a time per key. No promise is kept here and nothing is sent: `takeAsks` tells
 * what to ask, `answered` and `failed` what became of it. A key with a lease, an ask or a debt is never forgotten to make room for another.
 */

import { isLeased, type LeasedCompiledLimit } from "./lease-bank.ts";
import { type Asked, type DueAsk, Holding } from "./lease-holding.ts";
import type { LeaseAnswer } from "./lease-messages.ts";
import type { CompiledLimit } from "./limit.ts";

/** Keys that a holder has leases of at once. */
export const MAX_HELD_KEYS = 65_536;
/** More is asked for in the background when this share of a lease is left, of its units (if that is a unit at all) or of its life. */
const REFILL_SHARE = 0.2;
/** A first lease holds so many requests like the one that asks for it, */
const FIRST_REQUESTS = 8;
/** but no more than this share of the limit. */
const FIRST_SHARE = 1 / 16;
/** More than what was spent at the pace so far, because pace changes. */
const HEADROOM = 1.25;
/** Clocks run apart by no more than this share, */
const CLOCK_DRIFT = 1 / 1000;
/** and the bank's tells whole milliseconds. */
const CLOCK_GRAIN_US = 1000;
/** An ask without an answer for this long is asked again, under its own id. */
const ASK_AGAIN_US = 2_000_000;
/** A bank that failed is asked for the same key again after this. */
const FAILED_US = 100_000;
/** A denial holds for a share of a lease's life: others may give units back before anything expires. */
const DENIED_SHARE = 1 / 4;
/** Keys looked at, to see whether they are idle, for each that is added. */
const SWEEP_STEP = 4;

export interface HolderOptions {
  /** Unique among all holders that ever ask. */
  readonly id: string;
  readonly maxKeys?: number;
  /** How far behind the truth the clock may be when it is read (one that stands still while code runs). */
  readonly clockLagUs?: number;
}

/** Whether a charge can be paid out of leases. */
export type Standing =
  | { readonly kind: "ready" }
  /** A lease is on its way. */
  | { readonly kind: "wait" }
  | { readonly kind: "denied"; readonly retryUs: number }
  /** The bank does not answer, or there is no room for the key here. */
  | { readonly kind: "failed"; readonly retryUs: number };

const READY: Standing = { kind: "ready" };
const WAIT: Standing = { kind: "wait" };

export interface HolderUsage {
  readonly keys: number;
  readonly leases: number;
  /** So far. */
  readonly asked: number;
  readonly denied: number;
  readonly failed: number;
  readonly returned: number;
}

export class LeaseHolder {
  readonly id: string;
  readonly #maxKeys: number;
  readonly #clockLagUs: number;
  readonly #holdings = new Map<string, Holding>();
  readonly #pending = new Map<string, Holding>();
  #due: Holding[] = [];
  #asks = 0;
  #hand: MapIterator<[string, Holding]> | undefined;
  readonly #count = { asked: 0, denied: 0, failed: 0, returned: 0 };

  constructor(options: HolderOptions) {
    this.id = options.id;
    this.#maxKeys = options.maxKeys ?? MAX_HELD_KEYS;
    this.#clockLagUs = options.clockLagUs ?? 0;
  }

  get usage(): HolderUsage {
    let leases = 0;
    for (const holding of this.#holdings.values()) leases += holding.leases.length;
    return { keys: this.#holdings.size, leases, ...this.#count };
  }

  /** Can `cost` be spent now? Spends nothing and asks for nothing. */
  check(limit: CompiledLimit, key: string, cost: number, nowUs: number): Standing {
    if (!isLeased(limit)) throw new TypeError(`${limit.rule} is not counted out of leases`);
    if (cost === 0) return READY;
    if (cost > limit.capacity) return { kind: "denied", retryUs: Number.POSITIVE_INFINITY };
    const holding = this.#holding(limit, key, nowUs);
    if (holding === undefined) return { kind: "failed", retryUs: FAILED_US };
    this.#dropExpired(holding, nowUs);
    holding.usedUs = nowUs;
    if (holding.debt === 0 && cost <= holding.left) return READY;
    const need = cost + holding.debt - holding.left;
    if (nowUs < holding.deniedUntilUs && need >= holding.deniedNeed)
      return { kind: "denied", retryUs: Math.max(1, holding.retryAtUs - nowUs) };
    if (nowUs < holding.failedUntilUs) return { kind: "failed", retryUs: holding.failedUntilUs - nowUs };
    const isLost = holding.asked !== undefined && nowUs - holding.asked.sentUs > ASK_AGAIN_US;
    return holding.isLate && !isLost ? { kind: "failed", retryUs: FAILED_US } : WAIT;
  }

  /** What `check` has said to wait for is asked for with the next `takeAsks`, unless it is under way. */
  want(limit: CompiledLimit, key: string, cost: number, nowUs: number): void {
    const holding = this.#holdings.get(nameOf(limit, key));
    if (holding === undefined) return;
    if (holding.asked !== undefined && nowUs - holding.asked.sentUs <= ASK_AGAIN_US) return;
    this.#demand(holding, cost + holding.debt - holding.left);
  }

  /** Spends what `check` has just called ready. */
  spend(limit: CompiledLimit, key: string, cost: number, nowUs: number): void {
    const holding = this.#holdings.get(nameOf(limit, key));
    if (holding === undefined || cost === 0) return;
    holding.spend(cost);
    if (holding.leases[0]?.left === 0) this.#dropExpired(holding, nowUs);
    const isLow = (holding.left <= holding.refillAt && holding.refillAt > 0) || nowUs >= holding.refillUs;
    if (isLow && holding.asked === undefined && nowUs >= holding.deniedUntilUs && nowUs >= holding.failedUntilUs)
      this.#demand(holding, 0);
  }

  /** Corrects what was spent: gives `units` back, or charges what is below zero, held or not. Whatever has expired since gives nothing back. */
  correct(limit: CompiledLimit, key: string, units: number, takenUs: number, nowUs: number): void {
    const holding = this.#holdings.get(nameOf(limit, key));
    if (holding === undefined) return;
    this.#dropExpired(holding, nowUs);
    if (units < 0) {
      const part = Math.min(-units, holding.left);
      this.spend(limit, key, part, nowUs);
      holding.debt += -units - part;
      return;
    }
    holding.refund(units, takenUs);
  }

  /** Units held of a key: so many are certain to be admitted. */
  left(limit: CompiledLimit, key: string): number {
    const holding = this.#holdings.get(nameOf(limit, key));
    return holding === undefined ? 0 : Math.max(0, holding.left - holding.debt);
  }

  /** Microseconds until more than now can be had, as far as the bank has said. */
  moreUs(limit: CompiledLimit, key: string, nowUs: number): number {
    return Math.max(0, (this.#holdings.get(nameOf(limit, key))?.moreAtUs ?? 0) - nowUs);
  }

  /** A request begins to wait for a lease (`cost` above 0), or has ended waiting (below). */
  waiting(limit: CompiledLimit, key: string, cost: number): void {
    const holding = this.#holdings.get(nameOf(limit, key));
    if (holding !== undefined) holding.waiting = Math.max(0, holding.waiting + cost);
  }

  /** A request has waited in vain: those that follow do not wait until the bank has answered. */
  late(limit: CompiledLimit, key: string): void {
    const holding = this.#holdings.get(nameOf(limit, key));
    if (holding?.asked !== undefined) holding.isLate = true;
  }

  get hasDue(): boolean {
    return this.#due.length > 0;
  }

  /** What to ask the bank now: at most `max`, and each is under way from now on. */
  takeAsks(nowUs: number, max: number): readonly DueAsk[] {
    const taken = this.#due.splice(0, max);
    return taken.map((holding) => this.#ask(holding, nowUs));
  }

  /** The answers to asks that were carried at `sentUs`. What is not under way any more is ignored. */
  answered(answers: readonly LeaseAnswer[], sentUs: number, nowUs: number): void {
    for (const answer of answers) {
      const holding = this.#pending.get(answer.id);
      const asked = holding?.asked;
      if (holding === undefined || asked === undefined) continue;
      this.#pending.delete(answer.id);
      if (answer.problem !== undefined) {
        this.#count.failed++;
        this.#unanswered(holding, asked, nowUs);
        continue;
      }
      this.#settled(holding, asked);
      this.#grant(holding, asked.ask, answer, sentUs, nowUs);
    }
  }

  /** Asks that were not answered, and may have been granted or not. */
  failed(asks: readonly DueAsk[], nowUs: number): void {
    for (const { id } of asks) {
      const holding = this.#pending.get(id);
      if (holding?.asked === undefined) continue;
      this.#pending.delete(id);
      this.#count.failed++;
      this.#unanswered(holding, holding.asked, nowUs);
    }
  }

  /** Ends leases that nobody has used for half their life, and forgets keys of which nothing is held. */
  sweep(nowUs: number): void {
    for (const [name, holding] of this.#holdings) this.#sweepOne(name, holding, nowUs);
  }

  #sweepOne(name: string, holding: Holding, nowUs: number): void {
    this.#dropExpired(holding, nowUs);
    const { asked } = holding;
    // Whoever carried it is gone.
    if (asked !== undefined && nowUs - asked.sentUs > ASK_AGAIN_US) this.failed([asked.ask], nowUs);
    const isIdle = holding.isIdle(nowUs);
    if (isIdle && holding.asked === undefined && holding.waiting === 0) this.#count.returned += holding.endAll(nowUs);
    if (holding.leases.length > 0 || holding.asked !== undefined || holding.waiting > 0) return;
    if (nowUs < holding.failedUntilUs) return;
    holding.forgetOld(nowUs);
    if (holding.debt > 0 || holding.ended.some(({ unused }) => unused > 0)) this.#demand(holding, 0);
    else if (isIdle && !holding.isDue && nowUs >= holding.deniedUntilUs) this.#holdings.delete(name);
  }

  #holding(limit: LeasedCompiledLimit, key: string, nowUs: number): Holding | undefined {
    const name = nameOf(limit, key);
    const known = this.#holdings.get(name);
    if (known !== undefined) {
      known.limit = limit;
      return known;
    }
    this.#sweepSome(SWEEP_STEP, nowUs);
    if (this.#holdings.size >= this.#maxKeys) return undefined;
    const holding = new Holding(limit, key, nowUs);
    this.#holdings.set(name, holding);
    return holding;
  }

  #sweepSome(steps: number, nowUs: number): void {
    for (let i = 0; i < steps; i++) {
      this.#hand ??= this.#holdings.entries();
      const next = this.#hand.next();
      if (next.done) this.#hand = undefined;
      else this.#sweepOne(next.value[0], next.value[1], nowUs);
    }
  }

  #dropExpired(holding: Holding, nowUs: number): void {
    this.#count.returned += holding.dropExpired(nowUs, this.#clockLagUs);
  }

  #demand(holding: Holding, need: number): void {
    if (holding.isDue) {
      holding.dueNeed = Math.max(holding.dueNeed, need);
      return;
    }
    holding.isDue = true;
    holding.dueNeed = need;
    this.#due.push(holding);
  }

  #ask(holding: Holding, nowUs: number): DueAsk {
    holding.isDue = false;
    this.#count.asked++;
    const again = holding.asked ?? holding.unanswered;
    const isFresh = again === undefined || nowUs - again.sentUs > holding.leaseUs + ASK_AGAIN_US;
    const ask = isFresh ? this.#newAsk(holding, nowUs) : again.ask;
    if (holding.asked !== undefined) this.#pending.delete(holding.asked.ask.id);
    holding.unanswered = undefined;
    holding.asked = { ask, sentUs: nowUs };
    holding.isLate = false;
    this.#pending.set(ask.id, holding);
    return ask;
  }

  #newAsk(holding: Holding, nowUs: number): DueAsk {
    const { limit, key, debt } = holding;
    this.#asks++;
    const id = `${this.id}.${this.#asks}`;
    const need = Math.max(0, holding.dueNeed - debt);
    const isForNobody = need === 0 && holding.isIdle(nowUs);
    const wanted = Math.max(need, holding.waiting, isForNobody ? 0 : this.#wanted(holding, need, nowUs));
    return { id, limit, key, need, wanted, debt, ended: holding.ended.map(({ id, unused }) => ({ id, unused })) };
  }

  /** What a lease's life takes at the pace so far. */
  #wanted(holding: Holding, need: number, nowUs: number): number {
    const { limit, spent } = holding;
    const one = Math.max(1, need);
    const first = one * Math.max(1, Math.min(FIRST_REQUESTS, Math.floor((limit.capacity * FIRST_SHARE) / one)));
    const elapsedUs = Math.max(1000, nowUs - holding.spentSinceUs);
    const paced = Math.ceil((spent * holding.leaseUs * HEADROOM) / elapsedUs);
    return Math.min(limit.capacity, Math.max(first, paced));
  }

  /** The bank has it: debt is paid, ends are known. */
  #settled(holding: Holding, { ask }: Asked): void {
    holding.asked = undefined;
    holding.isLate = false;
    holding.debt -= ask.debt;
    const told = new Set(ask.ended.map(({ id }) => id));
    holding.ended = holding.ended.filter(({ id }) => !told.has(id));
  }

  #grant(holding: Holding, ask: DueAsk, answer: LeaseAnswer, sentUs: number, nowUs: number): void {
    const untilUs = sentUs + Math.floor(answer.forMs * 1000 * (1 - CLOCK_DRIFT)) - CLOCK_GRAIN_US;
    holding.moreAtUs = nowUs + answer.moreMs * 1000;
    if (answer.granted === 0) {
      if (ask.need === 0 && ask.wanted === 0) return;
      this.#count.denied++;
      holding.deniedNeed = Math.max(1, ask.need);
      holding.retryAtUs = nowUs + answer.retryMs * 1000;
      holding.deniedUntilUs = Math.min(holding.retryAtUs, nowUs + holding.leaseUs * DENIED_SHARE);
      return;
    }
    holding.deniedUntilUs = 0;
    holding.spent = 0;
    holding.spentSinceUs = nowUs;
    this.#dropExpired(holding, nowUs);
    const unused = holding.add({ id: answer.id, left: answer.granted, untilUs }, nowUs, this.#clockLagUs);
    this.#count.returned += unused;
    if (unused > 0) return;
    holding.refillAt = Math.floor(answer.granted * REFILL_SHARE);
    holding.refillUs = untilUs - Math.floor((untilUs - sentUs) * REFILL_SHARE);
    const paid = Math.min(holding.debt, holding.left);
    holding.debt -= paid;
    this.spend(holding.limit, holding.key, paid, nowUs);
  }

  #unanswered(holding: Holding, asked: Asked, nowUs: number): void {
    holding.asked = undefined;
    holding.isLate = false;
    holding.unanswered = asked;
    holding.failedUntilUs = nowUs + FAILED_US;
  }
}

function nameOf(limit: CompiledLimit, key: string): string {
  return `${limit.counterId}|${key}`;
}
