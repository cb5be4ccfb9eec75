/**
 * Which passports were taken, over all worker threads: a set in shared memory without locks, which forgets by itself.
 *
 * Passports are filed by the time at which they expire: each span of BUCKET_S seconds has a bucket, and a bucket is used again once everything in it
 * has long expired. A slot is one 64-bit word, the number of its span above 40 bits of the passport's keyed fingerprint, written by compare-and-swap.
 * Within a bucket slots only ever go from an earlier span to the present one, so all copies of one passport look at the same slots in the same
 * order and meet at the same one; exactly one of them writes it. Nothing is cleared, so a thread that dies leaves nothing half done.
 *
 * Fingerprints are made under a secret random seed: nobody can choose two ids that meet, and by chance a good passport is refused for another
 * one's sake once in 2^40 comparisons.
 */
import { randomFillSync } from "node:crypto";
import { MAX_PASSPORT_SKEW_S, MAX_PASSPORT_TTL_S, type PassportMemory } from "../core/identity/index.ts";
import { Fingerprint } from "../core/index.ts";

/** Passports that can be remembered at a time, over all spans: 8 MiB. In one span fit an eighth, some 14,000 a second. */
export const MAX_REMEMBERED_PASSPORTS = 2 ** 20;
/** Slots that are looked at for one passport: a bucket that is more than nearly full has no room. */
const MAX_PROBES = 128;

const BUCKET_S = 8;
/** What may be presented now expires within this. */
const HORIZON_S = MAX_PASSPORT_TTL_S + MAX_PASSPORT_SKEW_S;
/** Enough that a bucket comes up again only when nothing in it can be presented any more, with some 20 s to spare for a thread that was put aside. */
const BUCKETS = 8;

const PRINT_BITS = 40n;
const PRINT_MASK = (1n << PRINT_BITS) - 1n;
/** Spans are counted modulo 2^23, so that a word stays positive: they come round after two years. */
const SPANS = 2 ** 23;

/** What the main thread gives to workers. Holds the seed: not for anybody outside the process. */
export interface ReplayMemory {
  readonly slots: SharedArrayBuffer;
  readonly seed: SharedArrayBuffer;
}

/** @param passports a multiple of BUCKETS whose eighth is a power of two */
export function createReplayMemory(passports = MAX_REMEMBERED_PASSPORTS): ReplayMemory {
  const seed = new SharedArrayBuffer(16);
  // randomFillSync does not take shared memory.
  new Uint8Array(seed).set(randomFillSync(new Uint8Array(16)));
  return { slots: new SharedArrayBuffer(8 * passports), seed };
}

export class SharedPassports implements PassportMemory {
  readonly #slots: BigInt64Array;
  readonly #perBucket: number;
  readonly #fingerprint: Fingerprint;
  /** The fingerprint's first half as one number. */
  readonly #print: BigInt64Array;

  constructor({ slots, seed }: ReplayMemory) {
    this.#slots = new BigInt64Array(slots);
    this.#perBucket = this.#slots.length / BUCKETS;
    this.#fingerprint = new Fingerprint(new Int32Array(seed));
    const { words } = this.#fingerprint;
    this.#print = new BigInt64Array(words.buffer, words.byteOffset, 1);
  }

  remember(site: string, id: string, expires: number, nowUnixMs: number): "fresh" | "seen" | "full" {
    // Beyond the horizon it would lie in a bucket that is still in use for another span.
    if (expires > nowUnixMs / 1000 + HORIZON_S) return "full";
    const { words } = this.#fingerprint;
    this.#fingerprint.of(`${site.length}:${site}${id}`);
    const span = Math.floor(expires / BUCKET_S);
    const tag = span % SPANS;
    const word = (BigInt(tag) << PRINT_BITS) | ((this.#print[0] as bigint) & PRINT_MASK);
    const bucket = (span % BUCKETS) * this.#perBucket;
    const start = (words[2] as number) >>> 0;
    for (let probe = 0; probe < Math.min(MAX_PROBES, this.#perBucket); probe++) {
      const told = this.#offer(bucket + ((start + probe) & (this.#perBucket - 1)), word, tag);
      if (told !== "taken") return told;
    }
    return "full";
  }

  /** Writes `word` into a slot that is free or belongs to an earlier span. */
  #offer(at: number, word: bigint, tag: number): "fresh" | "seen" | "taken" {
    for (let found = Atomics.load(this.#slots, at); ; ) {
      if (found === word) return "seen";
      const ahead = (Number(found >> PRINT_BITS) - tag + SPANS) % SPANS;
      if (found !== 0n && ahead === 0) return "taken";
      // The bucket has gone on to a later span while this thread was put aside: what it knew of this one is gone.
      if (found !== 0n && ahead < SPANS / 2) return "seen";
      const before = Atomics.compareExchange(this.#slots, at, found, word);
      if (before === found) return "fresh";
      found = before;
    }
  }
}
