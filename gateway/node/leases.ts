/**
 * Global quotas in one thread of a Node gateway. Each thread is a holder of its own: leases are small, and what a thread does not use it gives back
 * within a lease's life, so sharing them between threads would gain little and cost a lock on every request.
 */
import { randomUUID } from "node:crypto";
import {
  type BreakerState,
  DEFAULT_BANK_DEADLINE_MS,
  type HolderUsage,
  LeaseBreaker,
  LeasedBank,
  LeaseHolder,
  type LocalBank,
} from "../core/index.ts";
import type { Settings } from "../core/ir/index.ts";
import { BankClient, type BankClientOptions, bankUrlProblem } from "./bank-client.ts";

/** How often leases that nobody uses are looked for. */
const SWEEP_MS = 500;

/** How this gateway draws on the banks of global quotas. */
export interface BankAccess {
  readonly token: string;
  /** Longest that a request waits for its first lease. */
  readonly deadlineMs: number;
}

export interface LeasesOptions {
  readonly lane: number;
  /** Undefined: this gateway was given no token, so it draws on no bank. */
  readonly access: BankAccess | undefined;
  readonly local: LocalBank;
  readonly nowUs: () => number;
  readonly log: BankClientOptions["log"];
}

export interface LeasesUsage extends HolderUsage {
  readonly breaker: BreakerState["kind"];
}

export class Leases {
  readonly bank: LeasedBank;
  readonly #options: LeasesOptions;
  readonly #holder: LeaseHolder;
  readonly #breaker = new LeaseBreaker();
  #url: string | undefined;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#holder = new LeaseHolder({ id: `${options.lane}-${randomUUID()}` });
    this.bank = new LeasedBank({
      holder: this.#holder,
      breaker: this.#breaker,
      local: options.local,
      deadlineMs: options.access?.deadlineMs ?? DEFAULT_BANK_DEADLINE_MS,
      nowUs: options.nowUs,
    });
  }

  get usage(): LeasesUsage {
    return { ...this.#holder.usage, breaker: this.#breaker.state };
  }

  /** Draws on the bank that a snapshot names. */
  follow(quotaBank: Settings["quotaBank"]): void {
    const url = quotaBank?.url;
    if (url === this.#url) return;
    this.#url = url;
    this.bank.link = url === undefined ? undefined : this.#client(url);
    this.stop();
    if (this.bank.link === undefined) return;
    this.#sweeper = setInterval(() => this.bank.sweep(this.#options.nowUs()), SWEEP_MS);
    this.#sweeper.unref();
  }

  stop(): void {
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #client(url: string): BankClient | undefined {
    const { access, log } = this.#options;
    const problem = access === undefined ? "needs a token; start the gateway with --bank-token-file" : bankUrlProblem(url);
    if (access === undefined || problem !== undefined) {
      log("warn", "global quotas are not drawn from their bank; each quota's onStoreFailure decides", { url, reason: problem });
      return undefined;
    }
    return new BankClient({ url, token: access.token, now: () => performance.now(), log });
  }
}
