/** The case table against the core alone. Whatever happened, nothing stays counted as in flight. */
import { describe, expect, it } from "vitest";
import { CASES } from "./cases/index.ts";
import { compareSeen, compareTold } from "./compare.ts";
import { runInMemory } from "./memory.ts";

for (const [group, cases] of Object.entries(CASES)) {
  describe(group, () => {
    it.each(cases.map((test) => [test.name, test] as const))("%s", async (_, test) => {
      const outcome = await runInMemory(test);
      compareSeen(test, outcome);
      compareTold(test, outcome.record, outcome.tookMs);
      for (const { state, endpoints } of outcome.tables.clusters.values()) {
        expect(state).toMatchObject({ active: 0, retrying: 0 });
        for (const endpoint of endpoints) expect(endpoint.active, endpoint.key).toBe(0);
      }
    });
  });
}

it("is a table worth the name", () => {
  const names = Object.entries(CASES).flatMap(([group, cases]) => cases.map((test) => `${group}: ${test.name}`));
  expect(names.length).toBeGreaterThanOrEqual(120);
  expect(new Set(names).size).toBe(names.length);
});
