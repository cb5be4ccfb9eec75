/**
 * A lock in shared memory that says who holds it, waits no longer than it is told, and can be taken from the dead.
 *
 * The word is 0 when free, else the holder's number (positive, below 2^30), with WAITING set while somebody sleeps on it.
 */
const WAITING = 0x4000_0000;
/** Tries before sleeping: about as long as a holder that runs needs to finish. */
const SPINS = 200;
const NAP_MS = 1;

/** @returns false when the lock was not free within `maxWaitMs` */
export function acquire(words: Int32Array, at: number, me: number, maxWaitMs: number): boolean {
  for (let spin = 0; spin < SPINS; spin++) if (Atomics.compareExchange(words, at, 0, me) === 0) return true;
  const deadline = performance.now() + maxWaitMs;
  do {
    // Others may sleep on it still: whoever slept takes it with the mark on, and wakes one of them when done.
    const held = Atomics.compareExchange(words, at, 0, me | WAITING);
    if (held === 0) return true;
    if ((held & WAITING) !== 0 || Atomics.compareExchange(words, at, held, held | WAITING) === held) {
      Atomics.wait(words, at, held | WAITING, NAP_MS);
    }
  } while (performance.now() < deadline);
  return false;
}

export function release(words: Int32Array, at: number): void {
  if ((Atomics.exchange(words, at, 0) & WAITING) !== 0) Atomics.notify(words, at, 1);
}

/** Who holds the lock; 0: nobody. */
export function holder(words: Int32Array, at: number): number {
  return Atomics.load(words, at) & ~WAITING;
}

/** Takes the lock from a holder that is dead. Of several who try one succeeds. */
export function seize(words: Int32Array, at: number, dead: number, me: number): boolean {
  for (let word = Atomics.load(words, at); (word & ~WAITING) === dead; word = Atomics.load(words, at)) {
    if (Atomics.compareExchange(words, at, word, me | WAITING) === word) return true;
  }
  return false;
}
