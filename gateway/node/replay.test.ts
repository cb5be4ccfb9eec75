import { describe, expect, it } from "vitest";
import { MAX_PASSPORT_SKEW_S, MAX_PASSPORT_TTL_S } from "../core/identity/index.ts";
import { createReplayMemory, MAX_REMEMBERED_PASSPORTS, SharedPassports } from "./replay.ts";

const NOW_S = 1_800_000_000;
const LIFE_S = MAX_PASSPORT_TTL_S + MAX_PASSPORT_SKEW_S;
const at = (seconds: number) => (NOW_S + seconds) * 1000;

describe("passports that were taken", () => {
  it("are known again by every thread until they expire, and those of other sites are others", () => {
    const memory = createReplayMemory(64 * 8);
    const [one, other] = [new SharedPassports(memory), new SharedPassports(memory)];
    expect(one.remember("europe", "a", NOW_S + LIFE_S, at(0))).toBe("fresh");
    for (let s = 0; s < LIFE_S; s++) expect(other.remember("europe", "a", NOW_S + LIFE_S, at(s))).toBe("seen");
    expect(other.remember("asia", "a", NOW_S + LIFE_S, at(0))).toBe("fresh");
    expect(other.remember("europ", "ea", NOW_S + LIFE_S, at(0))).toBe("fresh");
  });

  it("leave no room when there are too many, and room again when they have expired", () => {
    const seen = new SharedPassports(createReplayMemory(16 * 8));
    const told = new Map<string, number>();
    const offer = (id: string, s: number) => {
      const word = seen.remember("europe", id, NOW_S + s + 30, at(s));
      told.set(word, (told.get(word) ?? 0) + 1);
      return word;
    };
    for (let i = 0; i < 100; i++) offer(`first ${i}`, 0);
    expect([told.get("fresh"), told.get("full")]).toEqual([16, 84]);
    // Full or not, what was taken is known.
    expect(offer("first 0", 0)).toBe("seen");
    told.clear();
    for (let round = 1; round <= 30; round++) for (let i = 0; i < 16; i++) offer(`${round} ${i}`, round * 64);
    expect([told.get("fresh"), told.get("full")]).toEqual([30 * 16, undefined]);
  });

  it("are at most MAX_REMEMBERED_PASSPORTS, an eighth of them in one span", () => {
    expect(createReplayMemory().slots.byteLength).toBe(8 * MAX_REMEMBERED_PASSPORTS);
    const seen = new SharedPassports(createReplayMemory());
    let fresh = 0;
    for (let i = 0; i < MAX_REMEMBERED_PASSPORTS / 8; i++) {
      if (seen.remember("europe", String(i), NOW_S + 30, at(0)) === "fresh") fresh++;
    }
    expect(fresh).toBeGreaterThan((MAX_REMEMBERED_PASSPORTS / 8) * 0.95);
  });

  it("are not taken when they could not be remembered for long enough", () => {
    const seen = new SharedPassports(createReplayMemory(64 * 8));
    expect(seen.remember("europe", "a", NOW_S + LIFE_S + 1, at(0))).toBe("full");
  });

  it("a thread that was put aside for long does not take away what others have remembered since", () => {
    const seen = new SharedPassports(createReplayMemory(8));
    expect(seen.remember("europe", "late", NOW_S + 30, at(0))).toBe("fresh");
    expect(seen.remember("europe", "new", NOW_S + 94, at(64))).toBe("fresh");
    expect(seen.remember("europe", "late", NOW_S + 30, at(0))).toBe("seen");
    expect(seen.remember("europe", "new", NOW_S + 94, at(64))).toBe("seen");
  });
});
