import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fingerprint } from "./fingerprint.ts";
import { sha256Hex } from "./sha256.ts";

describe("sha256Hex", () => {
  it("is SHA-256 of the UTF-8 bytes", () => {
    const text = fc.string({ unit: "binary", maxLength: 300 });
    fc.assert(
      fc.property(text, (value) => {
        expect(sha256Hex(value)).toBe(createHash("sha256").update(value).digest("hex"));
      }),
    );
    for (const length of [0, 55, 56, 63, 64, 65, 10_000]) {
      expect(sha256Hex("a".repeat(length))).toBe(createHash("sha256").update("a".repeat(length)).digest("hex"));
    }
  });
});

describe("Fingerprint", () => {
  const hex = (seed: number, text: string) => new Fingerprint(Int32Array.of(seed, 2, 3, 4)).of(text).join();

  it("tells short texts apart, in every word", () => {
    const print = new Fingerprint(Int32Array.of(1, 2, 3, 4));
    const words = [0, 1, 2, 3].map(() => new Set<number>());
    const texts = Array.from({ length: 20_000 }, (_, i) => `user-${i}`);
    texts.push("", "\0", "\0\0", "a", "a\0", "\0a", "ab", "ba", "\u0100", "\u0001");
    for (const text of texts) for (const [i, word] of print.of(text).entries()) words[i]!.add(word);
    // 20,000 of 2^32: some 0.05 pairs meet in one word.
    for (const word of words) expect(word.size).toBeGreaterThanOrEqual(texts.length - 2);
  });

  it("depends on its seed, and on nothing else", () => {
    expect(hex(1, "key")).toBe(hex(1, "key"));
    expect(hex(1, "key")).not.toBe(hex(2, "key"));
  });
});
