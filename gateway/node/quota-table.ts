/**
 * Counters in shared memory: a hash table of fixed size, cut into stripes that are locked one by one.
 *
 * A stripe has its own slots, chains and free list, so whoever holds its lock owns all of it. Slots are found by a 128-bit
 * fingerprint. A slot is given to another key only when its counter is as good as new; slots are swept a few at a time
 * with every new key, and all of a stripe (not more often than SWEEP_GAP_US) when it is full.
 *
 * A thread may die anywhere. Links are rebuilt from the slots (`repair`); a slot counts as used from the last write of its
 * making on; numbers are written so that what is half done counts too much, never too little.
 */
import { concurrentForget, idleAt, isIdle, type LimitKind, type Moment, rollingRepair } from "../core/index.ts";

const KINDS: readonly LimitKind[] = ["rolling", "smooth", "calendar", "concurrent"];

/** Power of two. Threads meet at a lock only if they charge keys of one stripe in the same microsecond. */
export const STRIPES = 64;
const SWEEP_STEP = 4;
const SWEEP_GAP_US = 100_000;

// Per stripe (Int32): a cache line each, so that one stripe's lock does not slow its neighbour's.
const STRIPE_WORDS = 16;
const LOCK = 0;
const HIGH = 1; // slots ever used
const FREE = 2; // head of the free list, slot + 1
const HAND = 3; // next slot to look at when sweeping
const LIVE = 4; // slots in use
const FULL = 5; // keys that found no room

// Per slot (Int32). SLOT_KIND is 0 while the slot is free.
const SLOT_WORDS = 6;
const SLOT_PRINT = 0;
const SLOT_NEXT = 4;
const SLOT_KIND = 5;

/** Bytes that a slot takes besides its counter: fingerprint, links, chain head, idle time. */
const SLOT_OVERHEAD = 4 * SLOT_WORDS + 4 + 8;

export interface TableMemory {
  readonly buffer: SharedArrayBuffer;
  readonly slotsPerStripe: number;
  /** Numbers per counter. */
  readonly stride: number;
}

/** @param bytes what the table may take; rounded down to whole slots, at least one per stripe */
export function createTableMemory(bytes: number, stride: number): TableMemory {
  const slotsPerStripe = Math.max(1, Math.floor(bytes / STRIPES / (8 * stride + SLOT_OVERHEAD)));
  return { buffer: new SharedArrayBuffer(layout(slotsPerStripe, stride).bytes), slotsPerStripe, stride };
}

function layout(slotsPerStripe: number, stride: number) {
  const slots = slotsPerStripe * STRIPES;
  const numbers = slots * stride;
  const idle = numbers * 8;
  const swept = idle + slots * 8;
  const words = swept + STRIPES * 2 * 8;
  return { slots, idle, swept, words, bytes: words + 4 * (STRIPES * STRIPE_WORDS + slots * (1 + SLOT_WORDS)) };
}

export class QuotaTable {
  readonly numbers: Float64Array;
  readonly words: Int32Array;
  readonly stride: number;
  readonly capacity: number;
  readonly #perStripe: number;
  readonly #idle: Float64Array;
  /** Per stripe: when it was last swept whole, and when the first of its slots comes free (µs). */
  readonly #swept: Float64Array;
  readonly #heads: number;
  readonly #slots: number;

  constructor(memory: TableMemory) {
    const at = layout(memory.slotsPerStripe, memory.stride);
    this.stride = memory.stride;
    this.capacity = at.slots;
    this.#perStripe = memory.slotsPerStripe;
    this.numbers = new Float64Array(memory.buffer, 0, at.slots * memory.stride);
    this.#idle = new Float64Array(memory.buffer, at.idle, at.slots);
    this.#swept = new Float64Array(memory.buffer, at.swept, STRIPES * 2);
    this.words = new Int32Array(memory.buffer, at.words);
    this.#heads = STRIPES * STRIPE_WORDS;
    this.#slots = this.#heads + at.slots;
  }

  /** Index of a stripe's lock in `words`. */
  static lockAt(stripe: number): number {
    return stripe * STRIPE_WORDS + LOCK;
  }

  /** Slots in use and keys that found no room, over all stripes; read without locks, so it may be a moment old. */
  usage(): { readonly live: number; readonly full: number } {
    let live = 0;
    let full = 0;
    for (let stripe = 0; stripe < STRIPES; stripe++) {
      live += Atomics.load(this.words, stripe * STRIPE_WORDS + LIVE);
      full += Atomics.load(this.words, stripe * STRIPE_WORDS + FULL);
    }
    return { live, full };
  }

  /**
   * The slot of a fingerprint, made if there is none; -1: no room. It is not swept until `done`. Call with the stripe's lock held.
   */
  claim(stripe: number, print: Int32Array, kind: LimitKind, at: Moment): number {
    const head = this.#head(stripe, print[1] as number);
    for (let link = this.words[head] as number; link !== 0; link = this.#word(link - 1, SLOT_NEXT)) {
      if (!this.#isPrint(link - 1, print)) continue;
      this.#idle[link - 1] = Number.POSITIVE_INFINITY;
      return link - 1;
    }
    const slot = this.#freeSlot(stripe, at);
    if (slot === -1) {
      this.#add(stripe, FULL, 1);
      return -1;
    }
    const base = this.#slots + slot * SLOT_WORDS;
    this.words.set(print, base + SLOT_PRINT);
    this.numbers.fill(0, slot * this.stride, (slot + 1) * this.stride);
    this.#idle[slot] = Number.POSITIVE_INFINITY;
    this.words[base + SLOT_NEXT] = this.words[head] as number;
    this.words[base + SLOT_KIND] = KINDS.indexOf(kind) + 1;
    this.words[head] = slot + 1;
    this.#add(stripe, LIVE, 1);
    return slot;
  }

  /** The slot may be swept again once its counter is idle. */
  done(slot: number): void {
    const kind = KINDS[this.#word(slot, SLOT_KIND) - 1];
    if (kind !== undefined) this.#idle[slot] = idleAt(kind, this.numbers, slot * this.stride);
  }

  /** After a stripe found no room: microseconds until its first counter comes free, as far as known. */
  roomInUs(stripe: number, at: Moment): number {
    return Math.max(0, (this.#swept[2 * stripe + 1] as number) - at.us);
  }

  /** Nothing of a dead thread is in flight any more. Call with the stripe's lock held. */
  forgetLane(stripe: number, lane: number): void {
    for (let slot = stripe * this.#perStripe; slot < this.#highEnd(stripe); slot++) {
      if (KINDS[this.#word(slot, SLOT_KIND) - 1] !== "concurrent") continue;
      concurrentForget(this.numbers, slot * this.stride, lane);
      this.done(slot);
    }
  }

  /** Makes a stripe whole after a thread died with its lock. Call as the only one who may touch it. */
  repair(stripe: number): void {
    this.words.fill(0, this.#heads + stripe * this.#perStripe, this.#heads + (stripe + 1) * this.#perStripe);
    this.#set(stripe, FREE, 0);
    this.#set(stripe, LIVE, 0);
    for (let slot = stripe * this.#perStripe; slot < this.#highEnd(stripe); slot++) {
      const base = this.#slots + slot * SLOT_WORDS;
      const kind = KINDS[(this.words[base + SLOT_KIND] as number) - 1];
      if (kind === undefined) {
        this.#pushFree(stripe, slot);
        continue;
      }
      if (kind === "rolling") rollingRepair(this.numbers, slot * this.stride);
      const head = this.#head(stripe, this.words[base + SLOT_PRINT + 1] as number);
      this.words[base + SLOT_NEXT] = this.words[head] as number;
      this.words[head] = slot + 1;
      this.#add(stripe, LIVE, 1);
      this.done(slot);
    }
  }

  #freeSlot(stripe: number, at: Moment): number {
    this.#sweep(stripe, SWEEP_STEP, at);
    const slot = this.#takeFree(stripe);
    if (slot !== -1 || at.us - (this.#swept[2 * stripe] as number) < SWEEP_GAP_US) return slot;
    this.#swept[2 * stripe] = at.us;
    this.#swept[2 * stripe + 1] = this.#sweep(stripe, this.#perStripe, at);
    return this.#takeFree(stripe);
  }

  #takeFree(stripe: number): number {
    const free = this.#get(stripe, FREE);
    if (free !== 0) {
      this.#set(stripe, FREE, this.#word(free - 1, SLOT_NEXT));
      return free - 1;
    }
    const high = this.#get(stripe, HIGH);
    if (high === this.#perStripe) return -1;
    this.#set(stripe, HIGH, high + 1);
    return stripe * this.#perStripe + high;
  }

  /** Frees idle slots among the next `steps`. @returns when the first of the others will be idle, µs (calendar windows left out) */
  #sweep(stripe: number, steps: number, at: Moment): number {
    const high = this.#get(stripe, HIGH);
    let first = Number.POSITIVE_INFINITY;
    let hand = this.#get(stripe, HAND);
    for (let i = Math.min(steps, high); i > 0; i--) {
      hand = hand + 1 >= high ? 0 : hand + 1;
      const slot = stripe * this.#perStripe + hand;
      if (this.#word(slot, SLOT_KIND) === 0) continue;
      const idle = this.#idle[slot] as number;
      if (isIdle(idle, at)) this.#free(stripe, slot);
      else if (idle >= 0) first = Math.min(first, idle);
    }
    this.#set(stripe, HAND, hand);
    return first;
  }

  #free(stripe: number, slot: number): void {
    const base = this.#slots + slot * SLOT_WORDS;
    let at = this.#head(stripe, this.words[base + SLOT_PRINT + 1] as number);
    while (this.words[at] !== slot + 1) at = this.#slots + ((this.words[at] as number) - 1) * SLOT_WORDS + SLOT_NEXT;
    this.words[at] = this.words[base + SLOT_NEXT] as number;
    this.words[base + SLOT_KIND] = 0;
    this.#pushFree(stripe, slot);
    this.#add(stripe, LIVE, -1);
  }

  #pushFree(stripe: number, slot: number): void {
    this.words[this.#slots + slot * SLOT_WORDS + SLOT_NEXT] = this.#get(stripe, FREE);
    this.#set(stripe, FREE, slot + 1);
  }

  #isPrint(slot: number, print: Int32Array): boolean {
    const at = this.#slots + slot * SLOT_WORDS + SLOT_PRINT;
    const { words } = this;
    return words[at] === print[0] && words[at + 1] === print[1] && words[at + 2] === print[2] && words[at + 3] === print[3];
  }

  #head(stripe: number, print: number): number {
    return this.#heads + stripe * this.#perStripe + ((print >>> 0) % this.#perStripe);
  }

  #highEnd(stripe: number): number {
    return stripe * this.#perStripe + this.#get(stripe, HIGH);
  }

  #word(slot: number, field: number): number {
    return this.words[this.#slots + slot * SLOT_WORDS + field] as number;
  }

  #get(stripe: number, field: number): number {
    return this.words[stripe * STRIPE_WORDS + field] as number;
  }

  #set(stripe: number, field: number, value: number): void {
    this.words[stripe * STRIPE_WORDS + field] = value;
  }

  #add(stripe: number, field: number, value: number): void {
    this.#set(stripe, field, this.#get(stripe, field) + value);
  }
}
