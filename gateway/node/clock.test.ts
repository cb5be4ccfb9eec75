import { describe, expect, it } from "vitest";
import { systemClock } from "./clock.ts";

/** Both clocks move on by then, whatever their grain. */
function spin(): void {
  for (const untilMs = performance.now() + 3; performance.now() < untilMs; );
}

const both = (): readonly number[] => [systemClock.now(), systemClock.unixMs()];

describe("the process's clock", () => {
  it("stands still while what was read is handled, and goes on afterwards", () => {
    const seen: (readonly number[])[] = [];
    systemClock.during(() => {
      seen.push(both());
      spin();
      seen.push(both());
    }, new Uint8Array(0));
    expect(seen[1]).toEqual(seen[0]);
    const first = both();
    spin();
    const second = both();
    expect(second[0]).toBeGreaterThan(first[0] ?? Number.NaN);
    expect(first[0]).toBeGreaterThan(seen[1]?.[0] ?? Number.NaN);
    expect(second[1]).toBeGreaterThan(seen[1]?.[1] ?? Number.NaN);
  });

  it("goes on after a handler that threw", () => {
    const broken = (): void => {
      systemClock.now();
      throw new Error("broken");
    };
    expect(() => systemClock.during(broken, new Uint8Array(0))).toThrow("broken");
    const before = systemClock.now();
    spin();
    expect(systemClock.now()).toBeGreaterThan(before);
  });
});
