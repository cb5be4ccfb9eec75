import { describe, expect, it } from "vitest";
import type { QuotaLimit } from "../ir/index.ts";
import type { QuotaAnswer } from "../ports.ts";
import { Charge } from "./decide.ts";
import { answerAsk, isLeased, type LeaseCounter, newLeaseCounter } from "./lease-bank.ts";
import { LeaseBreaker } from "./lease-breaker.ts";
import { LeaseHolder, MAX_HELD_KEYS } from "./lease-holder.ts";
import type { DueAsk } from "./lease-holding.ts";
import { bankName, type LeaseAnswer } from "./lease-messages.ts";
import { LeasedBank, type LeaseLink } from "./leased-bank.ts";
import { CompiledLimit, compileLeasedLimit } from "./limit.ts";
import { MapBank } from "./map-bank.ts";

const DEADLINE_MS = 50;

/** Banks a round trip away, or silent, or gone. Time stands still but where somebody waits for it. */
class World {
  us = 5_000_000_000;
  calls = 0;
  mode: "answers" | "silent" | "fails" | "unknown" = "answers";
  roundTripUs = 10_000;
  readonly asked: DueAsk[] = [];
  readonly local = new MapBank({ maxCounters: 100, unixMs: () => 0 });
  readonly holder: LeaseHolder;
  readonly breaker = new LeaseBreaker();
  readonly bank: LeasedBank;
  readonly #counters = new Map<string, LeaseCounter>();
  readonly #events: { readonly us: number; readonly run: () => void }[] = [];

  constructor(maxKeys?: number) {
    this.holder = new LeaseHolder({ id: "h", ...(maxKeys === undefined ? {} : { maxKeys }) });
    const link: LeaseLink = {
      carry: (_holder, asks) => this.#carry(asks),
      background: () => undefined,
      pause: (ms) => new Promise((resolve) => void this.#events.push({ us: this.us + ms * 1000, run: resolve })),
    };
    const nowUs = () => this.us;
    this.bank = new LeasedBank({
      holder: this.holder,
      breaker: this.breaker,
      local: this.local,
      link,
      deadlineMs: DEADLINE_MS,
      nowUs,
    });
  }

  #carry(asks: readonly DueAsk[]): Promise<readonly LeaseAnswer[]> {
    this.calls++;
    this.asked.push(...asks);
    if (this.mode === "fails") return Promise.reject(new Error("connection refused"));
    return new Promise((resolve) => {
      if (this.mode === "silent") return;
      const answers = this.mode === "unknown" ? asks.map(unknown) : this.answersTo("h", asks);
      this.#events.push({ us: this.us + this.roundTripUs, run: () => resolve(answers) });
    });
  }

  answersTo(holder: string, asks: readonly DueAsk[]): readonly LeaseAnswer[] {
    return asks.map((ask) => {
      const name = `${ask.limit.counterId}|${ask.key}`;
      let counter = this.#counters.get(name);
      if (counter === undefined) {
        counter = newLeaseCounter(ask.limit.kind);
        this.#counters.set(name, counter);
      }
      return answerAsk(ask.limit, counter, holder, ask, this.us / 1000);
    });
  }

  /** Another holder takes so much. */
  drain(limit: CompiledLimit, key: string, units: number): void {
    if (!isLeased(limit)) throw new Error("not leased");
    const id = `other.${this.us}`;
    this.answersTo("other", [{ id, limit, key, need: units, wanted: units, debt: 0, ended: [] }]);
    this.answersTo("other", [{ id: `${id}.end`, limit, key, need: 0, wanted: 0, debt: 0, ended: [{ id, unused: 0 }] }]);
  }

  async pass(us: number): Promise<void> {
    const untilUs = this.us + us;
    while (await this.#next(untilUs));
    this.us = untilUs;
  }

  /** Runs what comes next. @returns whether there was anything until then */
  async #next(untilUs: number): Promise<boolean> {
    await settled();
    const next = this.#events.reduce((first, { us }, i) => (us < (this.#events[first]?.us ?? Infinity) ? i : first), 0);
    const event = this.#events[next];
    if (event === undefined || event.us > untilUs) return false;
    this.#events.splice(next, 1);
    this.us = Math.max(this.us, event.us);
    event.run();
    await settled();
    return true;
  }

  /** The answer, however long it takes. */
  async answer(answer: QuotaAnswer | Promise<QuotaAnswer>): Promise<QuotaAnswer> {
    let done = false;
    const watched = Promise.resolve(answer).finally(() => {
      done = true;
    });
    await settled();
    while (!done && (await this.#next(Number.POSITIVE_INFINITY)));
    return watched;
  }

  take(...charges: readonly Charge[]): QuotaAnswer | Promise<QuotaAnswer> {
    return this.bank.take(charges, this.us);
  }

  later(...charges: readonly Charge[]): Promise<QuotaAnswer> {
    return this.answer(this.take(...charges));
  }

  now(...charges: readonly Charge[]): QuotaAnswer {
    const answer = this.take(...charges);
    if (answer instanceof Promise) throw new Error("had to wait");
    return answer;
  }

  charge(limit: CompiledLimit, cost = 1, key = "k"): Charge {
    return new Charge(limit, key, cost, this.us);
  }
}

function unknown({ id }: DueAsk): LeaseAnswer {
  return { id, granted: 0, forMs: 0, retryMs: 1000, moreMs: 0, problem: "there is no such limit" };
}

/** Lets everything that is settled be noticed. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

const SPEC: QuotaLimit = { name: "l", amount: 100, perMs: 60_000, window: "rolling" };
const leased = (change: Partial<QuotaLimit> = {}, rule = "ns/q#l") =>
  compileLeasedLimit({ rule, unit: "requests", limit: { ...SPEC, ...change }, accuracy: undefined }, undefined, true);
const local = (amount: number) => new CompiledLimit("ns/local#l", "requests", { ...SPEC, amount }, undefined);

describe("charges out of leases", () => {
  it("wait for the first one of a key, and for no other", async () => {
    const world = new World();
    const limit = leased();
    const first = world.take(world.charge(limit));
    expect(first).toBeInstanceOf(Promise);
    expect((await world.answer(first)).admitted).toBe(true);
    expect(world.us).toBe(5_000_010_000);
    for (let i = 0; i < 3; i++) expect(world.now(world.charge(limit)).admitted).toBe(true);
    expect(world.calls).toBe(1);
  });

  it("ask once for all who come at the same time, and the lease has room for them", async () => {
    const world = new World();
    const limit = leased();
    const answers = Array.from({ length: 30 }, () => world.take(world.charge(limit)));
    for (const answer of answers) expect((await world.answer(answer)).admitted).toBe(true);
    expect(world.calls).toBeLessThanOrEqual(3);
  });

  it("are refilled in the background when a fifth is left", async () => {
    const world = new World();
    const limit = leased({ amount: 1000 });
    await world.later(world.charge(limit));
    let spent = 1;
    for (; world.calls === 1; spent++) expect(world.now(world.charge(limit)).admitted).toBe(true);
    expect(spent).toBe(7);
    await world.pass(world.roundTripUs);
    for (let i = 0; i < 10; i++) expect(world.now(world.charge(limit)).admitted).toBe(true);
  });

  it("are refilled before a lease is over, so that who comes regularly never waits again", async () => {
    const world = new World();
    const limit = leased();
    await world.later(world.charge(limit));
    for (let i = 0; i < 40; i++) {
      await world.pass(300_000);
      expect(world.now(world.charge(limit)).admitted).toBe(true);
    }
    expect(world.calls).toBeLessThan(8);
  });

  it("tell what is held here, which is never more than there is", async () => {
    const world = new World();
    const limit = leased();
    const first = await world.later(world.charge(limit));
    expect(first.remaining).toEqual([5]);
    world.drain(limit, "k", 94);
    expect(world.now(world.charge(limit)).remaining).toEqual([4]);
  });

  it("are refused with an honest time to come back, and the bank is not asked again for each", async () => {
    const world = new World();
    const limit = leased();
    world.drain(limit, "k", 100);
    const refused = await world.later(world.charge(limit));
    expect(refused).toMatchObject({ admitted: false, storeFailed: false, refusedBy: 0 });
    expect(refused.retryAfterMs).toBeGreaterThan(59_900);
    for (let i = 0; i < 50; i++) expect(world.now(world.charge(limit)).admitted).toBe(false);
    expect(world.calls).toBe(1);
    await world.pass(refused.retryAfterMs * 1000);
    expect((await world.later(world.charge(limit))).admitted).toBe(true);
  });

  it("that cost more than a limit ever admits are refused without asking", () => {
    const world = new World();
    expect(world.now(world.charge(leased(), 101))).toMatchObject({ admitted: false, retryAfterMs: Number.POSITIVE_INFINITY });
    expect(world.calls).toBe(0);
  });

  it("that cost more than a lease get a larger one", async () => {
    const world = new World();
    const limit = leased();
    await world.later(world.charge(limit));
    expect((await world.later(world.charge(limit, 60))).admitted).toBe(true);
    expect(world.asked[1]).toMatchObject({ need: 55, ended: [] });
  });
});

describe("several limits", () => {
  it("charge nothing unless all admit: a local one refuses, and nobody is asked", () => {
    const world = new World();
    const [here, there] = [local(0), leased()];
    expect(world.now(world.charge(there), world.charge(here))).toMatchObject({ admitted: false, refusedBy: 1 });
    expect(world.calls).toBe(0);
    expect(world.holder.left(there, "k")).toBe(0);
  });

  it("give back what a local one was charged while the bank said no", async () => {
    const world = new World();
    const [here, there] = [local(1), leased()];
    world.drain(there, "k", 100);
    expect(await world.later(world.charge(here), world.charge(there))).toMatchObject({ admitted: false, refusedBy: 1 });
    expect(world.local.take([world.charge(here)], world.us).admitted).toBe(true);
  });

  it("are waited for together, and charged once each", async () => {
    const world = new World();
    const [here, one, two] = [local(50), leased({}, "ns/one#l"), leased({ amount: 10 }, "ns/two#l")];
    const answer = await world.later(world.charge(one), world.charge(here), world.charge(two));
    expect(answer).toMatchObject({ admitted: true, remaining: [5, 49, 0] });
    expect(world.asked.map(({ limit }) => limit.rule)).toEqual(["ns/one#l", "ns/two#l"]);
  });
});

describe("a bank that does not answer", () => {
  it("keeps a request waiting up to the deadline, and those that follow not at all", async () => {
    const world = new World();
    world.mode = "silent";
    const limit = leased();
    const answer = await world.later(world.charge(limit));
    expect(answer).toMatchObject({ admitted: false, storeFailed: true, refusedBy: 0 });
    expect(world.us).toBe(5_000_000_000 + DEADLINE_MS * 1000);
    for (let i = 0; i < 10; i++) expect(world.now(world.charge(limit)).storeFailed).toBe(true);
    expect(world.calls).toBe(1);
  });

  it("is not asked again for a while after several failures, and what is held is still spent", async () => {
    const world = new World();
    const held = leased({}, "ns/held#l");
    await world.later(world.charge(held));
    world.mode = "fails";
    for (let i = 0; i < 20; i++) {
      expect((await world.later(world.charge(leased(), 1, `key ${i}`))).storeFailed).toBe(true);
    }
    expect(world.breaker.state).toBe("open");
    expect(world.calls).toBe(6);
    expect(world.now(world.charge(held)).admitted).toBe(true);
    world.mode = "answers";
    await world.pass(500_000);
    expect((await world.later(world.charge(leased()))).admitted).toBe(true);
    expect(world.breaker.state).toBe("closed");
  });

  it("pauses twice as long when the probe fails", () => {
    const breaker = new LeaseBreaker();
    for (let i = 0; i < 5; i++) breaker.failed(0);
    expect([breaker.admits(499_999), breaker.admits(500_000), breaker.admits(500_001)]).toEqual([false, true, false]);
    breaker.failed(500_002);
    expect([breaker.admits(1_500_001), breaker.admits(1_500_002)]).toEqual([false, true]);
    breaker.succeeded();
    expect(breaker.state).toBe("closed");
  });

  it("is told apart from one that was never named", () => {
    const world = new World();
    world.bank.link = undefined;
    expect(world.now(world.charge(leased()))).toMatchObject({ admitted: false, storeFailed: true, refusedBy: 0 });
  });

  it("is asked again by the next request when the one that asked is gone, under the same id", async () => {
    const world = new World();
    world.mode = "silent";
    const limit = leased();
    await world.later(world.charge(limit));
    world.mode = "answers";
    await world.pass(2_000_000);
    expect((await world.later(world.charge(limit))).admitted).toBe(true);
    expect(world.asked.map(({ id }) => id)).toEqual(["h.1", "h.1"]);
  });

  it("or knows the limit no more is told of what is left over for a while, and then forgotten", async () => {
    const world = new World();
    const limit = leased();
    await world.later(world.charge(limit));
    world.mode = "unknown";
    for (let i = 0; i < 200; i++) {
      await world.pass(500_000);
      world.bank.sweep(world.us);
    }
    expect(world.calls).toBeLessThan(25);
    expect(world.holder.usage.keys).toBe(0);
  });

  it("asks again under the same id, so that what was granted is not granted twice", async () => {
    const world = new World();
    const limit = leased();
    world.mode = "fails";
    await world.later(world.charge(limit));
    const [lost] = world.asked;
    if (lost === undefined) throw new Error("nothing was asked");
    // It was the answer that was lost.
    const [granted] = world.answersTo("h", [lost]);
    world.mode = "answers";
    await world.pass(100_000);
    expect((await world.later(world.charge(limit))).admitted).toBe(true);
    expect(world.asked[1]?.id).toBe(lost.id);
    expect(world.holder.left(limit, "k")).toBe((granted?.granted ?? 0) - 1);
  });
});

describe("what a holder keeps", () => {
  it("is bounded, and nothing that is held is forgotten for another key", async () => {
    const world = new World(2);
    const limit = leased();
    for (const key of ["a", "b"]) expect((await world.later(world.charge(limit, 1, key))).admitted).toBe(true);
    expect(world.now(world.charge(limit, 1, "c"))).toMatchObject({ admitted: false, storeFailed: true });
    expect(world.now(world.charge(limit, 1, "a")).admitted).toBe(true);
    // Used by nobody, they are given back, and then forgotten.
    for (let i = 0; i < 3; i++) {
      await world.pass(4_000_000);
      world.bank.sweep(world.us);
    }
    await world.pass(world.roundTripUs);
    world.bank.sweep(world.us);
    expect(world.holder.usage.keys).toBe(0);
    expect((await world.later(world.charge(limit, 1, "c"))).admitted).toBe(true);
  });

  it("has a bound of its own, too", () => {
    const holder = new LeaseHolder({ id: "h" });
    const limit = leased();
    for (let i = 0; i < MAX_HELD_KEYS; i++) holder.check(limit, `${i}`, 1, 0);
    expect(holder.check(limit, "one more", 1, 0).kind).toBe("failed");
    expect(holder.check(limit, "0", 1, 0).kind).toBe("wait");
  });

  it("goes back to the bank when nobody uses it", async () => {
    const world = new World();
    const limit = leased();
    await world.later(world.charge(limit));
    await world.pass(2_500_000);
    world.bank.sweep(world.us);
    await world.pass(world.roundTripUs);
    expect(world.asked.at(-1)).toMatchObject({ need: 0, wanted: 0, ended: [{ id: "h.1", unused: 5 }] });
    const [all] = world.answersTo("other", [
      { id: "other.1", limit: limit as never, key: "k", need: 99, wanted: 99, debt: 0, ended: [] },
    ]);
    expect(all?.granted).toBe(99);
  });

  it("is corrected by what was really used: too much comes back, too little is owed and paid", async () => {
    const world = new World();
    const limit = leased();
    await world.later(world.charge(limit));
    await world.pass(1000);
    const charge = world.charge(limit, 3);
    expect(world.now(charge).remaining).toEqual([2]);
    world.bank.settle([new Charge(limit, "k", 2, charge.takenUs)], world.us + 1);
    expect(world.holder.left(limit, "k")).toBe(4);
    world.bank.settle([new Charge(limit, "k", -44, charge.takenUs)], world.us + 2);
    expect(world.holder.left(limit, "k")).toBe(0);
    const next = await world.later(world.charge(limit));
    expect(world.asked.at(-1)).toMatchObject({ debt: 40, need: 1 });
    expect(next.admitted).toBe(true);
  });

  it("is spread over banks by key, the same everywhere", () => {
    expect(bankName("ns/q#l|requests|rolling", "alice")).toBe("ns/q#l|requests|rolling/8");
    const names = new Set(Array.from({ length: 500 }, (_, i) => bankName("c", `key ${i}`)));
    expect(names.size).toBe(16);
  });
});
