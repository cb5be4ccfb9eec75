/** What a holder has of one key: its leases, what it owes, what it has asked and what it was told. */
import type { LeasedCompiledLimit } from "./lease-bank.ts";
import { type EndedLease, type LeaseAsk, MAX_ENDED_LEASES } from "./lease-messages.ts";

/** An ask to carry to the bank that keeps its key. */
export interface DueAsk extends LeaseAsk {
  readonly limit: LeasedCompiledLimit;
}

export interface Asked {
  readonly ask: DueAsk;
  readonly sentUs: number;
}

interface Lease {
  readonly id: string;
  left: number;
  readonly untilUs: number;
}

interface Ended extends EndedLease {
  readonly endedUs: number;
}

export class Holding {
  limit: LeasedCompiledLimit;
  readonly key: string;
  /** By their end, soonest first. */
  readonly leases: Lease[] = [];
  /** Units of all leases. */
  left = 0;
  ended: Ended[] = [];
  debt = 0;
  asked: Asked | undefined;
  /** An ask that failed, to be repeated under its id: the bank may have granted it. */
  unanswered: Asked | undefined;
  isDue = false;
  dueNeed = 0;
  /** Cost of requests that wait for a lease. */
  waiting = 0;
  /** Somebody has waited for the ask in vain: nobody else does. */
  isLate = false;
  /** Units left, and the time, from which on more is asked for. */
  refillAt = 0;
  refillUs = Number.POSITIVE_INFINITY;
  /** Since the last lease came. */
  spent = 0;
  spentSinceUs: number;
  usedUs: number;
  deniedNeed = 0;
  deniedUntilUs = 0;
  /** When the bank has said that what was denied may fit, and that more than then is left. */
  retryAtUs = 0;
  moreAtUs = 0;
  failedUntilUs = 0;
  /** When a lease last came or went. */
  #changedUs = 0;

  constructor(limit: LeasedCompiledLimit, key: string, nowUs: number) {
    this.limit = limit;
    this.key = key;
    this.spentSinceUs = nowUs;
    this.usedUs = nowUs;
  }

  get leaseUs(): number {
    return this.limit.leasing.leaseMs * 1000;
  }

  /** Nobody has asked for half a lease's life. */
  isIdle(nowUs: number): boolean {
    return nowUs - this.usedUs > this.leaseUs / 2;
  }

  /** From the leases that end soonest. No more than is left. */
  spend(cost: number): void {
    this.spent += cost;
    this.left -= cost;
    let rest = cost;
    for (const lease of this.leases) {
      const part = Math.min(rest, lease.left);
      lease.left -= part;
      rest -= part;
      if (rest === 0) break;
    }
  }

  /** Only into the lease that paid it, which is the first one if none has come or gone since. */
  refund(units: number, takenUs: number): void {
    const lease = this.leases[0];
    if (lease === undefined || this.#changedUs >= takenUs) return;
    lease.left += units;
    this.left += units;
    this.spent = Math.max(0, this.spent - units);
  }

  /** @returns units that are unused because it came too late to be spent */
  add(lease: Lease, nowUs: number, clockLagUs: number): number {
    if (lease.untilUs <= nowUs + clockLagUs) return this.#end(lease, nowUs);
    this.leases.push(lease);
    this.leases.sort((a, b) => a.untilUs - b.untilUs);
    this.left += lease.left;
    this.#changedUs = nowUs;
    return 0;
  }

  /** Ends leases that are over or used up. @returns units that were not used */
  dropExpired(nowUs: number, clockLagUs: number): number {
    let unused = 0;
    for (let lease = this.leases[0]; lease !== undefined; lease = this.leases[0]) {
      if (lease.left > 0 && lease.untilUs > nowUs + clockLagUs) break;
      this.leases.shift();
      unused += this.#end(lease, nowUs);
      this.left -= lease.left;
    }
    return unused;
  }

  /** @returns units that were not used */
  endAll(nowUs: number): number {
    const unused = this.left;
    for (const lease of this.leases.splice(0)) this.#end(lease, nowUs);
    this.left = 0;
    return unused;
  }

  /** What the bank has settled by itself meanwhile, or would forget at once. */
  forgetOld(nowUs: number): void {
    this.ended = this.ended.filter(({ endedUs }) => nowUs - endedUs <= 2 * this.leaseUs);
    if (nowUs - this.usedUs > this.limit.windowMs * 1000) this.debt = 0;
  }

  #end({ id, left }: Lease, nowUs: number): number {
    this.#changedUs = nowUs;
    // What is not told expires by itself: the oldest has the least to give back.
    if (this.ended.length >= MAX_ENDED_LEASES) this.ended.shift();
    this.ended.push({ id, unused: left, endedUs: nowUs });
    return left;
  }
}
