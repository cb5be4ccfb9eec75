/** What one request is charged: the quotas that apply to it, and their charges as the bank is asked for them. */
import { Charge } from "../quota/decide.ts";
import type { CompiledLimit } from "../quota/limit.ts";
import type { CompiledQuota, LimitSet } from "../quota/plan.ts";

/** One quota that applies to the request. */
export class Use {
  quota: CompiledQuota;
  set: LimitSet;
  key: string;
  /** Cost per unit of what is counted. */
  weight: number;
  cost: number;
  /** Who counts it. */
  place: "bank" | "local" | "nowhere" = "bank";

  constructor(quota: CompiledQuota, set: LimitSet, key: string, weight: number, cost: number) {
    this.quota = quota;
    this.set = set;
    this.key = key;
    this.weight = weight;
    this.cost = cost;
  }

  /** Has something to settle at the end. */
  get holds(): boolean {
    return this.place !== "nowhere" && this.quota.policy.unit !== "requests";
  }

  /** Charges of its own, not from the pool. */
  copies(limits: readonly CompiledLimit[], takenUs: number, cost: number): Charge[] {
    return limits.map((limit) => new Charge(limit, this.key, cost, takenUs));
  }
}

/** What one request is charged. One job serves request after request, so that the plain path allocates nothing but keys. */
export class Job {
  nowUs = 0;
  count = 0;
  /** How many of the quotas that the bank is asked for are of scope `global`. */
  globals = 0;
  /** What the bank was last asked. */
  charges: readonly Charge[] = [];
  shadow: string | undefined;
  /** Whoever wants to know what was charged. */
  charged: string[] | undefined;
  readonly #uses: Use[] = [];
  // By number of charges, because a list that is cut and grown again allocates.
  readonly #lists: Charge[][] = [[]];

  reset(nowUs: number, charged: string[] | undefined): void {
    this.nowUs = nowUs;
    this.charged = charged;
    this.count = 0;
    this.shadow = undefined;
  }

  use(i: number): Use {
    return this.#uses[i] as Use;
  }

  add(quota: CompiledQuota, set: LimitSet, key: string, weight: number, cost: number): void {
    const use = this.#uses[this.count++];
    if (use === undefined) this.#uses.push(new Use(quota, set, key, weight, cost));
    else {
      use.quota = quota;
      use.set = set;
      use.key = key;
      use.weight = weight;
      use.cost = cost;
      use.place = "bank";
    }
  }

  /** All charges that can refuse and that the bank is to count. */
  fill(): readonly Charge[] {
    let size = 0;
    this.globals = 0;
    for (let i = 0; i < this.count; i++) {
      const use = this.use(i);
      if (!isAsked(use)) continue;
      size += use.set.limits.length;
      if (use.quota.isGlobal) this.globals += 1;
    }
    while (this.#lists.length <= size) this.#lists.push([]);
    const charges = this.#lists[size] as Charge[];
    let at = 0;
    for (let i = 0; i < this.count; i++) {
      const use = this.use(i);
      if (isAsked(use)) for (const limit of use.set.limits) this.#put(charges, at++, limit, use);
    }
    this.charges = charges;
    return charges;
  }

  #put(charges: Charge[], at: number, limit: CompiledLimit, use: Use): void {
    const charge = charges[at];
    if (charge === undefined) charges.push(new Charge(limit, use.key, use.cost, this.nowUs));
    else {
      charge.limit = limit;
      charge.key = use.key;
      charge.cost = use.cost;
      charge.takenUs = this.nowUs;
    }
  }

  firstGlobal(): Use {
    for (let i = 0; i < this.count; i++) if (isAsked(this.use(i)) && this.use(i).quota.isGlobal) return this.use(i);
    throw new RangeError("no charge is of scope global");
  }

  /** Whose the charge at `index` is. */
  useOf(index: number): Use {
    let end = 0;
    for (let i = 0; i < this.count; i++) {
      if (isAsked(this.use(i))) end += this.use(i).set.limits.length;
      if (index < end) return this.use(i);
    }
    throw new RangeError(`the bank refused charge ${index} of ${end}`);
  }
}

/** The bank is asked for it, and may refuse. */
export function isAsked(use: Use): boolean {
  return use.place === "bank" && !use.quota.shadow;
}
