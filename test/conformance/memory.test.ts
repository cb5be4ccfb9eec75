/** The case table against the core alone. Whatever happened, nothing stays counted as in flight. */
import { describe, expect, it } from "vitest";
import { CASES } from "./cases/index.ts";
import { compareSeen, compareTold } from "./compare.ts";
import { generatedCases } from "./generated.ts";
import { KNOWN_DIFFERENCES } from "./known-differences.ts";
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
  expect(names.length).toBeGreaterThanOrEqual(300);
  expect(new Set(names).size).toBe(names.length);
});

it("names only cases that there are among the known differences, each once for a runtime", () => {
  const names = new Set(Object.entries(CASES).flatMap(([group, cases]) => cases.map((test) => `${group}: ${test.name}`)));
  const listed = KNOWN_DIFFERENCES.flatMap(({ runtimes, cases }) =>
    runtimes.flatMap((runtime) => cases.map((name) => [runtime, name] as const)),
  );
  expect(listed.filter(([, name]) => !names.has(name))).toEqual([]);
  expect(new Set(listed.map(String)).size).toBe(listed.length);
});

it("generates the same cases every time, of every kind", async () => {
  const [first, second] = [await generatedCases(), await generatedCases()];
  expect(JSON.stringify(first)).toBe(JSON.stringify(second));
  const kinds = new Set(first.map(({ expect: { status } }) => status));
  for (const status of [200, 301, 302, 404, 409, 503]) expect(kinds).toContain(status);
  expect(first.filter(({ expect: { upstream } }) => (upstream?.length ?? 0) > 1).length).toBeGreaterThan(5);
});
