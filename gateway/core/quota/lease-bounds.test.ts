/** What leases promise, held against a log of everything that was spent: many holders, clocks apart, a network that does its worst. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { QuotaAccuracy, QuotaLimit } from "../ir/index.ts";
import { CalendarWindows, TimeZone } from "./calendar-window.ts";
import { answerAsk, type LeaseCounter, type LeasedCompiledLimit, leaseCounterIdleMs, newLeaseCounter } from "./lease-bank.ts";
import { LeaseHolder } from "./lease-holder.ts";
import type { DueAsk } from "./lease-holding.ts";
import type { LeaseAnswer } from "./lease-messages.ts";
import { compileLeasedLimit } from "./limit.ts";

/** The start of a minute. */
const BANK_EPOCH_MS = 1_790_000_040_000;
const TIMEOUT_US = 300_000;

interface Spent {
  readonly us: number;
  cost: number;
}

/** What becomes of one call: how long its request and its answer take, and whether they come. */
interface Fate {
  readonly thereUs: number;
  readonly backUs: number;
  readonly requestLost: boolean;
  readonly answerLost: boolean;
  /** The network hands the request over once more, so much later. */
  readonly againUs: number | undefined;
}

interface Step {
  readonly gapUs: number;
  readonly holder: number;
  readonly cost: number;
  /** So many requests at once. */
  readonly count: number;
  /** Of their cost this share turns out to be unused, so much later. */
  readonly refund: { readonly share: number; readonly afterUs: number } | undefined;
  readonly crash: boolean;
  readonly restart: boolean;
  readonly fate: Fate;
}

class Clocked {
  holder: LeaseHolder;
  readonly #name: number;
  readonly #rate: number;
  #lives = 0;

  constructor(name: number) {
    this.#name = name;
    // Half a thousandth fast or slow, and any offset.
    this.#rate = [1, 1.0005, 0.9995][name % 3] as number;
    this.holder = this.#born();
  }

  #born(): LeaseHolder {
    this.#lives++;
    return new LeaseHolder({ id: `h${this.#name}-${this.#lives}` });
  }

  crash(): void {
    this.holder = this.#born();
  }

  us(realUs: number): number {
    return Math.floor(realUs * this.#rate) + this.#name * 77_777_777;
  }
}

class World {
  readonly limit: LeasedCompiledLimit;
  readonly log: Spent[] = [];
  calls = 0;
  leases = 0;
  admitted = 0;
  #us = 0;
  #counter: LeaseCounter;
  readonly #holders: readonly Clocked[];
  readonly #events: { readonly us: number; readonly run: () => void }[] = [];

  constructor(limit: LeasedCompiledLimit, holders: number) {
    this.limit = limit;
    this.#counter = newLeaseCounter(limit.kind);
    this.#holders = Array.from({ length: holders }, (_, i) => new Clocked(i));
  }

  step({ gapUs, holder, cost, count, refund, crash, restart, fate }: Step): void {
    this.#until(this.#us + gapUs);
    const one = this.#holders[holder % this.#holders.length] as Clocked;
    if (crash) one.crash();
    // What the bank has written is all that a new one knows.
    if (restart) this.#counter = structuredClone(this.#counter);
    for (let i = 0; i < count; i++) {
      const standing = one.holder.check(this.limit, "k", cost, one.us(this.#us));
      if (standing.kind === "ready") this.#spend(one, cost, refund);
      else if (standing.kind === "wait") one.holder.want(this.limit, "k", cost, one.us(this.#us));
      this.#send(one, fate);
    }
  }

  idle(us: number): void {
    this.#until(this.#us + us);
  }

  sweep(fate: Fate): void {
    for (const one of this.#holders) {
      one.holder.sweep(one.us(this.#us));
      this.#send(one, fate);
    }
  }

  #spend(one: Clocked, cost: number, refund: Step["refund"]): void {
    const { holder } = one;
    const takenUs = one.us(this.#us);
    holder.spend(this.limit, "k", cost, takenUs);
    this.admitted += cost;
    const spent = { us: this.#us, cost };
    this.log.push(spent);
    if (refund === undefined) return;
    const unused = Math.floor(cost * refund.share);
    this.#at(this.#us + refund.afterUs, () => {
      if (one.holder !== holder) return;
      spent.cost -= unused;
      holder.correct(this.limit, "k", unused, takenUs, one.us(this.#us));
    });
  }

  #send(one: Clocked, fate: Fate): void {
    const { holder } = one;
    const sentUs = one.us(this.#us);
    const asks = holder.takeAsks(sentUs, 8);
    if (asks.length === 0) return;
    this.calls++;
    const arrived = this.#us + fate.thereUs;
    if (fate.againUs !== undefined && !fate.requestLost) this.#at(arrived + fate.againUs, () => void this.#bank(holder.id, asks));
    if (fate.requestLost || fate.answerLost) {
      if (!fate.requestLost) this.#at(arrived, () => void this.#bank(holder.id, asks));
      this.#at(this.#us + TIMEOUT_US, () => holder.failed(asks, one.us(this.#us)));
      return;
    }
    this.#at(arrived, () => {
      const answers = this.#bank(holder.id, asks);
      this.#at(this.#us + fate.backUs, () => holder.answered(answers, sentUs, one.us(this.#us)));
    });
  }

  #bank(holder: string, asks: readonly DueAsk[]): readonly LeaseAnswer[] {
    return asks.map((ask) => {
      const answer = answerAsk(this.limit, this.#counter, holder, ask, BANK_EPOCH_MS + this.#us / 1000);
      if (answer.granted > 0) this.leases++;
      return answer;
    });
  }

  get bankIdleMs(): number {
    return leaseCounterIdleMs(this.limit, this.#counter) - BANK_EPOCH_MS;
  }

  #at(us: number, run: () => void): void {
    this.#events.push({ us, run });
  }

  #until(us: number): void {
    for (;;) {
      let next = -1;
      this.#events.forEach((event, i) => {
        if (event.us <= us && (next === -1 || event.us < (this.#events[next]?.us ?? 0))) next = i;
      });
      const [event] = next === -1 ? [] : this.#events.splice(next, 1);
      if (event === undefined) break;
      this.#us = Math.max(this.#us, event.us);
      event.run();
    }
    this.#us = us;
  }

  /** The most that any span [t, t + spanUs) saw. */
  worst(spanUs: number): number {
    let [worst, sum, first] = [0, 0, 0];
    for (const { us, cost } of this.log) {
      sum += cost;
      for (; (this.log[first] as Spent).us <= us - spanUs; first++) sum -= (this.log[first] as Spent).cost;
      worst = Math.max(worst, sum);
    }
    return worst;
  }

  /** The most that any window of the bank's calendar saw. */
  worstWindow(lengthMs: number): number {
    const sums = Map.groupBy(this.log, ({ us }) => Math.floor((BANK_EPOCH_MS + us / 1000) / lengthMs));
    return Math.max(0, ...[...sums.values()].map((spent) => spent.reduce((sum, { cost }) => sum + cost, 0)));
  }
}

function leased(spec: Partial<QuotaLimit>, accuracy?: QuotaAccuracy): LeasedCompiledLimit {
  const limit: QuotaLimit = { name: "l", amount: 10, perMs: 1000, window: "rolling", ...spec };
  const calendar = limit.window === "calendar" ? new CalendarWindows("minute", new TimeZone("UTC")) : undefined;
  return compileLeasedLimit({ rule: "ns/q#l", unit: "requests", limit, accuracy }, calendar, true) as LeasedCompiledLimit;
}

const prompt: Fate = { thereUs: 5000, backUs: 5000, requestLost: false, answerLost: false, againUs: undefined };
const fates: fc.Arbitrary<Fate> = fc.record({
  thereUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 3_000_000 })),
  backUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 3_000_000 })),
  requestLost: fc.boolean(),
  answerLost: fc.boolean(),
  againUs: fc.option(fc.integer({ min: 0, max: 2_000_000 }), { nil: undefined }),
});
const kindly: fc.Arbitrary<Fate> = fc.oneof({ weight: 3, arbitrary: fc.constant(prompt) }, { weight: 1, arbitrary: fates });

/** Steps that hit edges of windows and of leases, and bursts between them. */
function gaps(limit: LeasedCompiledLimit): fc.Arbitrary<number> {
  const windowUs = limit.windowMs * 1000;
  const leaseUs = limit.leasing.leaseMs * 1000;
  return fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 20_000 }) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: leaseUs }) },
    fc.constantFrom(
      leaseUs - 1001,
      leaseUs - 1000,
      leaseUs - 1,
      leaseUs,
      leaseUs + 1,
      windowUs - leaseUs,
      windowUs - 1,
      windowUs,
    ),
    fc.integer({ min: 0, max: windowUs }),
  );
}

function steps(limit: LeasedCompiledLimit): fc.Arbitrary<readonly Step[]> {
  const rare = fc.integer({ min: 0, max: 40 }).map((n) => n === 0);
  return fc.array(
    fc.record({
      gapUs: gaps(limit),
      holder: fc.integer({ min: 0, max: 9 }),
      cost: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: Math.max(1, limit.capacity >> 1) })),
      count: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 30 })),
      refund: fc.option(fc.record({ share: fc.double({ min: 0, max: 1, noNaN: true }), afterUs: gaps(limit) }), {
        nil: undefined,
        freq: 4,
      }),
      crash: rare,
      restart: rare,
      fate: kindly,
    }),
    { minLength: 30, maxLength: 250 },
  );
}

/**
 * The worst that callers and network can do together: let every holder hoard, spend it all at the last moment, and take whatever else there is a
 * window later, or as soon as it comes.
 */
function attacks(limit: LeasedCompiledLimit): fc.Arbitrary<readonly Step[]> {
  const windowUs = limit.windowMs * 1000;
  const leaseUs = limit.leasing.leaseMs * 1000;
  const edge = (us: number) => fc.integer({ min: -8000, max: 8000 }).map((off) => Math.max(0, us + off));
  const slow = fc.record({
    thereUs: fc.oneof(fc.constant(5000), fc.integer({ min: 0, max: leaseUs })),
    backUs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: leaseUs })),
    requestLost: fc.constant(false),
    answerLost: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    againUs: fc.constant(undefined),
  });
  const quiet = { holder: 0, cost: 1, count: 1, refund: undefined, crash: false, restart: false, fate: prompt };
  const round = fc.record({
    early: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: windowUs })),
    fate: fc.oneof(fc.constant(prompt), slow),
    hoard: fc.integer({ min: 1, max: 4 }),
    share: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
    refundUs: fc.oneof(edge(leaseUs), fc.integer({ min: 0, max: 2 * leaseUs })),
    last: fc.oneof(edge(leaseUs), fc.integer({ min: 0, max: 2 * leaseUs })),
    later: fc.oneof(
      fc.constant(0),
      fc.integer({ min: windowUs - 2 * leaseUs, max: windowUs }),
      edge(windowUs),
      edge(windowUs + leaseUs),
    ),
    /** Calendar: how long before a window's end it begins, and how long after it what was hoarded is spent. */
    beforeUs: fc.integer({ min: 0, max: 2 * leaseUs }),
    afterUs: fc.integer({ min: -3000, max: 8000 }),
    rounds: fc.integer({ min: 1, max: 14 }),
  });
  return fc.array(round, { minLength: 1, maxLength: 6 }).map((all) =>
    all.flatMap(({ fate, hoard, share, refundUs, rounds, beforeUs, afterUs, ...free }, index): Step[] => {
      const isAligned = limit.kind === "calendar" && index === 0;
      const early = isAligned ? windowUs - beforeUs : free.early;
      const last = isAligned ? Math.max(0, beforeUs + afterUs - 12_000 * hoard) : free.last;
      const later = isAligned ? 0 : free.later;
      const every = (step: Partial<Step>) => [0, 1, 2, 3].map((holder): Step => ({ ...quiet, gapUs: 0, ...step, holder }));
      const refund = share === 0 ? undefined : { share, afterUs: refundUs };
      const cost = Math.max(1, Math.floor(limit.capacity / 20));
      const drain = { count: 2 * limit.capacity };
      return [
        { ...quiet, gapUs: early, count: 0 },
        ...Array.from({ length: hoard }, () => [
          ...every({ cost, count: 2, refund, fate }),
          { ...quiet, gapUs: 12_000, count: 0 },
        ]).flat(),
        { ...quiet, gapUs: last, count: 0 },
        ...every(drain),
        { ...quiet, gapUs: later, count: 0 },
        ...Array.from({ length: rounds }, () => [...every(drain), { ...quiet, gapUs: 12_000, count: 0 }]).flat(),
      ];
    }),
  );
}

const accuracies: fc.Arbitrary<QuotaAccuracy> = fc.oneof(
  fc.constant<QuotaAccuracy>({ kind: "strict" }),
  fc.integer({ min: 1, max: 100 }).map((percent): QuotaAccuracy => ({ kind: "bounded", percent })),
  fc.constant<QuotaAccuracy>({ kind: "bestEffort" }),
);

function scenarios(window: QuotaLimit["window"]) {
  const amounts = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 13, max: 100 }));
  const spec = fc.record({
    amount: amounts,
    perMs: window === "calendar" ? fc.constant(60_000) : fc.constantFrom(1000, 1700, 10_000, 60_000),
    burst: fc.integer({ min: 1, max: 100 }),
  });
  return fc
    .record({ spec, accuracy: accuracies, holders: fc.integer({ min: 1, max: 10 }) })
    .map(({ spec: { burst, ...rest }, accuracy, holders }) => ({
      limit: leased(window === "smooth" ? { ...rest, burst, window } : { ...rest, window }, accuracy),
      accuracy,
      holders,
    }))
    .filter(({ limit }) => limit.capacity > 0)
    .chain(({ limit, accuracy, holders }) =>
      fc.record({
        limit: fc.constant(limit),
        accuracy: fc.constant(accuracy),
        holders: fc.constant(holders),
        steps: fc.oneof(steps(limit), attacks(limit)),
      }),
    );
}

function shareOf(accuracy: QuotaAccuracy): number {
  return accuracy.kind === "strict" ? 0 : accuracy.kind === "bounded" ? accuracy.percent / 100 : 1;
}

describe("leases", () => {
  it("of a rolling window never admit more than the amount and the accuracy's share in any span", () => {
    let admitted = 0;
    fc.assert(
      fc.property(scenarios("rolling"), ({ limit, accuracy, holders, steps }) => {
        const world = new World(limit, holders);
        for (const step of steps) world.step(step);
        admitted += world.admitted;
        expect(world.worst(limit.windowMs * 1000)).toBeLessThanOrEqual(limit.amount * (1 + shareOf(accuracy)));
      }),
      { numRuns: 500 },
    );
    expect(admitted).toBeGreaterThan(10_000);
  });

  it("of a calendar window never admit more than the amount, however accurate they have to be", () => {
    fc.assert(
      fc.property(scenarios("calendar"), ({ limit, holders, steps }) => {
        const world = new World(limit, holders);
        for (const step of steps) world.step(step);
        expect(world.worstWindow(limit.windowMs)).toBeLessThanOrEqual(limit.amount);
      }),
      { numRuns: 500 },
    );
  });

  it("of a smooth limit never admit more than burst, rate and the accuracy's share of the amount in any span", () => {
    fc.assert(
      fc.property(
        scenarios("smooth"),
        fc.double({ min: 0.01, max: 3, noNaN: true }),
        ({ limit, accuracy, holders, steps }, windows) => {
          const world = new World(limit, holders);
          for (const step of steps) world.step(step);
          const { burst = 0, amount, perMs } = limit.leasing.source.limit;
          for (const spanMs of [0.001, limit.leasing.leaseMs, perMs * windows, perMs]) {
            const bound = burst + amount * shareOf(accuracy) + (amount * spanMs) / perMs;
            expect(world.worst(spanMs * 1000)).toBeLessThanOrEqual(bound + 1e-6);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
