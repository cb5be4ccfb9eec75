/**
 * 128-bit keyed fingerprints of short texts: two lanes after HalfSipHash-1-3 (Aumasson, Bernstein), each with its own 64-bit seed,
 * over the text's UTF-16 code units and its length. Under a secret seed nobody can choose two texts that meet, and by chance
 * a billion of them do so once in 10^20 times: good enough to stand for the text itself.
 */
export class Fingerprint {
  /** The fingerprint last made. */
  readonly words = new Int32Array(4);
  readonly #seed: Int32Array;

  /** @param seed four words; secret where callers choose the texts */
  constructor(seed: Int32Array) {
    this.#seed = seed.slice(0, 4);
  }

  of(text: string): Int32Array {
    this.#lane(text, 0);
    this.#lane(text, 2);
    return this.words;
  }

  #lane(text: string, lane: 0 | 2): void {
    const k0 = this.#seed[lane] as number;
    const k1 = this.#seed[lane + 1] as number;
    let v0 = k0;
    let v1 = k1 ^ 0xee;
    let v2 = k0 ^ 0x6c796765;
    let v3 = k1 ^ 0x74656462;
    const length = text.length;
    // Two code units a word; then a word with the odd one, if any, and the length.
    const words = (length >> 1) + 2;
    for (let i = 0; i < words + 1; i++) {
      let word = 0;
      let rounds = 1;
      if (i < words - 2) word = text.charCodeAt(2 * i) | (text.charCodeAt(2 * i + 1) << 16);
      else if (i === words - 2) word = (length & 1) === 1 ? text.charCodeAt(length - 1) : 0;
      else if (i === words - 1) word = length;
      else {
        v2 ^= 0xee;
        rounds = 3;
      }
      v3 ^= word;
      for (; rounds > 0; rounds--) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= word;
    }
    this.words[lane] = v1 ^ v3;
    // The second half of a 64-bit output: one more finalisation under another constant.
    v1 ^= 0xdd;
    for (let rounds = 3; rounds > 0; rounds--) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.words[lane + 1] = v1 ^ v3;
  }
}
