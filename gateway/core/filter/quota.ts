/**
 * The quota filter: charges a request to every quota of its route, all or nothing.
 *
 * A bank that answers at once is asked without a promise; a quota in shadow mode is counted after the others have admitted
 * and never refuses. What a full or silent bank means is the rule's to say (`onStoreFailure`).
 */
import type { ReadonlyFieldList } from "../http/message.ts";
import type { RequestView } from "../match/request.ts";
import type { PeerInfo, QuotaAnswer, QuotaBank } from "../ports.ts";
import type { Charge } from "../quota/decide.ts";
import type { MapBank } from "../quota/map-bank.ts";
import type { CompiledQuota } from "../quota/plan.ts";
import { quotaFields } from "./quota-fields.ts";
import { Job, type Use } from "./quota-job.ts";
import { type QuotaRefusal, refuse, refuseMissingKey, refuseUncounted } from "./quota-refusal.ts";

export type QuotaVerdict = QuotaAdmission | QuotaRefusal;

export interface QuotaAdmission {
  readonly kind: "admitted";
  /** To add to the response, whatever it is: flat list of names and values. */
  readonly fields: ReadonlyFieldList;
  /** To be settled when the request is over; undefined: nothing is held. */
  readonly held: HeldQuota | undefined;
  /** Rule of a quota in shadow mode that would have refused. */
  readonly shadow: string | undefined;
}

/** What a request holds while it lasts (`concurrent`), or was charged on a guess (`bytes`). */
export interface HeldQuota {
  /** Once, when the request is over, with the body bytes that went either way. */
  settle(requestBytes: number, responseBytes: number): void;
}

export interface QuotaFilterPorts {
  readonly bank: QuotaBank;
  /** Counts requests that a quota of scope `global` applies to, local limits included: all or nothing. Undefined: there is no bank for those. */
  readonly leased?: QuotaBank | undefined;
  /** Counts what the bank has no room for, where `onStoreFailure` is `local`; this thread's own. */
  readonly fallback: MapBank;
  /** Monotonic whole microseconds, the same clock for all who share the bank. */
  readonly nowUs: () => number;
}

/** For a rule that denies what no bank counts. */
const NO_BANK_RETRY_MS = 1000;

export const NOTHING_CHARGED: QuotaAdmission = { kind: "admitted", fields: [], held: undefined, shadow: undefined };

export class QuotaFilter {
  readonly #ports: QuotaFilterPorts;
  #job = new Job();

  constructor(ports: QuotaFilterPorts) {
    this.#ports = ports;
  }

  /**
   * Charges a request to all quotas that apply to it. The route's list names no quota twice.
   *
   * @param bodyBytes declared length of the request body; undefined: unknown. For unit `bytes` it is the first guess.
   * @param charged takes the ids of the quotas that have been charged, once the request is admitted
   * @returns at once with a bank that answers at once
   */
  charge(
    quotas: readonly CompiledQuota[],
    request: RequestView,
    peer: PeerInfo,
    bodyBytes: number | undefined,
    charged?: string[],
  ): QuotaVerdict | Promise<QuotaVerdict> {
    if (quotas.length === 0) return NOTHING_CHARGED;
    const job = this.#job;
    job.reset(this.#ports.nowUs(), charged);
    for (const quota of quotas) {
      if (!quota.applies(request)) continue;
      const key = quota.key(request, peer);
      if (key === undefined && quota.policy.whenKeyMissing === "skip") continue;
      if (key === undefined && quota.policy.whenKeyMissing === "deny") {
        if (!quota.shadow) return refuseMissingKey(quota);
        job.shadow = quota.id;
        quota.meter?.count("shadow_refused");
        continue;
      }
      const weight = quota.cost(request.fields);
      if (weight === 0) continue;
      const guess = quota.policy.unit === "bytes" ? Math.max(1, bodyBytes ?? 0) : 1;
      job.add(quota, quota.limits(key), key ?? "", weight, weight * guess);
    }
    return this.#ask(job);
  }

  #ask(job: Job): QuotaVerdict | Promise<QuotaVerdict> {
    const charges = job.fill();
    if (charges.length === 0) return this.#admit(job, undefined);
    const bank = job.globals === 0 ? this.#ports.bank : this.#ports.leased;
    if (bank === undefined) return this.#storeFailed(job, job.firstGlobal(), NO_BANK_RETRY_MS);
    const answer = bank.take(charges, job.nowUs);
    if (!(answer instanceof Promise)) return this.#decided(job, answer);
    this.#detach(job);
    return answer.then((settled) => this.#decided(job, settled));
  }

  /** A job that waits is its request's own from now on. */
  #detach(job: Job): void {
    if (job === this.#job) this.#job = new Job();
  }

  #decided(job: Job, answer: QuotaAnswer): QuotaVerdict | Promise<QuotaVerdict> {
    if (answer.admitted) return this.#admit(job, answer);
    const use = job.useOf(answer.refusedBy);
    if (answer.storeFailed) return this.#storeFailed(job, use, answer.retryAfterMs);
    this.#giveBackLocal(job);
    use.quota.meter?.count("refused");
    return refuse(use, job.charges[answer.refusedBy] as Charge, answer.retryAfterMs);
  }

  /** The bank cannot count one of the keys: its rule says what that means, and the rest is asked again without it. */
  #storeFailed(job: Job, use: Use, retryAfterMs: number): QuotaVerdict | Promise<QuotaVerdict> {
    const { meter, policy } = use.quota;
    const { kind } = policy.onStoreFailure;
    use.place = "nowhere";
    if (kind === "allow") {
      meter?.count("store_allowed");
      return this.#ask(job);
    }
    if (kind === "local") {
      const charges = use.copies(use.set.local, job.nowUs, use.cost);
      const local = this.#ports.fallback.take(charges, job.nowUs);
      if (local.admitted) {
        meter?.count("store_local");
        use.place = "local";
        return this.#ask(job);
      }
      if (!local.storeFailed) {
        this.#giveBackLocal(job);
        meter?.count("refused");
        return refuse(use, charges[local.refusedBy] as Charge, local.retryAfterMs);
      }
    }
    this.#giveBackLocal(job);
    meter?.count("store_denied");
    return refuseUncounted(use, retryAfterMs);
  }

  #giveBackLocal(job: Job): void {
    for (let i = 0; i < job.count; i++) {
      const use = job.use(i);
      if (use.place === "local") this.#ports.fallback.settle(use.copies(use.set.local, job.nowUs, use.cost), job.nowUs);
    }
  }

  #admit(job: Job, answer: QuotaAnswer | undefined): QuotaVerdict | Promise<QuotaVerdict> {
    const fields = answer === undefined ? NOTHING_CHARGED.fields : quotaFields(job, answer);
    for (let i = 0; i < job.count; i++) {
      const use = job.use(i);
      if (use.place === "bank" && !use.quota.shadow) use.quota.meter?.count("admitted");
    }
    return this.#shadows(job, 0, fields);
  }

  /** Counts the quotas in shadow mode, each by itself and as if it were enforced. */
  #shadows(job: Job, from: number, fields: ReadonlyFieldList): QuotaVerdict | Promise<QuotaVerdict> {
    let holds = false;
    for (let i = from; i < job.count; i++) {
      const use = job.use(i);
      if (!use.quota.shadow) continue;
      const charges = use.copies(use.set.limits, job.nowUs, use.cost);
      const answer = bankOf(this.#ports, use)?.take(charges, job.nowUs) ?? UNCOUNTED;
      if (answer instanceof Promise) {
        this.#detach(job);
        return answer.then((settled) => {
          noteShadow(job, use, charges, settled);
          return this.#shadows(job, i + 1, fields);
        });
      }
      noteShadow(job, use, charges, answer);
    }
    for (let i = 0; i < job.count; i++) {
      const use = job.use(i);
      holds ||= use.holds;
      if (use.place !== "nowhere") job.charged?.push(use.quota.id);
    }
    if (!holds && fields.length === 0 && job.shadow === undefined) return NOTHING_CHARGED;
    return { kind: "admitted", fields, held: holds ? new Held(this.#ports, job) : undefined, shadow: job.shadow };
  }
}

function bankOf(ports: QuotaFilterPorts, use: Use): QuotaBank | undefined {
  return use.quota.isGlobal ? ports.leased : ports.bank;
}

const UNCOUNTED: QuotaAnswer = {
  admitted: false,
  remaining: [],
  retryAfterMs: NO_BANK_RETRY_MS,
  resetMs: [],
  refusedBy: 0,
  storeFailed: true,
};

class Held implements HeldQuota {
  readonly #ports: QuotaFilterPorts;
  readonly #takenUs: number;
  readonly #uses: readonly {
    readonly bank: QuotaBank | undefined;
    readonly charges: readonly Charge[];
    readonly weight: number;
  }[];

  constructor(ports: QuotaFilterPorts, job: Job) {
    const uses = [];
    for (let i = 0; i < job.count; i++) {
      const use = job.use(i);
      if (!use.holds) continue;
      const bank = use.place === "local" ? ports.fallback : bankOf(ports, use);
      const limits = use.place === "local" ? use.set.local : use.set.limits;
      // Of a concurrent slot nothing is used up in the end; of bytes all that went.
      const weight = use.quota.policy.unit === "bytes" ? use.weight : 0;
      uses.push({ bank, charges: use.copies(limits, job.nowUs, use.cost), weight });
    }
    this.#ports = ports;
    this.#takenUs = job.nowUs;
    this.#uses = uses;
  }

  settle(requestBytes: number, responseBytes: number): void {
    const nowUs = Math.max(this.#takenUs, this.#ports.nowUs());
    for (const { bank, charges, weight } of this.#uses) {
      for (const charge of charges) charge.cost -= weight * (requestBytes + responseBytes);
      bank?.settle(charges, nowUs);
    }
  }
}

function noteShadow(job: Job, use: Use, charges: readonly Charge[], answer: QuotaAnswer): void {
  if (answer.admitted) {
    use.quota.meter?.count("admitted");
    return;
  }
  use.place = "nowhere";
  use.quota.meter?.count(answer.storeFailed ? "store_allowed" : "shadow_refused");
  if (!answer.storeFailed) job.shadow ??= charges[answer.refusedBy]?.limit.rule;
}
