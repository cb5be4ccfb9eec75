/**
 * The quotas of an isolate: what is counted here, and what is drawn from the site's bank. Counters and leases are plain data and outlive requests; the
 * way to a bank is each request's own, so a request to which a global quota may apply gets a filter of its own.
 */
import { ClosableBank, type CompiledQuota, DEFAULT_MAX_COUNTERS, MapBank, QuotaFilter } from "../core/index.ts";
import { type BankPlace, IsolateBank } from "./bank.ts";
import { workerClock } from "./clock.ts";
import type { InForce } from "./isolate.ts";
import type { WaitingContext } from "./request-context.ts";
import type { Secret } from "./secret.ts";

export interface IsolateQuotasOptions {
  /** The site's own bank; undefined: it has none. */
  readonly namespace: DurableObjectNamespace | undefined;
  /** For a bank at another site, and for those that draw on this one. */
  readonly token: Secret | undefined;
}

export class IsolateQuotas {
  readonly #options: IsolateQuotasOptions;
  readonly #bank: ClosableBank;
  readonly #fallback = counters();
  readonly #nowUs = monotonicUs();
  readonly #leases: IsolateBank;
  /** Of all requests that draw nothing from a bank: it holds nothing of theirs. */
  readonly shared: QuotaFilter;
  /** Of the tables that were asked about last. */
  #quotas: ReadonlyMap<string, CompiledQuota> | undefined;
  #hasGlobal = false;

  constructor(options: IsolateQuotasOptions) {
    const local = counters();
    const nowUs = this.#nowUs;
    this.#options = options;
    this.#bank = new ClosableBank(local);
    this.#leases = new IsolateBank({ local, nowUs, holder: crypto.randomUUID() });
    this.shared = new QuotaFilter({ bank: this.#bank, fallback: this.#fallback, nowUs });
  }

  /** The filter for one request. @param inForce undefined: there is no snapshot, and so no quota */
  filter(inForce: InForce | undefined, waiting: WaitingContext): QuotaFilter {
    if (inForce === undefined) return this.shared;
    const { tables, closed } = inForce;
    const isClosed = closed.quota !== undefined;
    this.#bank.closed = isClosed;
    if (this.#quotas !== tables.quotas) {
      this.#quotas = tables.quotas;
      this.#hasGlobal = [...tables.quotas.values()].some((quota) => quota.isGlobal);
    }
    if (!this.#hasGlobal) return this.shared;
    const waitUntil = (work: Promise<unknown>) => waiting.waitUntil(work);
    const leased = new ClosableBank(this.#leases.forRequest({ place: this.#place(tables.settings.quotaBank), waitUntil }));
    leased.closed = isClosed;
    return new QuotaFilter({ bank: this.#bank, leased, fallback: this.#fallback, nowUs: this.#nowUs });
  }

  #place(elsewhere: { readonly url: string } | undefined): BankPlace | undefined {
    const { namespace, token } = this.#options;
    if (elsewhere !== undefined) return token === undefined ? undefined : { kind: "elsewhere", url: elsewhere.url, token };
    return namespace === undefined ? undefined : { kind: "here", namespace };
  }
}

function counters(): MapBank {
  return new MapBank({ maxCounters: DEFAULT_MAX_COUNTERS, unixMs: () => workerClock.unixMs() });
}

/** Whole microseconds since it was first asked: at global scope a Worker's clock has not begun to run. */
function monotonicUs(): () => number {
  let zeroMs: number | undefined;
  return () => {
    zeroMs ??= workerClock.now();
    return Math.floor((workerClock.now() - zeroMs) * 1000);
  };
}
