import { describe, expect, test } from "vitest";
import { fuzz } from "./run.ts";
import { loadTargets } from "./targets.ts";

/** For all targets together. */
const BUDGET_MS = 15_000;
const SEED = 20_261_123;

const targets = await loadTargets();

describe("a bounded run of every fuzz target", () => {
  test.each(targets.map((target) => [target.name, target] as const))("%s", (_name, target) => {
    const untilMs = Date.now() + BUDGET_MS / targets.length;
    const { done, failure } = fuzz({ target, runs: 30_000, seed: SEED, untilMs });
    expect(failure && { ...failure, input: Buffer.from(failure.input).toString("latin1") }).toBeUndefined();
    expect(done).toBeGreaterThan(target.seeds.length);
  });
});
