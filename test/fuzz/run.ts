/** Runs one target: its seeds first, then generated and mutated inputs, until the number is reached or something fails. */
import { Dice } from "./dice.ts";
import { mutate } from "./mutate.ts";
import { FuzzFailure, type FuzzTarget } from "./target.ts";

export interface FuzzRun {
  readonly target: FuzzTarget;
  readonly runs: number;
  readonly seed: number;
  /** Stop at this time (`Date.now`), even if runs are left. */
  readonly untilMs?: number;
  progress?(done: number): void;
}

export interface FuzzResult {
  readonly done: number;
  readonly failure: { readonly input: Uint8Array; readonly message: string } | undefined;
}

const PROGRESS_EVERY = 2_000;

export function fuzz({ target, runs, seed, untilMs, progress }: FuzzRun): FuzzResult {
  for (let done = 0; done < runs; done++) {
    if (done % PROGRESS_EVERY === 0) {
      progress?.(done);
      if (untilMs !== undefined && Date.now() >= untilMs) return { done, failure: undefined };
    }
    const caseSeed = (seed + Math.imul(done, 0x9e3779b1)) | 0;
    const input = inputOf(target, done, caseSeed);
    const message = problem(target, input, caseSeed);
    if (message !== undefined) {
      const smallest = shrink(target, input, caseSeed, message);
      return { done, failure: { input: smallest, message: problem(target, smallest, caseSeed) ?? message } };
    }
  }
  return { done: runs, failure: undefined };
}

/** The input with this number: a kept one, or a generated one, perhaps mutated. */
export function inputOf(target: FuzzTarget, index: number, caseSeed: number): Uint8Array {
  const kept = target.seeds[index];
  if (kept !== undefined) return kept;
  const dice = new Dice(caseSeed);
  const base = dice.chance(0.2) ? dice.pick(target.seeds) : target.generate(dice);
  return dice.chance(0.5) ? mutate(base, dice, target.tokens, target.seeds) : base;
}

function problem(target: FuzzTarget, input: Uint8Array, caseSeed: number): string | undefined {
  try {
    target.check(input, new Dice(~caseSeed));
    return undefined;
  } catch (error) {
    if (error instanceof FuzzFailure) return error.message;
    // Not a property but a crash: where it happened tells it from others.
    return error instanceof Error ? `never throws: ${error.stack}` : `never throws: ${String(error)}`;
  }
}

/** Takes pieces out as long as the same property fails. */
function shrink(target: FuzzTarget, input: Uint8Array, caseSeed: number, message: string): Uint8Array {
  const property = message.split(":", 1)[0];
  let smallest = input;
  for (let size = smallest.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= smallest.length; ) {
      const smaller = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      if (problem(target, smaller, caseSeed)?.split(":", 1)[0] === property) smallest = smaller;
      else at += size;
    }
  }
  return smallest;
}
