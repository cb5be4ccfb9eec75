/** All charges of a request against their counters: every limit passes and all are charged, or none is. */
import type { QuotaAnswer, QuotaCharge } from "../ports.ts";
import { giveBack, type Moment, moreUs, room, take, waitUs } from "./counter.ts";
import type { CompiledLimit } from "./limit.ts";

/** A charge as this room makes it: the compiled limit is known for what it is. One is reused for request after request. */
export class Charge implements QuotaCharge {
  limit: CompiledLimit;
  key: string;
  cost: number;
  takenUs: number;

  constructor(limit: CompiledLimit, key: string, cost: number, takenUs: number) {
    this.limit = limit;
    this.key = key;
    this.cost = cost;
    this.takenUs = takenUs;
  }
}

/** A bank's answer, written over by the bank's next one: read it before asking again. */
export class Tally implements QuotaAnswer {
  admitted = true;
  readonly remaining: number[] = [];
  readonly resetMs: number[] = [];
  retryAfterMs = 0;
  refusedBy = -1;
  storeFailed = false;

  /** The bank has no room for the counter of charge `index`, or cannot say; some comes free in `retryAfterMs`. */
  fail(index: number, retryAfterMs: number): this {
    this.admitted = false;
    this.refusedBy = index;
    this.retryAfterMs = retryAfterMs;
    this.storeFailed = true;
    return this;
  }
}

/** Where the counter of each charge is, in the order of the charges. */
export interface Places {
  readonly states: Float64Array[];
  readonly offsets: number[];
}

/** Checks all, then takes all or nothing. The counters have to be this thread's alone until it returns. */
export function decide(charges: readonly QuotaCharge[], places: Places, at: Moment, answer: Tally): void {
  answer.storeFailed = false;
  answer.refusedBy = -1;
  answer.retryAfterMs = 0;
  for (let i = 0; i < charges.length; i++) {
    const charge = charges[i] as Charge;
    const s = places.states[i] as Float64Array;
    const o = places.offsets[i] as number;
    const left = room(charge.limit, s, o, at);
    answer.remaining[i] = left;
    if (charge.cost === 0 || (charge.cost <= left && charge.cost <= charge.limit.capacity)) continue;
    // The limit that takes longest to come back is the one to name: the others have room again by then.
    const waitMs = waitUs(charge.limit, s, o, charge.cost, at) / 1000;
    if (answer.refusedBy !== -1 && waitMs <= answer.retryAfterMs) continue;
    answer.refusedBy = i;
    answer.retryAfterMs = waitMs;
  }
  answer.admitted = answer.refusedBy === -1;
  for (let i = 0; i < charges.length; i++) {
    const charge = charges[i] as Charge;
    const s = places.states[i] as Float64Array;
    const o = places.offsets[i] as number;
    let left = answer.remaining[i] as number;
    if (answer.admitted) {
      take(charge.limit, s, o, charge.cost, at);
      left -= charge.cost;
    }
    answer.remaining[i] = Math.max(0, left);
    answer.resetMs[i] = charge.limit.isTold ? moreUs(charge.limit, s, o, left, at) / 1000 : 0;
  }
}

/** Gives `cost` back to one counter, or charges it what is below zero, room or not. */
export function settleOne(charge: QuotaCharge, s: Float64Array, o: number, at: Moment): void {
  const limit = charge.limit as CompiledLimit;
  room(limit, s, o, at);
  if (charge.cost >= 0) giveBack(limit, s, o, charge.cost, charge.takenUs ?? at.us, at);
  else take(limit, s, o, -charge.cost, at);
}
