/**
 * `QuotaBank`: the Durable Object that keeps one counter of a global limit for the keys of one shard, and grants leases of it.
 * It decides nothing by itself: core's `answerAsk` does, over rows of SQLite. It believes what its callers say a limit is, because only the site's own
 * Workers can call it.
 */
import { DurableObject } from "cloudflare:workers";
import {
  answerAsk,
  CalendarWindows,
  compileLeasedLimit,
  isLeased,
  type LeaseAnswer,
  type LeaseAsk,
  type LeasedCompiledLimit,
  type LeasedLimit,
  leaseCounterIdleMs,
  TimeZone,
} from "../core/index.ts";
import type { AskGroup, BankRpc } from "./bank-rpc.ts";
import { BankStore } from "./bank-store.ts";

/** How often counters that are as good as new are deleted. */
const SWEEP_MS = 600_000;
/** Limits that one bank has seen lately: one, its overrides, and those of the snapshot before. */
const MAX_KNOWN_LIMITS = 64;

export class QuotaBank extends DurableObject implements BankRpc {
  readonly #store: BankStore;
  readonly #limits = new Map<string, LeasedCompiledLimit>();
  #sweepPlanned = false;

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env as Cloudflare.Env);
    this.#store = new BankStore(ctx.storage.sql);
  }

  /** All at once, so that nothing comes between what is read and what is written. */
  async ask(holder: string, groups: readonly AskGroup[]): Promise<readonly LeaseAnswer[]> {
    const nowMs = Date.now();
    const answers = groups.flatMap(({ limit, asks }) =>
      asks.map((ask) => this.#answer(this.#compiled(limit), holder, ask, nowMs)),
    );
    await this.#planSweep(nowMs);
    return answers;
  }

  override async alarm(): Promise<void> {
    const nowMs = Date.now();
    const more = this.#store.sweep(nowMs);
    if (this.#store.keys > 0) await this.ctx.storage.setAlarm(nowMs + (more ? 1000 : SWEEP_MS));
    else this.#sweepPlanned = false;
  }

  #answer(limit: LeasedCompiledLimit, holder: string, ask: LeaseAsk, nowMs: number): LeaseAnswer {
    const counter = this.#store.load(ask.key, limit.kind);
    if (counter === undefined) {
      const problem = "the bank has no room for another key";
      return { id: ask.id, granted: 0, forMs: 0, retryMs: 1000, moreMs: 0, problem };
    }
    const before = new Set(counter.grants);
    const answer = answerAsk(limit, counter, holder, ask, nowMs);
    this.#store.save(ask.key, counter, before, leaseCounterIdleMs(limit, counter));
    return answer;
  }

  async #planSweep(nowMs: number): Promise<void> {
    if (this.#sweepPlanned) return;
    this.#sweepPlanned = true;
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(nowMs + SWEEP_MS);
  }

  #compiled(source: LeasedLimit): LeasedCompiledLimit {
    const name = JSON.stringify(source);
    const known = this.#limits.get(name);
    if (known !== undefined) return known;
    const { window, calendarUnit, timeZone = "UTC" } = source.limit;
    const calendar =
      window === "calendar" && calendarUnit !== undefined ? new CalendarWindows(calendarUnit, new TimeZone(timeZone)) : undefined;
    const limit = compileLeasedLimit(source, calendar, true);
    if (!isLeased(limit)) throw new TypeError(`${source.rule} is not counted out of leases`);
    if (this.#limits.size >= MAX_KNOWN_LIMITS) this.#limits.clear();
    this.#limits.set(name, limit);
    return limit;
  }
}
