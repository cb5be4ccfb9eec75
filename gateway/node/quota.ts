/**
 * The quota bank of a Node gateway: counters in shared memory, exact over all worker threads.
 *
 * The main thread makes the memory and hands it to every worker, so counters outlive snapshots and threads. A request locks the
 * stripes of all its counters in ascending order (so two requests never wait for one another in a circle), decides, and lets go. Waiting
 * is bounded: a lock that is not to be had in MAX_LOCK_WAIT_MS answers `storeFailed`, and the rule's `onStoreFailure` decides.
 * Each bank has a number of its own and takes over a lane; when a thread has died, the one that follows it in its lane repairs and frees the
 * locks that it held and gives back what it had in flight, before it does anything else.
 *
 * Keys are kept as 128-bit fingerprints under a secret random seed, so callers cannot choose two keys that meet, and by chance
 * two of 2^26 counters meet once in 2^77 times: no two keys share a counter in practice, at 16 bytes whatever their length.
 */
import { randomFillSync } from "node:crypto";
import {
  type Charge,
  type CompiledLimit,
  decide,
  Fingerprint,
  MAX_LANES,
  type Moment,
  type QuotaBank,
  type QuotaCharge,
  STATE_SIZE,
  settleOne,
  Tally,
} from "../core/index.ts";
import { createTableMemory, QuotaTable, STRIPES, type TableMemory } from "./quota-table.ts";
import { acquire, holder, release, seize } from "./shared-lock.ts";

/** Memory for counters unless told otherwise: about 50,000 rolling or concurrent and 57,000 smooth or calendar ones. */
export const DEFAULT_QUOTA_MEMORY_BYTES = 32 * 1024 * 1024;
/** A 548-byte counter for rolling and concurrent limits against 68 bytes for the others: seven eighths hold about as many. */
const WIDE_SHARE = 7 / 8;
/** Longest that a request waits for another thread to let go of a counter: long enough for a holder that a busy machine has put aside. */
export const MAX_LOCK_WAIT_MS = 50;
/** How often a bank that takes a lane over waits that long for a stripe that another dead thread holds, whose own heir frees it. */
const TAKEOVER_TRIES = 20;

/** Power of two above MAX_LANES. */
const LANE_NUMBERS = 64;

const WIDE = Math.max(STATE_SIZE.rolling, STATE_SIZE.concurrent);
const NARROW = Math.max(STATE_SIZE.smooth, STATE_SIZE.calendar);

/** What the main thread gives to workers (by `workerData` or a message). Holds the seed: not for anybody outside the process. */
export interface QuotaMemory {
  readonly wide: TableMemory;
  readonly narrow: TableMemory;
  readonly seed: SharedArrayBuffer;
  /** How many banks there have been, then the number of the bank in each lane. */
  readonly lanes: SharedArrayBuffer;
}

/** @param bytes all the memory that counters may ever take */
export function createQuotaMemory(bytes = DEFAULT_QUOTA_MEMORY_BYTES): QuotaMemory {
  const seed = new SharedArrayBuffer(16);
  // randomFillSync does not take shared memory.
  new Uint8Array(seed).set(randomFillSync(new Uint8Array(16)));
  return {
    wide: createTableMemory(bytes * WIDE_SHARE, WIDE),
    narrow: createTableMemory(bytes * (1 - WIDE_SHARE), NARROW),
    seed,
    lanes: new SharedArrayBuffer(4 * (1 + MAX_LANES)),
  };
}

export interface SharedBankOptions {
  /** This thread's place: 0 to MAX_LANES - 1, no two living threads alike. Whoever had it before is dead. */
  readonly lane: number;
  readonly unixMs: () => number;
}

export interface QuotaUsage {
  /** Counters in use, and how many there can be. */
  readonly counters: number;
  readonly capacity: number;
  /** Charges that found no room so far. */
  readonly full: number;
}

export class SharedBank implements QuotaBank {
  readonly #wide: QuotaTable;
  readonly #narrow: QuotaTable;
  readonly #lanes: Int32Array;
  /** This bank's number as holder of locks: how many came before it, and its lane. No bank had it before. */
  readonly #me: number;
  readonly #unixMs: () => number;
  readonly #fingerprint: Fingerprint;
  readonly #limitPrints = new WeakMap<CompiledLimit, Int32Array>();
  /** Of the request before: the next one is often charged alike. */
  readonly #lastLimits: CompiledLimit[] = [];
  readonly #lastPrints: Int32Array[] = [];
  readonly #answer = new Tally();
  readonly #moment: Moment;
  readonly #places = { states: [] as Float64Array[], offsets: [] as number[] };
  readonly #prints: Int32Array[] = [];
  readonly #slots: number[] = [];
  readonly #keyPrint = new Int32Array(4);
  /** Stripes to lock, ascending: those of the wide table, then STRIPES + those of the narrow one. */
  readonly #stripes: number[] = [];
  #stripeCount = 0;
  /** What could not be given back because another thread kept its lock: one is tried again with every request. */
  readonly #owed: { readonly charges: readonly QuotaCharge[]; readonly nowUs: number }[] = [];

  constructor(memory: QuotaMemory, options: SharedBankOptions) {
    if (!(options.lane >= 0 && options.lane < MAX_LANES))
      throw new RangeError(`lane ${options.lane}: quotas know ${MAX_LANES} threads`);
    this.#wide = new QuotaTable(memory.wide);
    this.#narrow = new QuotaTable(memory.narrow);
    this.#lanes = new Int32Array(memory.lanes);
    this.#me = (Atomics.add(this.#lanes, 0, 1) + 1) * LANE_NUMBERS + options.lane;
    this.#unixMs = options.unixMs;
    this.#fingerprint = new Fingerprint(new Int32Array(memory.seed));
    this.#moment = { us: 0, unixMs: 0, lane: options.lane };
    if (Atomics.exchange(this.#lanes, 1 + options.lane, this.#me) === 0) return;
    this.laneGone(options.lane);
    for (let stripe = 0; stripe < STRIPES; stripe++) this.#forget(stripe, options.lane);
  }

  /** Synchronous. The answer is reused: read it before the next call. `nowUs` is on the clock of `monotonicUs`. */
  take(charges: readonly QuotaCharge[], nowUs: number): Tally {
    // One at a time: each may have to wait.
    const owed = this.#owed.shift();
    if (owed !== undefined) this.settle(owed.charges, owed.nowUs);
    this.#prepare(charges, nowUs);
    const stuck = this.#lock();
    if (stuck !== -1) return this.#answer.fail(this.#chargeOf(charges, stuck), MAX_LOCK_WAIT_MS);
    try {
      const full = this.#claim(charges);
      if (full === -1) decide(charges, this.#places, this.#moment, this.#answer);
      else this.#answer.fail(full, this.#table(charges[full] as Charge).roomInUs(this.#stripeOf(full), this.#moment) / 1000);
      this.#done(charges, full === -1 ? charges.length : full);
    } finally {
      this.#unlock(this.#stripeCount);
    }
    return this.#answer;
  }

  settle(charges: readonly QuotaCharge[], nowUs: number): void {
    if (!this.#settled(charges, nowUs)) this.#owed.push({ charges, nowUs });
  }

  #settled(charges: readonly QuotaCharge[], nowUs: number): boolean {
    this.#prepare(charges, nowUs);
    if (this.#lock() !== -1) return false;
    try {
      const full = this.#claim(charges);
      const count = full === -1 ? charges.length : full;
      for (let i = 0; i < count; i++) {
        settleOne(charges[i] as Charge, this.#places.states[i] as Float64Array, this.#places.offsets[i] as number, this.#moment);
      }
      this.#done(charges, count);
    } finally {
      this.#unlock(this.#stripeCount);
    }
    return true;
  }

  usage(): QuotaUsage {
    const [wide, narrow] = [this.#wide.usage(), this.#narrow.usage()];
    return {
      counters: wide.live + narrow.live,
      capacity: this.#wide.capacity + this.#narrow.capacity,
      full: wide.full + narrow.full,
    };
  }

  /**
   * Frees the locks of banks that a lane had before the one that has it now. Anybody may call it at any time: a bank enters its lane before it
   * takes its first lock, so a lock of that lane under any other number belongs to the dead.
   */
  laneGone(lane: number): void {
    for (const table of [this.#wide, this.#narrow]) {
      for (let stripe = 0; stripe < STRIPES; stripe++) {
        const lock = QuotaTable.lockAt(stripe);
        const held = holder(table.words, lock);
        if (held === 0 || held % LANE_NUMBERS !== lane || held === Atomics.load(this.#lanes, 1 + lane)) continue;
        if (!seize(table.words, lock, held, this.#me)) continue;
        table.repair(stripe);
        release(table.words, lock);
      }
    }
  }

  /** Gives back what the lane's bank before had in flight. A stripe that stays locked through TAKEOVER_TRIES keeps it. */
  #forget(stripe: number, lane: number): void {
    const { words } = this.#wide;
    for (let attempt = 0; attempt < TAKEOVER_TRIES; attempt++) {
      if (!acquire(words, QuotaTable.lockAt(stripe), this.#me, MAX_LOCK_WAIT_MS)) continue;
      this.#wide.forgetLane(stripe, lane);
      release(words, QuotaTable.lockAt(stripe));
      return;
    }
  }

  #prepare(charges: readonly QuotaCharge[], nowUs: number): void {
    this.#moment.us = nowUs;
    this.#stripeCount = 0;
    let lastKey: string | undefined;
    for (let i = 0; i < charges.length; i++) {
      const charge = charges[i] as Charge;
      if (charge.key !== lastKey) {
        this.#keyPrint.set(this.#fingerprint.of(charge.key));
        lastKey = charge.key;
      }
      let print = this.#prints[i];
      if (print === undefined) {
        print = new Int32Array(4);
        this.#prints[i] = print;
      }
      // Both halves are keyed fingerprints, so their sum without carry is as good as one of both together.
      const limitPrint =
        this.#lastLimits[i] === charge.limit ? (this.#lastPrints[i] as Int32Array) : this.#limitPrint(charge.limit, i);
      for (let word = 0; word < 4; word++) print[word] = (limitPrint[word] as number) ^ (this.#keyPrint[word] as number);
      const narrow = this.#table(charge) === this.#narrow;
      if (narrow) this.#moment.unixMs = this.#unixMs();
      this.#addStripe((narrow ? STRIPES : 0) + this.#stripeOf(i));
    }
  }

  #limitPrint(limit: CompiledLimit, i: number): Int32Array {
    let print = this.#limitPrints.get(limit);
    if (print === undefined) {
      print = this.#fingerprint.of(`limit ${limit.counterId}`).slice();
      this.#limitPrints.set(limit, print);
    }
    this.#lastLimits[i] = limit;
    this.#lastPrints[i] = print;
    return print;
  }

  /** Inserts in ascending order, each once. */
  #addStripe(stripe: number): void {
    let at = this.#stripeCount;
    while (at > 0 && (this.#stripes[at - 1] as number) > stripe) at--;
    if (at > 0 && this.#stripes[at - 1] === stripe) return;
    for (let i = this.#stripeCount; i > at; i--) this.#stripes[i] = this.#stripes[i - 1] as number;
    this.#stripes[at] = stripe;
    this.#stripeCount++;
  }

  /** @returns -1, or the stripe that was not to be had (nothing is locked then) */
  #lock(): number {
    for (let i = 0; i < this.#stripeCount; i++) {
      const stripe = this.#stripes[i] as number;
      if (acquire(this.#wordsOf(stripe), QuotaTable.lockAt(stripe % STRIPES), this.#me, MAX_LOCK_WAIT_MS)) continue;
      this.#unlock(i);
      return stripe;
    }
    return -1;
  }

  #unlock(count: number): void {
    for (let i = 0; i < count; i++) {
      const stripe = this.#stripes[i] as number;
      release(this.#wordsOf(stripe), QuotaTable.lockAt(stripe % STRIPES));
    }
  }

  #wordsOf(stripe: number): Int32Array {
    return (stripe < STRIPES ? this.#wide : this.#narrow).words;
  }

  /** Finds the counters. @returns -1, or the index of the first charge whose counter found no room */
  #claim(charges: readonly QuotaCharge[]): number {
    for (let i = 0; i < charges.length; i++) {
      const charge = charges[i] as Charge;
      const table = this.#table(charge);
      const slot = table.claim(this.#stripeOf(i), this.#prints[i] as Int32Array, charge.limit.kind, this.#moment);
      if (slot === -1) return i;
      this.#slots[i] = slot;
      this.#places.states[i] = table.numbers;
      this.#places.offsets[i] = slot * table.stride;
    }
    return -1;
  }

  #done(charges: readonly QuotaCharge[], count: number): void {
    for (let i = 0; i < count; i++) this.#table(charges[i] as Charge).done(this.#slots[i] as number);
  }

  #table(charge: Charge): QuotaTable {
    const { kind } = charge.limit;
    return kind === "rolling" || kind === "concurrent" ? this.#wide : this.#narrow;
  }

  #stripeOf(i: number): number {
    return (this.#prints[i]?.[0] as number) & (STRIPES - 1);
  }

  #chargeOf(charges: readonly QuotaCharge[], stripe: number): number {
    for (let i = 0; i < charges.length; i++) {
      const narrow = this.#table(charges[i] as Charge) === this.#narrow;
      if ((narrow ? STRIPES : 0) + this.#stripeOf(i) === stripe) return i;
    }
    throw new RangeError(`no charge is counted in stripe ${stripe}`);
  }
}

/** A monotonic clock in whole microseconds that all threads share: `performance.now()` would count from each thread's own start. */
export function monotonicUs(): () => number {
  return () => Math.floor(Number(process.hrtime.bigint()) / 1000);
}
