/** A bounded run of the second opinions: our parsers against nginx and HAProxy. */
import { describe, expect, it } from "vitest";
import { needs } from "../support/needs.ts";
import { EXPLANATIONS } from "./proxies/disagreements.ts";
import { fuzzPeer } from "./proxies/run.ts";
import { target as requests } from "./targets/http1-request.ts";
import { target as responses } from "./targets/http1-response.ts";

const BUDGET_MS = 6000;
const SEED = 20_261_128;

for (const peer of ["nginx", "haproxy"] as const) {
  const need = needs(peer);
  describe(`${peer}${need.note}`, () => {
    it.skipIf(need.missing).each([requests, responses].map((target) => [target.name, target] as const))(
      "%s",
      async (_, target) => {
        const untilMs = Date.now() + BUDGET_MS;
        const { done, failure } = await fuzzPeer({ peer, target, runs: 20_000, seed: SEED, untilMs });
        expect(failure).toBeUndefined();
        expect(done).toBeGreaterThan(target.seeds.length);
      },
    );
  });
}

it("every explanation has a name of its own and says why", () => {
  expect(new Set(EXPLANATIONS.map(({ name }) => name)).size).toBe(EXPLANATIONS.length);
  expect(EXPLANATIONS.filter(({ why }) => !/[.)]$/.test(why))).toEqual([]);
});
