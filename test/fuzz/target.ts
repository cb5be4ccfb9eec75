/** What the fuzzer runs. Each file in `targets/` exports one as `target`; dropping a file there is all it takes to add one. */
import type { Dice } from "./dice.ts";

export interface FuzzTarget {
  /** As given to `--target`. */
  readonly name: string;
  /** Inputs worth keeping for ever; each run begins with them, and mutations start from them. */
  readonly seeds: readonly Uint8Array[];
  /** Strings that mean something to the code under test, for mutations. */
  readonly tokens: readonly string[];
  /** One input out of the grammar, well-formed or nearly so. */
  generate(dice: Dice): Uint8Array;
  /** Throws a `FuzzFailure` when a property does not hold; any other throw is a failure too. `dice` decides how the input is split and the like. */
  check(input: Uint8Array, dice: Dice): void;
  /** What was seen so far, one short line (how many inputs were accepted, which explained disagreements occurred). */
  summary(): string;
}

export class FuzzFailure extends Error {
  readonly property: string;

  constructor(property: string, message: string) {
    super(`${property}: ${message}`);
    this.property = property;
  }
}

export const latin1 = (text: string): Uint8Array => Buffer.from(text, "latin1");
