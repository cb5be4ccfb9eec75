/**
 * Global quotas in an isolate: what it holds of leases is plain data that outlives requests; the way to the bank is each request's own, and refills go on
 * under its `waitUntil`. Isolates that ask over the network (a site whose banks are at another site) do what Node gateways do.
 *
 * An isolate's clock stands still while code runs, so leases end CLOCK_LAG_US early; and it is the wall clock, so a step back lengthens them by as much.
 */
import {
  askBatch,
  DEFAULT_BANK_DEADLINE_MS,
  type DueAsk,
  decodeLeaseAnswers,
  type LeaseAnswer,
  LeaseBreaker,
  LeasedBank,
  LeaseHolder,
  type LocalBank,
  MAX_BATCH_BYTES,
} from "../core/index.ts";
import { askBanks } from "./bank-rpc.ts";

/** Longest that a request runs before its clock is brought up to date, by a careful guess. */
const CLOCK_LAG_US = 25_000;
/** Longest that a call to a bank takes. The request that started it has long stopped waiting. */
const CALL_TIMEOUT_MS = 2000;

/** Where this site's limits are counted. */
export type BankPlace =
  | { readonly kind: "here"; readonly namespace: DurableObjectNamespace }
  /** `url` as `Settings.quotaBank` says. */
  | { readonly kind: "elsewhere"; readonly url: string; readonly token: { reveal(): string } };

export interface IsolateBankOptions {
  readonly local: LocalBank;
  /** Microseconds; never runs back. */
  readonly nowUs: () => number;
  /** Unique to this isolate. */
  readonly holder: string;
  readonly deadlineMs?: number;
}

/** Of one request. */
export interface RequestBankOptions {
  /** Undefined: this site has no bank. */
  readonly place: BankPlace | undefined;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Made by the first request of an isolate, used by all. */
export class IsolateBank {
  readonly holder: LeaseHolder;
  readonly #breaker = new LeaseBreaker();
  readonly #options: IsolateBankOptions;

  constructor(options: IsolateBankOptions) {
    this.#options = options;
    this.holder = new LeaseHolder({ id: options.holder, clockLagUs: CLOCK_LAG_US });
  }

  /** The bank as one request may use it: `QuotaFilterPorts.leased`. Not for any other request. */
  forRequest({ place, waitUntil }: RequestBankOptions): LeasedBank {
    const { local, nowUs, deadlineMs = DEFAULT_BANK_DEADLINE_MS } = this.#options;
    const link =
      place === undefined
        ? undefined
        : {
            carry: (holder: string, asks: readonly DueAsk[]) => carry(place, holder, asks),
            background: waitUntil,
            pause: (ms: number) => scheduler.wait(ms),
          };
    return new LeasedBank({ holder: this.holder, breaker: this.#breaker, local, link, deadlineMs, nowUs });
  }
}

function carry(place: BankPlace, holder: string, asks: readonly DueAsk[]): Promise<readonly LeaseAnswer[]> {
  return place.kind === "here" ? askBanks(place.namespace, holder, asks) : post(place.url, place.token.reveal(), holder, asks);
}

async function post(url: string, token: string, holder: string, asks: readonly DueAsk[]): Promise<readonly LeaseAnswer[]> {
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(askBatch(holder, asks)),
    redirect: "manual",
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  const text = await response.text();
  if (response.status !== 200 || text.length > MAX_BATCH_BYTES) throw new Error(`the bank at ${url} answered ${response.status}`);
  const answers = decodeLeaseAnswers(JSON.parse(text));
  if (!answers.ok) throw new Error(`the bank at ${url} answered what cannot be read: ${answers.error[0]?.path}`);
  return answers.value;
}
