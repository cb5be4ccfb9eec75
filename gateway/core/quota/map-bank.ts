/** The bank for one thread: counters in a Map, under their whole keys. Tests and Workers use it, and gateways as a fallback. */
import type { QuotaBank, QuotaCharge } from "../ports.ts";
import { idleAt, isIdle, type Moment, STATE_SIZE } from "./counter.ts";
import { type Charge, decide, settleOne, Tally } from "./decide.ts";
import type { CompiledLimit } from "./limit.ts";

export interface MapBankOptions {
  /** Most counters kept at once. One that still counts is never dropped for another: a full bank answers `storeFailed`. */
  readonly maxCounters: number;
  /** Wall clock, read for calendar windows only. */
  readonly unixMs: () => number;
}

export const DEFAULT_MAX_COUNTERS = 65_536;

/** A full bank looks through all its counters for idle ones at most this often. */
const FULL_SWEEP_GAP_US = 100_000;
/** Counters looked at, to see whether they are idle, for each that is added. */
const SWEEP_STEP = 4;

interface Counter {
  readonly state: Float64Array;
  idleAt: number;
}

/** The moment at hand, whose wall clock is read when somebody asks for it, and once. */
class Now implements Moment {
  us = 0;
  readonly lane = 0;
  readonly #read: () => number;
  #unixMs: number | undefined;

  constructor(read: () => number) {
    this.#read = read;
  }

  begin(us: number): void {
    this.us = us;
    this.#unixMs = undefined;
  }

  get unixMs(): number {
    this.#unixMs ??= this.#read();
    return this.#unixMs;
  }
}

/** Counters by what they count and its key: two texts that are there already, for one joined of them would be made and hashed for each request. */
class Counters {
  readonly #byId = new Map<string, Map<string, Counter>>();
  #size = 0;
  /** Where the sweep is: `#keys` are those of `#swept`, which stands under `#sweptId`. */
  #ids: MapIterator<[string, Map<string, Counter>]> | undefined;
  #keys: MapIterator<[string, Counter]> | undefined;
  #swept: Map<string, Counter> | undefined;
  #sweptId = "";

  get size(): number {
    return this.#size;
  }

  get(id: string, key: string): Counter | undefined {
    return this.#byId.get(id)?.get(key);
  }

  add(id: string, key: string, counter: Counter): void {
    let byKey = this.#byId.get(id);
    if (byKey === undefined) {
      byKey = new Map();
      this.#byId.set(id, byKey);
    }
    byKey.set(key, counter);
    this.#size++;
  }

  /** Looks at the next `steps` counters, around and around, and drops those that are idle. */
  sweep(steps: number, at: Moment): void {
    for (let i = 0; i < steps; ) {
      const next = this.#keys?.next();
      if (next === undefined || next.done === true) {
        // The way back to the first one is a step: there may be none at all.
        if (!this.#goOn()) i++;
        continue;
      }
      i++;
      const [key, counter] = next.value;
      if (!isIdle(counter.idleAt, at) || this.#swept?.delete(key) !== true) continue;
      this.#size--;
      if (this.#swept.size === 0) this.#byId.delete(this.#sweptId);
    }
  }

  /** To those of the next id. @returns false: these were the last */
  #goOn(): boolean {
    this.#ids ??= this.#byId.entries();
    const next = this.#ids.next();
    if (next.done === true) {
      this.#ids = undefined;
      this.#keys = undefined;
      this.#swept = undefined;
      return false;
    }
    [this.#sweptId, this.#swept] = next.value;
    this.#keys = this.#swept.entries();
    return true;
  }
}

export class MapBank implements QuotaBank {
  readonly #options: MapBankOptions;
  readonly #counters = new Counters();
  readonly #answer = new Tally();
  readonly #found: Counter[] = [];
  readonly #places = { states: [] as Float64Array[], offsets: [] as number[] };
  readonly #moment: Now;
  #sweptUs = Number.NEGATIVE_INFINITY;

  constructor(options: MapBankOptions) {
    this.#options = options;
    this.#moment = new Now(options.unixMs);
  }

  /** Counters kept now. */
  get size(): number {
    return this.#counters.size;
  }

  /** Synchronous. The answer is reused: read it before the next call. */
  take(charges: readonly QuotaCharge[], nowUs: number): Tally {
    const at = this.#moment;
    at.begin(nowUs);
    for (let i = 0; i < charges.length; i++) {
      const charge = charges[i] as Charge;
      const counter = this.#counter(charge.limit, charge.key);
      if (counter === undefined) {
        this.#release(charges, i);
        return this.#answer.fail(i, FULL_SWEEP_GAP_US / 1000);
      }
      counter.idleAt = Number.POSITIVE_INFINITY; // not to be swept while the others are looked up
      this.#found[i] = counter;
      this.#places.states[i] = counter.state;
      this.#places.offsets[i] = 0;
    }
    decide(charges, this.#places, at, this.#answer);
    this.#release(charges, charges.length);
    return this.#answer;
  }

  settle(charges: readonly QuotaCharge[], nowUs: number): void {
    const at = this.#moment;
    at.begin(nowUs);
    for (const charge of charges) {
      const limit = charge.limit as CompiledLimit;
      const counter = this.#counter(limit, charge.key);
      if (counter === undefined) continue;
      settleOne(charge, counter.state, 0, at);
      counter.idleAt = idleAt(limit.kind, counter.state, 0);
    }
  }

  #release(charges: readonly QuotaCharge[], count: number): void {
    for (let i = 0; i < count; i++) {
      const counter = this.#found[i] as Counter;
      counter.idleAt = idleAt((charges[i] as Charge).limit.kind, counter.state, 0);
    }
  }

  #counter(limit: CompiledLimit, key: string): Counter | undefined {
    const known = this.#counters.get(limit.counterId, key);
    if (known !== undefined) return known;
    if (!this.#makeRoom()) return undefined;
    const counter = { state: new Float64Array(STATE_SIZE[limit.kind]), idleAt: 0 };
    this.#counters.add(limit.counterId, key, counter);
    return counter;
  }

  #makeRoom(): boolean {
    this.#counters.sweep(SWEEP_STEP, this.#moment);
    if (this.#counters.size < this.#options.maxCounters) return true;
    if (this.#moment.us - this.#sweptUs < FULL_SWEEP_GAP_US) return false;
    this.#sweptUs = this.#moment.us;
    this.#counters.sweep(this.#counters.size + 1, this.#moment);
    return this.#counters.size < this.#options.maxCounters;
  }
}
