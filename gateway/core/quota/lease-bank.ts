/**
 * The bank's side of leases: one counter's grants, and how much of what is left the next one gets.
 *
 *     granted ──ended by its holder──► settled (what was used counts on)
 *        └─────expired, long ago─────► settled (all of it counts on: nobody knows what was used)
 *
 * Two counts bound what is spent. The limit's own counter takes a grant when it is made and gets back what comes back unused. For rolling windows
 * a second one, `reach`, counts a grant from its making until its end and a window more, so that whatever is spent in one window is in it when the
 * last grant of that window is made; it may exceed the amount by the accuracy's share (lease-terms.ts).
 *
 * Nothing here waits or reads a clock. A counter is plain data: it is loaded, asked once, and stored before the answer leaves.
 */
import { calendarEndUs } from "./calendar.ts";
import { giveBack, idleAt, type Moment, moreUs, room, STATE_SIZE, take, waitUs } from "./counter.ts";
import type { LeaseAnswer, LeaseAsk } from "./lease-messages.ts";
import type { CompiledLimit, Leasing, LimitKind } from "./limit.ts";
import type { CompiledQuota } from "./plan.ts";
import { rollingIdleUs, rollingRoom, rollingTakeAt, rollingWaitUs } from "./rolling.ts";

/** Grants of one key that are out at once. A holder has two; more holders than this get nothing for a while. */
export const MAX_OPEN_GRANTS = 4096;

/** What a holder was given under an ask. Amount 0 remembers that its debt has been charged. */
export interface Grant {
  readonly id: string;
  readonly holder: string;
  readonly amount: number;
  readonly madeMs: number;
  /** When its holder can no longer spend it. */
  readonly untilMs: number;
}

export interface LeaseCounter {
  /** Of the limit's kind, as counter.ts knows it; monotonic µs are Unix µs here. */
  readonly state: Float64Array;
  /** Rolling windows: what settled grants have used, from their end. */
  readonly reach: Float64Array;
  /** Not settled yet. */
  readonly grants: Grant[];
}

/** A limit of scope `global`. */
export type LeasedCompiledLimit = CompiledLimit & { readonly leasing: Leasing };

export function isLeased(limit: CompiledLimit): limit is LeasedCompiledLimit {
  return limit.leasing !== undefined;
}

/** The limit that a key of a quota has by the snapshot at hand; undefined: there is no such limit of scope `global`. */
export function bankKeyLimit(quota: CompiledQuota | undefined, name: string, key: string): LeasedCompiledLimit | undefined {
  const rule = `${quota?.id}#${name}`;
  return quota
    ?.limitsForKey(key)
    .limits.filter(isLeased)
    .find((limit) => limit.rule === rule);
}

export function newLeaseCounter(kind: LimitKind): LeaseCounter {
  return {
    state: new Float64Array(STATE_SIZE[kind]),
    reach: new Float64Array(kind === "rolling" ? STATE_SIZE.rolling : 0),
    grants: [],
  };
}

/**
 * Answers an ask and changes the counter accordingly. What is in it has to be durable before the answer leaves.
 *
 * @param unixMs the bank's clock. One that runs back counts as standing still.
 */
export function answerAsk(
  limit: LeasedCompiledLimit,
  counter: LeaseCounter,
  holder: string,
  ask: LeaseAsk,
  unixMs: number,
): LeaseAnswer {
  const desk = new Desk(limit, counter, unixMs);
  desk.settleExpired();
  for (const { id, unused } of ask.ended) desk.end(id, unused);
  return desk.again(ask) ?? desk.answer(holder, ask);
}

/** Unix ms at which the counter is as good as new. */
export function leaseCounterIdleMs(limit: LeasedCompiledLimit, counter: LeaseCounter): number {
  const { state, reach, grants } = counter;
  const counted = idleAt(limit.kind, state, 0);
  const ends = [counted < 0 ? -counted : counted / 1000];
  if (limit.kind === "rolling") ends.push(rollingIdleUs(reach, 0) / 1000);
  for (const { untilMs } of grants) ends.push(untilMs + limit.leasing.leaseMs + limit.windowMs + limit.widthUs / 1000);
  return Math.ceil(ends.reduce((latest, end) => Math.max(latest, end))) + 1;
}

/** One ask at one counter. */
class Desk {
  readonly #limit: LeasedCompiledLimit;
  readonly #counter: LeaseCounter;
  readonly #nowMs: number;
  readonly #at: Moment;

  constructor(limit: LeasedCompiledLimit, counter: LeaseCounter, unixMs: number) {
    this.#limit = limit;
    this.#counter = counter;
    this.#nowMs = counter.grants.reduce((latest, { madeMs }) => Math.max(latest, madeMs), Math.floor(unixMs));
    this.#at = { us: this.#nowMs * 1000, unixMs: this.#nowMs, lane: 0 };
  }

  /** A lease's life after a grant has expired nobody will say any more what was left of it: all of it was used. */
  settleExpired(): void {
    const { grants } = this.#counter;
    const patienceMs = this.#limit.leasing.leaseMs;
    for (let i = grants.length - 1; i >= 0; i--) {
      const grant = grants[i] as Grant;
      if (grant.untilMs + patienceMs <= this.#nowMs) this.#settle(i, 0);
    }
  }

  /** Told twice, or about a grant that is settled, it changes nothing. */
  end(id: string, unused: number): void {
    const index = this.#counter.grants.findIndex((grant) => grant.id === id);
    if (index !== -1) this.#settle(index, unused);
  }

  #settle(index: number, unused: number): void {
    const { state, reach, grants } = this.#counter;
    const [grant] = grants.splice(index, 1);
    if (grant === undefined) return;
    const back = Math.min(unused, grant.amount);
    room(this.#limit, state, 0, this.#at);
    giveBack(this.#limit, state, 0, back, grant.madeMs * 1000, this.#at);
    if (this.#limit.kind !== "rolling") return;
    rollingRoom(this.#limit, reach, 0, this.#at.us);
    // Clocks of whole milliseconds: it may have been spent until the end of this one.
    rollingTakeAt(this.#limit, reach, 0, grant.amount - back, Math.min(this.#nowMs + 1, grant.untilMs) * 1000);
  }

  /** An ask whose answer was lost gets what it got, for as long as is left of it. */
  again({ id, need }: LeaseAsk): LeaseAnswer | undefined {
    const index = this.#counter.grants.findIndex((grant) => grant.id === id);
    const grant = this.#counter.grants[index];
    if (grant === undefined) return undefined;
    const forMs = grant.untilMs - this.#nowMs;
    if (grant.amount === 0) return this.#refused(id, need);
    if (forMs > 0) return { id, granted: grant.amount, forMs, ...this.#outlook(0) };
    // Nobody can have spent it since it expired, but somebody may have before.
    this.#settle(index, 0);
    return undefined;
  }

  answer(holder: string, ask: LeaseAsk): LeaseAnswer {
    const { id, need, wanted, debt } = ask;
    if (this.#counter.grants.length >= MAX_OPEN_GRANTS) return { ...this.#refused(id, need), problem: "too many leases are out" };
    if (debt > 0) this.#charge(debt);
    const left = this.#room();
    const forMs = this.#lifeMs();
    const amount = need <= left && forMs > 0 ? this.#amount(holder, need, wanted, left) : 0;
    if (amount > 0 || debt > 0) {
      const untilMs = this.#nowMs + Math.max(0, forMs);
      this.#counter.grants.push({ id, holder, amount, madeMs: this.#nowMs, untilMs });
      take(this.#limit, this.#counter.state, 0, amount, this.#at);
    }
    return amount > 0 ? { id, granted: amount, forMs, ...this.#outlook(0) } : this.#refused(id, need);
  }

  /** Used already, room or not. */
  #charge(units: number): void {
    room(this.#limit, this.#counter.state, 0, this.#at);
    take(this.#limit, this.#counter.state, 0, units, this.#at);
    if (this.#limit.kind !== "rolling") return;
    rollingRoom(this.#limit, this.#counter.reach, 0, this.#at.us);
    rollingTakeAt(this.#limit, this.#counter.reach, 0, units, this.#at.us);
  }

  /** Half of what a fair share would be, so that leases shrink as what is left does and the last units go to who needs them. */
  #amount(holder: string, need: number, wanted: number, left: number): number {
    const holders = new Set([holder]);
    for (const grant of this.#counter.grants) if (grant.untilMs > this.#nowMs) holders.add(grant.holder);
    const share = Math.ceil(left / (2 * holders.size));
    return Math.max(0, Math.min(left, Math.max(need, Math.min(wanted, share))));
  }

  #lifeMs(): number {
    const { calendar, leasing } = this.#limit;
    if (calendar === undefined) return leasing.leaseMs;
    // `room` has sought the window of now. After a step back of the clock the counter may be in the next one already.
    const endMs = Math.min(calendar.endMs - this.#nowMs, calendarEndUs(this.#counter.state, 0, this.#nowMs) / 1000);
    return Math.min(leasing.leaseMs, Math.floor(endMs));
  }

  #open(): number {
    let open = 0;
    for (const { amount } of this.#counter.grants) open += amount;
    return open;
  }

  #room(): number {
    const { state, reach } = this.#counter;
    const left = room(this.#limit, state, 0, this.#at);
    if (this.#limit.kind !== "rolling") return left;
    return Math.min(left, rollingRoom(this.#limit, reach, 0, this.#at.us) + this.#limit.leasing.excess - this.#open());
  }

  #refused(id: string, need: number): LeaseAnswer {
    return { id, granted: 0, forMs: 0, ...this.#outlook(Math.max(1, need)) };
  }

  /** @param need 0: granted, so nothing has to be waited for */
  #outlook(need: number): Pick<LeaseAnswer, "retryMs" | "moreMs"> {
    const left = this.#room();
    const more = moreUs(this.#limit, this.#counter.state, 0, left, this.#at);
    const waited = need === 0 ? 0 : Math.max(this.#waitUs(need), this.#limit.kind === "rolling" ? this.#reachWaitUs(need) : 0);
    const moreMs = Math.ceil(Math.max(0, more) / 1000);
    return { retryMs: need === 0 ? 0 : Math.max(1, Math.ceil(waited / 1000)), moreMs };
  }

  #waitUs(need: number): number {
    const wait = waitUs(this.#limit, this.#counter.state, 0, need, this.#at);
    // A limit that was lowered: what fits now is found out by asking again.
    return Number.isFinite(wait) ? wait : this.#limit.windowMs * 1000;
  }

  /** Until `need` fits beside what still counts after its end, if every grant that is out is used up and never ended by its holder. */
  #reachWaitUs(need: number): number {
    const { reach, grants } = this.#counter;
    const { amount, leasing, windowMs, widthUs } = this.#limit;
    const most = amount + leasing.excess;
    const room = rollingRoom(this.#limit, reach, 0, this.#at.us) + leasing.excess;
    let open = this.#open();
    if (need + open <= room) return 0;
    if (need + open <= most) return rollingWaitUs(this.#limit, reach, 0, need + open - leasing.excess, this.#at.us);
    // All that is settled has left a window from now; then the grants that are out follow, each a window after its end.
    let wait = windowMs * 1000 + widthUs;
    for (const grant of grants.toSorted((a, b) => a.untilMs - b.untilMs)) {
      open -= grant.amount;
      wait = Math.max(wait, (grant.untilMs + windowMs - this.#nowMs) * 1000 + widthUs);
      if (need + open <= most) break;
    }
    return wait;
  }
}
