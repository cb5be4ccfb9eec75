/** Seeded dice: the same seed throws the same numbers on every machine. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    // Spreads neighbouring seeds (splitmix32), and never starts at 0.
    this.#state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ 0xc2b2ae35) >>> 0 || 1;
    for (let i = 0; i < 4; i++) this.#next();
  }

  #next(): number {
    // xorshift32
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state;
  }

  /** 0 to `below` - 1. */
  int(below: number): number {
    return Math.floor((this.#next() / 0x1_0000_0000) * below);
  }

  chance(probability: number): boolean {
    return this.#next() / 0x1_0000_0000 < probability;
  }

  pick<T>(values: readonly T[]): T {
    if (values.length === 0) throw new RangeError("nothing to pick from");
    return values[this.int(values.length)] as T;
  }

  /** Usually the first, else one of the others. */
  mostly<T>(usual: T, others: readonly T[], odd = 0.04): T {
    return this.chance(odd) ? this.pick(others) : usual;
  }

  text(alphabet: string, min: number, max: number): string {
    let text = "";
    for (let left = min + this.int(max - min + 1); left > 0; left--) text += alphabet[this.int(alphabet.length)];
    return text;
  }
}
