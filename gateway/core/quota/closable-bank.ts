/** A bank that can be shut: each rule then does what it says about a store that fails (`onStoreFailure`). What was taken before can still be given back. */
import type { QuotaAnswer, QuotaBank, QuotaCharge } from "../ports.ts";

const RETRY_AFTER_MS = 1000;
const SHUT: QuotaAnswer = {
  admitted: false,
  remaining: [],
  retryAfterMs: RETRY_AFTER_MS,
  resetMs: [],
  refusedBy: 0,
  storeFailed: true,
};

export class ClosableBank implements QuotaBank {
  readonly #bank: QuotaBank;
  closed = false;

  constructor(bank: QuotaBank) {
    this.#bank = bank;
  }

  take(charges: readonly QuotaCharge[], nowUs: number): QuotaAnswer | Promise<QuotaAnswer> {
    return this.closed ? SHUT : this.#bank.take(charges, nowUs);
  }

  settle(charges: readonly QuotaCharge[], nowUs: number): void {
    this.#bank.settle(charges, nowUs);
  }
}
