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

export class MapBank implements QuotaBank {
  readonly #options: MapBankOptions;
  readonly #counters = new Map<string, Counter>();
  readonly #answer = new Tally();
  readonly #found: Counter[] = [];
  readonly #places = { states: [] as Float64Array[], offsets: [] as number[] };
  readonly #moment: Now;
  #hand: MapIterator<[string, Counter]> | undefined;
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
    const name = `${limit.counterId}|${key}`;
    const known = this.#counters.get(name);
    if (known !== undefined) return known;
    if (!this.#makeRoom()) return undefined;
    const counter = { state: new Float64Array(STATE_SIZE[limit.kind]), idleAt: 0 };
    this.#counters.set(name, counter);
    return counter;
  }

  #makeRoom(): boolean {
    this.#sweep(SWEEP_STEP);
    if (this.#counters.size < this.#options.maxCounters) return true;
    if (this.#moment.us - this.#sweptUs < FULL_SWEEP_GAP_US) return false;
    this.#sweptUs = this.#moment.us;
    this.#sweep(this.#counters.size + 1);
    return this.#counters.size < this.#options.maxCounters;
  }

  #sweep(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.#hand ??= this.#counters.entries();
      const next = this.#hand.next();
      if (next.done) this.#hand = undefined;
      else if (isIdle(next.value[1].idleAt, this.#moment)) this.#counters.delete(next.value[0]);
    }
  }
}
