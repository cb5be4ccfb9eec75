/** Small damage to an input: the kind that reaches the branches between well-formed and nonsense. */
import type { Dice } from "./dice.ts";
import { latin1 } from "./target.ts";

const BYTES = [0, 9, 10, 11, 13, 32, 35, 44, 45, 48, 58, 59, 64, 92, 127, 128, 255];

type Mutation = (input: Uint8Array, dice: Dice, tokens: readonly string[], seeds: readonly Uint8Array[]) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  // another byte
  (input, dice) => replaced(input, dice.int(input.length), 1, Uint8Array.of(dice.chance(0.7) ? dice.pick(BYTES) : dice.int(256))),
  // one byte more
  (input, dice) =>
    replaced(input, dice.int(input.length + 1), 0, Uint8Array.of(dice.chance(0.7) ? dice.pick(BYTES) : dice.int(256))),
  // a bit
  (input, dice) => {
    const at = dice.int(input.length);
    return replaced(input, at, 1, Uint8Array.of((input[at] ?? 0) ^ (1 << dice.int(8))));
  },
  // less
  (input, dice) => replaced(input, dice.int(input.length), 1 + dice.int(4), latin1("")),
  (input, dice) => input.slice(0, dice.int(input.length + 1)),
  // a token
  (input, dice, tokens) => replaced(input, dice.int(input.length + 1), 0, latin1(dice.pick(tokens))),
  // a line again, or gone, or elsewhere
  (input, dice) => {
    const text = Buffer.from(input).toString("latin1").split("\r\n");
    const [line = ""] = text.splice(dice.int(text.length), dice.chance(0.5) ? 1 : 0);
    if (dice.chance(0.6))
      text.splice(dice.int(text.length + 1), 0, line === "" ? dice.pick(text.length === 0 ? [""] : text) : line);
    return latin1(text.join("\r\n"));
  },
  // the head of one and the tail of another
  (input, dice, _tokens, seeds) => {
    const other = dice.pick(seeds);
    return Buffer.concat([input.slice(0, dice.int(input.length + 1)), other.slice(dice.int(other.length + 1))]);
  },
];

export function mutate(input: Uint8Array, dice: Dice, tokens: readonly string[], seeds: readonly Uint8Array[]): Uint8Array {
  let mutated = input;
  for (let left = 1 + dice.int(3); left > 0; left--) mutated = dice.pick(MUTATIONS)(mutated, dice, tokens, seeds);
  return mutated;
}

/** `bytes` cut at a few random places, empty pieces included. */
export function* cut(bytes: Uint8Array, dice: Dice): Generator<Uint8Array> {
  const size = bytes.length <= 300 && dice.chance(0.2) ? 1 : 1 + dice.int(Math.max(1, bytes.length));
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + (size === 1 ? 1 : dice.int(size + 1)));
    yield bytes.slice(at, end);
    at = end;
  }
}

function replaced(input: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array {
  return Buffer.concat([input.subarray(0, at), inserted, input.subarray(at + removed)]);
}
